"""`python fake_server.py`: the real server process with an engine that needs no weights.

Only the engine is a stand-in: it says «Bom dia.» to every window, or, with FAKE_WORDS, words that
depend on what the window sounds like, after FAKE_WINDOW_SECONDS; a
model takes FAKE_LOAD_SECONDS to load, and fails to if FAKE_LOAD_FAILS is set. Once there is a file
named FAKE_BROKEN, a window hangs for a minute, or, if the file holds a number, fails after so many
seconds, or, if it holds something else, ends its thread. Each window that begins makes the file
FAKE_BEGUN, and waits while there is a file FAKE_HOLD.
"""

import asyncio
import os
import time
from collections import deque
from functools import partial
from pathlib import Path
from typing import NoReturn

from server.__main__ import configure, exit_code, leave, serve
from server.access.callers import Callers
from server.engines.fake import FakeEngine, byte_tokenizer
from server.observe import logs
from server.scheduler import Scheduler
from server.secrecy import keep_secrets
from server.settings import SECRET_NAMES
from server.transcribe import Transcriber
from server.types import GenerationRequest, Hypothesis

WINDOW_TIMEOUT = float(os.environ.get("FAKE_WINDOW_TIMEOUT", "60"))
TOKENIZER = byte_tokenizer()
WORDS = ("um", "dois", "três", "quatro", "cinco", "seis", "sete", "oito", "nove", "dez", "onze")


def break_down(how: str) -> NoReturn:
    """See above."""
    if how and not how.isdecimal():
        raise SystemExit
    time.sleep(float(how or 60))
    raise RuntimeError("secret path in a message") if how else SystemExit


def text_of(request: GenerationRequest) -> str:
    """Always the same, or the window's own."""
    if "FAKE_WORDS" not in os.environ or request.features is None:
        return " Bom dia."
    number = int(request.features.astype("float64").sum() * 1000)
    return "".join(f" {WORDS[(number >> shift) % len(WORDS)]}" for shift in range(14)) + "."


def say(request: GenerationRequest) -> Hypothesis:
    """A text, after a while."""
    if "FAKE_BEGUN" in os.environ:
        Path(os.environ["FAKE_BEGUN"]).touch()
    while Path(os.environ.get("FAKE_HOLD", "/nowhere")).exists():
        time.sleep(0.02)
    broken = Path(os.environ.get("FAKE_BROKEN", "/nowhere"))
    if broken.exists():
        break_down(broken.read_text())
    time.sleep(float(os.environ.get("FAKE_WINDOW_SECONDS", "0")))
    tokens = TOKENIZER.encode(text_of(request))
    return Hypothesis(tokens, -0.1 * (len(tokens) + 1))


def load(_name: str) -> Transcriber:
    """A model in no time, or as long as a test likes."""
    time.sleep(float(os.environ.get("FAKE_LOAD_SECONDS", "0")))
    if "FAKE_LOAD_FAILS" in os.environ:
        raise RuntimeError("secret path in a message")
    engine = FakeEngine(say, window_timeout=WINDOW_TIMEOUT)
    engine.requests = deque(maxlen=1)  # nobody here looks at them, and they hold their windows
    return Transcriber(Scheduler(engine), TOKENIZER)


def run() -> int:
    """As the server's own."""
    settings, callers = configure(os.environ)
    keep_secrets(SECRET_NAMES)
    logs.configure(settings.log_level)
    reload = partial(Callers.read, os.environ)
    return asyncio.run(serve(settings, callers, load, reload))


if __name__ == "__main__":
    leave(exit_code(run))
