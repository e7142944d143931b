"""`python fake_server.py`: the real server process with an engine that needs no weights.

Only the engine is a stand-in: it says «Bom dia.» to every window, after FAKE_WINDOW_SECONDS; a
model takes FAKE_LOAD_SECONDS to load, and fails to if FAKE_LOAD_FAILS is set. Once there is a file
named FAKE_BROKEN, a window hangs for a minute, or, if the file is not empty, ends its thread.
"""

import asyncio
import os
import time
from collections import deque
from functools import partial
from pathlib import Path

from server.__main__ import configure, leave, serve
from server.access.callers import Callers
from server.engines.fake import FakeEngine, byte_tokenizer
from server.observe import logs
from server.scheduler import Scheduler
from server.transcribe import Transcriber
from server.types import GenerationRequest, Hypothesis

WINDOW_TIMEOUT = float(os.environ.get("FAKE_WINDOW_TIMEOUT", "60"))
TOKENIZER = byte_tokenizer()


def say(_request: GenerationRequest) -> Hypothesis:
    """Always the same, after a while."""
    broken = Path(os.environ.get("FAKE_BROKEN", "/nowhere"))
    if broken.exists():
        time.sleep(60 if not broken.read_bytes() else 0)
        raise SystemExit
    time.sleep(float(os.environ.get("FAKE_WINDOW_SECONDS", "0")))
    tokens = TOKENIZER.encode(" Bom dia.")
    return Hypothesis(tokens, -0.1 * (len(tokens) + 1))


def load(_name: str) -> Transcriber:
    """A model in no time, or as long as a test likes."""
    time.sleep(float(os.environ.get("FAKE_LOAD_SECONDS", "0")))
    if "FAKE_LOAD_FAILS" in os.environ:
        raise RuntimeError("secret path in a message")
    engine = FakeEngine(say, window_timeout=WINDOW_TIMEOUT)
    engine.requests = deque(maxlen=1)  # nobody here looks at them, and they hold their windows
    return Transcriber(Scheduler(engine), TOKENIZER)


if __name__ == "__main__":
    settings, callers = configure(os.environ)
    logs.configure(settings.log_level)
    reload = partial(Callers.read, os.environ)
    leave(asyncio.run(serve(settings, callers, load, reload)))
