"""Jobs to be put into tables."""

import itertools
from typing import Any

from server.access.allowances import Spent
from server.access.counters import Counter
from server.jobs.record import Asked
from server.jobs.table import NewJob
from server.types import TranscriptionOptions

NUMBERS = itertools.count(1)
ASKED = Asked(TranscriptionOptions(language="pt", prompt="Olá, «mundo»"), {"x_dropped": ["true"]})
SPENT = Spent(60, (Counter("audio:day:1:a", 3600, 2e9),))


def new_job(owner: str = "a", audio_s: float = 60.0, **values: Any) -> NewJob:
    """A job that nobody has asked for before."""
    fields = {"model": "base", "asked": ASKED, "spent": None, "created": 0.0, "expires": 1e9}
    return NewJob(f"job_{next(NUMBERS):032x}", owner, audio_s=audio_s, **{**fields, **values})
