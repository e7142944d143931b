"""The established implementations, each in a process of its own.

Knows: how one is started, asked and stopped; the seconds it takes are its own clock's.
Must not know: loads, scores.
"""

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from ops.accuracy.manifest import Clip
from ops.bench.options import ROOT, BenchError, Options
from ops.bench.target import memory_mb


class PeerProcess:
    """A loaded and warm peer."""

    def __init__(self, name: str, process: "subprocess.Popen[str]") -> None:
        self.name = name
        self._process = process
        self.versions: dict[str, str] = self._answer()["versions"]

    def ask(self, clip: Clip) -> tuple[str, float]:
        """The clip's text and the seconds that it took, from the file on disk to the text.

        Raises:
            BenchError: the peer failed.
        """
        assert self._process.stdin, "This is a bug: a peer is asked through a pipe."
        question = {"path": str(clip.path.resolve()), "language": clip.language}
        self._process.stdin.write(json.dumps(question) + "\n")
        self._process.stdin.flush()
        answer = self._answer()
        return answer["text"], answer["wall_s"]

    def memory(self) -> float:
        """The peak in MiB."""
        return memory_mb(self._process.pid, "VmHWM")

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout, "This is a bug: a peer answers through a pipe."
        line = self._process.stdout.readline()
        if not line:
            raise BenchError(f"{self.name} ended with {self._process.wait()}")
        answer: dict[str, Any] = json.loads(line)
        return answer


@contextmanager
def started(options: Options, model: Path, not_run: list[str]) -> Iterator[list[PeerProcess]]:
    """All peers that can run; why the others cannot is added to `not_run`."""
    with ExitStack() as stack:
        found = []
        for name in options.peer:
            try:
                found.append(stack.enter_context(_started(name, options, model)))
            except BenchError as error:
                not_run.append(f"{error}: is its package installed?")
        yield found


@contextmanager
def _started(name: str, options: Options, model: Path) -> Iterator[PeerProcess]:
    cache = options.cache.expanduser()
    cache.mkdir(parents=True, exist_ok=True)
    with (cache / f"{name}.log").open("w", encoding="utf-8") as log:
        process = subprocess.Popen(  # noqa: S603  our own module, by our own Python
            [
                sys.executable,
                *("-m", "ops.bench.peer_worker", name, str(model), str(cache)),
                *(str(options.beam), str(options.threads)),
            ],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
        )
    try:
        yield PeerProcess(name, process)
    finally:
        process.kill()
        process.wait()
        for pipe in (process.stdin, process.stdout):
            assert pipe, "This is a bug: both were asked for."
            pipe.close()
