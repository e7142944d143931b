"""Texts as the units that are counted: words, or characters where a language has no spaces.

Knows: openai-whisper's standard normalisers and which language takes which.
Must not know: clips, systems, scores.
"""

import re
import sys
import warnings
from collections.abc import Callable
from functools import cache
from importlib.util import find_spec, module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType

from ops.accuracy.options import AccuracyError

CHARACTER_LANGUAGES = ("ja", "ko", "zh")
"""Scored by characters (CER). Korean has spaces, but papers score it so, as its spacing varies."""

EAST_ASIAN = re.compile(r"[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]")


class NormaliserMissing(AccuracyError):
    """openai-whisper is not installed."""


def _normalizers() -> ModuleType:
    """openai-whisper's `whisper.normalizers` without `whisper` itself, which imports torch."""
    name = "whisper_normalizers"
    if name in sys.modules:
        return sys.modules[name]
    whisper = find_spec("whisper")
    if whisper is None or not whisper.submodule_search_locations:
        raise NormaliserMissing("openai-whisper is not installed")
    folder = Path(whisper.submodule_search_locations[0]) / "normalizers"
    spec = spec_from_file_location(
        name, folder / "__init__.py", submodule_search_locations=[str(folder)]
    )
    assert spec, "a package's file has a spec"
    assert spec.loader, "a package's file has a loader"
    module = module_from_spec(spec)
    sys.modules[name] = module  # its own relative imports look here
    spec.loader.exec_module(module)
    return module


@cache
def _normaliser(language: str) -> Callable[[str], str]:
    kind = "EnglishTextNormalizer" if language == "en" else "BasicTextNormalizer"
    make: Callable[[], Callable[[str], str]] = getattr(_normalizers(), kind)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)  # it leaves its spelling table open
        return make()


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
    return len(re.findall(r"[^\W_]+(?:['\u2019][^\W_]+)*", spaced))
