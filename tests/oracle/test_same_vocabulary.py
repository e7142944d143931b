# ruff: noqa: RUF001 - letters and marks as their languages write them
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from whisper.decoding import DecodingOptions, DecodingTask
from whisper.tokenizer import LANGUAGES as THEIR_LANGUAGES

from server.decoding.languages import LANGUAGES
from server.decoding.prompt import build_prompt, encode_prompt
from server.decoding.tokenizer import Tokenizer
from server.types import Task

TEXTS = {
    "en": " It's John's 3.5 «miles», isn't it? Well—yes; don't [laugh]... http://a.b/c?d=1",
    "pt": " Não, à noite nós pusemos o pão lá. Por quê? Porque é às três e meia!",
    "es": " ¿Qué tal? ¡Muy bien! Él dijo: «niño, mañana».",
    "fr": " C'est l'été où naîtra l'œuvre ; n'est-ce pas ?",
    "de": " Größere Straßen führen über Ä, Ö und Ü.",
    "ru": " Где же ты? Съешь ещё этих мягких французских булок.",
    "el": " Ξεσκεπάζω την ψυχοφθόρα βδελυγμία.",
    "ar": " مرحبا، كيف حالك؟ نصٌّ حكيمٌ.",
    "hi": " नमस्ते, आप कैसे हैं?",
    "zh": "我们今天去图书馆，好吗？",
    "ja": "今日は、いい天気ですね。コーヒーを飲みます。",
    "ko": " 안녕하세요, 오늘 날씨가 좋네요.",
    "th": "สวัสดีครับ วันนี้อากาศดี",
    "my": "မင်္ဂလာပါ",
    "vi": " Tiếng Việt có nhiều dấu.",
    "tr": " İstanbul'da ılık ığdır.",
    "pl": " Zażółć gęślą jaźń.",
    "emoji": " ok 👍🏽 👨‍👩‍👧 ♪♪ \ufffd",
    "spaces": "  two  spaces\nand\tlines \r\n ",
    "special": " <|endoftext|> <|pt|> <|0.00|>",
    "empty": "",
}
LANGUAGES_TO_SPLIT = ("en", "pt", "zh", "ja", "th", "lo", "my", "ar")

PeerTokenizer = Callable[..., Any]
lasting_fixtures = settings(
    deadline=None,
    max_examples=200,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)


@pytest.mark.parametrize("name", TEXTS)
def test_texts_in_many_languages_are_cut_alike(
    tokenizer: Tokenizer, peer_tokenizer: PeerTokenizer, name: str
) -> None:
    """The same tokens, the same way back, the same words."""
    _assert_alike(tokenizer, peer_tokenizer, TEXTS[name], name if name in LANGUAGES else "en")


@lasting_fixtures
@given(text=st.text(max_size=60), language=st.sampled_from(LANGUAGES_TO_SPLIT))
def test_any_text_is_cut_alike(
    tokenizer: Tokenizer, peer_tokenizer: PeerTokenizer, text: str, language: str
) -> None:
    """Whatever Unicode holds."""
    _assert_alike(tokenizer, peer_tokenizer, text, language)


def _assert_alike(
    tokenizer: Tokenizer, peer_tokenizer: PeerTokenizer, text: str, language: str
) -> None:
    theirs = peer_tokenizer(language=language, task="transcribe")
    tokens = tokenizer.encode(text)
    # Theirs refuses the text of a special token instead of taking it as text.
    assert theirs.encoding.encode(text, disallowed_special=()) == list(tokens)
    assert theirs.decode(list(tokens)) == tokenizer.decode(tokens) == text
    words, runs = theirs.split_to_word_tokens(list(tokens))
    assert (words, runs) == tokenizer.split_to_words(tokens, language)


@lasting_fixtures
@given(tokens=st.lists(st.integers(0, 50_256), max_size=30))
def test_any_text_tokens_are_read_alike(
    tokenizer: Tokenizer, peer_tokenizer: PeerTokenizer, tokens: list[int]
) -> None:
    """Broken characters too become the same replacements; timestamps are left out."""
    with_times = [*tokens, tokenizer.timestamp_begin, tokenizer.timestamp_begin + 1500]
    assert peer_tokenizer().decode(with_times) == tokenizer.decode(with_times)


def test_special_tokens_have_the_same_ids(
    tokenizer: Tokenizer, peer_tokenizer: PeerTokenizer
) -> None:
    """Every one that we name."""
    theirs = peer_tokenizer()
    for name in ("eot", "sot", "sot_prev", "sot_lm", "transcribe", "translate"):
        assert getattr(theirs, name) == getattr(tokenizer, name)
    for name in ("no_speech", "no_timestamps", "timestamp_begin"):
        assert getattr(theirs, name) == getattr(tokenizer, name)


def test_languages_are_the_same_in_the_same_order(
    tokenizer: Tokenizer, peer_tokenizer: PeerTokenizer
) -> None:
    """Codes, the order that gives a language its token, and the tokens."""
    theirs = peer_tokenizer()
    assert list(THEIR_LANGUAGES) == list(LANGUAGES)
    assert 99 == len(tokenizer.language_tokens)
    assert set(theirs.all_language_tokens) == set(tokenizer.language_tokens.values())
    for code, token in tokenizer.language_tokens.items():
        assert theirs.to_language_token(code) == token


@pytest.mark.parametrize("task", ["transcribe", "translate"])
def test_every_language_starts_alike(
    tokenizer: Tokenizer, peer_tokenizer: PeerTokenizer, task: Task
) -> None:
    """The sequence that says what to do."""
    for language in tokenizer.language_tokens:
        theirs = peer_tokenizer(language=language, task=task)
        assert theirs.sot_sequence == tokenizer.sot_sequence(language, task)


def test_the_same_tokens_are_never_written(tokenizer: Tokenizer, peer: Any) -> None:
    """Annotations and special tokens, as openai-whisper's `suppress_tokens="-1"` has them."""
    task = DecodingTask(peer, DecodingOptions(language="en"))
    assert task._get_suppress_tokens() == tokenizer.suppress_tokens


@pytest.mark.parametrize("without_timestamps", [False, True])
@pytest.mark.parametrize("n_previous", [0, 1, 222, 223, 224, 500])
def test_previous_text_of_any_length_makes_the_same_prompt(
    tokenizer: Tokenizer, peer: Any, n_previous: int, without_timestamps: bool
) -> None:
    """Its last 223 tokens, opened by one that says so."""
    previous = tuple(range(1000, 1000 + n_previous))
    options = DecodingOptions(
        language="pt", prompt=list(previous), without_timestamps=without_timestamps
    )
    ours = build_prompt(
        tokenizer, "pt", "transcribe", previous=previous, without_timestamps=without_timestamps
    )
    assert DecodingTask(peer, options).initial_tokens == ours


@pytest.mark.parametrize("text", ["Coolify, n8n.", "  Olá  ", "São Paulo\n"])
def test_a_callers_prompt_becomes_the_same_tokens(
    tokenizer: Tokenizer, peer: Any, text: str
) -> None:
    """With the one space that makes it go on from a text before."""
    theirs = DecodingTask(peer, DecodingOptions(language="pt", prompt=text)).initial_tokens
    previous = encode_prompt(tokenizer, text)
    assert theirs == build_prompt(tokenizer, "pt", "transcribe", previous=previous)
