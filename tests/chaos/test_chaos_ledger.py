"""The chaos run notices each broken promise: here it is told lies, and nothing is killed."""

from dataclasses import replace

import pytest
from ledger import Aftermath, Ledger, Submission, problems

TEXTS = {"a.ogg": "Bom dia.", "b.ogg": "Good morning."}
AFTER = Aftermath({"job_1": "succeeded", "job_2": "succeeded"}, 2, ["job_1", "job_2"])


def submitted(**changes: object) -> Ledger:
    """Two jobs that went well, but for what is changed of the first."""
    ledger = Ledger()
    first = Submission("k1", "a.ogg", {"job_1"}, "succeeded", TEXTS["a.ogg"])
    ledger.open(replace(first, **changes))  # type: ignore[arg-type]
    ledger.open(Submission("k2", "b.ogg", {"job_2"}, "succeeded", TEXTS["b.ogg"]))
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
    ],
)
def test_a_client_that_was_let_down_is_noticed(changes: dict[str, object]) -> None:
    """Another text, no end, another end, two jobs, no job."""
    assert [] != problems(submitted(**changes), TEXTS, AFTER)


@pytest.mark.parametrize(
    "changes",
    [
        {"states": {"job_1": "succeeded"}},
        {"states": {**AFTER.states, "job_3": "succeeded"}, "used": 3},
        {"states": {**AFTER.states, "job_2": "running"}},
        {"used": 1},
        {"used": 3},
        {"ended": ["job_1", "job_2", "job_1"]},
    ],
)
def test_what_servers_know_otherwise_is_noticed(changes: dict[str, object]) -> None:
    """A job lost, one from nowhere, one that never ends, counts that differ, two ends."""
    assert [] != problems(submitted(), TEXTS, replace(AFTER, **changes))  # type: ignore[arg-type]
