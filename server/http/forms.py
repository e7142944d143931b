"""The multipart form: text fields by name, and the file to its spool.

Knows: multipart/form-data as real clients send it: parts in any order, with any headers.
Must not know: what a field means, or what the file holds.
"""

import re
from collections.abc import AsyncIterator, Collection, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, cast

import falcon
from falcon.asgi.multipart import BodyPart, MultipartForm
from falcon.media.multipart import MultipartFormHandler, MultipartParseError, MultipartParseOptions

from server import texts
from server.errors import BadAudio, InvalidOption, UnsupportedMediaType
from server.http.spool import Spool
from server.texts import Text
from server.types import Task

if TYPE_CHECKING:
    from falcon.typing import AsyncReadableIO

MAX_PARTS = 64
"""Parts of a form; OpenAI's has at most some twenty."""

_INDEXED = re.compile(r"\[\d*\]$")


@dataclass(frozen=True, slots=True)
class Form:
    """Values by field name, in the order of arrival; `[]` and `[0]` are cut off the names."""

    fields: dict[str, list[str]] = field(default_factory=dict)


ROUTES: Mapping[Task, str] = {"transcribe": "transcriptions", "translate": "translations"}


def how_to_send(text: Text, task: Task) -> Text:
    """A text that shows the curl line for its route."""
    return text.filled(how=texts.HOW_TO_SEND.filled(route=ROUTES[task]))


def check_media_type(content_type: str | None, task: Task) -> str:
    """The content type, when it is a form's.

    Raises:
        UnsupportedMediaType: anything else; the message shows how to do it.
        InvalidOption: the boundary is missing or malformed.
    """
    media_type, parameters = falcon.parse_header(content_type or "")
    if media_type.lower() != "multipart/form-data":
        raise UnsupportedMediaType(how_to_send(texts.NOT_A_FORM, task))
    boundary = parameters.get("boundary", "").rstrip()
    if not 1 <= len(boundary) <= 70 or not boundary.isascii():
        raise InvalidOption(how_to_send(texts.NO_BOUNDARY, task))
    return content_type or ""


async def read_form(  # noqa: PLR0913 - limits, all by name
    chunks: AsyncIterator[bytes],
    content_type: str,
    spool: Spool,
    *,
    task: Task,
    wanted: Collection[str],
    max_field_bytes: int,
) -> Form:
    """Read a body to its end: the part `file` into the spool, the `wanted` fields into memory.

    Raises:
        InvalidOption: no file, two files, a field that is too long or not UTF-8, no form.
        BadAudio: the file is empty.
        UploadTooLarge, UploadTimeout: from `chunks`.
    """
    fields: dict[str, list[str]] = {}
    files = 0
    try:
        async for part in await _parts(chunks, content_type):
            name = _name(part)
            if name == "file":
                files += 1
                if files > 1:
                    raise InvalidOption(texts.TWO_FILES, param="file")
                async for chunk in part.stream:
                    await spool.write(chunk)
            elif name.partition("[")[0] in wanted:  # `x[type]` belongs to x
                fields.setdefault(name, []).append(await _text(part, name, max_field_bytes))
    except MultipartParseError:
        raise InvalidOption(how_to_send(texts.BROKEN_FORM, task)) from None
    async for _ in chunks:
        pass  # what follows the last boundary; the body has to end before we answer
    if not files:
        raise InvalidOption(how_to_send(texts.NO_FILE, task), param="file")
    if not spool.size:
        raise BadAudio(texts.EMPTY_FILE, param="file", reason="empty")
    return Form(fields)


async def _parts(chunks: AsyncIterator[bytes], content_type: str) -> MultipartForm:
    """Falcon's parser; its own limits are a part's headers (8 KiB) and the number of parts."""
    options = MultipartParseOptions()
    options.max_body_part_count = MAX_PARTS
    # any asynchronous iterator of bytes will do for Falcon
    stream = cast("AsyncReadableIO", chunks)
    return await MultipartFormHandler(options).deserialize_async(stream, content_type, None)


def _name(part: BodyPart) -> str:
    """A field's name. File names in Latin-1 make Falcon's own reading fail; we need none."""
    header = part._headers.get(b"content-disposition", b"")  # noqa: SLF001
    _, parameters = falcon.parse_header(header.decode("utf-8", "replace"))
    return _INDEXED.sub("", parameters.get("name", ""))


async def _text(part: BodyPart, name: str, max_bytes: int) -> str:
    data = await part.stream.read(max_bytes + 1)
    if len(data) > max_bytes:
        text = texts.FIELD_TOO_LONG.filled(name=name, max_bytes=max_bytes)
        raise InvalidOption(text, param=name)
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        raise InvalidOption(texts.FIELD_NOT_UTF8.filled(name=name), param=name) from None
