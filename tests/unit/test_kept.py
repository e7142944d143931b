"""A transcription that is taken up where another process left it."""

import asyncio
import time
from collections.abc import Sequence

import numpy as np
import pytest

from server.engines.fake import FakeEngine, byte_tokenizer
from server.jobs.keeping import kept_of
from server.jobs.record import WindowDone, pack_window, unpack_window
from server.kept import Kept, Plan, SpanState
from server.scheduler import Scheduler
from server.transcribe import Transcriber
from server.types import (
    SAMPLE_RATE,
    Audio,
    GenerationRequest,
    Hypothesis,
    Segment,
    Transcript,
    TranscriptionOptions,
)

TOKENIZER = byte_tokenizer()
RANDOM = np.random.default_rng(7)
WORDS = ["um", "dois", "três", "quatro", "cinco", "seis", "sete", "oito", "nove", "dez", "onze"]


@pytest.fixture(autouse=True)
def _voice(monkeypatch: pytest.MonkeyPatch) -> None:
    """The noise of these tests stands for speech."""
    monkeypatch.setattr("server.window_decoder.voiced_seconds", lambda *_: 20.0)


def recording(seconds: float, every: float) -> Audio:
    """Loud noise with half a second of near silence now and then."""
    pcm = RANDOM.normal(0, 3000, round(seconds * SAMPLE_RATE)).astype(np.int16)
    for at in np.arange(every, seconds - 5, every):
        pcm[round((at - 0.25) * SAMPLE_RATE) : round((at + 0.25) * SAMPLE_RATE)] //= 500
    return Audio(pcm)


def said(request: GenerationRequest) -> Hypothesis:
    """A text that depends on nothing but what the window sounds like and what it was told."""
    assert request.features is not None
    number = int(request.features.astype(np.float64).sum() * 1000) + sum(request.prompt)
    chosen = [WORDS[(number >> shift) % len(WORDS)] for shift in range(14)]
    tokens = TOKENIZER.encode(" " + " ".join(chosen) + ".")
    return Hypothesis(tokens, -0.1 * (len(tokens) + 1))


class Rows:
    """A keeper that writes rows as the table would have them, until the process is killed."""

    def __init__(self, life: int) -> None:
        self.rows: list[bytes] = []
        self.left = life
        self.killed = asyncio.Event()

    def plan(self, plan: Plan) -> None:
        """Where spans were cut."""
        self._put(WindowDone(plan=plan))

    def window(self, span: int, told: Sequence[Segment], state: SpanState) -> None:
        """One window."""
        self._put(WindowDone(None, span, tuple(told), state))

    def _put(self, row: WindowDone) -> None:
        if self.left < 0:
            return
        self.left -= 1
        self.rows.append(pack_window(row))
        if self.left < 0:
            self.killed.set()


def run(
    audio: Audio, options: TranscriptionOptions, kept: Kept, life: int
) -> tuple[Transcript | None, list[bytes], FakeEngine, float]:
    """A process that lives for so many rows: transcript, rows, engine, seconds that were told."""
    engine = FakeEngine(said)
    told: list[float] = []

    async def story() -> tuple[Transcript | None, list[bytes]]:
        keeper = Rows(life)
        work = asyncio.create_task(
            Transcriber(Scheduler(engine), TOKENIZER).transcribe(
                audio, options, kept=kept, keeper=keeper, on_progress=told.append, background=True
            )
        )
        killed = asyncio.create_task(keeper.killed.wait())
        await asyncio.wait((work, killed), return_when=asyncio.FIRST_COMPLETED)
        if killed.done():
            work.cancel()
            await asyncio.wait((work,))
            return None, keeper.rows
        killed.cancel()
        return work.result(), keeper.rows

    try:
        transcript, rows = asyncio.run(story())
        time.sleep(0.05)  # what the engine had begun ends
        return transcript, rows, engine, sum(told)
    finally:
        engine.close(1)


@pytest.mark.parametrize(
    ("mode", "pause", "task"),
    [
        ("fast", 25.0, "transcribe"),
        ("fast", 200.0, "transcribe"),
        ("accurate", 25.0, "transcribe"),
        ("accurate", 25.0, "translate"),
    ],
)
def test_killed_again_and_again_it_ends_as_if_it_had_not_been(
    mode: str, pause: float, task: str
) -> None:
    """The same transcript, statistics too, and what was kept is not computed again.

    Spans side by side, one long span, and windows that are told the text before them.
    """
    audio = recording(190.0, pause)
    options = TranscriptionOptions(task=task, mode=mode, word_timestamps=True)  # type: ignore[arg-type]
    whole, rows, engine, told_s = run(audio, options, Kept(), life=999)
    assert whole is not None
    windows, calls = len(rows) - 1, len(engine.requests)
    assert windows > 5

    done: list[bytes] = []
    lives, spent, result = 0, 0, None
    while result is None:
        lives += 1
        assert lives < 20
        kept = kept_of([unpack_window(row) for row in done])
        result, more, engine, again_s = run(audio, options, kept, life=3)
        done += more if not done else more[1:]  # the table has the plan already
        spent += len(engine.requests)

    assert lives > 2
    assert whole.segments == result.segments
    assert (whole.text, whole.language, whole.words) == (result.text, result.language, result.words)
    assert whole.dropped == result.dropped
    assert whole.stats.windows == result.stats.windows
    assert windows == len(done) - 1
    assert told_s == pytest.approx(again_s) == pytest.approx(190.0, abs=1.0)
    # each kill may cost what was under way: two workers, and what they took up meanwhile
    assert spent <= calls + 6 * lives


def test_what_is_whole_costs_nothing_more() -> None:
    """Killed between the last window and the end: the engine is not asked again."""
    audio, options = recording(70.0, 25.0), TranscriptionOptions(language="pt")
    whole, rows, _, _ = run(audio, options, Kept(), life=999)
    again, _, engine, _ = run(audio, options, kept_of([unpack_window(r) for r in rows]), life=999)

    assert whole is not None
    assert again is not None
    assert [] == list(engine.requests)
    assert whole.segments == again.segments
