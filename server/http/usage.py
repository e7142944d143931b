"""GET /v1/usage: what callers have used.

Knows: who may see whose.
Must not know: where it is written down.
"""

import falcon.asgi

from server.access.usage import Usage
from server.http.exchange import caller_of


class UsageReport:
    """Transcriptions and minutes of audio by caller and day, in UTC."""

    def __init__(self, usage: Usage) -> None:
        self._usage = usage

    async def on_get(self, req: falcon.asgi.Request, resp: falcon.asgi.Response) -> None:
        """Everybody's with the scope `admin`, else one's own."""
        caller = caller_of(req)
        days = await self._usage.by_day(None if "admin" in caller.scopes else caller.name)
        data = [
            {
                "name": day.name,
                "date": day.day,
                "requests": day.requests,
                "audio_minutes": round(day.audio_s / 60, 3),
            }
            for day in days
        ]
        resp.media = {"object": "list", "data": data}

    on_head = on_get
