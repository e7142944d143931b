"""What a transcription is charged, when it is given back, and when it counts as used.

Knows: which ends of a request are whose fault.
Must not know: limits, where anything is written down.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from server.access.allowances import Allowances, Spent
from server.access.usage import Usage
from server.errors import ServerError
from server.http.exchange import Exchange
from server.jobs.turn import Turn
from server.types import Principal


class Account:
    """One request's."""

    def __init__(self, caller: Principal, allowances: Allowances, turn: Turn) -> None:
        self.caller = caller
        self._allowances = allowances
        self._turn = turn
        self.audio_s: float | None = None
        """Seconds of audio that were charged."""

    async def charge(self, audio_s: float) -> None:
        """The recording's length is known.

        Raises:
            InsufficientQuota: the caller's minutes do not suffice.
        """
        await self.reserve(audio_s)
        self.audio_s = audio_s

    async def reserve(self, audio_s: float) -> Spent:
        """As `charge`, for a job: it counts as used when that is done.

        An earlier try of the same request may have paid.
        """
        if self._turn.spent is None:
            self._turn.spent = await self._allowances.spend(self.caller, audio_s)
        return self._turn.spent

    async def give_back(self) -> None:
        """It was not used."""
        spent, self._turn.spent = self._turn.spent, None
        if spent is not None:
            await self._allowances.give_back(spent)


@asynccontextmanager
async def account(
    exchange: Exchange, caller: Principal, allowances: Allowances, usage: Usage, turn: Turn
) -> AsyncIterator[Account]:
    """Around a transcription, until its answer is ready to be sent.

    Then it is counted as used, before anybody is told: if the process dies in between, an answer
    is counted that nobody got, never the reverse. What fails by our fault is given back; what a
    client leaves is not, the work was done or under way. What has a key is counted once, however
    often it is tried.
    """
    kept = Account(caller, allowances, turn)
    counted = False
    try:
        yield kept
        if kept.audio_s is not None:
            counted = True
            if turn.held is None:
                await usage.add(caller.name, kept.audio_s)
            else:
                await usage.add_once(caller.name, kept.audio_s, turn.held.id)
    except (Exception, asyncio.CancelledError) as error:
        if not _callers_fault(error, exchange):
            await kept.give_back()
            if counted and kept.audio_s is not None and turn.held is None:
                await usage.add(caller.name, -kept.audio_s, -1)
        raise


def _callers_fault(error: BaseException, exchange: Exchange) -> bool:
    """Whether the caller asked for something wrong, or left."""
    if isinstance(error, asyncio.CancelledError):
        return exchange.record.client_disconnected
    return isinstance(error, ServerError) and error.status < 500
