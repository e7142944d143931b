"""What a fuzzing target is, and the three ways to run one: some cases, many, or led by coverage."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from typing import Any

from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

MAX_CPU_SECONDS = 2.0
"""Of one case, some milliseconds long otherwise: an input that takes more is a lever."""

TARGETS: dict[str, "Target"] = {}
"""By name; importing `targets` fills it."""


@dataclass(frozen=True, slots=True)
class Target:
    """A property of the server's code, and what it has to hold for."""

    check: Callable[..., None]
    strategies: tuple[st.SearchStrategy[Any], ...]

    def run(self, cases: int, number: int) -> None:
        """So many cases from this seed; raises what was found, the smallest example of it."""
        search = settings(
            max_examples=cases,
            database=None,
            deadline=None,
            phases=(Phase.generate, Phase.shrink),
            suppress_health_check=list(HealthCheck),
            print_blob=False,
        )
        seed(number)(search(self._given()))()

    def of_bytes(self) -> Callable[[bytes], bytes | None]:
        """A function that runs the case that its bytes decide, for a fuzzer led by coverage."""
        search = settings(database=None, deadline=None, suppress_health_check=list(HealthCheck))
        of_bytes: Callable[[bytes], bytes | None] = search(self._given()).hypothesis.fuzz_one_input
        return of_bytes

    def _given(self) -> Any:
        @wraps(self.check)
        def timed(**values: Any) -> None:
            started = time.thread_time()
            self.check(**values)
            assert time.thread_time() - started < MAX_CPU_SECONDS, "it takes too long"

        return given(*self.strategies)(timed)


def target(
    *strategies: st.SearchStrategy[Any],
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Make a target of a function, by its name."""

    def register(check: Callable[..., None]) -> Callable[..., None]:
        TARGETS[check.__name__.replace("_", "-")] = Target(check, strategies)
        return check

    return register
