"""What a receiver is told, and how it knows that it is true.

Knows: the form of an event, Standard Webhooks' headers, each caller's secret.
Must not know: connections, tables.
"""

import base64
import hashlib
import hmac
import json
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from standardwebhooks import Webhook

LEAST_SECRET_BYTES = 24
"""Standard Webhooks asks for 24 to 64."""

PREFIX = "whsec_"


def parse_secrets(text: str) -> tuple[bytes, ...]:
    """The server's secrets, newest first; separated by white space.

    Raises:
        ValueError: one is not `whsec_` and base64 of at least 24 bytes.
    """
    found = []
    for word in text.split():
        try:
            secret = base64.b64decode(word.removeprefix(PREFIX), validate=True)
        except ValueError:
            secret = b""
        if not word.startswith(PREFIX) or len(secret) < LEAST_SECRET_BYTES:
            raise ValueError("is not whsec_ and base64 of 24 bytes or more")
        found.append(secret)
    return tuple(found)


def secret_of(secret: bytes, owner: str) -> str:
    """What a caller checks signatures with: its own, so that no caller can speak for the server.

    HMAC-SHA256 of the caller's name under the server's secret.
    """
    derived = hmac.new(secret, f"sussurro webhooks {owner}".encode(), hashlib.sha256).digest()
    return PREFIX + base64.b64encode(derived).decode()


def headers_of(
    secrets: Sequence[bytes], owner: str, event_id: str, body: bytes, at: float
) -> dict[str, str]:
    """Id, time and signatures, one for each of the server's secrets.

    `at` is the time of this try, as `time.time` has it.
    """
    moment = datetime.fromtimestamp(int(at), UTC)
    signed = [
        Webhook(secret_of(secret, owner)).sign(event_id, moment, body.decode())
        for secret in secrets
    ]
    return {
        "webhook-id": event_id,
        "webhook-timestamp": str(int(at)),
        "webhook-signature": " ".join(signed),
    }


def event_of(job: dict[str, Any], finished: float, text: str | None) -> bytes:
    """The event's body: a job's end, with its text if it has one."""
    moment = datetime.fromtimestamp(finished, UTC).isoformat(timespec="milliseconds")
    data = job | {"text": text}
    event = {"type": f"job.{job['status']}", "timestamp": moment, "data": data}
    return json.dumps(event, ensure_ascii=False, separators=(",", ":")).encode()
