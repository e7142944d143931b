"""CTranslate2's search against openai-whisper's, on the same features and the same weights.

In float32 the average log-probabilities differ by about 1e-5, so greedy tokens are compared one
by one: a single wrong rule would show.
"""

from collections.abc import Callable, Mapping
from functools import cache
from itertools import product
from typing import Any

import pytest
import torch
import whisper
from whisper.decoding import DecodingOptions, DecodingTask

from server.decoding.prompt import build_prompt
from server.decoding.tokenizer import Tokenizer
from server.engines.ctranslate2 import CTranslate2Engine
from server.types import (
    Encoded,
    GenerationOptions,
    GenerationRequest,
    GenerationResult,
    LogMel,
    Task,
)

SHORT = ("en-kitchen", "en-meeting", "en-river", "pt-chuva", "pt-cozinha", "pt-reuniao")
UNSPOKEN = ("noise", "silence")

Encode = Callable[[str], Any]


@pytest.fixture(scope="session")
def ours(
    engine: CTranslate2Engine, tokenizer: Tokenizer, windows: Mapping[str, LogMel]
) -> Callable[..., GenerationResult]:
    """Our engine's answer for a window; options as `GenerationOptions` has them."""

    @cache
    def encoded(name: str) -> Encoded | None:
        request = GenerationRequest(1, (), GenerationOptions(), windows[name])
        return engine.detect_language(request).result(60).encoded

    def decode(
        name: str,
        *,
        task: Task = "transcribe",
        previous: tuple[int, ...] = (),
        without_timestamps: bool = False,
        **options: Any,
    ) -> GenerationResult:
        prompt = build_prompt(
            tokenizer,
            _language(name),
            task,
            previous=previous,
            without_timestamps=without_timestamps,
        )
        options = {"beam_size": 1, "suppress_tokens": tokenizer.suppress_tokens} | options
        request = GenerationRequest(1, prompt, GenerationOptions(**options), encoded=encoded(name))
        return engine.generate(request).result(60)

    return decode


@pytest.fixture
def theirs(peer: Any, encode: Encode) -> Callable[..., Any]:
    """`whisper.decode` of a window; options as `DecodingOptions` has them."""

    def decode(name: str, **options: Any) -> Any:
        asked = DecodingOptions(language=_language(name), fp16=False, **options)
        return whisper.decode(peer, encode(name), asked)

    return decode


def _language(name: str) -> str:
    return "pt" if name.startswith("pt") else "en"


def _assert_same(expected: Any, found: GenerationResult) -> None:
    """Tokens, and both numbers that decide whether they are kept."""
    (hypothesis,) = found.hypotheses
    assert expected.tokens == list(hypothesis.tokens)
    assert expected.avg_logprob == pytest.approx(hypothesis.avg_logprob, abs=1e-3)
    assert expected.no_speech_prob == pytest.approx(found.no_speech_prob, abs=1e-3)


@pytest.mark.parametrize(
    ("name", "without_timestamps"),
    [
        *product([*SHORT, *UNSPOKEN], [False, True]),
        ("en-long", False),
        ("pt-long", True),
    ],
)
def test_the_likeliest_tokens_are_the_same(
    ours: Callable[..., Any], theirs: Callable[..., Any], name: str, without_timestamps: bool
) -> None:
    """With the timestamp rules and without them; also where nobody speaks."""
    flags = {"without_timestamps": without_timestamps}
    _assert_same(theirs(name, **flags), ours(name, **flags))


@pytest.mark.parametrize("name", ["pt-chuva", "pt-reuniao"])
def test_translations_are_the_same(
    ours: Callable[..., Any], theirs: Callable[..., Any], name: str
) -> None:
    """Portuguese speech as English text."""
    _assert_same(theirs(name, task="translate"), ours(name, task="translate"))


@pytest.mark.parametrize("name", ["en-meeting", "noise"])
def test_text_before_the_window_acts_the_same(
    ours: Callable[..., Any], theirs: Callable[..., Any], tokenizer: Tokenizer, name: str
) -> None:
    """The noise makes the model run on to the limit of 224 tokens: that is the same too."""
    previous = tokenizer.encode(" Olá, notebook.")
    _assert_same(theirs(name, prompt=list(previous)), ours(name, previous=previous))


def test_a_full_context_before_the_window_acts_the_same(
    ours: Callable[..., Any], theirs: Callable[..., Any], tokenizer: Tokenizer
) -> None:
    """223 tokens, the most that fit."""
    previous = tokenizer.encode(" A rua, o mar e a casa." * 40)[:223]
    _assert_same(theirs("pt-cozinha", prompt=list(previous)), ours("pt-cozinha", previous=previous))


@pytest.mark.parametrize(
    ("their_options", "our_options"),
    [
        ({"suppress_tokens": [-1, 11, 13]}, {"suppress_tokens": (11, 13)}),
        ({"suppress_blank": False}, {"suppress_blank": False}),
        ({"max_initial_timestamp": 0.02}, {"max_initial_timestamp_index": 1}),
        ({"sample_len": 8}, {"max_new_tokens": 8}),
    ],
    ids=lambda options: next(iter(options)),
)
@pytest.mark.parametrize("name", ["en-kitchen", "silence"])
def test_options_mean_the_same(
    ours: Callable[..., Any],
    theirs: Callable[..., Any],
    tokenizer: Tokenizer,
    name: str,
    their_options: dict[str, Any],
    our_options: dict[str, Any],
) -> None:
    """Each option that we hand to the engine; tokens to suppress come on top of the usual ones."""
    more = our_options.get("suppress_tokens", ())
    our_options = our_options | {"suppress_tokens": tokenizer.suppress_tokens + more}
    _assert_same(theirs(name, **their_options), ours(name, **our_options))


@pytest.mark.parametrize("name", ["en-meeting", "pt-chuva"])
def test_five_beams_find_the_same_with_timestamps(
    ours: Callable[..., Any], theirs: Callable[..., Any], name: str
) -> None:
    """The search that a request gets where the model's own timestamps are used."""
    _assert_same(theirs(name, beam_size=5), ours(name, beam_size=5))


@pytest.mark.parametrize("name", ["en-river"])
def test_five_beams_find_nothing_worse_without_timestamps(
    ours: Callable[..., Any], theirs: Callable[..., Any], name: str
) -> None:
    """The tokens may differ: the two searches do not stop at the same time.

    openai-whisper stops when five hypotheses have ended, however unlikely. CTranslate2 takes up
    an ended one only where it is among the best five, and so goes on longer. The measure is the
    one by which openai-whisper itself picks among hypotheses: the mean over the tokens, without
    end-of-text.
    """
    expected = theirs(name, beam_size=5, without_timestamps=True)
    (found,) = ours(name, beam_size=5, without_timestamps=True).hypotheses
    likelihood = expected.avg_logprob * (len(expected.tokens) + 1) / len(expected.tokens)
    assert found.sum_logprob / len(found.tokens) > likelihood - 1e-3


@pytest.mark.parametrize(("name", "temperature"), [("en-river", 0.4), ("noise", 1.0)])
def test_a_sampled_text_is_rated_by_the_models_own_probabilities(
    ours: Callable[..., Any],
    peer: Any,
    encode: Encode,
    tokenizer: Tokenizer,
    name: str,
    temperature: float,
) -> None:
    """Not by those that the temperature bent: the gates would let everything or nothing pass.

    What is sampled is random; its probability under openai-whisper's rules is not.
    """
    task = DecodingTask(peer, DecodingOptions(language=_language(name), fp16=False))
    sampled = ours(name, temperature=temperature, num_hypotheses=3).hypotheses
    assert 3 == len(sampled)
    for hypothesis in sampled:
        tokens = torch.tensor([[*task.initial_tokens, *hypothesis.tokens, tokenizer.eot]])
        with torch.no_grad():
            logits = peer.decoder(tokens, encode(name)[None])
        total = 0.0
        for at in range(len(task.initial_tokens), tokens.shape[1]):
            step = logits[:, at - 1].clone()
            for rule in task.logit_filters:
                rule.apply(step, tokens[:, :at])
            total += step.log_softmax(-1)[0, tokens[0, at]].item()
        assert total == pytest.approx(hypothesis.sum_logprob, abs=0.01)


@pytest.mark.parametrize("name", ["en-river", "pt-chuva", "noise"])
def test_languages_are_as_likely(
    engine: CTranslate2Engine, peer: Any, encode: Encode, windows: Mapping[str, LogMel], name: str
) -> None:
    """All 99 of them, best first."""
    request = GenerationRequest(1, (), GenerationOptions(), windows[name])
    found = engine.detect_language(request).result(60).language_probs
    _, expected = whisper.detect_language(peer, encode(name)[None])
    assert expected[0] == pytest.approx(dict(found), abs=1e-4)
    assert max(expected[0], key=expected[0].get) == next(iter(found))
