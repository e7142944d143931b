"""A little of the fuzzing, other cases each time; `./just fuzz` does more of the same."""

import random
import subprocess
from collections.abc import Iterator
from itertools import chain, islice
from pathlib import Path

import pytest
import targets  # noqa: F401 - fills TARGETS
from http_cases import Case, of_chance, of_files, of_forms
from seeding import SEED
from target import TARGETS
from watched import Holdings, Watched, watched

ROOT = Path(__file__).parents[2]

CASES = 40
HTTP_CASES = 120
HOSTILE_FILES = 60

GROWTH_MIB = 24.0
"""Of a server that has just started: allocators and caches fill. `./just fuzz` looks closer."""


@pytest.mark.parametrize("name", sorted(TARGETS))
def test_nothing_breaks_it(name: str) -> None:
    """The target holds for whatever Hypothesis comes up with."""
    try:
        TARGETS[name].run(CASES, SEED)
    except BaseException as error:
        error.add_note(f"SUSSURRO_TEST_SEED={SEED}")
        raise


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watched]:
    """A real server with its real sandbox."""
    with watched(tmp_path_factory.mktemp("fuzzed")) as server:
        yield server


def cases() -> Iterator[Case]:
    """Every hostile form, some of the hostile files, and cases of this run's own."""
    files = {case.name: case for case in of_files()}
    yield from of_forms()
    yield from (files.pop(name) for name in ("hls, bare", "zeros"))  # refused whatever the seed
    yield from random.Random(SEED).sample(list(files.values()), HOSTILE_FILES)
    yield from (of_chance(SEED + number) for number in range(HTTP_CASES))


def test_a_server_takes_it(server: Watched) -> None:
    """Hostile requests are answered in time, with no fault of ours, and leave nothing behind."""
    made = cases()
    server.send(islice(made, 40))
    before = server.holdings()

    server.send(chain(made))
    after = server.holdings()

    assert [] == server.faults, f"SUSSURRO_TEST_SEED={SEED}"
    assert [] == server.process.lines("fault"), f"SUSSURRO_TEST_SEED={SEED}"
    assert server.works()
    assert _kept(before) == _kept(after)
    assert after.rss_mib - before.rss_mib < GROWTH_MIB
    assert after.media_rss_mib - before.media_rss_mib < 2.0
    assert {"not_media", "playlist"} <= server.reasons().keys(), (
        "This is a bug: files were not looked at."
    )
    assert server.ends["200"] > 20
    assert 0 == server.ends["503"]
    assert 0 == server.process.stop()


def test_the_long_run_starts() -> None:
    """`./just fuzz` has all that it imports, and ends well where nothing breaks."""
    run = [ROOT / "just", "fuzz", "--target", "paths", "--cases", "1", "--seed", str(SEED)]
    done = subprocess.run(run, cwd=ROOT, check=True, capture_output=True, text=True)

    assert f"seed {SEED}" in done.stdout
    assert "1 targets" in done.stdout


def _kept(holdings: Holdings) -> tuple[int, ...]:
    return (
        holdings.descriptors,
        holdings.media_descriptors,
        holdings.decoders,
        holdings.spooled_files,
    )
