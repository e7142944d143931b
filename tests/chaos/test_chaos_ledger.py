"""The chaos run notices each broken promise: here it is told lies, and nothing is killed."""

from dataclasses import replace

import pytest
from ledger import Aftermath, Event, Ledger, Submission, problems

TEXTS = {"a.ogg": "Bom dia.\n", "b.ogg": "Good morning.\n", "c.ogg": "Boa tarde.\n"}
EVENTS = (
    Event("evt_1", "job_1", "job.succeeded", "Bom dia.", signed=True, answer=0),
    Event("evt_2", "job_2", "job.succeeded", "Good morning.", signed=True, answer=200),
    Event("evt_1", "job_1", "job.succeeded", "Bom dia.", signed=True, answer=200),
)
AFTER = Aftermath(
    {"job_1": "succeeded", "job_2": "succeeded"},
    3,
    ["job_1", "job_2"],
    {"evt_1": "delivered", "evt_2": "delivered"},
    EVENTS,
)


def submitted(number: int = 0, **changes: object) -> Ledger:
    """Two jobs and an answer that went well, but for what is changed of one."""
    every = [
        Submission("k1", "a.ogg", ids={"job_1"}, state="succeeded", text=TEXTS["a.ogg"]),
        Submission("k2", "b.ogg", ids={"job_2"}, state="succeeded", text=TEXTS["b.ogg"]),
        Submission("k3", "c.ogg", at_once=True, state="answered", text=TEXTS["c.ogg"]),
    ]
    every[number] = replace(every[number], **changes)  # type: ignore[arg-type]
    ledger = Ledger()
    for each in every:
        ledger.open(each)
    return ledger


def test_what_went_well_is_no_problem() -> None:
    """Also where nobody has logged the end: its server was killed before it could."""
    assert [] == problems(submitted(), TEXTS, AFTER)
    assert [] == problems(submitted(), TEXTS, replace(AFTER, ended=["job_2"]))


@pytest.mark.parametrize(
    "changes",
    [
        {"text": "Bom di"},
        {"text": TEXTS["b.ogg"]},
        {"state": "failed"},
        {"state": "accepted"},
        {"ids": set()},
        {"ids": {"job_1", "job_2"}},
        {"trouble": "404: no such job"},
        {"number": 2, "text": TEXTS["b.ogg"]},
        {"number": 2, "state": "unsent"},
        {"number": 2, "ids": {"job_3"}},
        {"number": 2, "trouble": "500: internal error"},
    ],
)
def test_a_client_that_was_let_down_is_noticed(changes: dict[str, object]) -> None:
    """Another text, no end, another end, two jobs, no job; a job for who wanted the text."""
    assert [] != problems(submitted(**changes), TEXTS, AFTER)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "changes",
    [
        {"states": {"job_1": "succeeded"}},
        {"states": {**AFTER.states, "job_3": "succeeded"}, "used": 4},
        {"states": {**AFTER.states, "job_2": "running"}},
        {"used": 2},
        {"used": 4},
        {"ended": ["job_1", "job_2", "job_1"]},
    ],
)
def test_what_servers_know_otherwise_is_noticed(changes: dict[str, object]) -> None:
    """A job lost, one from nowhere, one that never ends, counts that differ, two ends."""
    assert [] != problems(submitted(), TEXTS, replace(AFTER, **changes))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "changes",
    [
        {"events": EVENTS[1:2]},
        {"events": EVENTS[:2]},
        {"events": (*EVENTS, replace(EVENTS[1], id="evt_3"))},
        {"events": (*EVENTS, replace(EVENTS[1], job="job_9"))},
        {"events": (*EVENTS[:2], replace(EVENTS[2], signed=False))},
        {"events": (*EVENTS[:2], replace(EVENTS[2], type="job.failed"))},
        {"events": (*EVENTS[:2], replace(EVENTS[2], text=None))},
        {"events": (*EVENTS[:2], replace(EVENTS[2], text="Good morning."))},
        {"hooks": {**AFTER.hooks, "evt_1": "pending"}},
        {"hooks": {**AFTER.hooks, "evt_1": "dead"}},
        {"hooks": {"evt_1": "delivered"}},
    ],
)
def test_what_the_receiver_knows_otherwise_is_noticed(changes: dict[str, object]) -> None:
    """Not told, told and not taken, told under two ids, of another job, badly, never to be told."""
    assert [] != problems(submitted(), TEXTS, replace(AFTER, **changes))  # type: ignore[arg-type]
