"""Which web pages' scripts may call: nobody's, unless the operator lists origins.

Knows: the headers of the fetch standard's CORS protocol.
Must not know: keys. A page sends its key in a header of its own, so credentials are never allowed.
"""

from collections.abc import Collection, Mapping

ANY = "*"

EXPOSED = (
    b"x-request-id, openai-processing-ms, openai-version, retry-after, x-sussurro-warning, "
    b"idempotent-replayed, location, "
    b"x-ratelimit-limit-requests, x-ratelimit-remaining-requests, x-ratelimit-reset-requests"
)
"""What a script may read of an answer, besides what it always may."""

PREFLIGHT_SECONDS = b"600"
"""How long a browser may remember that it may."""

Headers = list[tuple[bytes, bytes]]


class Cors:
    """Origins as the settings list them, `*` for all; with none there is not a header of this."""

    def __init__(self, origins: Collection[str]) -> None:
        self._origins = frozenset(origin.encode() for origin in origins)
        self._any = ANY.encode() in self._origins

    def of_answer(self, request: Mapping[bytes, bytes]) -> Headers:
        """What any answer has besides; a cache must know that it depends on the origin."""
        if not self._origins:
            return []
        origin = request.get(b"origin", b"")
        headers = [(b"vary", b"Origin")]
        if origin and (self._any or origin in self._origins):
            headers += [
                (b"access-control-allow-origin", origin),
                (b"access-control-expose-headers", EXPOSED),
            ]
        return headers

    def of_preflight(self, method: str, request: Mapping[bytes, bytes]) -> Headers | None:
        """The answer to a browser that asks before it calls; None if this is no such question.

        It cannot send a key, so this is answered without one, and by this alone: whether a route
        or a method exists is not told.
        """
        asks = method == "OPTIONS" and b"access-control-request-method" in request
        origin = request.get(b"origin", b"")
        if not asks or not (self._any or origin in self._origins):
            return None
        return [
            (b"access-control-allow-methods", b"GET, HEAD, POST"),
            (b"access-control-allow-headers", request.get(b"access-control-request-headers", b"")),
            (b"access-control-max-age", PREFLIGHT_SECONDS),
            (b"content-length", b"0"),
        ]
