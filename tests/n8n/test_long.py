"""Longer than the 300 s after which n8n gives up: the server keeps its answer alive."""

from collections.abc import Callable

import pytest
from long_runs import LongRuns

pytestmark = pytest.mark.timeout(1300)


@pytest.mark.parametrize("by", ["http", "https"])
def test_an_answer_after_more_than_five_minutes_arrives(
    long_runs: LongRuns, by: str, record_property: Callable[[str, object], None]
) -> None:
    """The OpenAI node, which has no timeout to set, gets its text."""
    run = long_runs.result(f"long-{by}")
    record_property("seconds", run.seconds)

    assert 310 < run.seconds
    assert 6 == run.output("OpenAI")["text"].count("Bom dia.")


def test_what_cannot_be_kept_alive_is_given_up(
    long_runs: LongRuns, record_property: Callable[[str, object], None]
) -> None:
    """Subtitles of the kind srt are silent until they are there: that is what 300 s look like."""
    run = long_runs.result("silent")
    record_property("seconds", run.seconds)

    assert 300 <= run.seconds < 340
    assert "The connection was aborted, perhaps the server is offline" == run.error[0]
