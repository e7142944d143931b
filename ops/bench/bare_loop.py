"""`python -m ops.bench.bare_loop`: an event loop that has nothing to do but answer a probe.

Knows: enough HTTP for a probe.
Must not know: the server. What a probe waits here, the machine is late; what it waits longer there
is the server's own part.
"""

import asyncio
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from ops.bench.options import ROOT

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"


@contextmanager
def started() -> Iterator[str]:
    """Its URL, for as long as it is wanted."""
    command = [sys.executable, "-m", "ops.bench.bare_loop"]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)  # noqa: S603
    assert process.stdout, "This is a bug: its port is read from a pipe."
    try:
        yield f"http://127.0.0.1:{int(process.stdout.readline())}"
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


async def _answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """One connection's requests, which have no bodies."""
    try:
        while await reader.readuntil(b"\r\n\r\n"):
            writer.write(ANSWER)
    except (asyncio.IncompleteReadError, ConnectionError):
        writer.close()


async def _serve() -> None:
    server = await asyncio.start_server(_answer, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)  # noqa: T201 - read by the parent
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(_serve())
