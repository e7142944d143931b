from dataclasses import replace

import pytest

from server.decoding.guard import (
    is_made_up,
    is_phantom,
    is_suspect,
    needed_voice,
    plain,
    reason_to_drop_window,
    suspect_segment,
)
from server.types import DecodingResult, TranscriptionOptions

OPTIONS = TranscriptionOptions()
SPEECH = DecodingResult("pt", (1, 2), "bom dia a todos", -0.2, 0.05, 0.0, 1.1)


@pytest.mark.parametrize(
    ("result", "voiced", "expected"),
    [
        (SPEECH, 5.0, None),
        # A hoarse speaker: the detector hears nothing, the model has no doubt.
        (SPEECH, 0.0, None),
        # One word in ten seconds, and the model doubts: there is voice, so it stays.
        (replace(SPEECH, no_speech_prob=0.7), 0.4, None),
        (replace(SPEECH, no_speech_prob=0.7, avg_logprob=-1.2), 0.4, "no_speech"),
        (replace(SPEECH, no_speech_prob=0.7, avg_logprob=-1.2), 6.0, None),
        (replace(SPEECH, no_speech_prob=0.4), 0.1, "no_voice"),
        (replace(SPEECH, avg_logprob=-1.2), 0.1, "no_voice"),
        (replace(SPEECH, compression_ratio=3.0), 0.1, "no_voice"),
        (replace(SPEECH, compression_ratio=3.0), 2.0, None),
        (replace(SPEECH, text="Obrigado."), 0.0, "phantom"),
        (replace(SPEECH, text="Obrigado."), 0.6, None),
    ],
)
def test_a_window_is_dropped_on_two_signals(
    result: DecodingResult, voiced: float, expected: str | None
) -> None:
    """Neither the model's doubt nor the detector's silence drops anything alone."""
    assert expected == reason_to_drop_window(result, OPTIONS, voiced=voiced, duration=10.0)


@pytest.mark.parametrize(
    ("logprob", "voiced", "expected"),
    [(-0.3, 0.0, False), (-1.3, 0.9, True), (-1.3, 1.1, False)],
)
def test_what_no_temperature_made_likely_needs_voice(
    logprob: float, voiced: float, expected: bool
) -> None:
    """A quarter of a window of 4 s; a likely text needs none."""
    result = replace(SPEECH, avg_logprob=logprob)
    assert expected == is_made_up(result, OPTIONS, voiced=voiced, duration=4.0)


def test_more_text_in_doubt_needs_more_voice() -> None:
    """A quarter of its time, half where the model hears no speech; 1.5 s is always enough."""
    assert [0.25, 0.75, 1.5] == [needed_voice(seconds) for seconds in (0.5, 3.0, 30.0)]
    assert [0.25, 1.5, 1.5] == [needed_voice(s, doubted=True) for s in (0.5, 3.0, 30.0)]


def test_plain_speech_is_not_even_suspected() -> None:
    """The detector is asked only where there is a doubt; it costs time."""
    assert not is_suspect(SPEECH, OPTIONS)
    for change in (
        {"no_speech_prob": 0.5},
        {"avg_logprob": -1.5},
        {"compression_ratio": 3.0},
        {"text": "Thank you."},
    ):
        assert is_suspect(replace(SPEECH, **change), OPTIONS)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "text",
    [
        "Obrigado.",
        " you you",
        "Thank you. Thank you. Thank you.",
        "Legendas pela comunidade Amara.org",
        "Transcrição e Legendas Pedro Negri",
        "A CIDADE NO BRASIL",
        "Subtitles by the Amara.org community",
        "Untertitelung des ZDF, 2020",
        "ご視聴ありがとうございました",
        "Sous-titres réalisés para la communauté d'Amara.org".replace("para", "par"),
    ],
)
def test_phantoms_are_known_once_or_repeated(text: str) -> None:
    """In any case and punctuation, in several languages."""
    assert is_phantom(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "...",
        "Obrigado por vir, Ana.",
        "Thank you, doctor Lee.",
        "Legendário time de 1970",
        "Legendas ajudam quem não ouve bem a seguir o que se diz numa sala.",
    ],
)
def test_speech_that_holds_a_phrase_is_no_phantom(text: str) -> None:
    """Only a text that is nothing else."""
    assert not is_phantom(text)


def test_an_echo_of_the_prompt_is_suspected() -> None:
    """Three words or more of the caller's own prompt; a shared word is no echo."""
    prompt = "Glossário: Coolify, Traefik e n8n em produção."
    assert "prompt_echo" == suspect_segment(" Traefik e n8n em produção", (None, prompt))
    assert suspect_segment(" Traefik caiu", (prompt,)) is None
    assert suspect_segment(" Traefik e n8n em produção", (None,)) is None


def test_plain_keeps_letters_of_every_script() -> None:
    """Case and punctuation go, accents and ideographs stay."""
    assert "ação e reação 東京 2" == plain("  Ação, e REAÇÃO! 東京… (2)")
