"""A crew of members that a test can kill: routing, one more try, poison, places, the end."""

import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import replace

import numpy as np
import pytest

from server.engines.base import EngineInfo
from server.engines.crew import CrewEngine
from server.engines.crew_orders import Answer, Gone, Order
from server.errors import DeadlineExceeded, EngineError
from server.types import (
    AlignmentRequest,
    GenerationOptions,
    GenerationRequest,
    GenerationResult,
    Hypothesis,
    LogMel,
)

FEATURES = np.zeros((80, 3000), np.float32)
INFO = EngineInfo("double", "base", 80, ["pt"], max_in_flight=4, seedable=False)


class Double:
    """A member that answers when the test says so."""

    def __init__(self) -> None:
        self.orders: list[tuple[Order, bool, Future[Answer]]] = []
        self.dismissed = False
        self.cancelled: list[int] = []

    def send(self, order: Order, features: LogMel | None) -> Future[Answer]:
        answer: Future[Answer] = Future()
        self.orders.append((order, features is not None, answer))
        return answer

    def cancel(self, request_ids: Sequence[int]) -> None:
        self.cancelled += request_ids

    def dismiss(self) -> None:
        self.dismissed = True

    def open(self) -> list[tuple[Order, Future[Answer]]]:
        return [(order, answer) for order, _, answer in self.orders if not answer.done()]

    def answer(self) -> None:
        for order, answer in self.open():
            result = GenerationResult((Hypothesis((order.request.request_id,), -1.0),), 0.0, None)
            answer.set_result(Answer(result, key=order.request.request_id))

    def die(self, *, blameless: bool = False) -> None:
        for _, answer in self.open():
            answer.set_exception(Gone("killed", blameless=blameless))


class Agency:
    """Room for as many doubles as the test says; each is warm at once."""

    def __init__(self, room: int) -> None:
        self.places = room
        self.members: list[Double] = []
        self.error: Exception | None = None

    def room(self) -> int:
        return self.places

    def hire(self) -> tuple[Double, Future[EngineInfo]]:
        warm: Future[EngineInfo] = Future()
        double = Double()
        self.members.append(double)
        if self.error is not None:
            warm.set_exception(self.error)
        else:
            warm.set_result(INFO)
        return double, warm

    def close(self) -> None:
        """Nothing to let go of."""


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("server.engines.crew.LOOK_SECONDS", 0.02)


@pytest.fixture
def agency() -> Agency:
    return Agency(2)


@pytest.fixture
def crew(agency: Agency) -> Iterator[CrewEngine]:
    engine = CrewEngine(agency, least=2)
    yield engine
    engine.close(0)


def window(request_id: int, **changes: object) -> GenerationRequest:
    request = GenerationRequest(request_id, (1,), GenerationOptions(), FEATURES)
    return replace(request, **changes)  # type: ignore[arg-type]


def until(true: Callable[[], object]) -> None:
    deadline = time.monotonic() + 5
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def total(agency: Agency) -> int:
    return sum(len(member.open()) for member in agency.members)


def test_windows_are_shared_out_and_places_are_the_sum(crew: CrewEngine, agency: Agency) -> None:
    """Each of two members gets half; what they have no place for waits."""
    assert 8 == crew.info.max_in_flight
    futures = [crew.generate(window(index)) for index in range(10)]
    until(lambda: total(agency) == 8)
    assert [4, 4] == [len(member.open()) for member in agency.members]
    assert (2, 8) == (crew.stats().waiting, crew.stats().running)
    until(lambda: [member.answer() for member in agency.members] and all(f.done() for f in futures))
    assert list(range(10)) == [f.result().hypotheses[0].tokens[0] for f in futures]


def test_a_lost_members_windows_are_run_again(crew: CrewEngine, agency: Agency) -> None:
    """Another is hired, and every window ends as if nothing had been."""
    futures = [crew.generate(window(index)) for index in range(8)]
    until(lambda: total(agency) == 8)
    agency.members[0].die()
    until(lambda: len(agency.members) == 3)
    until(lambda: [member.answer() for member in agency.members] and all(f.done() for f in futures))
    assert list(range(8)) == [f.result().hypotheses[0].tokens[0] for f in futures]
    until(lambda: agency.members[0].dismissed)
    assert crew.stats().healthy


def test_a_window_that_kills_fails_alone(crew: CrewEngine, agency: Agency) -> None:
    """It and the three beside it are tried one by one; it alone takes a second member with it."""
    futures = [crew.generate(window(index)) for index in range(8)]

    def step() -> bool:
        for member in agency.members:
            if any(order.request.request_id == 3 for order, _ in member.open()):
                member.die()
            else:
                member.answer()
        return all(future.done() for future in futures)

    until(lambda: total(agency) == 8)
    until(step)
    for index, future in enumerate(futures):
        if index == 3:
            with pytest.raises(EngineError) as caught:
                future.result()
            assert "poison_window" == caught.value.reason
        else:
            assert (index,) == future.result().hypotheses[0].tokens


def test_who_was_gone_before_is_no_windows_fault(crew: CrewEngine, agency: Agency) -> None:
    """A window that never reached its member is tried for as long as there are others."""
    future = crew.generate(window(1))
    for _ in range(3):
        until(lambda: total(agency) == 1)
        next(member for member in agency.members if member.open()).die(blameless=True)
    until(lambda: [member.answer() for member in agency.members] and future.done())
    assert future.result().hypotheses


def test_an_encoding_is_used_where_it_lies_or_made_anew(crew: CrewEngine, agency: Agency) -> None:
    """The next request goes to its member without features; with features to others, if it died."""
    first = crew.generate(window(1))
    until(lambda: total(agency) == 1)
    holder = next(member for member in agency.members if member.open())
    holder.answer()
    again = window(1, features=None, encoded=first.result(5).encoded)
    second = crew.generate(again)
    until(holder.open)
    assert (1, False) == (holder.orders[-1][0].key, holder.orders[-1][1])
    holder.die()
    until(lambda: total(agency) == 1)
    other = next(member for member in agency.members if member.open())
    assert (None, True) == (other.orders[-1][0].key, other.orders[-1][1])
    other.answer()
    assert second.result(5).hypotheses


def test_a_forgotten_encoding_is_made_anew(crew: CrewEngine, agency: Agency) -> None:
    """A member that answers «lost» gets the features, and nobody is told."""
    first = crew.generate(window(1))
    until(lambda: total(agency) == 1)
    holder = next(member for member in agency.members if member.open())
    holder.answer()
    second = crew.align(AlignmentRequest(1, (1,), (2,), 100, encoded=first.result(5).encoded))
    until(holder.open)
    holder.open()[0][1].set_result(Answer(failure="lost"))
    until(lambda: total(agency) == 1)
    order, features, _ = next(m for m in agency.members if m.open()).orders[-1]
    assert (None, True) == (order.key, features)
    crew.cancel(1)
    assert second.cancelled()


def test_members_come_and_go_with_the_machines(crew: CrewEngine, agency: Agency) -> None:
    """The sum of places follows, and a newcomer takes what waits."""
    futures = [crew.generate(window(index)) for index in range(12)]
    until(lambda: total(agency) == 8)
    agency.places = 3
    until(lambda: total(agency) == 12)
    assert 12 == crew.info.max_in_flight
    agency.places = 2
    agency.members[2].die(blameless=True)
    until(lambda: crew.info.max_in_flight == 8)
    until(lambda: [member.answer() for member in agency.members] and all(f.done() for f in futures))
    assert 3 == len(agency.members)


def test_deadlines_and_cancel_hold_whatever_a_member_does(crew: CrewEngine, agency: Agency) -> None:
    """Both end a window that its member never answers; the member is told of the cancelled one."""
    late = crew.generate(window(1, deadline=time.monotonic() + 0.05))
    dropped = crew.generate(window(2))
    until(lambda: total(agency) == 2)
    crew.cancel(2)
    assert dropped.cancelled()
    with pytest.raises(DeadlineExceeded):
        late.result(5)
    until(lambda: any(2 in member.cancelled for member in agency.members))


def test_a_silent_member_is_replaced() -> None:
    """One that has answered nothing for so long counts as lost."""
    agency = Agency(1)
    crew = CrewEngine(agency, window_timeout=0.02)
    future = crew.generate(window(1))
    until(lambda: len(agency.members) == 2)
    until(lambda: [agency.members[1].answer()] and future.done())
    assert future.result().hypotheses
    crew.close(0)


def test_every_future_ends_on_close(crew: CrewEngine, agency: Agency) -> None:
    """What waits, what is with members, and what comes later."""
    futures = [crew.generate(window(index)) for index in range(10)]
    until(lambda: total(agency) == 8)
    crew.close(0.05)
    futures.append(crew.generate(window(11)))
    assert all(isinstance(future.exception(1), EngineError) for future in futures)
    assert all(member.dismissed for member in agency.members)


def test_engines_that_cannot_be_loaded_stop_the_start() -> None:
    """After five in a row it is the model or the installation."""
    agency = Agency(1)
    agency.error = Gone("no weights")
    with pytest.raises(EngineError):
        CrewEngine(agency)
    assert 5 == len(agency.members)
