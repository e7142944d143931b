import asyncio
import heapq
import itertools
import math
from concurrent.futures import Future
from dataclasses import dataclass
from types import SimpleNamespace

import pytest

from server.scheduler import Scheduler


class ManualEngine:
    """Futures that the test ends by hand."""

    def __init__(
        self, max_in_flight: int, max_in_flight_s: float = math.inf, spare: int = 0
    ) -> None:
        self.info = SimpleNamespace(
            max_in_flight=max_in_flight, max_in_flight_s=max_in_flight_s, spare=spare
        )
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
    for _ in range(20):
        await asyncio.sleep(0)


def test_requests_take_turns() -> None:
    """A short request's window goes next, though a long one has many waiting."""

    async def story() -> None:
        engine = ManualEngine(1)
        scheduler = Scheduler(engine)
        with scheduler.turn() as long, scheduler.turn() as short:
            windows = [("long", long)] * 3 + [("short", short)] * 2
            tasks = [
                asyncio.create_task(
                    scheduler.run(turn, lambda name=name: engine.start(name), charge=30)
                )
                for name, turn in windows
            ]
            for count in range(1, 6):
                await _settle()
                assert count == len(engine.started)
                engine.started[-1][1].set_result("done")
            assert ["done"] * 5 == await asyncio.gather(*tasks)
        assert ["long", "short", "long", "short", "long"] == engine.names
        assert [2, 1] == engine.cancelled

    asyncio.run(story())


@pytest.mark.parametrize("same_key", [True, False])
def test_what_nobody_waits_for_gets_a_fifth(same_key: bool) -> None:
    """Beside requests, of its own key as of another; it was there first and has more waiting."""

    async def story() -> None:
        engine = ManualEngine(1)
        scheduler = Scheduler(engine)
        key = "a" if same_key else "b"
        with (
            scheduler.turn(key_id="a", background=True) as job,
            scheduler.turn(key_id=key) as request,
        ):
            windows = [("job", job)] * 12 + [("request", request)] * 12
            tasks = [
                asyncio.create_task(
                    scheduler.run(turn, lambda name=name: engine.start(name), charge=30)
                )
                for name, turn in windows
            ]
            for count in range(1, 25):
                await _settle()
                assert count == len(engine.started)
                engine.started[-1][1].set_result("done")
            await asyncio.gather(*tasks)
        assert ["job", "request", "request", "request", "request", "job"] == engine.names[:6]
        assert 3 == engine.names[:13].count("job")

    asyncio.run(story())


def test_what_nobody_waits_for_takes_no_spare_place() -> None:
    """However short it is."""

    async def story() -> None:
        engine = ManualEngine(1, spare=1)
        scheduler = Scheduler(engine)
        with (
            scheduler.turn(key_id="a", audio_s=60) as long,
            scheduler.turn(key_id="b", audio_s=2, background=True) as job,
            scheduler.turn(key_id="c", audio_s=2) as short,
        ):
            tasks = [
                asyncio.create_task(
                    scheduler.run(turn, lambda name=name: engine.start(name), charge=2)
                )
                for name, turn in (("long", long), ("job", job), ("short", short))
            ]
            await _settle()
            assert "job" not in engine.names
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)

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


def test_no_more_audio_is_with_the_engine_than_it_can_work_on() -> None:
    """Three full windows do not fit into 60 s, six short ones and a full one do."""

    async def story() -> None:
        for sizes, expected in (([30.0] * 3, 2), ([5.0] * 6 + [30.0] * 2, 7), ([90.0, 1.0], 1)):
            engine = ManualEngine(8, max_in_flight_s=60)
            scheduler = Scheduler(engine)
            with scheduler.turn() as turn:
                tasks = [
                    asyncio.create_task(
                        scheduler.run(turn, lambda e=engine: e.start("window"), size=size)
                    )
                    for size in sizes
                ]
                await _settle()
                assert expected == len(engine.started)
                for ended in range(len(sizes)):
                    await _settle()
                    engine.started[ended][1].set_result("done")
                await asyncio.gather(*tasks)

    asyncio.run(story())


def test_a_short_recording_may_take_a_spare_place() -> None:
    """One at a time, beyond the bound; a long one may not, and the place comes back."""

    async def story() -> None:
        engine = ManualEngine(1, max_in_flight_s=30, spare=1)
        scheduler = Scheduler(engine)
        with (
            scheduler.turn(audio_s=7200) as long,
            scheduler.turn(audio_s=5) as first,
            scheduler.turn(audio_s=5) as second,
        ):
            tasks = [
                asyncio.create_task(
                    scheduler.run(
                        turn, lambda name=name: engine.start(name), size=size, charge=size
                    )
                )
                for name, turn, size in (
                    ("long", long, 30.0),
                    ("long again", long, 30.0),
                    ("first", first, 5.0),
                    ("second", second, 5.0),
                )
            ]
            await _settle()
            assert ["long", "first"] == engine.names
            engine.started[1][1].set_result("done")
            await _settle()
            assert ["long", "first", "second"] == engine.names
            engine.started[2][1].set_result("done")
            await _settle()
            assert ["long", "first", "second"] == engine.names
            engine.started[0][1].set_result("done")
            await _settle()
            engine.started[3][1].set_result("done")
            assert ["done"] * 4 == await asyncio.gather(*tasks)
        assert (0, 0) == (scheduler._in_flight, scheduler._spared)

    asyncio.run(story())


def test_the_beginning_of_a_recording_goes_first() -> None:
    """A window's second call does not wait behind the first ones of all later windows."""

    async def story() -> None:
        engine = ManualEngine(1)
        scheduler = Scheduler(engine)
        with scheduler.turn() as turn:

            async def window(position: int) -> None:
                for step in ("generate", "align"):
                    name = f"{step} {position}"
                    await scheduler.run(
                        turn, lambda name=name: engine.start(name), position=position
                    )

            tasks = [asyncio.create_task(window(position)) for position in (0, 1, 2)]
            for ended in range(6):
                await _settle()
                engine.started[ended][1].set_result("done")
            await asyncio.gather(*tasks)
        assert ["0", "1", "0", "1", "2", "2"] == [name.split()[1] for name in engine.names]

    asyncio.run(story())


def test_what_is_nearly_done_waits_for_no_place() -> None:
    """It starts though the engine is full, and is charged to its request and its key."""

    async def story() -> None:
        engine = ManualEngine(1)
        scheduler = Scheduler(engine)
        with scheduler.turn() as turn:
            running = asyncio.create_task(scheduler.run(turn, lambda: engine.start("window")))
            await _settle()
            words = asyncio.create_task(
                scheduler.finish(turn, lambda: engine.start("words"), charge=3.0)
            )
            await _settle()
            assert ["window", "words"] == engine.names
            assert (3.0, 3.0) == (turn.served, turn.share.served)
            for _, future in engine.started:
                future.set_result("done")
            assert ["done", "done"] == await asyncio.gather(running, words)

    asyncio.run(story())


def test_the_wait_for_a_turn_is_counted() -> None:
    """By the scheduler's clock, apart from what the engine takes."""

    async def story() -> None:
        now = 0.0
        engine = ManualEngine(1)
        scheduler = Scheduler(engine, lambda: now)
        with scheduler.turn() as first, scheduler.turn() as second:
            tasks = [
                asyncio.create_task(scheduler.run(turn, lambda: engine.start("window")))
                for turn in (first, second)
            ]
            await _settle()
            now = 7.0
            engine.started[0][1].set_result("done")
            await _settle()
            now = 20.0
            engine.started[1][1].set_result("done")
            await asyncio.gather(*tasks)
            assert (0.0, 7.0) == (first.queue_s, second.queue_s)

    asyncio.run(story())


@dataclass
class Recording:
    """A request in the simulation: its key, when it comes, and its windows' seconds."""

    name: str
    key_id: str
    windows: list[float]
    arrives: float = 0.0


class Simulation:
    """Requests on a pretended engine that takes a tenth of each window's seconds.

    The clock is a number, so ten hours of audio pass in a moment, each time in the same way.
    """

    def __init__(self, workers: int) -> None:
        self.now = 0.0
        self.busy: list[tuple[float, int, Future[str]]] = []
        self.done: dict[str, float] = {}
        self.served: dict[str, float] = {}
        self.engine = ManualEngine(8 * workers, max_in_flight_s=30.0 * workers)
        self.scheduler = Scheduler(self.engine, lambda: self.now)
        self._numbers = itertools.count()

    def run(self, recordings: list[Recording], until: float = 1e9) -> dict[str, float]:
        """Seconds from arrival to end, by name, of those that ended."""
        asyncio.run(self._story(recordings, until))
        arrived = {recording.name: recording.arrives for recording in recordings}
        return {name: ended - arrived[name] for name, ended in self.done.items()}

    async def _story(self, recordings: list[Recording], until: float) -> None:
        tasks = [asyncio.create_task(self._request(recording)) for recording in recordings]
        await _settle()
        while self.busy and self.now < until:
            self.now, _, future = heapq.heappop(self.busy)
            future.set_result("")
            await _settle()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _after(self, seconds: float) -> Future[str]:
        future: Future[str] = Future()
        heapq.heappush(self.busy, (self.now + seconds, next(self._numbers), future))
        return future

    async def _request(self, recording: Recording) -> None:
        await asyncio.wrap_future(self._after(recording.arrives))
        audio_s = sum(recording.windows)
        with self.scheduler.turn(key_id=recording.key_id, audio_s=audio_s) as turn:

            async def window(position: int, seconds: float) -> None:
                # As the decoder does: language, text, words.
                for part in (0.5, 0.4, 0.1):
                    await self.scheduler.run(
                        turn,
                        lambda part=part: self._after(seconds * 0.1 * part),
                        size=seconds,
                        charge=seconds * part,
                        position=position,
                    )
                self.served[recording.key_id] = self.served.get(recording.key_id, 0) + seconds

            async with asyncio.TaskGroup() as group:
                for position, seconds in enumerate(recording.windows):
                    group.create_task(window(position, seconds))
        self.done[recording.name] = self.now


def _recordings(name: str, key_id: str, count: int, windows: list[float]) -> list[Recording]:
    return [Recording(f"{name} {index}", key_id, windows) for index in range(count)]


def test_keys_get_the_same_however_many_requests_they_have() -> None:
    """A bulk import of forty files and a single meeting of another key get half each."""
    simulation = Simulation(workers=2)
    recordings = _recordings("import", "a", 40, [30.0] * 20)
    simulation.run([*recordings, Recording("meeting", "b", [30.0] * 240)], until=500)
    assert 1.0 == pytest.approx(simulation.served["a"] / simulation.served["b"], abs=0.05)


def test_a_short_request_waits_for_what_runs_and_for_nothing_else() -> None:
    """Ten hours of the same key are under way: 5 s of audio take a window's time, not an hour."""
    meetings = _recordings("meeting", "a", 5, [30.0] * 240)
    notes = [Recording(f"note {index}", "a", [5.0], 100 + 50 * index) for index in range(20)]
    alone = Simulation(workers=2).run([Recording("note", "a", [5.0])])["note"]
    took = Simulation(workers=2).run([*meetings, *notes], until=1200)
    worst = max(took[note.name] for note in notes)
    assert 0.5 == pytest.approx(alone)
    assert worst <= alone + 3 * 1.5  # each of its three calls waits for half a window at most


def test_fifty_notes_are_finished_one_after_the_other() -> None:
    """From the first to the last, half are done in half of the time; and the meeting goes on."""
    simulation = Simulation(workers=2)
    notes = _recordings("note", "a", 50, [6.0])
    took = simulation.run([Recording("meeting", "a", [30.0] * 100), *notes])
    ends = sorted(took[note.name] for note in notes)
    assert 0.5 == pytest.approx((ends[24] - ends[0]) / (ends[-1] - ends[0]), abs=0.1)
    assert ends[-1] < took["meeting"]
    assert 0 == simulation.scheduler._in_flight


def test_a_stream_of_short_requests_does_not_starve_a_long_one() -> None:
    """Another key's meeting gets its half although notes never cease."""
    simulation = Simulation(workers=1)
    notes = [Recording(f"note {index}", "a", [6.0], 0.5 * index) for index in range(400)]
    simulation.run([Recording("meeting", "b", [30.0] * 200), *notes], until=200)
    assert 0.4 < simulation.served["b"] / sum(simulation.served.values()) < 0.6


def test_who_was_idle_has_no_credit() -> None:
    """A key that comes late shares from now on; it does not take all to catch up."""
    simulation = Simulation(workers=1)
    recordings = [
        Recording("early", "a", [30.0] * 200),
        Recording("late", "b", [30.0] * 200, arrives=300),
    ]
    simulation.run(recordings, until=400)
    assert 0.5 == pytest.approx(simulation.served["b"] / (1000), abs=0.05)
