"""Hooks of schemathesis: what a file is, which no schema can say; and what it cannot negate.

Loaded by `schemathesis` itself, not by pytest.
"""

import io
import itertools
import re
import wave
from typing import Any

import schemathesis
from hypothesis import strategies as st


def silence(seconds: float) -> bytes:
    """A WAV file."""
    file = io.BytesIO()
    with wave.open(file, "wb") as writer:
        writer.setnchannels(1)
        writer.setsampwidth(2)
        writer.setframerate(8_000)
        writer.writeframes(bytes(2 * round(8_000 * seconds)))
    return file.getvalue()


schemathesis.openapi.format("binary", st.sampled_from([silence(0.01), silence(0.1)]))


@schemathesis.hook
def before_load_schema(_context: object, raw_schema: dict[str, Any]) -> None:
    """Conditions between fields are left out: schemathesis takes an «if» for a demand.

    tests/http/test_openapi.py compares them with what the server does.
    """
    for route in ("transcriptions", "translations"):
        body = raw_schema["paths"][f"/v1/audio/{route}"]["post"]["requestBody"]
        del body["content"]["multipart/form-data"]["schema"]["allOf"]


numbers = itertools.count()


@schemathesis.hook
def before_call(_context: object, case: Any, _kwargs: dict[str, Any]) -> None:
    """Most idempotency keys are used once: else nearly every request is refused for its key."""
    key = (case.headers or {}).get("Idempotency-Key")
    number = next(numbers)
    if isinstance(key, str) and re.fullmatch(r"[!-~]{1,255}", key) and number % 4:
        case.headers["Idempotency-Key"] = f"fuzzed-{number}"
