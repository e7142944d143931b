"""Whisper's rules inside TensorRT-LLM: what its batched logits post-processor does at each step.

Knows: the executor's callback, the order of a window's tokens, what is read off the logits.
Must not know: requests, futures, text; or which library the logits are of (`arrays.py`).

A prompt ends at `<|startoftranscript|>`, and the tokens of the task are forced afterwards, one a
step. So the very first logits are those that tell how likely silence is and which language is
spoken, and nothing has to be encoded twice. Nothing here waits for a GPU: what depends on the
tokens so far is known on the host, everything else stays in arrays until the window is done.
"""

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from server.decoding.rules import NEVER, Array, Rules, apply
from server.decoding.tokenizer import Tokenizer
from server.engines.arrays import Arrays

MASKS = 64
"""Masks kept on the device."""


@dataclass(frozen=True, slots=True)
class Course:
    """What the sequences of one window go through.

    `prompt_length` counts the executor's input, `<|startoftranscript|>` included; `forced` are the
    tokens that have to follow it. `rules` say what may come after those; without them anything.
    """

    prompt_length: int
    forced: tuple[int, ...]
    rules: Rules | None


@dataclass(slots=True)
class Track:
    """One sequence under way; the arrays are on the device.

    `sum_logprob` holds the tokens that were chosen until the last step; `allowed` are that step's
    logits under the rules, float32 (n_vocab,), and `log_sum` the logarithm of their summed
    exponentials, so that the step's own choice can be added once it is known.
    """

    no_speech_prob: Array = None
    language_probs: Array = None
    sum_logprob: Array = 0.0
    allowed: Array = None
    log_sum: Array = None

    def total(self, last: int) -> Array:
        """The sum with the last choice: openai-whisper's, under the rules, without temperature."""
        if self.allowed is None:
            return self.sum_logprob
        return self.sum_logprob + (self.allowed[last] - self.log_sum)


@dataclass(frozen=True, slots=True)
class Reading:
    """What is known of one sequence in the end; languages in the order of their tokens."""

    no_speech_prob: float
    language_probs: tuple[float, ...]
    sum_logprob: float


@dataclass(slots=True)
class _Row:
    """One sequence in a step: its logits float32 (n_vocab,), to be changed in place."""

    logits: Array
    tokens: Sequence[int]
    track: Track
    rules: Rules


@dataclass(slots=True)
class _Window:
    course: Course
    tracks: dict[int, Track] = field(default_factory=dict)


class LogitsProcessor:
    """The callback of one executor, and what it has gathered.

    The executor calls it on a thread of its own, once a step, with every sequence that takes part;
    the other methods are for other threads.
    """

    def __init__(self, arrays: Arrays, tokenizer: Tokenizer) -> None:
        self._arrays = arrays
        self._eot = tokenizer.eot
        self._no_speech = tokenizer.no_speech
        languages = tokenizer.language_tokens.values()
        self._languages = slice(min(languages), max(languages) + 1)
        self._windows: dict[int, _Window] = {}
        self._suppressed: dict[Rules, Array] = {}
        self._lock = threading.Lock()

    def open(self, client_id: int, course: Course) -> None:
        """Before the executor gets a request of this id."""
        with self._lock:
            self._windows[client_id] = _Window(course)

    def forget(self, client_id: int) -> None:
        """Whatever else is generated for this id ends at its next step."""
        with self._lock:
            self._windows.pop(client_id, None)

    def finish(self, client_id: int, lasts: Sequence[int]) -> list[Reading]:
        """Forget a window whose sequences have all ended, and read what was gathered.

        Args:
            client_id: as in `open`.
            lasts: the last choice of each sequence, by `Result.sequence_index`; the ids of the
                sequences of one request grow with it.

        Raises:
            ValueError: the executor has not called for all of them.
        """
        with self._lock:
            window = self._windows.pop(client_id)
        self._arrays.wait()
        values: list[Array] = []
        for last, (_, track) in zip(lasts, sorted(window.tracks.items()), strict=True):
            values += [track.no_speech_prob, track.language_probs, track.total(last)]
        numbers = self._arrays.numbers(values)
        return [
            Reading(no_speech[0], tuple(languages), total[0])
            for no_speech, languages, total in zip(
                numbers[::3], numbers[1::3], numbers[2::3], strict=True
            )
        ]

    def __len__(self) -> int:
        """How many windows are open."""
        return len(self._windows)

    def __call__(
        self,
        req_ids: Sequence[int],
        logits: Sequence[Array],
        token_ids: Sequence[Sequence[Sequence[int]]],
        stream_ptr: int,
        client_ids: Sequence[int | None],
    ) -> None:
        """Change the logits of one step in place.

        Args:
            req_ids: one id a sequence; those of one request differ.
            logits: float32 (1, 1, n_vocab) each.
            token_ids: prompt and answer so far, of the only beam.
            stream_ptr: the CUDA stream that the logits are computed on.
            client_ids: the ids given with the requests.
        """
        with self._arrays.on_stream(stream_ptr):
            free: dict[Rules, list[_Row]] = {}
            for req_id, each, beams, client_id in zip(
                req_ids, logits, token_ids, client_ids, strict=True
            ):
                if row := self._force(req_id, each[0, 0], beams[0], client_id):
                    free.setdefault(row.rules, []).append(row)
            for rules, rows in free.items():
                self._apply(rules, rows)

    def _force(
        self, req_id: int, logits: Array, tokens: Sequence[int], client_id: int | None
    ) -> _Row | None:
        """Make the next token certain, if it is; else the row that the rules are for."""
        with self._lock:
            window = self._windows.get(-1 if client_id is None else client_id)
            track = window.tracks.setdefault(req_id, Track()) if window else Track()
        if window is None:  # nobody waits for it any more: it ends at once
            _only(logits, self._eot)
            return None
        course = window.course
        sampled = tokens[course.prompt_length :]
        if not sampled:
            self._read(track, logits)
        if len(sampled) < len(course.forced):
            _only(logits, course.forced[len(sampled)])
            return None
        assert course.rules is not None, "This is a bug: a window without rules goes on"
        return _Row(logits, sampled[len(course.forced) :], track, course.rules)

    def _read(self, track: Track, logits: Array) -> None:
        """What the logits after `<|startoftranscript|>` tell, before anything is masked.

        Source: openai/whisper decoding.py, `detect_language` and `_main_loop`.
        """
        weights = self._arrays.xp.exp(logits - logits.max())
        track.no_speech_prob = weights[self._no_speech] / weights.sum()
        languages = weights[self._languages]
        track.language_probs = languages / languages.sum()

    def _apply(self, rules: Rules, rows: Sequence[_Row]) -> None:
        """Mask all rows of equal rules at once, and add up what was chosen the step before."""
        xp = self._arrays.xp
        batch = xp.stack([row.logits for row in rows], 0)
        apply(xp, batch, [row.tokens for row in rows], rules, self._mask(rules, batch.shape[1]))
        top = xp.amax(batch, 1)
        log_sums = top + xp.log(xp.sum(xp.exp(batch - top[:, None]), 1))
        for index, row in enumerate(rows):
            row.logits[...] = batch[index]
            track = row.track
            if row.tokens:
                track.sum_logprob = track.total(row.tokens[-1])
            track.allowed, track.log_sum = batch[index], log_sums[index]

    def _mask(self, rules: Rules, n_vocab: int) -> Array:
        """`Rules.suppressed` on the device; there are few different ones."""
        mask = self._suppressed.get(rules)
        if mask is None:
            if len(self._suppressed) >= MASKS:
                self._suppressed.clear()
            mask = self._suppressed[rules] = self._arrays.mask(rules.suppressed(n_vocab))
        return mask


def _only(logits: Array, token: int) -> None:
    """Leave one token; its log-probability is then 0 and counts nothing."""
    logits[...] = NEVER
    logits[token] = 0.0


def language_probs(codes: Mapping[str, int], values: Sequence[float]) -> dict[str, float]:
    """Language code → probability, best first, from `Reading.language_probs`."""
    first = min(codes.values())
    probs = {code: values[token - first] for code, token in codes.items()}
    return dict(sorted(probs.items(), key=lambda item: -item[1]))
