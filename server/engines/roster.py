"""Which member of a crew has which windows, and who gets the next one.

Knows: places, deadlines, how often a window's member has died.
Must not know: threads, how a window is sent. Every method takes the lock and none waits in it.
"""

import math
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, InvalidStateError
from dataclasses import dataclass, field, replace
from typing import Any

from server import texts
from server.engines.base import EngineInfo
from server.engines.crew_orders import Answer, Cause, Held, Kind, Member, Order
from server.errors import DeadlineExceeded, EngineError, Overloaded, ServerError
from server.types import Alignment, AlignmentRequest, GenerationRequest, LogMel

MAX_WAITING = 4096
TICK_SECONDS = 0.2
"""Between two looks at deadlines."""

MOST_DEATHS = 3
"""Engines that end with a window, from the second one on with it alone: then it is the window."""

MOST_LOSSES = 8
"""Members that a window loses for whatever reason: then it is given up."""


@dataclass(slots=True, eq=False)
class Call:
    """One window from its submission to its end.

    `deaths` counts the engines that ended with it, `losses` the members gone with their machines
    as well.
    """

    kind: Kind
    request: GenerationRequest | AlignmentRequest
    features: LogMel | None
    held: Held | None
    future: Future[Any] = field(default_factory=Future)
    since: float = field(default_factory=time.monotonic)
    sent: float = 0.0
    deaths: int = 0
    losses: int = 0

    def finish(self, outcome: object) -> None:
        """Set the result, or the error if it is one; too late is no fault."""
        try:
            if isinstance(outcome, BaseException):
                self.future.set_exception(outcome)
            else:
                self.future.set_result(outcome)
        except InvalidStateError:
            pass


@dataclass(slots=True, eq=False)
class Hand:
    """A member with the calls that it has; `alone` with a suspected one, it gets no more."""

    number: int
    member: Member
    info: EngineInfo
    calls: set[Call] = field(default_factory=set)
    alone: bool = False

    @property
    def load(self) -> float:
        """The share of its places that is taken."""
        return len(self.calls) / self.places

    @property
    def places(self) -> int:
        """Windows that it may have at once."""
        return self.info.max_in_flight + self.info.spare


class Roster:
    """Members and calls under one lock."""

    def __init__(self, window_timeout: float) -> None:
        self._window_timeout = window_timeout
        self._hands: dict[int, Hand] = {}
        self._waiting: list[Call] = []
        self._cancelled: list[int] = []
        self._info: EngineInfo | None = None
        self._stopped: ServerError | None = None
        self._changed = threading.Condition()

    @property
    def size(self) -> int:
        """Members that are there and warm."""
        return len(self._hands)

    @property
    def info(self) -> EngineInfo:
        """The first member's, with the places of all; without members, those of one."""
        with self._changed:
            assert self._info is not None, "This is a bug: asked before a member was there"
            infos = [hand.info for hand in self._hands.values()] or [self._info]
        return replace(
            self._info,
            max_in_flight=sum(info.max_in_flight for info in infos),
            max_in_flight_s=sum(info.max_in_flight_s for info in infos),
            spare=sum(info.spare for info in infos),
        )

    def join(self, hand: Hand) -> None:
        """A member is warm."""
        with self._changed:
            self._info = self._info or replace(hand.info, name=f"ray+{hand.info.name}")
            self._hands[hand.number] = hand
            self._changed.notify_all()

    def add(self, call: Call) -> None:
        """Queue a call; a full or stopped queue shows in its future."""
        with self._changed:
            if self._stopped is not None:
                call.finish(self._stopped)
            elif len(self._waiting) >= MAX_WAITING:
                call.finish(Overloaded(texts.ENGINE_QUEUE_FULL, retry_after=5))
            else:
                self._waiting.append(call)
                self._changed.notify_all()

    def cancel(self, request_id: int) -> None:
        """End what is here under this id; members are told by whoever asks `cancelled`."""
        with self._changed:
            calls = [call for call in self._every() if call.request.request_id == request_id]
            self._waiting = [call for call in self._waiting if call not in calls]
            if any(call in hand.calls for hand in self._hands.values() for call in calls):
                self._cancelled.append(request_id)
                self._changed.notify_all()
        for call in calls:
            call.future.cancel()

    def cancelled(self) -> list[tuple[Sequence[int], list[Hand]]]:
        """Ids that members have to be told, once."""
        with self._changed:
            ids, self._cancelled = self._cancelled, []
            return [(ids, list(self._hands.values()))] if ids else []

    def counts(self) -> tuple[int, int]:
        """(calls that wait here, calls that members have)."""
        with self._changed:
            return len(self._waiting), sum(len(hand.calls) for hand in self._hands.values())

    def overdue(self) -> list[Hand]:
        """End calls whose deadline has passed; the members that have been silent for too long."""
        now = time.monotonic()
        with self._changed:
            late = [call for call in self._every() if (call.request.deadline or math.inf) < now]
            self._waiting = [call for call in self._waiting if call not in late]
            silent = [
                hand
                for hand in self._hands.values()
                if any(
                    call.sent + self._window_timeout * (hand.places + 1) < now
                    for call in hand.calls
                )
            ]
        for call in late:
            call.finish(DeadlineExceeded(texts.DEADLINE_EXCEEDED))
        return silent

    def next_orders(self) -> list[tuple[Hand, Call, Order]]:
        """What is to be sent now; waits a moment if that is nothing."""
        with self._changed:
            orders = list(self._assign())
            if not orders and not self._cancelled and self._stopped is None:
                self._changed.wait(TICK_SECONDS)
                orders = list(self._assign())
            return orders

    def settled(self, hand: Hand, call: Call, answer: Answer) -> None:
        """A member has answered."""
        with self._changed:
            if call not in hand.calls:
                return  # it was taken for lost, and the call is another's now
            hand.calls.discard(call)
            hand.alone = False
            if answer.failure == "lost":
                call.held = None
                self._waiting.insert(0, call)
            self._changed.notify_all()
        if answer.failure != "lost":
            _conclude(hand, call, answer)

    def hands(self) -> list[Hand]:
        """The members that are there now."""
        with self._changed:
            return list(self._hands.values())

    def remove(self, hand: Hand, cause: Cause) -> bool:
        """A member is gone: its calls wait again, or fail if they have lost too many. Once each."""
        with self._changed:
            if self._hands.get(hand.number) is not hand:
                return False
            del self._hands[hand.number]
            calls = sorted(hand.calls, key=lambda call: call.since)
            hand.calls.clear()
            for call in calls:
                call.deaths += cause == "engine"
                call.losses += cause != "earlier"
            poison = [
                call for call in calls if call.deaths >= MOST_DEATHS or call.losses >= MOST_LOSSES
            ]
            if self._stopped is None:
                self._waiting[:0] = [call for call in calls if call not in poison]
            else:
                poison = calls
            self._changed.notify_all()
        for call in poison:
            call.finish(EngineError(texts.ENGINE_FAILED, reason="poison_window"))
        return True

    def stop(self, error: ServerError) -> None:
        """End what waits, and all that comes."""
        with self._changed:
            self._stopped = error
            dropped, self._waiting = self._waiting, []
            self._changed.notify_all()
        for call in dropped:
            call.finish(error)

    def settle(self, deadline: float) -> None:
        """Wait until members have nothing more, at most until then."""
        with self._changed:
            while any(hand.calls for hand in self._hands.values()):
                left = deadline - time.monotonic()
                if left <= 0:
                    return
                self._changed.wait(left)

    def dissolve(self, error: ServerError) -> list[Hand]:
        """Take all members out, and end what they still have."""
        with self._changed:
            hands, self._hands = list(self._hands.values()), {}
            calls = [call for hand in hands for call in hand.calls]
        for call in calls:
            call.finish(error)
        return hands

    def _every(self) -> list[Call]:
        return [*self._waiting, *(call for hand in self._hands.values() for call in hand.calls)]

    def _assign(self) -> Iterator[tuple[Hand, Call, Order]]:
        """Give waiting calls to members with a free place; the oldest first."""
        self._waiting = [call for call in self._waiting if not call.future.done()]
        reserved: set[Hand] = set()
        for call in list(self._waiting):
            hand = self._hand_for(call, reserved)
            if hand is None:
                continue
            self._waiting.remove(call)
            hand.calls.add(call)
            hand.alone = call.deaths > 0
            call.sent = time.monotonic()
            yield hand, call, self._order(hand, call)

    def _hand_for(self, call: Call, reserved: set[Hand]) -> Hand | None:
        """Who takes this call now. A suspected one keeps a member free until it has it alone."""
        if call.held is not None and call.deaths == 0:
            holder = self._hands.get(call.held.member)
            if holder is not None:
                # What follows from a window just done waits for no place, as in the scheduler.
                return None if holder.alone else holder
        free = [hand for hand in self._hands.values() if not hand.alone and hand not in reserved]
        if call.deaths:
            if not free:
                return None
            chosen = min(free, key=lambda hand: hand.load)
            if chosen.calls:
                reserved.add(chosen)
                return None
            return chosen
        free = [hand for hand in free if len(hand.calls) < hand.places]
        return min(free, key=lambda hand: hand.load, default=None)

    def _order(self, hand: Hand, call: Call) -> Order:
        request = call.request
        if isinstance(request, GenerationRequest) and request.beside > 1:
            # Each member has its part of the recording's windows.
            request = replace(request, beside=math.ceil(request.beside / len(self._hands)))
        here = call.held is not None and call.held.member == hand.number
        left_s = None if request.deadline is None else request.deadline - time.monotonic()
        bare = replace(request, deadline=None)
        return Order(call.kind, bare, call.held.key if here and call.held else None, left_s)


def _conclude(hand: Hand, call: Call, answer: Answer) -> None:
    """End a call with what its member answered."""
    if answer.failure == "cancelled":
        call.future.cancel()
    elif answer.failure == "deadline":
        call.finish(DeadlineExceeded(texts.DEADLINE_EXCEEDED))
    elif answer.failure == "overloaded":
        call.finish(Overloaded(texts.ENGINE_QUEUE_FULL, retry_after=5))
    elif answer.result is None:
        call.finish(EngineError(answer.message, reason=answer.reason))
    else:
        result = replace(answer.result, queue_s=answer.result.queue_s + call.sent - call.since)
        if not isinstance(result, Alignment):
            result = replace(result, encoded=Held(hand.number, answer.key, call.features))
        call.finish(result)
