"""A client of OpenAI's audio API, as small as one can be.

Knows: one multipart upload and how an error body reads.
Must not know: whose server answers.
"""

import json
import uuid
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

TIMEOUT = 3_600.0
"""Seconds; a long recording takes long."""


class ClientError(Exception):
    """The server refused (`refused`: it says that the request is wrong), failed or went away."""

    def __init__(self, message: str, *, refused: bool = False) -> None:
        """Keep whether the fault is ours."""
        super().__init__(message)
        self.refused = refused


@dataclass(frozen=True, slots=True)
class Answer:
    """The body of a good answer."""

    text: str

    def json(self) -> dict[str, Any]:
        """The body as JSON."""
        content: dict[str, Any] = json.loads(self.text)
        return content


class Client:
    """Sends files to one server."""

    def __init__(self, url: str, key: str) -> None:
        """`url` is the server's root, such as `http://127.0.0.1:9005`."""
        self._netloc = urlsplit(url).netloc
        self._key = key

    def transcribe(self, file: Path, response_format: str, **fields: str) -> Answer:
        """Send one file; without the field `language`, in the one that the server hears in it.

        Raises:
            ClientError: any answer but 200, or none.
        """
        boundary = uuid.uuid4().hex
        fields = {"model": "whisper-1", "response_format": response_format, **fields}
        body = _form(boundary, file, fields)
        headers = {
            "Authorization": f"Bearer {self._key}",
            "Content-Type": f"multipart/form-data; boundary={boundary}",
        }
        connection = HTTPConnection(self._netloc, timeout=TIMEOUT)
        try:
            connection.request("POST", "/v1/audio/transcriptions", body, headers)
            response = connection.getresponse()
            text = response.read().decode()
        except (OSError, HTTPException) as error:
            raise ClientError(f"the server went away: {error or type(error).__name__}") from error
        finally:
            connection.close()
        if response.status != 200:
            raise ClientError(
                f"the server answered {response.status}: {_message(text)}",
                refused=response.status < 500,
            )
        return Answer(text)


def _form(boundary: str, file: Path, fields: dict[str, str]) -> bytes:
    parts = [
        f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'.encode()
        for name, value in fields.items()
    ]
    name = file.name.replace("\\", "_").replace('"', "_").replace("\r", "_").replace("\n", "_")
    head = (
        f'--{boundary}\r\nContent-Disposition: form-data; name="file"; filename="{name}"\r\n'
        "Content-Type: application/octet-stream\r\n\r\n"
    )
    return b"".join([*parts, head.encode(), file.read_bytes(), f"\r\n--{boundary}--\r\n".encode()])


def _message(text: str) -> str:
    """The message in OpenAI's error body, else the body's beginning."""
    try:
        return str(json.loads(text)["error"]["message"])
    except (ValueError, TypeError, KeyError):
        return text[:200]
