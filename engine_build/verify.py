"""The gate: an engine transcribes reference clips as its weights should, or is not published.

Knows: the engine interface; word errors, log-probabilities, company.
Must not know: how an engine was built, or which library runs it.

Three questions. Are the words right, compared with the reference text and with a reference engine
on the same weights? Is it as sure of them as the reference is? And is a window's result the same
alone and in company: who shares a batch must not matter?
"""

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass

from engine_build.errors import GateError
from engine_build.golden import GoldenWindow
from server.decoding.guard import plain
from server.decoding.prompt import build_prompt
from server.decoding.tokenizer import Tokenizer
from server.engines.base import Engine
from server.engines.manifest import GateResult
from server.errors import ServerError
from server.types import GenerationOptions, GenerationRequest, GenerationResult

Say = Callable[[str], None]
"""Told each line of progress."""

TIMEOUT = 600.0
"""Seconds that all windows together may take."""

COMPANY = 3
"""Times that each window is asked for at once with all others, in changing order."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What the gate lets pass.

    `wer_rise` is added to the reference engine's word error rate; the differences are of the
    average log-probability of one window. Measured with Whisper base on the project's clips,
    against float32: at most 0.010 in int8, 0.002 with TensorRT-LLM's form of GELU, but 0.020 when
    all mel bands are one too high, which changes no word. In company CTranslate2 differs by less
    than 0.000001; a GPU chooses kernels by the batch's size, so its limit is an estimate.
    """

    wer_rise: float = 0.01
    logprob_difference: float = 0.015
    company_difference: float = 0.01


QUANTIZED = Limits(wer_rise=0.03, logprob_difference=0.03)
"""For int8, whose rounding differs by processor: 0.010 and 0.020 were measured on two."""


@dataclass(frozen=True, slots=True)
class Heard:
    """What an engine made of one window."""

    tokens: tuple[int, ...]
    text: str
    avg_logprob: float


def listen(
    engine: Engine, tokenizer: Tokenizer, windows: Sequence[GoldenWindow], say: Say = lambda _: None
) -> dict[str, Heard]:
    """What the engine makes of each window alone, greedily and with timestamps.

    `say` is told of each before it is heard.

    Raises:
        GateError: it fails, or does not answer.
    """
    heard = {}
    for number, window in enumerate(windows):
        say(f"  clip {number + 1} of {len(windows)}: {window.name}")
        future = engine.generate(_request(number, tokenizer, window))
        heard[window.name] = _heard(future, tokenizer, window)
    return heard


def listen_in_company(
    engine: Engine, tokenizer: Tokenizer, windows: Sequence[GoldenWindow]
) -> list[tuple[str, Heard]]:
    """The same with all windows asked for at once, several times, each time in another order."""
    asked: list[tuple[GoldenWindow, Future[GenerationResult]]] = []
    for turn in range(COMPANY):
        cut = turn * len(windows) // COMPANY
        for window in (*windows[cut:], *windows[:cut]):
            request = _request(len(asked), tokenizer, window)
            asked.append((window, engine.generate(request)))
    return [(window.name, _heard(future, tokenizer, window)) for window, future in asked]


def _request(number: int, tokenizer: Tokenizer, window: GoldenWindow) -> GenerationRequest:
    return GenerationRequest(
        request_id=number,
        prompt=build_prompt(tokenizer, window.language, "transcribe"),
        options=GenerationOptions(beam_size=1, suppress_tokens=tokenizer.suppress_tokens),
        features=window.features,
    )


def _heard(future: Future[GenerationResult], tokenizer: Tokenizer, window: GoldenWindow) -> Heard:
    try:
        best = future.result(TIMEOUT).hypotheses[0]
    except (ServerError, TimeoutError) as error:
        raise GateError(f"the engine failed on {window.name}: {error}") from error
    return Heard(best.tokens, tokenizer.decode(best.tokens).strip(), best.avg_logprob)


def gate(  # noqa: PLR0913, PLR0917 - one question, all that it depends on
    candidate: Engine,
    reference: Mapping[str, Heard],
    tokenizer: Tokenizer,
    windows: Sequence[GoldenWindow],
    limits: Limits | None = None,
    say: Say = lambda _: None,
) -> GateResult:
    """What was measured, if the candidate may be published.

    Args:
        candidate: the fresh engine.
        reference: `listen` of an engine that is trusted, on the same weights.
        tokenizer: of these weights.
        windows: the reference clips.
        limits: what passes; the default is for float16 engines.
        say: told what is being done.

    Raises:
        GateError: it may not; all reasons are told.
    """
    limits = limits or Limits()
    alone = listen(candidate, tokenizer, windows, say)
    say(f"  all {len(windows)} clips at once, {COMPANY} times")
    company = listen_in_company(candidate, tokenizer, windows)
    result = GateResult(
        clips=len(windows),
        wer=error_rate(windows, alone),
        reference_wer=error_rate(windows, reference),
        max_logprob_difference=max(
            abs(alone[name].avg_logprob - each.avg_logprob) for name, each in reference.items()
        ),
        max_company_difference=max(
            abs(alone[name].avg_logprob - each.avg_logprob) for name, each in company
        ),
    )
    reasons = [
        f"it fails the gate in company: {name} becomes {each.text!r}"
        for name, each in company
        if each.tokens != alone[name].tokens
    ][:1]
    if result.wer > result.reference_wer + limits.wer_rise:
        reasons.append(
            f"word error rate {result.wer:.1%}, the reference engine has {result.reference_wer:.1%}"
        )
    if result.max_logprob_difference > limits.logprob_difference:
        reasons.append(
            f"log-probabilities differ from the reference engine's by up to "
            f"{result.max_logprob_difference:.3f}, allowed are {limits.logprob_difference}"
        )
    if result.max_company_difference > limits.company_difference:
        reasons.append(
            f"log-probabilities change in company by up to {result.max_company_difference:.3f}, "
            f"allowed are {limits.company_difference}"
        )
    if reasons:
        raise GateError("; ".join(reasons))
    return result


def error_rate(windows: Sequence[GoldenWindow], heard: Mapping[str, Heard]) -> float:
    """Word errors of all windows together over the words that are said, case and marks aside."""
    errors = words = 0
    for window in windows:
        said = plain(window.text).split()
        errors += word_errors(said, plain(heard[window.name].text).split())
        words += len(said)
    return errors / words


def word_errors(said: Sequence[str], heard: Sequence[str]) -> int:
    """Words to insert, delete or replace to get from one to the other."""
    row = list(range(len(heard) + 1))
    for index, word in enumerate(said, start=1):
        before, row[0] = row[0], index
        for at, other in enumerate(heard, start=1):
            change = before + (word != other)
            before, row[at] = row[at], min(change, row[at] + 1, row[at - 1] + 1)
    return row[-1]
