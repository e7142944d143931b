import asyncio
import random
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from server.audio.features import log_mel
from server.audio.windows import cut, levels
from server.engines.fake import FakeEngine, byte_tokenizer
from server.errors import DeadlineExceeded, EngineError
from server.scheduler import Scheduler
from server.transcribe import Transcriber
from server.types import (
    SAMPLE_RATE,
    Audio,
    GenerationRequest,
    Hypothesis,
    Mode,
    Segment,
    ServerVad,
    Transcript,
    TranscriptionOptions,
)

TOKENIZER = byte_tokenizer()
PORTUGUESE = TranscriptionOptions(language="pt")
RANDOM = np.random.default_rng(11)
FULL = " um dois três quatro cinco seis sete oito nove dez onze doze treze catorze quinze"
"""Words enough for a window, so that no rest of it is without one."""


@pytest.fixture(autouse=True)
def voice(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """The noise of these tests stands for speech, so the detector hears some; a test may say."""

    def set_voice(seconds: float) -> None:
        monkeypatch.setattr("server.window_decoder.voiced_seconds", lambda *_: seconds)

    set_voice(20.0)
    return set_voice


def _sound(seconds: float, pauses: tuple[float, ...] = ()) -> Audio:
    """Loud noise with half a second of near silence around each pause."""
    pcm = RANDOM.normal(0, 3000, round(seconds * SAMPLE_RATE)).astype(np.int16)
    for at in pauses:
        pcm[round((at - 0.25) * SAMPLE_RATE) : round((at + 0.25) * SAMPLE_RATE)] //= 500
    return Audio(pcm)


def _says(text: str, logprob: float = -0.1) -> Hypothesis:
    tokens = TOKENIZER.encode(text)
    return Hypothesis(tokens, logprob * (len(tokens) + 1))


def _at(seconds: float) -> int:
    return TOKENIZER.timestamp_begin + round(seconds / 0.02)


def _run(
    script: Callable[[GenerationRequest], Hypothesis],
    audio: Audio,
    options: TranscriptionOptions = PORTUGUESE,
    **engine: object,
) -> tuple[Transcript, FakeEngine]:
    fake = FakeEngine(script, **engine)  # type: ignore[arg-type]

    async def story() -> Transcript:
        return await Transcriber(Scheduler(fake), TOKENIZER).transcribe(audio, options)

    try:
        return asyncio.run(story()), fake
    finally:
        fake.close(1)


def test_silence_is_an_empty_transcript_and_costs_nothing() -> None:
    """No window is sent to the engine; the duration is still told."""
    silence = Audio(np.zeros(40 * SAMPLE_RATE, dtype=np.int16))
    transcript, engine = _run(lambda _: _says(" nunca"), silence)
    assert ("", (), 40.0) == (transcript.text, transcript.segments, transcript.duration)
    assert [] == engine.requests


def test_a_short_recording_is_one_window_without_timestamp_tokens() -> None:
    """Its text comes back, its segments lie inside the recording."""
    transcript, engine = _run(lambda _: _says(" Tudo certo por aqui. E com vocês?"), _sound(6.0))
    (request,) = engine.requests
    assert TOKENIZER.no_timestamps == request.prompt[-1]
    assert "Tudo certo por aqui. E com vocês?" == transcript.text
    assert ["Tudo certo por aqui.", "E com vocês?"] == [
        segment.text.strip() for segment in transcript.segments
    ]
    assert all(0 <= s.start <= s.end <= 6.0 for s in transcript.segments)
    assert [0, 1] == [segment.id for segment in transcript.segments]


def test_windows_come_back_in_order_whoever_is_first() -> None:
    """Windows are decoded side by side; the transcript is in the order of the recording."""
    names = iter([" um", " dois", " três", " quatro", " cinco"])  # one each
    by_window: dict[bytes, str] = {}

    def script(request: GenerationRequest) -> Hypothesis:
        assert request.features is not None
        time.sleep(random.random() / 50)
        key = request.features.tobytes()
        by_window.setdefault(key, next(names))
        return _says(by_window[key] + FULL)

    audio = _sound(140.0, (28.0, 56.0, 84.0, 112.0))
    transcript, engine = _run(script, audio, workers=4)
    assert 5 == len(engine.requests) == transcript.stats.windows
    starts = [segment.start for segment in transcript.segments]
    assert sorted(starts) == starts
    assert {0, 28, 56, 84, 112} == {round(segment.seek / 100) for segment in transcript.segments}


def test_the_prompt_reaches_the_first_window_only() -> None:
    """As previous text, before the task tokens."""
    options = TranscriptionOptions(language="pt", prompt="Coolify")
    _, engine = _run(lambda _: _says(FULL), _sound(50.0, (25.0,)), options)
    prompted = [request for request in engine.requests if TOKENIZER.sot_prev in request.prompt]
    assert (2, 1) == (len(engine.requests), len(prompted))
    assert TOKENIZER.encode(" Coolify") == prompted[0].prompt[1:-4]


def test_a_failing_window_climbs_the_ladder_on_the_same_encoding() -> None:
    """Only until it passes; the encoder's output is used again."""

    def script(request: GenerationRequest) -> Hypothesis:
        return _says(" enfim deu certo mesmo", -2.0 if request.options.temperature < 0.3 else -0.2)

    transcript, engine = _run(script, _sound(5.0))
    assert [0.0, 0.2, 0.4] == [request.options.temperature for request in engine.requests]
    assert [False, True, True] == [request.encoded is not None for request in engine.requests]
    assert (0.4, 2) == (transcript.segments[0].temperature, transcript.stats.fallbacks)


def _frames(engine: FakeEngine) -> list[int]:
    """The views that were decoded."""
    views = [
        request.features if request.encoded is None else request.encoded
        for request in engine.requests
    ]
    return [view.shape[1] for view in views if isinstance(view, np.ndarray)]


def test_a_short_window_is_shown_little_more_than_itself() -> None:
    """Where the engine takes it; once is enough if the text looks like one."""
    transcript, engine = _run(lambda _: _says(FULL), _sound(7.3), min_frames=200)
    assert ([1300], FULL.strip()) == (_frames(engine), transcript.text)
    _, engine = _run(lambda _: _says(FULL), _sound(7.3))
    assert [3000] == _frames(engine)


def test_an_odd_text_is_checked_in_the_whole_view() -> None:
    """There the ladder is climbed, if need be, as if nothing had been before."""

    def script(request: GenerationRequest) -> Hypothesis:
        fitted = request.features is not None and request.features.shape[1] < 3000
        good = request.options.temperature > 0
        return _says(FULL * 2 if fitted else FULL, -0.1 if fitted or good else -2.0)

    transcript, engine = _run(script, _sound(5.0), min_frames=200)
    assert [1000, 3000, 3000] == _frames(engine)
    assert [0.0, 0.0, 0.2] == [request.options.temperature for request in engine.requests]
    assert [False, False, True] == [request.encoded is not None for request in engine.requests]
    assert (FULL.strip(), 1) == (transcript.text, transcript.stats.fallbacks)


def test_a_translation_has_the_whole_view() -> None:
    """How it fares with less was not measured."""
    options = replace(PORTUGUESE, task="translate")
    said = Hypothesis((_at(0.0), *TOKENIZER.encode(" rain"), _at(5.0)), -0.1)
    _, engine = _run(lambda _: said, _sound(5.0), options, min_frames=200)
    assert [3000] == _frames(engine)


@pytest.mark.parametrize(("probability", "frames"), [(0.9, 1000), (0.6, 3000)])
def test_a_language_that_is_a_guess_is_asked_again(probability: float, frames: int) -> None:
    """In the whole view, which is then used for the text, too."""
    _, engine = _run(
        lambda _: _says(FULL),
        _sound(5.0),
        TranscriptionOptions(),
        language_probs=lambda _: {"pt": probability},
        min_frames=200,
    )
    assert [frames] == _frames(engine)
    assert engine.requests[0].encoded is not None


def test_a_window_without_speech_is_dropped_and_counted(voice: Callable[[float], None]) -> None:
    """The model's doubt and no voice together mean that nothing was said."""
    voice(0.0)
    transcript, _ = _run(lambda _: _says(" Obrigado.", -1.5), _sound(5.0), no_speech_prob=0.9)
    assert ("", 1) == (transcript.text, transcript.stats.dropped)
    assert ("no_speech", 0.0, 5.0) == (
        transcript.dropped[0].reason,
        transcript.dropped[0].start,
        transcript.dropped[0].end,
    )


def test_without_voice_the_ladder_is_not_climbed(voice: Callable[[float], None]) -> None:
    """Music that the model cannot make sense of costs one try and gives no text."""
    voice(0.0)
    transcript, engine = _run(lambda _: _says(" la" * 100, -1.5), _sound(20.0))
    assert ("", 1) == (transcript.text, len(engine.requests))


def test_marks_alone_are_no_text() -> None:
    """A segment needs a letter or a digit."""
    transcript, _ = _run(lambda _: _says(" ... ♪ ..."), _sound(3.0))
    assert ("", ()) == (transcript.text, transcript.segments)


def test_hotwords_reach_every_window_and_their_echo_is_no_speech(
    voice: Callable[[float], None],
) -> None:
    """The prompt reaches the first one only; what just repeats them needs voice."""
    voice(0.0)
    options = TranscriptionOptions(language="pt", prompt="Ata", hotwords="Coolify, Traefik e n8n")
    transcript, engine = _run(
        lambda _: _says(" Coolify, Traefik e n8n"), _sound(50.0, (25.0,)), options
    )
    hotwords, prompt = TOKENIZER.encode(" Coolify, Traefik e n8n"), TOKENIZER.encode(" Ata")
    given = [request.prompt[1:-4] for request in engine.requests]
    assert {hotwords, hotwords + prompt} == set(given)
    assert ("", {"prompt_echo"}) == (
        transcript.text,
        {dropped.reason for dropped in transcript.dropped},
    )


def test_a_rest_that_only_says_the_neighbours_words_is_left_out() -> None:
    """An alignment beside the word makes its sound a rest, which then gives the word again."""
    transcript, engine = _run(lambda _: _says(" sim"), _sound(12.0))
    assert len(engine.requests) > 1
    assert "sim" == transcript.text


def test_a_rest_that_nearly_says_the_neighbours_last_word_is_left_out() -> None:
    """Of «1881» its sound alone may give «181»."""
    texts = iter([" 1881"])
    transcript, engine = _run(lambda _: _says(next(texts, " 181")), _sound(12.0))
    assert len(engine.requests) > 1
    assert "1881" == transcript.text


def test_a_text_that_stays_unlikely_needs_voice(voice: Callable[[float], None]) -> None:
    """In 8 s of music with half a second like a voice no temperature gives a likely text."""
    voice(0.5)
    transcript, engine = _run(lambda _: _says(" la la la", -1.5), _sound(8.0))
    assert ("", 6) == (transcript.text, len(engine.requests))
    assert [(0.0, 8.0, "no_voice")] == [(d.start, d.end, d.reason) for d in transcript.dropped]


def test_unsure_windows_vote_on_the_language() -> None:
    """One sure vote decides; else the mean of the windows in which there is voice."""
    audio = _sound(140.0, (28.0, 56.0, 84.0, 112.0))
    votes = iter([{"en": 0.6, "pt": 0.4}, {"pt": 0.85, "en": 0.1}, {"pt": 0.8, "en": 0.1}])

    def probs(_: GenerationRequest) -> dict[str, float]:
        return next(votes, {"pt": 0.9})

    options = TranscriptionOptions()
    transcript, _ = _run(lambda _: _says(FULL), audio, options, language_probs=probs)
    assert "pt" == transcript.language


def test_a_doubtful_text_is_tried_in_the_other_possible_language() -> None:
    """English that is taken for Welsh makes no likely text in Welsh: one try shows it."""
    english = TOKENIZER.language_tokens["en"]

    def script(request: GenerationRequest) -> Hypothesis:
        if english in request.prompt:
            return _says(" this is the evening news", -0.2)
        return _says(" mae yn y bob siddur", -0.9)

    transcript, engine = _run(
        script,
        _sound(5.0),
        TranscriptionOptions(),
        language_probs=lambda _: {"cy": 0.75, "en": 0.2},
    )
    assert ("this is the evening news", "en") == (transcript.text, transcript.language)
    assert [False, True] == [english in request.prompt for request in engine.requests]


def test_a_likely_text_costs_no_second_try() -> None:
    """Where the first language gives good text, the others are left alone."""
    transcript, engine = _run(
        lambda _: _says(" bom dia"),
        _sound(2.0),
        TranscriptionOptions(),
        language_probs=lambda _: {"gl": 0.3, "pt": 0.6},
    )
    assert ("pt", 1) == (transcript.language, len(engine.requests))


def test_music_in_front_does_not_choose_the_language(monkeypatch: pytest.MonkeyPatch) -> None:
    """A certain first window in which nobody speaks leaves the vote to the others."""
    seconds = iter([0.0, 20.0])
    monkeypatch.setattr("server.window_decoder.voiced_seconds", lambda *_: next(seconds, 20.0))
    votes = iter([{"en": 0.97}, {"pt": 0.95}])
    transcript, _ = _run(
        lambda _: _says(FULL),
        _sound(140.0, (28.0, 56.0, 84.0, 112.0)),
        TranscriptionOptions(),
        language_probs=lambda _: next(votes, {"pt": 0.9}),
    )
    assert "pt" == transcript.language


def test_a_window_without_voice_has_no_vote(voice: Callable[[float], None]) -> None:
    """With none left the default is taken."""
    voice(0.0)
    options = TranscriptionOptions(default_language="pt")
    transcript, _ = _run(
        lambda _: _says(FULL), _sound(5.0), options, language_probs=lambda _: {"en": 0.6}
    )
    assert "pt" == transcript.language


def test_language_is_detected_and_the_encoding_used_again() -> None:
    """The likeliest language steers the prompt; its window is encoded once."""
    transcript, engine = _run(
        lambda _: _says(" oi"),
        _sound(5.0),
        TranscriptionOptions(),
        language_probs=lambda _: {"pt": 0.8},
    )
    assert "pt" == transcript.language
    assert engine.requests[0].encoded is not None
    assert TOKENIZER.language_tokens["pt"] in engine.requests[0].prompt


def test_speech_without_pause_is_stitched_between_words() -> None:
    """The next window starts in a gap of this one's words, in its last 12 s, not at its end."""
    twenty = "".join(f" p{index}," for index in range(20))
    transcript, engine = _run(lambda _: _says(twenty), _sound(70.0))
    seeks = sorted({segment.seek / 100 for segment in transcript.segments})
    assert 0.0 == seeks[0]
    assert len(engine.requests) == len(seeks) == 3
    for before, after in pairwise(seeks):
        assert 18.0 <= after - before <= 29.0
        last = [segment for segment in transcript.segments if segment.seek == before * 100][-1]
        assert last.end <= after + 0.2
    assert transcript.segments[-1].end == pytest.approx(70.0, abs=1.0)


def test_translation_uses_the_models_own_timestamps() -> None:
    """A translated word is not where a spoken one is."""
    options = TranscriptionOptions(task="translate", language="pt")
    hypothesis = Hypothesis((_at(0.5), *TOKENIZER.encode(" Hello."), _at(4.0)), -0.5)
    transcript, engine = _run(lambda _: hypothesis, _sound(5.0), options)
    assert TOKENIZER.translate == engine.requests[0].prompt[-1]
    (segment,) = transcript.segments
    assert (0.5, 4.0, " Hello.") == (segment.start, segment.end, segment.text)


@pytest.mark.parametrize("word_timestamps", [False, True])
def test_an_engine_that_places_no_words_gives_segments_by_timestamps(word_timestamps: bool) -> None:
    """Also for subtitles, which are then cut between segments; it is never asked for words."""
    options = replace(PORTUGUESE, word_timestamps=word_timestamps)
    hypothesis = Hypothesis((_at(0.5), *TOKENIZER.encode(" Bom dia."), _at(4.0)), -0.5)
    transcript, engine = _run(lambda _: hypothesis, _sound(5.0), options, aligns=False)
    assert TOKENIZER.no_timestamps not in engine.requests[0].prompt
    (segment,) = transcript.segments
    assert (0.5, 4.0, " Bom dia.") == (segment.start, segment.end, segment.text)
    assert () == segment.words == transcript.words


@pytest.mark.parametrize(("seconds", "first"), [(60.0, 28.9), (30.0, 28.9), (60.0, 20.0)])
def test_a_segment_left_open_is_decoded_again(seconds: float, first: float) -> None:
    """However little of the window is left, and however quiet it is."""
    audio = _sound(seconds)
    audio.pcm[round(first * SAMPLE_RATE) : 30 * SAMPLE_RATE] //= 5

    def script(request: GenerationRequest) -> Hypothesis:
        opened = (_at(0), *TOKENIZER.encode(FULL), _at(first), _at(first))
        text = TOKENIZER.encode(" resto")
        again = len(engine.requests) > 1
        return Hypothesis((_at(0), *text, _at(30)) if again else (*opened, *text), -1.0)

    engine = FakeEngine(script)
    options = TranscriptionOptions(language="pt", mode="accurate")
    transcript = asyncio.run(Transcriber(Scheduler(engine), TOKENIZER).transcribe(audio, options))
    engine.close(1)
    assert [0, round(first * 100)] == [segment.seek for segment in transcript.segments[:2]]
    assert transcript.text.startswith(FULL.strip() + " resto")


def test_a_window_that_stops_at_once_is_not_met_for_ever() -> None:
    """At least a second is gone through at a time."""
    opened = (_at(0), *TOKENIZER.encode(" oi"), _at(0.02), _at(0.02), *TOKENIZER.encode(" oi"))
    options = TranscriptionOptions(language="pt", mode="accurate")
    transcript, engine = _run(lambda _: Hypothesis(opened, -1.0), _sound(5.0), options)
    assert 5 == len(engine.requests)
    assert [0, 100, 200, 300, 400] == [segment.seek for segment in transcript.segments]


@pytest.mark.parametrize("mode", ["fast", "accurate"])
def test_a_loop_that_no_temperature_cures_is_cut(mode: Mode) -> None:
    """Its first round stays, in both modes; what went is told."""

    def script(request: GenerationRequest) -> Hypothesis:
        text = TOKENIZER.encode(" vem cá" * 60)
        if TOKENIZER.no_timestamps in request.prompt:
            return Hypothesis(text, -10.0)
        return Hypothesis((_at(0), *text, _at(5.0)), -10.0)

    options = TranscriptionOptions(language="pt", mode=mode)
    transcript, engine = _run(script, _sound(5.0), options)
    assert "vem cá" == transcript.text
    assert 6 == len(engine.requests)
    assert {"repetition"} == {dropped.reason for dropped in transcript.dropped}


def test_words_only_when_asked_for() -> None:
    """With word timestamps each segment carries its words, in order and inside it."""
    for wanted in (False, True):
        options = TranscriptionOptions(language="pt", word_timestamps=wanted)
        transcript, _ = _run(lambda _: _says(" um dois três."), _sound(5.0), options)
        expected = [" um", " dois", " três."] if wanted else []
        assert expected == [word.word for word in transcript.words]
        assert transcript.words == transcript.segments[0].words


def test_an_engine_failure_is_raised_as_itself() -> None:
    """Not wrapped in a group, whatever else was under way."""

    def script(_: GenerationRequest) -> Hypothesis:
        raise RuntimeError("boom")

    with pytest.raises(EngineError):
        _run(script, _sound(100.0, (25.0, 50.0, 75.0)))


def test_a_deadline_ends_the_transcription() -> None:
    """With DeadlineExceeded, and without starting the windows that are left."""
    fake = FakeEngine(lambda _: (time.sleep(0.15), _says(" oi"))[1], workers=1)

    async def story() -> None:
        transcriber = Transcriber(Scheduler(fake), TOKENIZER)
        audio = _sound(140.0, (28.0, 56.0, 84.0, 112.0))
        with pytest.raises(DeadlineExceeded):
            await transcriber.transcribe(audio, PORTUGUESE, deadline=time.monotonic() + 0.25)

    asyncio.run(story())
    fake.close(1)
    assert len(fake.requests) < 5


def test_the_wait_for_a_turn_is_in_the_statistics() -> None:
    """Five windows on an engine that has room for one at a time: the later ones wait."""
    fake = FakeEngine(lambda _: (time.sleep(0.05), _says(" oi"))[1])
    fake._info = replace(fake.info, max_in_flight_s=30.0)
    audio = _sound(140.0, (28.0, 56.0, 84.0, 112.0))
    stats = asyncio.run(Transcriber(Scheduler(fake), TOKENIZER).transcribe(audio, PORTUGUESE)).stats
    fake.close(1)
    assert len(fake.requests) >= 5
    assert stats.queue_s > 0.2
    assert stats.calls == stats.batched >= 2 * len(fake.requests)


def test_progress_is_all_of_the_audio() -> None:
    """Stretch by stretch, silence too."""
    done: list[float] = []
    fake = FakeEngine(lambda _: _says(" oi"))
    audio = Audio(np.concatenate([_sound(28).pcm, np.zeros(SAMPLE_RATE, np.int16), _sound(28).pcm]))
    asyncio.run(
        Transcriber(Scheduler(fake), TOKENIZER).transcribe(
            audio, PORTUGUESE, on_progress=done.append
        )
    )
    fake.close(1)
    assert len(done) >= 2
    assert sum(done) >= 56


def test_requests_with_the_same_options_fit_into_one_batch() -> None:
    """Whatever their languages and lengths: engines batch by options and length of prompt."""
    keys = set()
    for language, seconds in (("pt", 3.0), ("en", 9.0), (None, 20.0)):
        _, engine = _run(
            lambda _: _says(" oi"), _sound(seconds), TranscriptionOptions(language=language)
        )
        keys |= {(request.options, len(request.prompt)) for request in engine.requests}
    assert 1 == len(keys)


def test_cancelling_frees_the_engine() -> None:
    """Who leaves takes his waiting windows with him."""
    fake = FakeEngine(lambda _: (time.sleep(0.1), _says(" oi"))[1], workers=1)

    async def story() -> None:
        transcriber = Transcriber(Scheduler(fake), TOKENIZER)
        audio = _sound(140.0, (28.0, 56.0, 84.0, 112.0))
        task = asyncio.create_task(transcriber.transcribe(audio, PORTUGUESE))
        while not fake.requests:
            await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert 0 == fake.stats().waiting

    asyncio.run(story())
    fake.close(1)
    assert len(fake.requests) <= 2


def _told(
    script: Callable[[GenerationRequest], Hypothesis], audio: Audio, options: TranscriptionOptions
) -> tuple[list[tuple[float, str]], Transcript]:
    """What is told of a transcription, each with the seconds since its start."""
    fake = FakeEngine(script)
    told: list[tuple[float, str]] = []
    started = time.monotonic()

    def tell(segments: Sequence[Segment]) -> None:
        text = "".join(segment.text for segment in segments)
        told.append((time.monotonic() - started, text))

    async def story() -> Transcript:
        transcriber = Transcriber(Scheduler(fake), TOKENIZER)
        return await transcriber.transcribe(audio, options, on_segments=tell)

    try:
        return told, asyncio.run(story())
    finally:
        fake.close(1)


def test_segments_are_told_in_order_as_soon_as_all_before_them_are_done() -> None:
    """A slow first window holds back the others, and nothing else does."""
    texts: dict[bytes, str] = {}
    others = threading.Semaphore(0)

    def script(request: GenerationRequest) -> Hypothesis:
        assert request.features is not None
        if np.array_equal(request.features, firsts[0]):
            assert all(others.acquire(timeout=10) for _ in range(4))
            time.sleep(0.1)  # their segments are made meanwhile
        else:
            others.release()
        return _says(texts.setdefault(request.features.tobytes(), f" §{len(texts)}" + FULL))

    audio = _sound(140.0, (28.0, 56.0, 84.0, 112.0))
    firsts = [log_mel(audio.samples(0, cut(levels(audio.pcm), len(audio.pcm))[0].end), 80)]
    told, transcript = _told(script, audio, PORTUGUESE)
    assert transcript.text == "".join(text for _, text in told).strip()
    assert 5 == len(texts)
    assert [1, 4] == [text.count("§") for _, text in told]


def test_only_the_beginning_of_what_is_read_along_is_urgent() -> None:
    """The first span of a stream; nothing of a recording whose text is wanted whole."""
    audio = _sound(140.0, (28.0, 56.0, 84.0, 112.0))
    asked: list[bool] = []

    def script(request: GenerationRequest) -> Hypothesis:
        asked.append(request.urgent)
        return _says(FULL)

    _told(script, audio, PORTUGUESE)
    assert [1, 4] == [asked.count(urgent) for urgent in (True, False)]
    assert asked[0]
    asked.clear()
    _run(script, audio, PORTUGUESE)
    assert [False] * 5 == asked


def test_accurate_mode_tells_each_window() -> None:
    """Its one span is as long as the recording: nobody wants to wait for all of it."""

    def script(request: GenerationRequest) -> Hypothesis:
        time.sleep(0.1)
        return Hypothesis((_at(0), *TOKENIZER.encode(FULL), _at(30)), -1.0)

    options = TranscriptionOptions(language="pt", mode="accurate")
    told, transcript = _told(script, _sound(90.0), options)
    assert [FULL] * 3 == [text for _, text in told if text]
    assert (FULL * 3).strip() == transcript.text
    assert told[0][0] < told[-1][0] - 0.15


@pytest.mark.parametrize("mode", ["fast", "accurate"])
def test_every_token_of_the_text_has_its_probability(mode: Mode) -> None:
    """Whichever way it was found; their bytes are the segment's text."""

    def say(request: GenerationRequest) -> Hypothesis:
        if mode == "fast":
            return _says(" Olá, mundo.")
        tokens = (_at(0), *TOKENIZER.encode(" Olá,"), _at(1), _at(1))
        return Hypothesis((*tokens, *TOKENIZER.encode(" mundo."), _at(3)), -1.0)

    options = replace(PORTUGUESE, mode=mode)
    transcript, _ = _run(say, _sound(3), options)

    assert (" Olá, mundo.", {1.0}) == (
        "".join(segment.text for segment in transcript.segments),
        {token.probability for segment in transcript.segments for token in segment.text_tokens},
    )
    for segment in transcript.segments:
        assert segment.text.encode() == b"".join(token.data for token in segment.text_tokens)


def test_the_voice_detector_cuts_where_it_is_asked_to(monkeypatch: pytest.MonkeyPatch) -> None:
    """It only chooses among the places: every sample is still in a window."""
    asked: list[ServerVad] = []

    def places(_probabilities: object, vad: ServerVad) -> list[int]:
        asked.append(vad)
        return [12 * SAMPLE_RATE, 35 * SAMPLE_RATE]

    monkeypatch.setattr("server.transcribe.places_without_voice", places)
    audio = _sound(60, pauses=(25.0, 45.0))
    vad = ServerVad(0.3, 100, 400)
    transcript, fake = _run(lambda _: _says(FULL), audio, replace(PORTUGUESE, server_vad=vad))

    assert [vad] == asked
    assert [0, 1200, 3500] == sorted({segment.seek for segment in transcript.segments})
    assert 3 == len(fake.requests)


def test_what_the_voice_detector_does_not_hear_is_transcribed_too() -> None:
    """Noise is no voice to it, and yet there is text: it deletes nothing."""
    options = replace(PORTUGUESE, server_vad=ServerVad())
    transcript, _ = _run(lambda _: _says(FULL), _sound(20), options)

    assert FULL.strip() == transcript.text
