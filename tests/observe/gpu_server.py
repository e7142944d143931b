"""`python gpu_server.py`: the real server on the TensorRT-LLM engine's double, with NVML's double.

A GPU cannot be had here. GPU_WORK is an empty folder, GPU_TOKENIZER a model's tokenizer.json.
"""

import asyncio
import os
from functools import partial
from pathlib import Path

from engine_folder import make_folder, open_double, small_checkpoint

from server.__main__ import configure, leave, serve
from server.access.callers import Callers
from server.decoding.tokenizer import Tokenizer
from server.engines.choice import Choice
from server.observe import logs
from server.scheduler import Scheduler
from server.transcribe import Transcriber


def load(_name: str) -> Transcriber:
    """A small model with random weights: it says nothing that makes sense."""
    folder = Path(os.environ["GPU_WORK"])
    tokenizer = Tokenizer.load(Path(os.environ["GPU_TOKENIZER"]))
    manifest = make_folder(folder, small_checkpoint())
    return Transcriber(Scheduler(open_double(folder, manifest, tokenizer)), tokenizer)


if __name__ == "__main__":
    settings, callers = configure(os.environ)
    logs.configure(settings.log_level)
    chosen = {"base": Choice("tensorrt_llm", Path(), "double", "a test", "no card")}
    leave(asyncio.run(serve(settings, callers, load, partial(Callers.read, os.environ), chosen)))
