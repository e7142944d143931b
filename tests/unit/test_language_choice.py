import pytest

from server.decoding.language_choice import decide, elect, languages_of_window, restrict


def test_an_allow_list_shares_out_what_is_left() -> None:
    """Only allowed languages, summing to 1; none allowed at all means all of them."""
    probs = {"gl": 0.6, "pt": 0.3, "en": 0.1}
    assert {"pt": pytest.approx(0.75), "en": pytest.approx(0.25)} == restrict(probs, ("pt", "en"))
    assert probs == restrict(probs, ())


def test_windows_vote_by_probability() -> None:
    """Two sure windows beat one that errs."""
    votes = [{"es": 0.6, "pt": 0.4}, {"pt": 0.9, "es": 0.1}, {"pt": 0.8}]
    assert ("pt", pytest.approx(0.7)) == elect(votes)


@pytest.mark.parametrize(
    ("probs", "duration", "expected"),
    [
        ({"pt": 0.9}, 10.0, ["pt"]),
        ({"en": 0.95, "pt": 0.02}, 10.0, ["en"]),
        ({"en": 0.95, "pt": 0.02}, 2.0, ["pt", "en"]),
        ({"en": 0.7, "pt": 0.05}, 10.0, ["pt", "en"]),
        ({"gl": 0.85, "pt": 0.14}, 10.0, ["pt", "gl"]),
        ({"cy": 0.4, "pt": 0.2, "en": 0.3, "nn": 0.1}, 10.0, ["pt", "cy", "en"]),
    ],
)
def test_a_window_switches_only_clearly(
    probs: dict[str, float], duration: float, expected: list[str]
) -> None:
    """Another language needs to be likely, the recording's own unlikely, and time.

    What is not that likely is tried second, and decided by its text.
    """
    assert expected == languages_of_window(probs, "pt", duration)


@pytest.mark.parametrize(
    ("voiced", "unvoiced", "default", "expected"),
    [
        ([{"pt": 0.6}], [{"en": 0.99}], None, "pt"),
        ([{"pt": 0.4, "es": 0.3}], [], "en", "en"),
        ([{"pt": 0.4, "es": 0.3}], [], None, "pt"),
        ([], [{"pt": 0.6}], None, "pt"),
        ([], [{"pt": 0.6}], "es", "es"),
        ([], [{"pt": 0.95}], "es", "pt"),
        ([], [{"nn": 0.3}], None, "en"),
        ([], [], "pt", "pt"),
    ],
)
def test_a_voice_is_heard_before_what_may_be_music(
    voiced: list[dict[str, float]],
    unvoiced: list[dict[str, float]],
    default: str | None,
    expected: str,
) -> None:
    """Windows without a voice count where there are no others, and against a default if certain."""
    assert expected == decide(voiced, unvoiced, default)
