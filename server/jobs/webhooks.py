"""Webhooks of one server: where a caller's job is told of, and the deliverer if there is one.

Knows: settings, what a caller is told of a URL that will not do.
Must not know: SQL, connections.
"""

import time
from collections import Counter
from collections.abc import Callable, Mapping

from server import texts
from server.errors import InvalidOption
from server.jobs.database import Database
from server.jobs.deliverer import Deliverer
from server.jobs.outbox import Destination
from server.jobs.record import Told
from server.settings import PREFIX, Settings
from server.texts import Language
from server.webhooks.events import parse_secrets
from server.webhooks.guard import Guard, Refused
from server.webhooks.sender import Sender

FIELD = "webhook_url"

REFUSED = {
    "malformed": texts.WEBHOOK_MALFORMED,
    "userinfo": texts.WEBHOOK_USERINFO,
    "plain_http": texts.WEBHOOK_PLAIN_HTTP,
    "inside": texts.WEBHOOK_INSIDE,
}
"""What `Guard.check` may say."""


class Webhooks:
    """Off where there is no secret: then nothing is taken, and what waits goes on waiting."""

    def __init__(
        self, settings: Settings, database: Database, clock: Callable[[], float] = time.time
    ) -> None:
        """Read the settings.

        Raises:
            ValueError: one of them will not do; the message begins with its name.
        """
        try:
            secrets = parse_secrets(settings.webhook_secret.get_secret_value())
        except ValueError as error:
            raise ValueError(f"{PREFIX}WEBHOOK_SECRET {error}") from None
        self._guard = Guard(settings.webhook_allow)
        self._defaults = _defaults(settings.webhook_urls, self._guard)
        if self._defaults and not secrets:
            raise ValueError(f"{PREFIX}WEBHOOK_URLS needs {PREFIX}WEBHOOK_SECRET")
        self._deliverer = (
            Deliverer(database, Sender(self._guard), secrets, clock) if secrets else None
        )

    @property
    def told(self) -> Mapping[Told, int]:
        """What came of this server's tries."""
        return self._deliverer.told if self._deliverer is not None else Counter()

    def destination(self, owner: str, url: str | None, language: Language) -> Destination | None:
        """Where the end of a caller's new job is told: at `url`, or else where all of its are.

        Raises:
            InvalidOption: nothing is told here, or not there.
        """
        wanted = url or self._defaults.get(owner)
        if wanted is None:
            return None
        if self._deliverer is None:
            raise InvalidOption(texts.WEBHOOKS_OFF, param=FIELD)
        try:
            target = self._guard.check(wanted)
        except Refused as refused:
            raise InvalidOption(REFUSED[refused.why], param=FIELD) from None
        return Destination(wanted, target.host.lower(), language)

    def start(self) -> None:
        """Begin to send."""
        if self._deliverer is not None:
            self._deliverer.start()

    def wake(self) -> None:
        """A job has ended."""
        if self._deliverer is not None:
            self._deliverer.wake()

    async def stop(self) -> None:
        """Take no more."""
        if self._deliverer is not None:
            await self._deliverer.stop()


def _defaults(words: tuple[str, ...], guard: Guard) -> dict[str, str]:
    """`name=url` by name."""
    found = {}
    for word in words:
        name, equals, url = word.partition("=")
        try:
            guard.check(url)
        except Refused as refused:
            raise ValueError(f"{PREFIX}WEBHOOK_URLS: a URL is refused ({refused.why})") from None
        if not (name and equals) or name in found:
            raise ValueError(f"{PREFIX}WEBHOOK_URLS: not one `name=url` for each caller")
        found[name] = url
    return found
