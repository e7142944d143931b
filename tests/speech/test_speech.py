"""The main job with the real model: what is said comes out, all of it, in its place."""

from itertools import pairwise

import numpy as np
import pytest
from spoken import Clip, Transcribe, error_rate

from server.decoding.guard import plain
from server.types import SpeechSegment

pytestmark = [pytest.mark.model, pytest.mark.timeout(300)]

RATE = 16_000
RANDOM = np.random.default_rng(17)


def _silence(seconds: float) -> np.ndarray:
    return np.zeros(round(seconds * RATE), dtype=np.int16)


@pytest.mark.parametrize(
    "name", ["pt-reuniao", "pt-chuva", "pt-cozinha", "en-meeting", "en-river", "en-kitchen"]
)
def test_a_clip_is_heard_right_without_being_told_its_language(
    name: str, clips: dict[str, Clip], transcribe: Transcribe
) -> None:
    """At most one word in ten is wrong, which another language or a lost half would exceed."""
    clip = clips[name]
    transcript = transcribe(clip.pcm)
    assert clip.language == transcript.language
    assert error_rate(clip.text, transcript.text) <= 0.1


@pytest.mark.parametrize("mode", ["fast", "accurate"])
@pytest.mark.parametrize("name", ["pt-long", "en-long"])
def test_a_minute_comes_out_whole_and_in_its_place(
    name: str, mode: str, clips: dict[str, Clip], transcribe: Transcribe
) -> None:
    """One word in twenty wrong at most: a lost window is 30 of 60 s, a lost sentence 6 %.

    Every sentence's first word starts within 0.5 s of where it is known to start.
    """
    clip = clips[name]
    transcript = transcribe(clip.pcm, mode=mode, word_timestamps=True)
    assert error_rate(clip.text, transcript.text) <= 0.05
    starts = [word.start for word in transcript.words]
    assert sorted(starts) == starts
    for start in clip.starts:
        assert min(abs(start - found) for found in starts) <= 0.5
    for segment in transcript.segments:
        assert 0 <= segment.start <= segment.end <= transcript.duration
        assert segment.words
        assert segment.start - 0.01 <= segment.words[0].start
        assert segment.words[-1].end <= segment.end + 0.01
    assert all(a.end <= b.start + 0.01 for a, b in pairwise(transcript.segments))


@pytest.mark.parametrize("name", ["pt-long", "en-long"])
def test_no_word_is_lost_or_doubled_where_there_is_no_pause(
    name: str, clips: dict[str, Clip], transcribe: Transcribe, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With no place to cut, windows are stitched between words: still one in twenty at most."""

    def uncut(_level: object, count: int, *_places: object) -> list[SpeechSegment]:
        return [SpeechSegment(0, count)]

    monkeypatch.setattr("server.transcribe.cut", uncut)
    clip = clips[name]
    assert error_rate(clip.text, transcribe(clip.pcm, language=clip.language).text) <= 0.05


def test_two_hours_do_not_drift(clips: dict[str, Clip], transcribe: Transcribe) -> None:
    """Clips at known places in a recording of two hours are found there, to 0.3 s."""
    clip = clips["pt-chuva"]
    places = [11.25, 1_803.5, 3_599.9, 5_400.123, 7_190.0]
    pcm = _silence(7_200)
    for at in places:
        first = round(at * RATE)
        pcm[first : first + len(clip.pcm)] = clip.pcm
    transcript = transcribe(pcm, language="pt", word_timestamps=True)
    alone = transcribe(clip.pcm, language="pt", word_timestamps=True)
    assert plain(alone.text + " ") * 5 == plain(transcript.text).replace(" depois", "depois")
    offsets = [
        word.start - alone.words[0].start
        for word in transcript.words
        if plain(word.word) == plain(alone.words[0].word)
    ]
    assert len(places) == len(offsets)
    assert all(abs(at - found) <= 0.3 for at, found in zip(places, offsets, strict=True))


def test_quiet_noisy_and_telephone_voices_stay(
    clips: dict[str, Clip], transcribe: Transcribe
) -> None:
    """30 dB softer, with noise 10 dB below, or without what is above 3.4 kHz: no word is cut."""
    clip = clips["pt-long"]
    voice = clip.pcm.astype(np.float64)
    noise = RANDOM.normal(0, 1, len(voice)) * voice.std() * 10 ** (-10 / 20)
    spectrum = np.fft.rfft(voice)
    spectrum[round(3_400 / RATE * len(voice)) :] = 0
    variants = (voice * 10 ** (-30 / 20), voice + noise, np.fft.irfft(spectrum, len(voice)))
    for variant in variants:
        pcm = np.clip(variant, -32_768, 32_767).astype(np.int16)
        assert error_rate(clip.text, transcribe(pcm, language="pt").text) <= 0.1


def test_a_voice_at_the_edge_of_16_bits_is_heard(
    clips: dict[str, Clip], transcribe: Transcribe
) -> None:
    """At -78 dBFS a voice is a few steps of the last bits, and still understood."""
    clip = clips["en-river"]
    voice = clip.pcm.astype(np.float64)
    soft = np.round(voice * 10 ** (-78 / 20) * 32_768 / voice.std()).astype(np.int16)
    assert np.abs(soft).max() < 64
    assert error_rate(clip.text, transcribe(soft, language="en").text) <= 0.1


def test_a_recording_that_changes_its_language_keeps_all_of_it(
    clips: dict[str, Clip], transcribe: Transcribe
) -> None:
    """Portuguese, then English, then Portuguese: each part in its own words."""
    parts = [clips["pt-long"], clips["en-long"], clips["pt-cozinha"]]
    gap = _silence(2)
    pcm = np.concatenate([piece for part in parts for piece in (part.pcm, gap)])
    transcript = transcribe(pcm)
    assert "pt" == transcript.language
    assert error_rate(" ".join(part.text for part in parts), transcript.text) <= 0.08


def test_where_nobody_speaks_there_is_no_word(transcribe: Transcribe) -> None:
    """Silence, noise, hum, beeps: an empty text, and what was left out is told."""
    time = np.arange(12 * RATE) / RATE
    noise = RANDOM.normal(0, 1, len(time))
    sounds = {
        "digital silence": 0 * time,
        "room": 30 * noise,
        "wind": 900 * np.convolve(noise, np.exp(-np.arange(400) / 60), "same"),
        "hiss": 2_000 * noise,
        "hum": 4_000 * np.sin(2 * np.pi * 60 * time),
        "beeps": 8_000 * np.sin(2 * np.pi * 880 * time) * (time % 1 < 0.2),
    }
    for sound in sounds.values():
        transcript = transcribe(sound.astype(np.int16), beam_size=5)
        assert "" == transcript.text
        assert not sound.any() or transcript.dropped


def test_noise_around_speech_adds_no_word(clips: dict[str, Clip], transcribe: Transcribe) -> None:
    """20 s of hiss before and after a sentence: the sentence, and nothing else."""
    clip = clips["en-river"]
    hiss = RANDOM.normal(0, 300, 20 * RATE).astype(np.int16)
    transcript = transcribe(np.concatenate([hiss, clip.pcm, hiss]), language="en")
    assert error_rate(clip.text, transcript.text) <= 0.1


def test_portuguese_becomes_english(clips: dict[str, Clip], transcribe: Transcribe) -> None:
    """A translation is English, and about what was said."""
    transcript = transcribe(clips["pt-cozinha"].pcm, task="translate", language="pt")
    words = set(plain(transcript.text).split())
    assert {"kitchen", "bread", "brother"} & words
    assert not {"cozinha", "pão", "irmão"} & words


def test_a_prompt_steers_spelling(clips: dict[str, Clip], transcribe: Transcribe) -> None:
    """The name in the prompt is written as in the prompt, if it is said; else it does not show."""
    clip = clips["en-kitchen"]
    transcript = transcribe(clip.pcm, language="en", prompt="Glossary: Sussurro, Coolify, Traefik.")
    assert error_rate(clip.text, transcript.text) <= 0.1
    assert "traefik" not in transcript.text.lower()


def test_hotwords_change_no_other_word(clips: dict[str, Clip], transcribe: Transcribe) -> None:
    """They go before every window and are not written where nobody says them."""
    clip = clips["pt-long"]
    transcript = transcribe(clip.pcm, language="pt", hotwords="Sussurro Coolify")
    assert error_rate(clip.text, transcript.text) <= 0.05
    assert "coolify" not in transcript.text.lower()
