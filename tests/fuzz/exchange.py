"""One exchange with a server over a socket, and whether its end is a good one."""

import contextlib
import json
import re
import socket
import time
from collections.abc import Sequence
from dataclasses import dataclass

STATUS = re.compile(rb"HTTP/1\.1 (\d{3}) ")
LEAKS = (b"Traceback", b"/tmp", b"site-packages", b"av.error", b"Errno", b"server/")
"""None of these is for a caller to read."""


@dataclass(frozen=True, slots=True)
class End:
    """How an exchange ended, and after how many seconds; `bodyless` is an answer to HEAD."""

    data: bytes
    seconds: float
    hung: bool
    bodyless: bool = False

    @property
    def statuses(self) -> list[int]:
        """Those of all answers, interim ones left out."""
        return [int(found) for found in STATUS.findall(self.data) if not found.startswith(b"1")]

    def fault(self, *, silent: bool = False) -> str | None:
        """What is wrong with it; `silent` where the server may close without a word."""
        if self.hung:
            return f"no end after {self.seconds:.1f} s: {self.data[:300]!r}"
        if not self.statuses:
            return None if silent else "closed without an answer"
        for status in self.statuses:
            if status >= 500 and status != 503:
                return f"{status}: {self.data[:600]!r}"
        if any(leak in self.data for leak in LEAKS):
            return f"a leak: {self.data[:600]!r}"
        return None if self._well_formed() else f"no body of OpenAI's: {self.data[:600]!r}"

    def _well_formed(self) -> bool:
        """Whether a lone refusal has OpenAI's body."""
        if self.bodyless or len(self.statuses) != 1 or self.statuses[0] < 400:
            return True
        *_, last = STATUS.finditer(self.data)
        body = self.data[last.start() :].partition(b"\r\n\r\n")[2]
        try:
            return {"message", "type", "param", "code"} == json.loads(body)["error"].keys()
        except (ValueError, KeyError, AttributeError, TypeError):
            return False


def _is_whole(data: bytes, *, bodyless: bool) -> bool:
    """Whether an answer is there to its end; without a length it ends with the connection."""
    begin = [found for found in STATUS.finditer(data) if found[1] != b"100"]
    if not begin:
        return False
    lines, ended, body = data[begin[0].start() :].partition(b"\r\n\r\n")
    length = re.search(rb"\r\ncontent-length: (\d+)", lines, re.IGNORECASE)
    return bool(ended and length and (bodyless or len(body) >= int(length[1])))


def exchange(port: int, pieces: Sequence[bytes], *, deadline: float) -> End:
    """Send the pieces one by one and read to the answer's end, at most `deadline` seconds."""
    started = time.monotonic()
    bodyless = pieces[0].startswith(b"HEAD")
    data, hung = b"", False
    with socket.create_connection(("127.0.0.1", port), timeout=deadline) as client:
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                for piece in pieces:
                    client.sendall(piece)
            while not _is_whole(data, bodyless=bodyless):
                client.settimeout(max(started + deadline - time.monotonic(), 0.001))
                piece = client.recv(65_536)
                data += piece
                if not piece:
                    break
        except ConnectionResetError:
            pass
        except TimeoutError:
            hung = True
    return End(data, time.monotonic() - started, hung, bodyless)
