import asyncio
from concurrent.futures import Future
from types import SimpleNamespace

import pytest

from server.errors import Draining, Overloaded
from server.scheduler import Admission, Scheduler


class ManualEngine:
    """Futures that the test ends by hand."""

    def __init__(self, max_in_flight: int) -> None:
        self.info = SimpleNamespace(max_in_flight=max_in_flight)
        self.started: list[tuple[str, Future[str]]] = []
        self.cancelled: list[int] = []

    def start(self, name: str) -> Future[str]:
        future: Future[str] = Future()
        self.started.append((name, future))
        return future

    def cancel(self, request_id: int) -> None:
        self.cancelled.append(request_id)

    @property
    def names(self) -> list[str]:
        return [name for name, _ in self.started]


async def _settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


def test_requests_take_turns() -> None:
    """A short request's window goes next, though a long one has many waiting."""

    async def story() -> None:
        engine = ManualEngine(1)
        scheduler = Scheduler(engine)
        with scheduler.turn() as long, scheduler.turn() as short:
            windows = [("long", long)] * 3 + [("short", short)] * 2
            tasks = [
                asyncio.create_task(scheduler.run(turn, lambda name=name: engine.start(name)))
                for name, turn in windows
            ]
            for count in range(1, 6):
                await _settle()
                assert count == len(engine.started)
                engine.started[-1][1].set_result("done")
            assert ["done"] * 5 == await asyncio.gather(*tasks)
        assert ["long", "long", "short", "long", "short"] == engine.names
        assert [2, 1] == engine.cancelled

    asyncio.run(story())


def test_a_cancelled_wait_frees_its_place() -> None:
    """Who leaves while waiting is passed over; who leaves while running frees the place later."""

    async def story() -> None:
        engine = ManualEngine(1)
        scheduler = Scheduler(engine)
        with scheduler.turn() as turn:
            names = ("running", "leaves", "stays")
            running, leaves, stays = (
                asyncio.create_task(scheduler.run(turn, lambda name=name: engine.start(name)))
                for name in names
            )
            await _settle()
            leaves.cancel()
            running.cancel()
            await _settle()
            # The engine can cancel what it has not begun: the place is free at once.
            assert ["running", "stays"] == engine.names
            engine.started[-1][1].set_result("done")
            assert "done" == await stays
            assert running.cancelled()
            assert leaves.cancelled()

    asyncio.run(story())


def test_a_window_that_already_runs_keeps_its_place_until_it_ends() -> None:
    """The engine is busy with it, whoever has left."""

    async def story() -> None:
        engine = ManualEngine(1)
        scheduler = Scheduler(engine)
        with scheduler.turn() as turn:
            first = asyncio.create_task(scheduler.run(turn, lambda: engine.start("first")))
            await _settle()
            engine.started[0][1].set_running_or_notify_cancel()
            second = asyncio.create_task(scheduler.run(turn, lambda: engine.start("second")))
            first.cancel()
            await _settle()
            assert ["first"] == engine.names
            engine.started[0][1].set_result("nobody wants it")
            await _settle()
            assert ["first", "second"] == engine.names
            engine.started[1][1].set_result("done")
            assert "done" == await second

    asyncio.run(story())


def test_a_call_that_fails_gives_its_place_back() -> None:
    """An engine that raises instead of returning a future blocks nobody."""

    async def story() -> None:
        engine = ManualEngine(1)
        scheduler = Scheduler(engine)

        def fail() -> Future[str]:
            raise ValueError("bug")

        with scheduler.turn() as turn:
            with pytest.raises(ValueError, match="bug"):
                await scheduler.run(turn, fail)
            task = asyncio.create_task(scheduler.run(turn, lambda: engine.start("next")))
            await _settle()
            engine.started[0][1].set_result("done")
            assert "done" == await task

    asyncio.run(story())


def test_admission_is_bounded_and_closes_for_good() -> None:
    """One more than the bound is 503; after drain nobody gets in, and idle tells when all left."""

    async def story() -> None:
        admission = Admission(1)
        with admission.enter():
            with pytest.raises(Overloaded) as caught, admission.enter():
                pass
            assert caught.value.retry_after
            admission.drain()
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(admission.idle(), 0.01)
        await asyncio.wait_for(admission.idle(), 1)
        with pytest.raises(Draining), admission.enter():
            pass

    asyncio.run(story())
