"""`./just fuzz-led TARGET`: one target, with atheris choosing the bytes that its case is made of.

What covers new code of the server is kept in a folder and varied further. Ends with the first case
that breaks the target.
"""

import sys
import tempfile

import atheris
import click

with atheris.instrument_imports(include=["server", "falcon", "jwt"]):
    import targets  # noqa: F401 - fills TARGETS
from target import TARGETS


@click.command(help=__doc__)
@click.argument("name", type=click.Choice(sorted(TARGETS)))
@click.option("--seconds", default=60, help="How long.")
@click.option("--corpus", default="", help="Folder of a former run to go on from.")
def main(name: str, seconds: int, corpus: str) -> None:
    """Run it."""
    of_bytes = TARGETS[name].of_bytes()
    with tempfile.TemporaryDirectory() as folder:
        options = [
            f"-max_total_time={seconds}",
            "-max_len=8192",
            "-timeout=30",
            "-rss_limit_mb=2048",
        ]
        atheris.Setup([sys.argv[0], *options, corpus or folder], of_bytes)
        atheris.Fuzz()


if __name__ == "__main__":
    main()
