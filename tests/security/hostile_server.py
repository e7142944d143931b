"""`python hostile_server.py`: the fake server of the other tests, with a hijacked decoder.

See `hostile_decoder.py`.
"""

import runpy
from pathlib import Path

from server.audio import media_process

HERE = Path(__file__).parent

if __name__ == "__main__":
    start = "from server.audio.zygote import main"
    assert start in media_process._BOOTSTRAP
    hijack = f"sys.path.append({str(HERE)!r}); import hostile_decoder; "
    media_process._BOOTSTRAP = media_process._BOOTSTRAP.replace(start, hijack + start)
    runpy.run_path(str(HERE.parent / "e2e" / "fake_server.py"), run_name="__main__")
