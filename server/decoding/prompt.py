"""The tokens that go before the first generated one.

Knows: the order that Whisper was trained on: previous text, then what to do.
Must not know: where the previous text comes from.
"""

from server.decoding.tokenizer import Tokenizer
from server.types import Task

MAX_PREVIOUS_TOKENS = 223
"""Half of the text context, less the token that opens it (openai/whisper decoding.py)."""


MAX_HOTWORD_TOKENS = MAX_PREVIOUS_TOKENS // 2
"""Hotwords leave at least half of the room to the text before the window."""


def build_prompt(  # noqa: PLR0913 - the parts of a prompt, in their order
    tokenizer: Tokenizer,
    language: str,
    task: Task,
    *,
    hotwords: tuple[int, ...] = (),
    previous: tuple[int, ...] = (),
    without_timestamps: bool = False,
) -> tuple[int, ...]:
    """Hotwords and previous text (their last 223 tokens), then the tokens that say what to do."""
    hotwords = hotwords[:MAX_HOTWORD_TOKENS]
    previous = (*hotwords, *previous[len(hotwords) - MAX_PREVIOUS_TOKENS :])
    task_tokens = tokenizer.sot_sequence(language, task)
    if without_timestamps:
        task_tokens = (*task_tokens, tokenizer.no_timestamps)
    if not previous:
        return task_tokens
    return (tokenizer.sot_prev, *previous, *task_tokens)


def encode_prompt(tokenizer: Tokenizer, text: str | None) -> tuple[int, ...]:
    """A caller's prompt as previous text: it continues, so it starts with a space."""
    stripped = (text or "").strip()
    return tokenizer.encode(" " + stripped) if stripped else ()
