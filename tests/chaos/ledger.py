"""What clients were promised, and what became of it.

Knows: submissions, and what must hold of them whatever was killed.
Must not know: HTTP, processes. So the self-test can tell it lies.
"""

import threading
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field


@dataclass(slots=True)
class Submission:
    """One recording that a client wants transcribed once, however often it has to ask."""

    key: str
    clip: str
    at_once: bool = False
    """Whether it waits for the text; else it gets a job."""
    ids: set[str] = field(default_factory=set)
    """Of the jobs that a 202 named: one, or something is wrong."""
    state: str = "unsent"
    text: str = ""
    seconds: float = 0.0
    trouble: str = ""


@dataclass(frozen=True, slots=True)
class Event:
    """A webhook as it came, each time it came."""

    id: str
    job: str
    type: str
    text: str | None
    signed: bool
    answer: int
    """What it was answered, 0 for nothing: it was written down before."""


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
    def clips(self) -> dict[str, str]:
        """By job that clients know: what was sent."""
        return {job: each.clip for each in self.submissions for job in each.ids}

    @property
    def at_once(self) -> int:
        """How many waited for their text."""
        return sum(each.at_once for each in self.submissions)


@dataclass(frozen=True, slots=True)
class Aftermath:
    """What servers, database, logs and the receiver of webhooks say in the end."""

    states: Mapping[str, str]
    """Of every job in the table, by id."""
    used: int
    """Transcriptions that were counted since the load began."""
    ended: Iterable[str]
    """Ids of the jobs whose end a server has logged."""
    hooks: Mapping[str, str]
    """By webhook: what became of it, says the table."""
    events: Sequence[Event]


def problems(ledger: Ledger, reference: Mapping[str, str], after: Aftermath) -> list[str]:
    """Every promise that was not kept, a line each."""
    found = [line for each in ledger.submissions for line in _of_client(each, reference)]
    known = set(ledger.clips)
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
    wanted = len(after.states) + ledger.at_once
    if after.used != wanted:
        found.append(f"{after.used} transcriptions counted for {wanted}")
    return [*found, *_of_webhooks(ledger.clips, reference, after)]


def _of_client(each: Submission, reference: Mapping[str, str]) -> Iterator[str]:
    jobs, state = (0, "answered") if each.at_once else (1, "succeeded")
    if each.trouble:
        yield f"{each.clip}, {each.key}: {each.trouble}"
    elif len(each.ids) != jobs:
        yield f"{each.key}: the jobs {sorted(each.ids)} for one key"
    elif each.state != state:
        yield f"{each.key}, {sorted(each.ids)} ended as {each.state}"
    elif each.text != reference[each.clip]:
        yield f"{each.key}, {sorted(each.ids)}, {each.clip}: another text: {each.text!r}"


def _of_webhooks(
    clips: Mapping[str, str], reference: Mapping[str, str], after: Aftermath
) -> Iterator[str]:
    """Each job's end is told, under one id, and as delivered counts only what was answered so."""
    by_job: dict[str, set[str]] = {job: set() for job in after.states}
    for event in after.events:
        by_job.setdefault(event.job, set()).add(event.id)
        clip = clips.get(event.job)
        if not event.signed:
            yield f"{event.id}: not signed"
        if event.type != "job.succeeded" or clip is None or event.text != _told(reference[clip]):
            yield f"{event.id}: {event.type} of {event.job} with {event.text!r}"
    for job, ids in sorted(by_job.items()):
        if len(ids) != 1:
            yield f"{job}: told as {sorted(ids)}"
    if len(by_job) != len(after.hooks):
        yield f"{len(after.hooks)} webhooks for {len(by_job)} jobs"
    taken = {event.id for event in after.events if event.answer == 200}
    for hook, state in sorted(after.hooks.items()):
        if state != "delivered":
            yield f"{hook}: {state} in the end"
        elif hook not in taken:
            yield f"{hook}: delivered, and nobody took it"


def _told(text: str) -> str:
    """`response_format=text` ends with a line break, a transcript does not."""
    return text.removesuffix("\n")
