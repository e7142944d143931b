"""A client of OpenAI's audio API: uploads that are streamed, TLS, what may be tried again.

Knows: the request's form, how an error body reads, OpenAI's rules for trying again.
Must not know: whose server answers, how often it is asked.
"""

import json
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import urllib3
from urllib3.exceptions import (
    ConnectTimeoutError,
    HTTPError,
    InvalidHeader,
    NewConnectionError,
    SSLError,
)
from urllib3.response import BaseHTTPResponse

TIMEOUT = urllib3.Timeout(connect=10.0, read=3_600.0)
"""Seconds; a long recording takes long."""
BLOCK_BYTES = 1 << 18
CONNECTIONS = 64
"""Kept open at most; more threads than that would still be served."""
TEMPORARY = (408, 409, 429)
"""With 5xx what OpenAI's SDKs try again, where `x-should-retry` does not say."""


class ClientError(Exception):
    """The server refused (`refused`: it says that the request is wrong), failed or went away.

    `status` is 0 where there was no whole answer, and `unreachable` says that nothing was sent;
    `temporary` that another try makes sense, after `retry_after` seconds if the server says so.
    """

    def __init__(
        self,
        message: str,
        *,
        status: int = 0,
        unreachable: bool = False,
        temporary: bool = False,
        retry_after: float | None = None,
    ) -> None:
        """Keep what a caller decides by."""
        super().__init__(message)
        self.status = status
        self.unreachable = unreachable
        self.temporary = temporary
        self.retry_after = retry_after

    @property
    def refused(self) -> bool:
        """Whether the request was wrong."""
        return 0 < self.status < 500


@dataclass(frozen=True, slots=True)
class Answer:
    """The body of a good answer."""

    text: str

    def json(self) -> dict[str, Any]:
        """The body as JSON."""
        content: dict[str, Any] = json.loads(self.text)
        return content


class Client:
    """Asks one server; safe to call from several threads."""

    def __init__(self, url: str, key: str, timeout: urllib3.Timeout = TIMEOUT) -> None:
        """`url` is the server's root, such as `http://127.0.0.1:9005`, with or without `/v1`."""
        self.url = url.rstrip("/").removesuffix("/v1")
        self.key = key
        self._pool = urllib3.PoolManager(CONNECTIONS, maxsize=CONNECTIONS, timeout=timeout)

    def close(self) -> None:
        """Close the connections that are kept."""
        self._pool.clear()

    def transcribe(
        self, file: Path, response_format: str, *, task: str = "transcribe", **fields: str
    ) -> Answer:
        """Send one file; without the field `language`, in the one that the server hears in it.

        Raises:
            ClientError: any answer but 200, or none.
            OSError: the file cannot be read.
        """
        route = "translations" if task == "translate" else "transcriptions"
        fields = {"model": "whisper-1", "response_format": response_format, **fields}
        response = self.post(f"/v1/audio/{route}", file, fields)
        if response.status != 200:
            raise failure(response)
        return Answer(response.data.decode())

    def post(self, path: str, file: Path, fields: Mapping[str, str]) -> BaseHTTPResponse:
        """Send a form with a file; the answer, whatever it is.

        Raises:
            ClientError: there was no whole answer.
            OSError: the file cannot be read.
        """
        boundary = uuid.uuid4().hex
        head, tail = _head(boundary, file, fields), f"\r\n--{boundary}--\r\n".encode()
        size = file.stat().st_size
        headers = {
            "Content-Type": f"multipart/form-data; boundary={boundary}",
            "Content-Length": str(len(head) + size + len(tail)),
        }
        return self.ask("POST", path, headers, body=_form(head, file, size, tail))

    def ask(
        self,
        method: str,
        path: str,
        headers: Mapping[str, str] | None = None,
        *,
        key: str | None = None,
        body: Iterator[bytes] | None = None,
    ) -> BaseHTTPResponse:
        """One request, followed nowhere and not repeated; `key` stands in for the client's.

        Raises:
            ClientError: there was no whole answer.
        """
        key = self.key if key is None else key
        sent = {**(headers or {}), **({"Authorization": f"Bearer {key}"} if key else {})}
        try:
            return self._pool.request(
                method,
                self.url + path,
                body=body,
                headers=sent,
                redirect=False,
                retries=False,
            )
        except SSLError as error:
            raise ClientError(f"no secure connection: {error}", unreachable=True) from error
        except (NewConnectionError, ConnectTimeoutError) as error:
            message = f"no connection to {self.url}"
            raise ClientError(message, unreachable=True, temporary=True) from error
        except HTTPError as error:
            what = str(error) or type(error).__name__
            raise ClientError(f"the server went away: {what}", temporary=True) from error


def failure(response: BaseHTTPResponse) -> ClientError:
    """An answer that is none, as an error in the server's own words."""
    advice = response.headers.get("x-should-retry")
    temporary = response.status in TEMPORARY or response.status >= 500
    message = f"the server answered {response.status}: {_message(response)}"
    return ClientError(
        message,
        status=response.status,
        temporary=temporary if advice is None else advice == "true",
        retry_after=_retry_after(response),
    )


def _retry_after(response: BaseHTTPResponse) -> float | None:
    """Seconds, also where the header has a date; None where it has neither."""
    try:
        return urllib3.Retry().get_retry_after(response)
    except InvalidHeader:
        return None


def _head(boundary: str, file: Path, fields: Mapping[str, str]) -> bytes:
    """The form up to the file's first byte."""
    parts = [
        f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'
        for name, value in fields.items()
    ]
    name = file.name.encode("utf-8", "replace").decode()
    for unsafe in '\\"\r\n':
        name = name.replace(unsafe, "_")
    parts.append(
        f'--{boundary}\r\nContent-Disposition: form-data; name="file"; filename="{name}"\r\n'
        "Content-Type: application/octet-stream\r\n\r\n"
    )
    return "".join(parts).encode()


def _form(head: bytes, file: Path, size: int, tail: bytes) -> Iterator[bytes]:
    """The whole form in blocks; of a file that grows meanwhile, as much as was promised."""
    yield head
    with file.open("rb") as content:
        while size and (block := content.read(min(size, BLOCK_BYTES))):
            size -= len(block)
            yield block
    yield tail


def _message(response: BaseHTTPResponse) -> str:
    """The message in OpenAI's error body, else the body's beginning."""
    text = response.data.decode(errors="replace")
    try:
        return str(json.loads(text)["error"]["message"])
    except (ValueError, TypeError, KeyError):
        where = response.headers.get("location")
        return f"it redirects to {where}" if where else text[:200]
