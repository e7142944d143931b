"""Which of our languages a caller reads, by its Accept-Language.

Knows: RFC 9110's language ranges and their weights.
Must not know: any text.
"""

from collections.abc import Mapping

from server.texts import Language

TAGS: Mapping[Language, str] = {"en": "en", "pt": "pt-BR"}
"""What an answer says of itself."""


def preferred(accept_language: str) -> Language:
    """The language with the greater weight; English where neither is asked for.

    Any variety of Portuguese will do for ours. Of equal weights the first one counts. What
    cannot be read is not there.
    """
    best: Language = "en"
    best_weight = 0.0
    for entry in accept_language.split(",")[:20]:
        tag, _, rest = entry.partition(";")
        primary = tag.strip().lower().partition("-")[0]
        weight = _weight(rest)
        if primary in ("en", "pt", "*") and weight > best_weight:
            best = "pt" if primary == "pt" else "en"
            best_weight = weight
    return best


def _weight(parameter: str) -> float:
    name, _, value = parameter.replace(" ", "").partition("=")
    if not name:
        return 1.0
    try:
        weight = float(value) if name.lower() == "q" else 0.0
    except ValueError:
        return 0.0
    return weight if 0.0 <= weight <= 1.0 else 0.0
