"""Which build serves, what served before, and what is deleted."""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ops.engines.builds import ACTIVATED, Builds, BuildsError
from server.engines.choice import EngineName, current

NAMES = ("20261125T100000Z-int8", "20261125T110000Z-int8", "20261125T120000Z-float16")


def made(engines: Path, engine: EngineName = "ctranslate2") -> Builds:
    """Three builds, none active."""
    builds = Builds(engines, engine, "base")
    for name in NAMES:
        (builds.folder / name).mkdir(parents=True)
        file = builds.folder / name / "model.bin"
        file.touch(mode=0o444)
    return builds


def test_a_switch_is_what_a_server_sees(tmp_path: Path) -> None:
    """The link that the server follows, and names that a person reads."""
    builds = made(tmp_path)
    assert (None, None) == (builds.active(), current(tmp_path, "ctranslate2", "base"))
    builds.activate(NAMES[1])
    assert (NAMES[1], builds.folder / NAMES[1]) == (
        builds.active(),
        current(tmp_path, "ctranslate2", "base"),
    )
    assert list(NAMES) == builds.names()


def test_going_back_step_by_step(tmp_path: Path) -> None:
    """At last to the weights as they were fetched; then there is nothing more to go back to."""
    builds = made(tmp_path)
    for name in NAMES:
        builds.activate(name)
    assert [NAMES[1], NAMES[0], "weights"] == [builds.rollback() for _ in NAMES]
    assert None is builds.active()
    with pytest.raises(BuildsError, match="nothing served base with ctranslate2 before"):
        builds.rollback()


def test_an_engine_for_a_gpu_has_no_weights_to_go_back_to(tmp_path: Path) -> None:
    """The first one stays until there is another one."""
    builds = made(tmp_path, "tensorrt_llm")
    builds.activate(NAMES[0])
    with pytest.raises(BuildsError, match="nothing served base with tensorrt_llm before"):
        builds.rollback()
    builds.activate(NAMES[1])
    assert NAMES[0] == builds.rollback()


def test_activating_after_going_back_forgets_what_was_left(tmp_path: Path) -> None:
    """What is gone back from is not what served before the next one."""
    builds = made(tmp_path)
    for name in NAMES[:2]:
        builds.activate(name)
    builds.rollback()
    builds.activate(NAMES[2])
    assert NAMES[0] == builds.previous()


def test_a_build_that_is_not_there_is_not_activated(tmp_path: Path) -> None:
    """The known ones are told; what served goes on."""
    builds = made(tmp_path)
    builds.activate(NAMES[0])
    with pytest.raises(BuildsError, match=f"no build nothing for ctranslate2; it has {NAMES[0]}"):
        builds.activate("nothing")
    assert NAMES[0] == builds.active()


def test_a_switch_that_was_killed_half_way_did_not_happen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The record is a name ahead of the link then; going back is right all the same."""
    builds = made(tmp_path)
    for name in NAMES[:2]:
        builds.activate(name)

    def die(_: str) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(builds, "_link", die)
        with pytest.raises(KeyboardInterrupt):
            builds.activate(NAMES[2])
    assert NAMES[2] in (builds.folder / ACTIVATED).read_text()
    assert (NAMES[1], NAMES[0]) == (builds.active(), builds.previous())
    assert NAMES[0] == builds.rollback()


@settings(deadline=None, max_examples=40)  # each waits for the disk
@given(order=st.lists(st.sampled_from(NAMES), min_size=1, max_size=6), keep=st.integers(1, 4))
def test_what_serves_and_what_served_before_is_kept(
    tmp_path_factory: pytest.TempPathFactory, order: list[str], keep: int
) -> None:
    """Of the rest the newest, up to the number that was asked for."""
    builds = made(tmp_path_factory.mktemp("engines"))
    for name in order:
        builds.activate(name)
    needed = {builds.active(), builds.previous()} - {"weights"}
    gone = builds.prune(keep)
    left = builds.names()
    assert sorted([*gone, *left]) == list(NAMES)
    assert needed <= set(left)
    assert min(max(keep, len(needed)), len(NAMES)) == len(left)
    assert all(old < new for old in gone for new in set(left) - needed)


def test_unfinished_work_is_no_build(tmp_path: Path) -> None:
    """Nor are the link and the record."""
    builds = made(tmp_path)
    builds.activate(NAMES[0])
    (builds.folder / ".base.0123456789abcdef").mkdir()
    assert list(NAMES) == builds.names()
    assert (builds.folder / ACTIVATED).is_file()
