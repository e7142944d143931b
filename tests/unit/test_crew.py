"""A crew of members that a test can kill: routing, one more try, poison, places, the end."""

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import replace
from typing import get_args

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from structlog.testing import capture_logs

from server.engines.base import EngineInfo
from server.engines.crew import MOST_FAILURES, CrewEngine
from server.engines.crew_orders import Answer, Cause, Gone, Order
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
        self.off = False
        self.cancelled: list[int] = []

    def send(self, order: Order, features: LogMel | None) -> Future[Answer]:
        answer: Future[Answer] = Future()
        self.orders.append((order, features is not None, answer))
        return answer

    def cancel(self, request_ids: Sequence[int]) -> None:
        self.cancelled += request_ids

    def gone(self) -> bool:
        return self.off

    def dismiss(self) -> None:
        self.dismissed = True

    def open(self) -> list[tuple[Order, Future[Answer]]]:
        return [(order, answer) for order, _, answer in self.orders if not answer.done()]

    def answer(self) -> None:
        for order, answer in self.open():
            result = GenerationResult((Hypothesis((order.request.request_id,), -1.0),), 0.0, None)
            answer.set_result(Answer(result, key=order.request.request_id))

    def die(self, cause: Cause = "engine") -> None:
        for _, answer in self.open():
            answer.set_exception(Gone("killed", cause))


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
    """It and the three beside it are tried one by one; it alone takes two more members with it."""
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
    until(lambda: 5 == len(agency.members))


def die_with(crew: CrewEngine, agency: Agency, *causes: Cause) -> "Future[GenerationResult]":
    """One window whose members are lost, one after the other."""
    future = crew.generate(window(1))
    for cause in causes:
        until(lambda: total(agency) == 1 or future.done())
        assert not future.done()
        next(member for member in agency.members if member.open()).die(cause)
    return future


@given(st.lists(st.sampled_from(get_args(Cause)), max_size=20))
@settings(max_examples=25, deadline=None)
def test_two_deaths_prove_nothing_and_neither_do_machines(causes: list[Cause]) -> None:
    """A window ends by its third engine, or its eighth member that it was on; else it is done."""
    fatal: int | None = None
    for end in range(len(causes)):
        sofar = causes[: end + 1]
        if sofar.count("engine") == 3 or len(sofar) - sofar.count("earlier") == 8:
            fatal = end + 1
            break
    agency = Agency(2)
    crew = CrewEngine(agency)
    try:
        future = die_with(crew, agency, *causes[:fatal])
        if fatal is None:
            until(lambda: [member.answer() for member in agency.members] and future.done())
            assert future.result().hypotheses
        else:
            error = future.exception(5)
            assert isinstance(error, EngineError)
            assert "poison_window" == error.reason
    finally:
        crew.close(0)


def test_windows_of_a_lost_machine_are_not_suspected(crew: CrewEngine, agency: Agency) -> None:
    """They go on side by side at once."""
    futures = [crew.generate(window(index)) for index in range(4)]
    until(lambda: total(agency) == 4)
    agency.members[0].die("machine")
    until(lambda: 4 == len(agency.members[1].open()))
    agency.members[1].answer()
    assert list(range(4)) == [f.result(5).hypotheses[0].tokens[0] for f in futures]


def test_a_member_on_a_machine_that_is_off_is_lost(crew: CrewEngine, agency: Agency) -> None:
    """Its calls would hang; they are run elsewhere as soon as the machine is known to be gone."""
    futures = [crew.generate(window(index)) for index in range(8)]
    until(lambda: total(agency) == 8)
    agency.members[0].off = True
    until(lambda: agency.members[0].dismissed)
    until(lambda: [m.answer() for m in agency.members[1:]] and all(f.done() for f in futures))
    assert not any(member.dismissed for member in agency.members[1:])
    assert list(range(8)) == [f.result().hypotheses[0].tokens[0] for f in futures]


def test_who_was_gone_before_is_no_windows_fault(crew: CrewEngine, agency: Agency) -> None:
    """A window that never reached its member is tried for as long as there are others."""
    future = crew.generate(window(1))
    for _ in range(3):
        until(lambda: total(agency) == 1)
        next(member for member in agency.members if member.open()).die("earlier")
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
    agency.members[2].die("earlier")
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
    agency.error = Gone("no weights", "engine")
    with pytest.raises(EngineError):
        CrewEngine(agency)
    assert 5 == len(agency.members)


def test_a_machine_that_cannot_load_takes_nobody_with_it(crew: CrewEngine, agency: Agency) -> None:
    """Those that serve go on; it is tried again, with longer pauses each time."""
    agency.error = Gone("no weights", "engine")
    agency.places = 3
    until(lambda: len(agency.members) > 2 + MOST_FAILURES)
    assert crew.stats().healthy
    future = crew.generate(window(1))
    until(lambda: [member.answer() for member in agency.members] and future.done())
    agency.error = None
    until(lambda: crew.info.max_in_flight == 12)


def test_machines_lost_while_loading_do_not_stop_the_start() -> None:
    """They say nothing on the model."""
    agency = Agency(1)
    agency.error = Gone("lost", "machine")

    def help_out() -> None:
        until(lambda: len(agency.members) > 2 * MOST_FAILURES)
        agency.error = None

    thread = threading.Thread(target=help_out)
    thread.start()
    CrewEngine(agency).close(0)
    thread.join()


def test_the_log_says_that_engines_are_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """How many are there, and how many there have to be; a machine that joins ends the wait."""
    monkeypatch.setattr("server.engines.crew.AWAITED_SECONDS", 0.05)
    agency = Agency(1)
    with capture_logs() as lines:
        thread = threading.Thread(target=lambda: CrewEngine(agency, least=2).close(0))
        thread.start()
        until(lambda: any(line["event"] == "engines_awaited" for line in lines))
        agency.places = 2
        thread.join(5)
    assert not thread.is_alive()
    line = next(line for line in lines if line["event"] == "engines_awaited")
    assert (1, 2) == (line["warm"], line["wanted"])
