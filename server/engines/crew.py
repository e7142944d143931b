"""One engine made of many: windows go to whichever member is free, and outlive the death of one.

Knows: members, their places, which windows they have, when one has to be replaced.
Must not know: what a member is or where it runs (`ray_cluster.py` says), what a window holds.

A window whose member died is run again, from then on alone. So a window that kills engines fails
alone, those that were beside it do not, and neither does one that was there when engines or their
machines were lost for other reasons (`roster.py` counts).
"""

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import replace
from typing import Any

import structlog

from server.engines.base import EngineInfo, EngineStats
from server.engines.batching import WINDOW_TIMEOUT, unavailable
from server.engines.crew_orders import Agency, Cause, Held, Kind
from server.engines.roster import Call, Hand, Roster
from server.errors import EngineError
from server.types import (
    Alignment,
    AlignmentRequest,
    GenerationRequest,
    GenerationResult,
    LanguageDetection,
)

LOOK_SECONDS = 1.0
"""Between two looks at the machines that are there."""

MOST_FAILURES = 5
"""Members in a row that could not be loaded, and none is there: no point in going on."""

LONGEST_PAUSE = 60.0
"""Before another is hired, where some cannot be loaded and others serve; it doubles each time."""

AWAITED_SECONDS = 10.0
"""Between two lines in the log that members are waited for."""


class CrewEngine:
    """`Engine` over the members of an agency; `encoded` is a `Held`.

    `info` names the sum of the members' places as it is now.
    """

    def __init__(
        self,
        agency: Agency,
        *,
        least: int = 1,
        most: int = 0,
        window_timeout: float = WINDOW_TIMEOUT,
    ) -> None:
        """Hire until `least` members are warm; blocks. `most` 0 is as many as there is room for.

        Raises:
            EngineError: members cannot be loaded.
        """
        self._agency = agency
        self._most = most
        self._roster = Roster(window_timeout)
        self._hiring: dict[int, tuple[Any, float]] = {}
        self._failures = 0
        self._failed = False
        self._not_before = 0.0
        self._numbers = 0
        self._ending = threading.Event()
        self._warm = threading.Condition()
        self._threads = [
            threading.Thread(target=run, name=f"crew-{name}", daemon=True)
            for name, run in (("send", self._send), ("hire", self._hire))
        ]
        for thread in self._threads:
            thread.start()
        self._await(least)
        if self._failed:
            self.close(1)
            raise EngineError("The cluster's engines cannot be loaded.", reason="cluster")

    def _await(self, least: int) -> None:
        """Block until so many are warm, or it is hopeless. Machines may come late: no limit."""
        with self._warm:
            while not self._warm.wait_for(
                lambda: self._roster.size >= least or self._failed, AWAITED_SECONDS
            ):
                log = structlog.get_logger()
                log.warning("engines_awaited", warm=self._roster.size, wanted=least)

    @property
    def info(self) -> EngineInfo:
        """What is loaded; its places are those of the members that are there now."""
        return self._roster.info

    def generate(self, request: GenerationRequest) -> Future[GenerationResult]:
        """Decode one window."""
        return self._submit("generate", request)

    def detect_language(self, request: GenerationRequest) -> Future[LanguageDetection]:
        """Probability of each language in one window."""
        return self._submit("detect_language", request)

    def align(self, request: AlignmentRequest) -> Future[Alignment]:
        """Place text tokens in time."""
        return self._submit("align", request)

    def _submit(self, kind: Kind, request: GenerationRequest | AlignmentRequest) -> Future[Any]:
        held = request.encoded if isinstance(request.encoded, Held) else None
        features = held.features if held is not None else request.features
        bare = replace(request, features=None, encoded=None)
        call = Call(kind, bare, features, held)
        if features is None:
            call.finish(EngineError("A window needs features, or an encoding of this engine."))
        elif self._failed:
            call.finish(unavailable())
        else:
            self._roster.add(call)
        return call.future

    def cancel(self, request_id: int) -> None:
        """Drop what waits under this id, here and with the members."""
        self._roster.cancel(request_id)

    def stats(self) -> EngineStats:
        """A snapshot for health and metrics; healthy also while a lost member is replaced."""
        waiting, running = self._roster.counts()
        return EngineStats(waiting, running, not self._ending.is_set() and not self._failed)

    def close(self, timeout: float) -> None:
        """Stop: what waits ends at once, what runs gets `timeout` seconds."""
        deadline = time.monotonic() + timeout
        self._ending.set()
        self._roster.stop(EngineError("The engine is stopping."))
        self._roster.settle(deadline)
        stopped = EngineError("The engine was stopped before this window was done.")
        for hand in self._roster.dissolve(stopped):
            hand.member.dismiss()
        for thread in self._threads:
            if thread is not threading.current_thread():
                thread.join(max(0.1, deadline - time.monotonic()))
        for member, _ in list(self._hiring.values()):
            member.dismiss()
        self._agency.close()

    def _send(self) -> None:
        """The thread that hands windows over: copying one takes a millisecond or waits for room."""
        while not self._ending.is_set():
            for hand in self._roster.overdue():
                self._lose(hand, "it answers no more", "engine")
            for request_ids, hands in self._roster.cancelled():
                for hand in hands:
                    hand.member.cancel(request_ids)
            for hand, call, order in self._roster.next_orders():
                try:
                    answer = hand.member.send(order, call.features if order.key is None else None)
                except Exception as error:  # noqa: BLE001 - whoever cannot be reached is gone
                    self._lose(hand, type(error).__name__, "earlier")
                    continue
                answer.add_done_callback(self._answered(hand, call))

    def _answered(self, hand: Hand, call: Call) -> Callable[[Future[Any]], None]:
        def done(answer: Future[Any]) -> None:
            error = answer.exception()
            if error is not None:
                self._lose(hand, str(error), getattr(error, "cause", "engine"))
            elif answer.result().failure == "broken":
                self._lose(hand, "its engine is stuck or gone", "engine")
            else:
                self._roster.settled(hand, call, answer.result())

        return done

    def _lose(self, hand: Hand, why: str, cause: Cause) -> None:
        """A member is gone, whoever noticed first: its windows go to others."""
        if self._roster.remove(hand, cause) and not self._ending.is_set():
            log = structlog.get_logger()
            log.warning("engine_lost", engine=hand.number, why=why, cause=cause)
        # Not from a callback of the library that called us.
        threading.Thread(target=hand.member.dismiss, daemon=True, name="crew-dismiss").start()

    def _hire(self) -> None:
        """The thread that has as many members as there is room for."""
        while not self._ending.is_set() and not self._failed:
            try:
                room = self._agency.room()
            except Exception as error:  # noqa: BLE001 - asked again in a moment
                structlog.get_logger().warning("cluster_silent", why=type(error).__name__)
                room = None
            if room is not None:
                for hand in self._roster.hands():
                    if hand.member.gone():
                        self._lose(hand, "its machine is gone", "machine")
                self._fill(min(room, self._most) if self._most else room)
            self._ending.wait(LOOK_SECONDS)

    def _fill(self, wanted: int) -> None:
        """Hire what is missing; end those not yet warm that there is no more room for."""
        missing = wanted - self._roster.size - len(self._hiring)
        for _ in range(missing if time.monotonic() >= self._not_before else 0):
            self._numbers += 1
            number = self._numbers
            member, warm = self._agency.hire()
            self._hiring[number] = (member, time.monotonic())
            warm.add_done_callback(self._hired(number))
        for number in list(self._hiring)[max(0, wanted - self._roster.size) :]:
            member, _ = self._hiring.pop(number, (None, 0.0))
            if member is not None:
                member.dismiss()

    def _hired(self, number: int) -> Callable[[Future[EngineInfo]], None]:
        def done(warm: Future[EngineInfo]) -> None:
            member, started = self._hiring.pop(number, (None, 0.0))
            if member is None or self._ending.is_set():
                return
            log = structlog.get_logger()
            error = warm.exception()
            if error is None:
                self._roster.join(Hand(number, member, warm.result()))
                seconds = round(time.monotonic() - started, 1)
                log.info("engine_joined", engine=number, seconds=seconds)
                self._failures = 0
            else:
                log.error("engine_not_loaded", why=str(error))
                if getattr(error, "cause", "engine") == "engine":
                    self._not_loaded()
            with self._warm:
                self._warm.notify_all()

        return done

    def _not_loaded(self) -> None:
        """It may be one machine that cannot: those that serve go on, and it is tried again."""
        self._failures += 1
        if self._roster.size:
            pause = LOOK_SECONDS * 2.0 ** min(self._failures, 10)
            self._not_before = time.monotonic() + min(LONGEST_PAUSE, pause)
        elif self._failures >= MOST_FAILURES:
            self._failed = True
            self._roster.stop(unavailable())
