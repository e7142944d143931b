"""What clients were promised, and what became of it.

Knows: submissions, and what must hold of them whatever was killed.
Must not know: HTTP, processes. So the self-test can tell it lies.
"""

import threading
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field


@dataclass(slots=True)
class Submission:
    """One recording that a client wants transcribed once, however often it has to ask."""

    key: str
    clip: str
    ids: set[str] = field(default_factory=set)
    """Of the jobs that a 202 named: one, or something is wrong."""
    state: str = "unsent"
    text: str = ""
    seconds: float = 0.0
    trouble: str = ""


class Ledger:
    """All submissions, and how often clients had to ask again, by why."""

    def __init__(self) -> None:
        self.submissions: list[Submission] = []
        self.again: Counter[str] = Counter()
        self._lock = threading.Lock()

    def open(self, submission: Submission) -> None:
        """A client begins."""
        with self._lock:
            self.submissions.append(submission)

    def asked_again(self, why: str) -> None:
        """It was not answered as it had hoped."""
        with self._lock:
            self.again[why] += 1

    @property
    def ids(self) -> set[str]:
        """The jobs that clients know."""
        return {job for each in self.submissions for job in each.ids}


@dataclass(frozen=True, slots=True)
class Aftermath:
    """What servers, database and logs say in the end."""

    states: Mapping[str, str]
    """Of every job in the table, by id."""
    used: int
    """Transcriptions that were counted since the load began."""
    ended: Iterable[str]
    """Ids of the jobs whose end a server has logged."""


def problems(ledger: Ledger, reference: Mapping[str, str], after: Aftermath) -> list[str]:
    """Every promise that was not kept, a line each."""
    found = []
    for each in ledger.submissions:
        if each.trouble:
            found.append(f"{each.clip}, {each.key}: {each.trouble}")
        elif len(each.ids) != 1:
            found.append(f"{each.key}: the jobs {sorted(each.ids)} for one key")
        elif each.state != "succeeded":
            found.append(f"{min(each.ids)} ended as {each.state}")
        elif each.text != reference[each.clip]:
            found.append(f"{min(each.ids)}, {each.clip}: another text: {each.text!r}")
    known = ledger.ids
    found += [f"{job}: accepted, and not in the table" for job in sorted(known - set(after.states))]
    found += [f"{job}: nobody knows of it" for job in sorted(set(after.states) - known)]
    found += [
        f"{job}: {state} in the table"
        for job, state in sorted(after.states.items())
        if state != "succeeded"
    ]
    found += [
        f"{job}: its end is {count} times in the log"
        for job, count in sorted(Counter(after.ended).items())
        if count > 1
    ]
    if after.used != len(after.states):
        found.append(f"{after.used} transcriptions counted for {len(after.states)} jobs")
    return found
