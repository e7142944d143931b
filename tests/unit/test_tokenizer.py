import pytest

from server.decoding.languages import LANGUAGES, to_language_code
from server.decoding.prompt import build_prompt, encode_prompt
from server.engines.fake import byte_tokenizer
from server.errors import InvalidOption
from server.settings import Settings, SettingsError

TOKENIZER = byte_tokenizer()


@pytest.mark.parametrize("text", ["Olá, você está bem?", "日本語", "<|endoftext|>", "  a\n"])
def test_text_comes_back_as_it_was(text: str) -> None:
    """Encoding and decoding is lossless; special tokens in text are plain text."""
    tokens = TOKENIZER.encode(text)
    assert text == TOKENIZER.decode(tokens)
    assert max(tokens) < TOKENIZER.eot


@pytest.mark.parametrize("space", [" ", "\n", "\u3000"])
def test_the_longest_field_of_spaces_is_encoded(space: str) -> None:
    """At a million of them in a row tiktoken panics; no setting lets as many in."""
    with pytest.raises(SettingsError):
        Settings.from_env({"SUSSURRO_MAX_FIELD_BYTES": "1000000"})
    Settings.from_env({"SUSSURRO_MAX_FIELD_BYTES": str(1 << 19)})

    assert len(TOKENIZER.encode(f"a{space * ((1 << 19) - 2)}b")) > 1 << 18


def test_special_tokens_and_timestamps_are_no_text() -> None:
    """Only text tokens are decoded."""
    tokens = (TOKENIZER.timestamp_begin, *TOKENIZER.encode("oi"), TOKENIZER.eot)
    assert "oi" == TOKENIZER.decode(tokens)


def test_timestamps_are_20_ms_apart() -> None:
    """The first timestamp token is 0.00, the one 1,500 later is 30.00."""
    assert 0.0 == TOKENIZER.timestamp(TOKENIZER.timestamp_begin)
    assert 30.0 == TOKENIZER.timestamp(TOKENIZER.timestamp_begin + 1500)


def test_a_cut_character_is_marked_not_lost() -> None:
    """Half a character decodes to the replacement sign and is a word of its own."""
    tokens = TOKENIZER.encode("é")[:1]
    assert "\ufffd" == TOKENIZER.decode(tokens)
    assert (["\ufffd"], [list(tokens)]) == TOKENIZER.split_to_words(tokens, "pt")


def test_a_bad_byte_spoils_one_word_only() -> None:
    """A byte that is no UTF-8 is marked; what follows is cut into words as ever."""
    tokens = (*TOKENIZER.encode(" um"), 0xFF, *TOKENIZER.encode(" dois três"))
    words, runs = TOKENIZER.split_to_words(tokens, "pt")
    assert [" um\ufffd", " dois", " três"] == words
    assert tokens == tuple(token for run in runs for token in run)


def test_words_are_cut_at_spaces_or_characters() -> None:
    """Portuguese at spaces and punctuation, Chinese at each character."""
    words, runs = TOKENIZER.split_to_words(TOKENIZER.encode(" olá, mundo"), "pt")
    assert [" olá", ",", " mundo"] == words
    assert TOKENIZER.encode(" olá, mundo") == tuple(token for run in runs for token in run)
    assert ["你", "好"] == TOKENIZER.split_to_words(TOKENIZER.encode("你好"), "zh")[0]


def test_prompt_order_is_previous_text_then_task() -> None:
    """<|startofprev|> text <|startoftranscript|> language task [no timestamps]."""
    previous = encode_prompt(TOKENIZER, " Coolify, n8n ")
    prompt = build_prompt(TOKENIZER, "pt", "translate", previous=previous, without_timestamps=True)
    task = (TOKENIZER.sot, TOKENIZER.language_tokens["pt"], TOKENIZER.translate)
    expected = (TOKENIZER.sot_prev, *TOKENIZER.encode(" Coolify, n8n"), *task)
    assert (*expected, TOKENIZER.no_timestamps) == prompt


def test_hotwords_go_first_and_leave_room() -> None:
    """At most 111 tokens of them; then the last tokens of the text, 223 in all."""
    hotwords, previous = tuple(range(150)), tuple(range(200)) * 2
    prompt = build_prompt(TOKENIZER, "pt", "transcribe", hotwords=hotwords, previous=previous)
    assert (TOKENIZER.sot_prev, *range(111)) == prompt[:112]
    assert previous[-112:] == prompt[112:-3]
    assert 1 + 223 + 3 == len(prompt)
    alone = build_prompt(TOKENIZER, "pt", "transcribe", hotwords=(1, 2))
    assert (TOKENIZER.sot_prev, 1, 2) == alone[:3]


def test_a_long_prompt_keeps_its_last_223_tokens() -> None:
    """As Whisper does; an empty one adds nothing."""
    prompt = build_prompt(TOKENIZER, "pt", "transcribe", previous=tuple(range(200)) * 2)
    assert 1 + 223 + 3 == len(prompt)
    assert 199 == prompt[-4]
    assert () == encode_prompt(TOKENIZER, "  ")


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("pt", "pt"),
        ("PT", "pt"),
        ("pt-BR", "pt"),
        ("pt_br", "pt"),
        ("Portuguese", "pt"),
        ("castilian", "es"),
        (" haitian creole ", "ht"),
    ],
)
def test_languages_by_code_region_and_name(given: str, expected: str) -> None:
    """What people write is understood, in any case."""
    assert expected == to_language_code(given)


@pytest.mark.parametrize("given", ["", "klingon", "xx", "p", "portuguesa"])
def test_unknown_languages_are_refused_with_the_list(given: str) -> None:
    """The error names the field and every code."""
    with pytest.raises(InvalidOption) as caught:
        to_language_code(given)
    assert "language" == caught.value.param
    assert all(code in caught.value.message for code in LANGUAGES)
