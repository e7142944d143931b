"""`python double_server.py`: the real server process on the TensorRT-LLM engine and its double.

DOUBLE_FOLDER is an engine's folder as `engine_folder.make_folder` leaves it, with a tokenizer.json;
DOUBLE_HEADS are the alignment heads as JSON, without them no words are placed.
"""

import asyncio
import json
import os
from functools import partial
from pathlib import Path

from engine_folder import CARD, open_double
from executor_double import whisper_of
from numpy_aligner import NumpyAligner

from server.__main__ import configure, leave, serve
from server.access.callers import Callers
from server.decoding.tokenizer import Tokenizer
from server.engines.tensorrt_llm import verify
from server.observe import logs
from server.scheduler import Scheduler
from server.transcribe import Transcriber

FOLDER = Path(os.environ["DOUBLE_FOLDER"])


def load(_name: str) -> Transcriber:
    """As the server loads an engine, up to the bindings."""
    tokenizer = Tokenizer.load(FOLDER / "tokenizer.json")
    heads = json.loads(os.environ.get("DOUBLE_HEADS", "[]"))
    aligner = NumpyAligner(whisper_of(FOLDER), tokenizer, heads) if heads else None
    manifest = verify(FOLDER, [CARD])
    return Transcriber(
        Scheduler(open_double(FOLDER, manifest, tokenizer, aligner=aligner)), tokenizer
    )


if __name__ == "__main__":
    settings, callers = configure(os.environ)
    logs.configure(settings.log_level)
    leave(asyncio.run(serve(settings, callers, load, partial(Callers.read, os.environ))))
