"""Which language a recording is in, and whether one window of it is in another.

Knows: probabilities of languages, an allow-list, a default.
Must not know: how they were measured.
"""

from collections.abc import Collection, Mapping, Sequence

CERTAIN = 0.9
"""One window's vote above this needs no other."""
SURE = 0.5
"""A vote below this is a guess: the default language is taken where there is one."""
SWITCH = 0.8
"""A window speaks another language only if it is at least this likely, …"""
STAY = 0.1
"""… and the recording's own at most this likely, …"""
MIN_SWITCH_SECONDS = 4.0
"""… and there is enough of it: on a word or two the model errs."""
POSSIBLE = 0.1
"""A window may be in another language that is at least this likely."""
MAX_LANGUAGES = 3
"""Languages in which a window is tried at most."""

LanguageProbs = Mapping[str, float]


def restrict(probs: LanguageProbs, allowed: Collection[str]) -> LanguageProbs:
    """Only the allowed languages, their probabilities summing to 1; all of them if none is."""
    kept = {code: value for code, value in probs.items() if code in allowed}
    total = sum(kept.values())
    return {code: value / total for code, value in kept.items()} if total > 0 else probs


def elect(votes: Sequence[LanguageProbs]) -> tuple[str, float]:
    """The language with the highest mean probability, and that mean."""
    codes = {code for vote in votes for code in vote}
    means = {code: sum(vote.get(code, 0.0) for vote in votes) / len(votes) for code in codes}
    best = max(means, key=lambda code: means[code])
    return best, means[best]


def decide(
    voiced: Sequence[LanguageProbs], unvoiced: Sequence[LanguageProbs], default: str | None
) -> str:
    """The recording's language by the votes of windows with a voice, else by the others'.

    Where the vote is a guess it is the default; English where there is none and no vote counts.
    """
    if voiced:
        language, probability = elect(voiced)
        return default if default and probability < SURE else language
    if unvoiced:
        language, probability = elect(unvoiced)
        if probability >= (CERTAIN if default else SURE):
            return language
    return default or "en"


def languages_of_window(probs: LanguageProbs, main: str, duration: float) -> list[str]:
    """The window's language, then others that it might be in, the likeliest first.

    The first is the recording's own, unless the window clearly speaks another.
    """
    likely = sorted(probs, key=lambda code: -probs[code])
    best = likely[0]
    clear = probs[best] >= SWITCH and probs.get(main, 0.0) <= STAY
    first = best if clear and duration >= MIN_SWITCH_SECONDS else main
    others = [code for code in likely if probs[code] >= POSSIBLE and code != first]
    return [first, *others][:MAX_LANGUAGES]
