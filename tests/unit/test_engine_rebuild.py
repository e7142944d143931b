"""What a rebuild looks at before it begins."""

from pathlib import Path

import pytest

from engine_build.errors import BuildError
from engine_build.work import alone
from ops.engines import rebuild as story
from ops.engines.rebuild import Order, rebuild


@pytest.fixture
def order(tmp_path: Path) -> Order:
    """A model of a few bytes."""
    (tmp_path / "weights").mkdir()
    (tmp_path / "weights" / "model.bin").write_bytes(b"1234")
    return Order("base", "ctranslate2", tmp_path / "weights", tmp_path / "clips.tsv")


def run(order: Order, engines: Path) -> None:
    rebuild(order, engines, keep=3, activate=True, say=lambda _: None)


def test_without_room_nothing_is_begun(
    order: Order, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is missing is told."""
    monkeypatch.setattr(story, "ROOM_FACTOR", 1 << 60)
    with pytest.raises(BuildError, match="a rebuild of base takes up to"):
        run(order, tmp_path / "engines")
    assert [] == list((tmp_path / "engines").iterdir())


def test_one_rebuild_at_a_time_in_a_folder(order: Order, tmp_path: Path) -> None:
    """Whatever the models are; the other one is not disturbed."""
    engines = tmp_path / "engines"
    engines.mkdir()
    with alone(engines, "the first one"), pytest.raises(BuildError, match="another rebuild runs"):
        run(order, engines)


def test_weights_that_are_no_model_are_refused(order: Order, tmp_path: Path) -> None:
    """And no build appears."""
    with pytest.raises(BuildError):
        run(order, tmp_path / "engines")
    assert [] == list((tmp_path / "engines").rglob("*-int8"))
