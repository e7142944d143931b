"""One POST to a receiver: signed, to the address that was looked up, within a time.

Knows: connections, TLS, what an answer means.
Must not know: jobs, when to try again.
"""

import asyncio
import contextlib
import ssl
from collections.abc import Mapping
from typing import Literal, TypeAlias

import h11

from server import __version__
from server.webhooks.guard import Guard, Refused, Target

TIMEOUT = 15.0
"""For all of it: name, connection, TLS, answer. Standard Webhooks advises 15 to 30 s."""

READ_BYTES = 65_536
USER_AGENT = f"sussurro/{__version__.partition('.')[0]}"

Outcome: TypeAlias = Literal["delivered", "failed", "gone"]
"""`gone`: the receiver has said that it wants no more (410)."""


class Sender:
    """Sends events; redirects are not followed, proxies not used, cookies not kept."""

    def __init__(self, guard: Guard, context: ssl.SSLContext | None = None) -> None:
        """`context` is the system's own where there is none."""
        self._guard = guard
        self._context = context or ssl.create_default_context()

    async def post(self, url: str, headers: Mapping[str, str], body: bytes) -> tuple[Outcome, str]:
        """What came of it, and a word for it: a status, or an error's name."""
        try:
            async with asyncio.timeout(TIMEOUT):
                target = self._guard.check(url)
                address = await self._guard.resolve(target)
                status = await self._exchange(target, address, headers, body)
        except Refused as refused:
            return "failed", refused.why
        except TimeoutError:
            return "failed", "timeout"
        except (OSError, UnicodeError, ssl.CertificateError, h11.ProtocolError, EOFError) as error:
            return "failed", type(error).__name__
        if 200 <= status < 300:
            return "delivered", str(status)
        return ("gone" if status == 410 else "failed"), str(status)

    async def _exchange(
        self, target: Target, address: str, headers: Mapping[str, str], body: bytes
    ) -> int:
        secure = target.scheme == "https"
        reader, writer = await asyncio.open_connection(
            address,
            target.port,
            ssl=self._context if secure else None,
            server_hostname=target.host if secure else None,
        )
        try:
            connection = h11.Connection(h11.CLIENT)
            own = {
                "host": target.authority,
                "user-agent": USER_AGENT,
                "content-type": "application/json",
                "content-length": str(len(body)),
                "connection": "close",
            }
            every = list({**own, **headers}.items())
            request = h11.Request(method="POST", target=target.path, headers=every)
            for event in (request, h11.Data(body), h11.EndOfMessage()):
                writer.write(connection.send(event) or b"")
            await writer.drain()
            return await _status(connection, reader)
        finally:
            writer.close()
            with contextlib.suppress(OSError):
                writer.transport.abort()


async def _status(connection: h11.Connection, reader: asyncio.StreamReader) -> int:
    """The answer's status; its body is nobody's concern. h11 bounds the head."""
    while True:
        event = connection.next_event()
        if event is h11.NEED_DATA:
            connection.receive_data(await reader.read(READ_BYTES))
        elif isinstance(event, h11.Response):
            return event.status_code
        elif not isinstance(event, h11.InformationalResponse):
            raise EOFError
