import asyncio
from contextlib import AsyncExitStack

import pytest

from server.admission import MAX_RETRY_AFTER, Admission, Bounds, Place
from server.errors import Draining, Overloaded, RateLimited


class Clock:
    """Seconds that pass when a test says so."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


async def _settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


def _overloaded(caught: pytest.ExceptionInfo[Overloaded]) -> int:
    assert caught.value.retry_after is not None
    return caught.value.retry_after


class Guests:
    """Requests that come, stay and leave at a word."""

    def __init__(self, admission: Admission) -> None:
        self._admission = admission
        self._go: dict[str, asyncio.Event] = {}
        self.tasks: dict[str, asyncio.Task[None]] = {}
        self.inside: list[str] = []

    async def comes(self, name: str, key_id: str = "") -> None:
        self._go[name] = asyncio.Event()
        self.tasks[name] = asyncio.create_task(self._stay(name, key_id))
        await _settle()

    async def leaves(self, name: str) -> None:
        self._go[name].set()
        await _settle()

    async def _stay(self, name: str, key_id: str) -> None:
        async with self._admission.enter(key_id):
            self.inside.append(name)
            await self._go[name].wait()
            self.inside.remove(name)


def test_admission_is_bounded_and_closes_for_good() -> None:
    """One more than the bound is 503; after drain nobody gets in, and idle tells when all left."""

    async def story() -> None:
        admission = Admission(Bounds(max_requests=1))
        async with admission.enter():
            with pytest.raises(Overloaded) as caught:
                await admission.enter().__aenter__()
            assert _overloaded(caught) >= 1
            admission.drain()
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(admission.idle(), 0.01)
        await asyncio.wait_for(admission.idle(), 1)
        with pytest.raises(Draining):
            await admission.enter().__aenter__()

    asyncio.run(story())


def test_a_key_has_a_bound_of_its_own() -> None:
    """429 for the key that has its share, while another still gets in."""

    async def story() -> None:
        admission = Admission(Bounds(max_requests=3, max_requests_per_key=2))
        async with admission.enter("a"), admission.enter("a"):
            with pytest.raises(RateLimited) as caught:
                await admission.enter("a").__aenter__()
            assert caught.value.retry_after
            async with admission.enter("b"):
                with pytest.raises(Overloaded):
                    await admission.enter("c").__aenter__()
        assert 0 == admission.active

    asyncio.run(story())


def test_who_waits_gets_the_place_that_is_left() -> None:
    """In order of arrival, but the key with least inside goes first."""

    async def story() -> None:
        admission = Admission(Bounds(max_requests=2, max_wait=60, max_waiting=9))
        guests = Guests(admission)
        for name in ("a1", "a2", "a3", "a4", "b1"):
            await guests.comes(name, name[0])
        assert (["a1", "a2"], 3) == (guests.inside, admission.waiting)
        await guests.leaves("a1")
        assert ["a2", "b1"] == guests.inside
        await guests.leaves("b1")
        await guests.leaves("a2")
        assert ["a3", "a4"] == guests.inside
        assert 0 == admission.waiting
        for name in ("a3", "a4"):
            await guests.leaves(name)
        assert 0 == admission.active

    asyncio.run(story())


def test_a_wait_ends_in_a_refusal() -> None:
    """After the longest wait, and at once where too many wait already."""

    async def story() -> None:
        admission = Admission(Bounds(max_requests=1, max_wait=0.05, max_waiting=1))
        guests = Guests(admission)
        await guests.comes("inside")
        await guests.comes("waits")
        with pytest.raises(Overloaded):
            await asyncio.wait_for(admission.enter("late").__aenter__(), 0.02)
        with pytest.raises(Overloaded):
            await guests.tasks["waits"]
        assert (1, 0) == (admission.active, admission.waiting)
        await guests.leaves("inside")

    asyncio.run(story())


def test_one_key_cannot_fill_the_waiting_room() -> None:
    """It may have as many waiting as it may have places; the others can still come and wait."""

    async def story() -> None:
        bounds = Bounds(max_requests=1, max_requests_per_key=1, max_wait=60, max_waiting=2)
        admission = Admission(bounds)
        guests = Guests(admission)
        await guests.comes("a1", "a")
        await guests.comes("a2", "a")
        with pytest.raises(RateLimited):
            await admission.enter("a").__aenter__()
        await guests.comes("b1", "b")
        assert 2 == admission.waiting
        for name in ("a1", "b1", "a2"):
            await guests.leaves(name)
        assert (0, 0) == (admission.active, admission.waiting)

    asyncio.run(story())


def test_who_leaves_while_waiting_is_forgotten() -> None:
    """Also in the very moment in which the place is given: it goes to the next."""

    async def story() -> None:
        admission = Admission(Bounds(max_requests=1, max_wait=60, max_waiting=9))
        guests = Guests(admission)
        for name in ("first", "gives up", "is late", "next"):
            await guests.comes(name)
        guests.tasks["gives up"].cancel()
        await _settle()
        assert 2 == admission.waiting
        guests._go["first"].set()
        while guests.inside:
            await asyncio.sleep(0)
        guests.tasks["is late"].cancel()
        await _settle()
        assert ["next"] == guests.inside
        await guests.leaves("next")
        assert (0, 0) == (admission.active, admission.waiting)

    asyncio.run(story())


def test_draining_sends_the_waiting_away_and_lets_the_others_end() -> None:
    """No new work; what was admitted goes on."""

    async def story() -> None:
        admission = Admission(Bounds(max_requests=1, max_wait=60, max_waiting=9))
        guests = Guests(admission)
        await guests.comes("inside")
        await guests.comes("waits")
        admission.drain()
        with pytest.raises(Draining):
            await guests.tasks["waits"]
        assert ["inside"] == guests.inside
        await guests.leaves("inside")
        await asyncio.wait_for(admission.idle(), 1)

    asyncio.run(story())


def test_audio_waits_for_room() -> None:
    """Room comes back as audio is done, not only when a request ends; short ones pass long ones."""

    async def story() -> None:
        admission = Admission(Bounds(max_audio_seconds=100, max_wait=60))
        held: list[str] = []

        async def hold(name: str, place: Place, audio_s: float) -> None:
            await place.hold(audio_s)
            held.append(name)

        async with AsyncExitStack() as stack:
            first, long, short = [
                await stack.enter_async_context(admission.enter()) for _ in range(3)
            ]
            await first.hold(90)
            async with asyncio.TaskGroup() as group:
                group.create_task(hold("long", long, 50))
                await _settle()
                group.create_task(hold("short", short, 10))
                await _settle()
                assert ["short"] == held
                first.progress(50)
                await _settle()
                assert ["short", "long"] == held
            assert 100 == admission.backlog_s
        assert 0 == admission.backlog_s

    asyncio.run(story())


def test_a_recording_above_the_bound_goes_alone() -> None:
    """It gets in when nothing else is there; the next one is refused in time."""

    async def story() -> None:
        admission = Admission(Bounds(max_audio_seconds=10, max_wait=0.02))
        async with admission.enter() as huge, admission.enter() as other:
            await huge.hold(7200)
            with pytest.raises(Overloaded) as caught:
                await other.hold(1)
            assert MAX_RETRY_AFTER == _overloaded(caught)

    asyncio.run(story())


@pytest.mark.parametrize(("speed", "expected"), [(2, 60), (10, 20), (40, 5), (1000, 1)])
def test_the_time_to_come_back_follows_backlog_and_speed(speed: int, expected: int) -> None:
    """200 s of audio at 10 times real time are 20 s; never less than 1 s or more than 60."""

    async def story() -> None:
        clock = Clock()
        admission = Admission(Bounds(), clock)
        async with admission.enter() as place:
            await place.hold(1e6)
            for _ in range(600):
                clock.now += 1
                place.progress(speed)
            place.left_s = 200.0
            assert expected <= admission.retry_after <= expected + 1

    asyncio.run(story())


def test_a_request_of_unknown_length_counts_as_a_usual_one() -> None:
    """Nothing is known before its upload: 30 s at first, then what was usual of late."""

    async def story() -> None:
        admission = Admission(Bounds())
        async with admission.enter():
            assert 30 == admission.backlog_s
        for _ in range(100):
            async with admission.enter() as place:
                await place.hold(6)
        async with admission.enter():
            assert 6 == pytest.approx(admission.backlog_s, abs=0.1)

    asyncio.run(story())


def test_idle_time_is_no_slowness() -> None:
    """The speed is that of the time with work."""

    async def story() -> None:
        clock = Clock()
        admission = Admission(Bounds(), clock)
        for _ in range(100):
            async with admission.enter() as place:
                await place.hold(20)
                clock.now += 1
                place.progress(20)
            clock.now += 3600
        async with admission.enter() as place:
            await place.hold(200)
            assert 10 == pytest.approx(admission.retry_after, abs=1)

    asyncio.run(story())
