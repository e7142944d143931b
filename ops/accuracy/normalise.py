"""Texts as the units that are counted: words, or characters where a language has no spaces.

Knows: openai-whisper's standard normalisers and which language takes which.
Must not know: clips, systems, scores.
"""

import re
from collections.abc import Callable
from functools import cache

CHARACTER_LANGUAGES = ("ja", "ko", "zh")
"""Scored by characters (CER). Korean has spaces, but papers score it so, as its spacing varies."""

EAST_ASIAN = re.compile(r"[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]")


class NormaliserMissing(Exception):
    """openai-whisper, or the torch that it imports, is not installed."""


@cache
def _normaliser(language: str) -> Callable[[str], str]:
    try:
        from whisper.normalizers import (  # noqa: PLC0415  the extra is checked here
            BasicTextNormalizer,
            EnglishTextNormalizer,
        )
    except ImportError as error:
        raise NormaliserMissing(f"{error.name} is not installed") from error
    normaliser: Callable[[str], str] = (
        EnglishTextNormalizer() if language == "en" else BasicTextNormalizer()
    )
    return normaliser


def words(text: str, language: str) -> list[str]:
    """Normalised words: the English normaliser for `en`, the basic one for all others.

    Raises:
        NormaliserMissing: see there.
    """
    return _normaliser(language)(text).split()


def characters(text: str, language: str) -> list[str]:
    """Normalised characters without spaces.

    Raises:
        NormaliserMissing: see there.
    """
    return [character for word in words(text, language) for character in word]


def false_words(text: str) -> int:
    """How many words a listener would be told although nobody spoke.

    Runs of letters or digits count once; each Chinese, Japanese or Korean character counts.
    """
    spaced = EAST_ASIAN.sub(lambda match: f" {match[0]} ", text)
    return len(re.findall(r"[^\W_]+(?:['\u2019-][^\W_]+)*", spaced))
