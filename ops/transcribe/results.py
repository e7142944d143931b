"""What is asked of the server for the formats that are wanted, and what is written down of it.

Knows: several formats come in one answer (`x_formats`); a result's file appears when it is whole.
Must not know: which recordings there are, when a server is asked.
"""

import json
import os
from collections.abc import Collection
from contextlib import suppress
from pathlib import Path

from server.formats import ResponseFormat


def asked(wanted: Collection[ResponseFormat], *, words: bool) -> dict[str, str]:
    """The fields of the one request that has everything that is wanted.

    `words` are those of `verbose_json`.
    """
    main, others = _main(wanted), [name for name in wanted if name != _main(wanted)]
    fields: dict[str, str] = {"response_format": main}
    if words and main == "verbose_json":
        fields["timestamp_granularities"] = '["segment","word"]'
    return fields | ({"x_formats": json.dumps(others)} if others else {})


def bodies(text: str, wanted: Collection[ResponseFormat]) -> dict[ResponseFormat, bytes]:
    """The wanted formats, out of the answer to what was asked.

    Raises:
        ValueError: they are not in it.
    """
    main = _main(wanted)
    if list(wanted) == [main]:
        return {main: text.encode()}
    try:
        answer = json.loads(text)
        texts = answer.pop("x_formats")
        texts[main] = json.dumps(answer, ensure_ascii=False, separators=(",", ":"))
        return {name: texts[name].encode() for name in wanted}
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ValueError("the answer does not have the formats that were asked for") from error


def write(path: Path, data: bytes) -> None:
    """Put a file in its place at once: it is there and whole, or as it was before.

    Raises:
        OSError: it cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o666), "wb") as out:
            out.write(data)
            out.flush()
            os.fsync(out.fileno())
        fresh.replace(path)
    except OSError:
        with suppress(OSError):
            fresh.unlink()
        raise


def _main(wanted: Collection[ResponseFormat]) -> ResponseFormat:
    """The format of the answer, in which the others are."""
    if len(wanted) == 1:
        return next(iter(wanted))
    return "verbose_json" if "verbose_json" in wanted else "json"
