"""Log probabilities of a text's tokens, as OpenAI's `include[]=logprobs` has them.

Knows: the fields' names, and that the tokens' bytes joined are the text's.
Must not know: where probabilities come from, who asks.
"""

import math
from collections.abc import Iterable
from typing import Any

from server.types import Segment, TextToken

LEAST = 1.2e-38
"""float32's least normal number: what is rarer counts as this rare, since JSON has no -infinity."""


class LogprobDeltas:
    """The tokens of a text that comes segment by segment, without white space around it."""

    def __init__(self) -> None:
        self._begun = False
        self._held: list[TextToken] = []

    def add(self, segments: Iterable[Segment]) -> list[dict[str, Any]]:
        """What these segments add; white space waits for what follows it, as in the text."""
        tokens = self._held + [token for each in segments for token in each.text_tokens]
        count = len(tokens)
        while count and not tokens[count - 1].data.strip():
            count -= 1
        told, self._held = tokens[:count], tokens[count:]
        entries = []
        for token in told:
            data = token.data if self._begun else token.data.lstrip()
            self._begun = self._begun or bool(data)
            if data:
                entries.append(_entry(data, token.probability))
        return entries


def logprobs(segments: Iterable[Segment]) -> list[dict[str, Any]]:
    """All tokens of a whole text."""
    return LogprobDeltas().add(segments)


def _entry(data: bytes, probability: float) -> dict[str, Any]:
    return {
        "token": data.decode("utf-8", errors="replace"),
        "logprob": round(math.log(max(probability, LEAST)), 6),
        "bytes": list(data),
    }
