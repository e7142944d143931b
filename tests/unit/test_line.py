import threading
import time

import pytest

from server.engines.line import Line


def _wait_for(line: Line, count: int) -> None:
    while len(line._waiting) < count:
        time.sleep(0.001)


def test_the_smallest_goes_first_then_the_first() -> None:
    """Whoever has the turn keeps it; of those who wait, size decides and then order."""
    line, served = Line(), []

    def work(size: int, name: str) -> None:
        with line.turn(size):
            served.append(name)

    threads = []
    with line.turn(1):
        for number, (size, name) in enumerate([(30, "a"), (30, "b"), (10, "c"), (20, "d")], 1):
            threads.append(threading.Thread(target=work, args=(size, name)))
            threads[-1].start()
            _wait_for(line, number)
        assert [] == served
    for thread in threads:
        thread.join(5)
    assert ["c", "d", "a", "b"] == served


def test_a_failure_lets_the_next_one_in() -> None:
    """The turn ends with the context, however it ends."""
    line = Line()
    with pytest.raises(ValueError, match="broken"), line.turn(1):
        raise ValueError("broken")
    with line.turn(1):
        pass
