import pytest

from ops.accuracy import normalise

whisper = pytest.mark.skipif(
    normalise.find_spec("whisper") is None, reason="openai-whisper is not installed"
)


@whisper
@pytest.mark.parametrize(
    ("text", "language", "expected"),
    [
        ("Mr. Quilter's colour, twenty-one!", "en", "mister quilter is color 21"),
        ("É a Mr. do século, twenty-one!", "pt", "é a mr do século twenty one"),
        ("!?", "en", ""),
    ],
)
def test_english_alone_takes_the_english_normaliser(
    text: str, language: str, expected: str
) -> None:
    """Numbers, titles and spelling are levelled in English; elsewhere only case and marks."""
    assert expected.split() == normalise.words(text, language)


@whisper
def test_characters_leave_spaces_and_marks_out() -> None:
    """Character languages count neither spaces nor punctuation."""
    assert list("東京は晴れ") == normalise.characters("東京は、 晴れ。", "ja")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", 0),
        (" ... ♪ -", 0),
        ("Thank you.", 2),
        ("don't re-do it", 4),
        ("Obrigado, até já!", 3),
        ("ご視聴 ok", 4),
    ],
)
def test_false_words_count_what_is_read(text: str, expected: int) -> None:
    """Marks are no words; an East Asian character is one."""
    assert expected == normalise.false_words(text)


def test_without_openai_whisper_the_message_names_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """What must be installed is said."""
    monkeypatch.setattr(normalise, "find_spec", lambda name: None)
    monkeypatch.delitem(normalise.sys.modules, "whisper_normalizers", raising=False)
    normalise._normaliser.cache_clear()
    with pytest.raises(normalise.NormaliserMissing, match="openai-whisper is not installed"):
        normalise.words("a", "en")
