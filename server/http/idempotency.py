"""The header `Idempotency-Key`: a request that is sent again has the answer of the first time.

Knows: what a key looks like, and what makes two requests the same one.
Must not know: where answers are kept, or how one is made.
"""

import hashlib
import json
import re
from typing import TYPE_CHECKING

import falcon.asgi

from server import texts
from server.errors import IdempotencyOff, InvalidOption
from server.http.forms import Form
from server.types import Task

if TYPE_CHECKING:
    from server.jobs.jobs import Jobs  # slow to import, and not every server has jobs
    from server.jobs.repeats import Repeats

HEADER = "Idempotency-Key"
REPLAYED = "idempotent-replayed"
MAX_KEY = 255

_KEY = re.compile(rf"[!-~]{{1,{MAX_KEY}}}")


def key_of(req: falcon.asgi.Request) -> str | None:
    """The key, if there is one; with or without the quotes of the IETF's draft it is the same.

    Raises:
        InvalidOption: it is none.
    """
    sent = req.get_header(HEADER)
    if sent is None:
        return None
    key = sent[1:-1] if len(sent) > 1 and sent[0] == sent[-1] == '"' else sent
    if not _KEY.fullmatch(key):
        raise InvalidOption(texts.BAD_IDEMPOTENCY_KEY.filled(most=MAX_KEY), param=HEADER)
    return key


def repeats_of(jobs: "Jobs | None") -> "Repeats":
    """Where answers are kept: with the jobs.

    Raises:
        IdempotencyOff: nowhere.
    """
    if jobs is None:
        raise IdempotencyOff(texts.IDEMPOTENCY_OFF, param=HEADER)
    return jobs.repeats


def fingerprint(task: Task, form: Form, deployment: str | None, file_digest: bytes) -> bytes:
    """A digest of what is asked for: route, fields by name, and the file's bytes.

    Not of the body: a client that repeats a form writes another boundary. Nor of the file's name,
    which nobody reads.
    """
    asked = json.dumps([task, deployment, sorted(form.fields.items())])
    return hashlib.sha256(file_digest + asked.encode()).digest()
