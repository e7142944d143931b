"""What a model writes though nobody said it: when to drop a window or a segment, and why.

Knows: several weak signals; none of them decides alone.
Must not know: how a signal was measured, what becomes of what is dropped.

    reason        the model says            and the audio
    no_speech     no speech, and is unsure  holds little voice
    no_voice      perhaps no speech, or     holds no voice
                  fails a gate
                  unlikely at every         holds little voice
                  temperature
    phantom       a known phantom phrase    holds little voice there
    prompt_echo   the caller's own prompt   holds little voice there
    repetition    the same words again and again, at every temperature

Where the numbers come from: over 66 clips of speech in ten languages and 22 of noise, tones,
music and silence (Whisper base), speech had a no-speech probability of at most 0.23 and at
least 0.4 s of voice, the rest at least 0.56 and at most 0.2 s; 0.3 and 0.25 lie between.
"""

import unicodedata
from collections.abc import Collection
from typing import Literal

from server.decoding.phantoms import CREDITS, MAX_CREDIT_WORDS, PHANTOMS
from server.types import DecodingResult, TranscriptionOptions

Reason = Literal["no_speech", "no_voice", "phantom", "prompt_echo", "repetition"]

MIN_VOICE = 0.25
"""Seconds of voice below which there is none."""
LITTLE_VOICE = 0.15
"""Share of a window's seconds below which its voice is no argument against the model's doubt."""
ENOUGH_VOICE = 1.5
"""Seconds of voice that are enough for any text."""
SHARE, DOUBTED_SHARE = 0.25, 0.5
"""Share of a suspected text's seconds that must hold voice; the latter where the model's
no-speech probability is above its threshold too. Of the segments of 100 recordings of plain
speech all but one had 0.45 and more, music that is taken for words 0.1 to 0.45."""
DOUBT = 0.5
"""Share of the no-speech threshold from which a window without any voice is dropped."""
MIN_ECHO_WORDS = 3
_CREDITS = tuple(f"{opening} " for opening in CREDITS)


def is_suspect(result: DecodingResult, options: TranscriptionOptions) -> bool:
    """Whether it is worth asking for the voice in the window: else it is plain speech."""
    return (
        result.no_speech_prob > DOUBT * options.no_speech_threshold
        or result.avg_logprob < options.logprob_threshold
        or result.compression_ratio > options.compression_ratio_threshold
        or is_phantom(result.text)
    )


def reason_to_drop_window(
    result: DecodingResult, options: TranscriptionOptions, *, voiced: float, duration: float
) -> Reason | None:
    """Why a whole window holds no speech, or None to keep it.

    Args:
        result: what the model wrote at its first try.
        options: the caller's thresholds.
        voiced: seconds of voice in the window.
        duration: seconds of audio in the window.
    """
    doubtful = result.no_speech_prob > options.no_speech_threshold
    unsure = result.avg_logprob < options.logprob_threshold
    if doubtful and unsure and voiced < max(MIN_VOICE, LITTLE_VOICE * duration):
        return "no_speech"
    if voiced >= MIN_VOICE:
        return None
    repetitive = result.compression_ratio > options.compression_ratio_threshold
    if unsure or repetitive or result.no_speech_prob > DOUBT * options.no_speech_threshold:
        return "no_voice"
    return "phantom" if is_phantom(result.text) else None


def is_made_up(
    result: DecodingResult, options: TranscriptionOptions, *, voiced: float, duration: float
) -> bool:
    """Whether a window's text that stayed unlikely at every temperature holds too little voice."""
    return result.avg_logprob < options.logprob_threshold and voiced < needed_voice(duration)


def needed_voice(duration: float, *, doubted: bool = False) -> float:
    """Seconds of voice that a suspected text of so many seconds must have to stay.

    `doubted` says that the model itself hears no speech.
    """
    share = DOUBTED_SHARE if doubted else SHARE
    return max(MIN_VOICE, min(share * duration, ENOUGH_VOICE))


def suspect_segment(text: str, given: Collection[str | None]) -> Reason | None:
    """What a segment's text might be besides speech; the voice under it decides.

    `given` are the texts that the caller gave the model: prompt and hotwords.
    """
    if is_phantom(text):
        return "phantom"
    if any(_is_echo(text, each) for each in given if each):
        return "prompt_echo"
    return None


def is_phantom(text: str) -> bool:
    """Whether all of it is a phrase that Whisper is known to invent, once or repeated."""
    words = plain(text)
    if not words:
        return False
    if words in PHANTOMS:
        return True
    parts = words.split()
    if len(parts) <= MAX_CREDIT_WORDS and f"{words} ".startswith(_CREDITS):
        return True
    for size in range(1, len(parts) // 2 + 1):
        if len(parts) % size == 0 and parts == parts[:size] * (len(parts) // size):
            return " ".join(parts[:size]) in PHANTOMS
    return False


def _is_echo(text: str, prompt: str) -> bool:
    words = plain(text)
    return len(words.split()) >= MIN_ECHO_WORDS and words in plain(prompt)


def plain(text: str) -> str:
    """Lower case, without punctuation and symbols, one space between words."""
    kept = (
        character if unicodedata.category(character)[0] in "LNM" else " "
        for character in unicodedata.normalize("NFC", text.casefold())
    )
    return " ".join("".join(kept).split())
