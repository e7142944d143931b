import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from engine_build import safetensors
from engine_build.errors import CheckpointError

floats = arrays(
    np.float16, array_shapes(max_dims=4, max_side=5), elements=st.floats(-100, 100, width=16)
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.dictionaries(st.text("abc.0", min_size=1), floats, min_size=1, max_size=5))
def test_what_is_written_is_read(tmp_path: Path, tensors: dict[str, np.ndarray]) -> None:
    """Names, shapes and every bit."""
    path = tmp_path / "x.safetensors"
    safetensors.write(path, {name: [tensor] for name, tensor in tensors.items()}, "F16")
    found = safetensors.read(path)
    assert list(tensors) == list(found)
    for name, tensor in tensors.items():
        assert (tensor.shape, tensor.tobytes()) == (found[name].shape, found[name].tobytes())


def test_pieces_become_one_tensor(tmp_path: Path) -> None:
    """Joined along the first axis, converted, whatever their layout in memory."""
    path = tmp_path / "x.safetensors"
    first, second = np.arange(6.0).reshape(3, 2).T, np.ones((1, 3), np.float16)
    safetensors.write(path, {"a": [first, second]}, "F16")
    expected = np.concatenate([first, second]).astype(np.float16)
    assert np.array_equal(expected, safetensors.read(path)["a"])


def test_the_layout_is_that_of_the_format(tmp_path: Path) -> None:
    """Header length, header, data: offsets without holes, data at a multiple of eight."""
    path = tmp_path / "x.safetensors"
    safetensors.write(path, {"a": [np.zeros(3)], "b": [np.zeros((2, 2))]}, "F32")
    data = path.read_bytes()
    length = int.from_bytes(data[:8], "little")
    expected = {
        "a": {"dtype": "F32", "shape": [3], "data_offsets": [0, 12]},
        "b": {"dtype": "F32", "shape": [2, 2], "data_offsets": [12, 28]},
    }
    assert expected == json.loads(data[8 : 8 + length])
    assert 8 + length + 28 == len(data)


@pytest.mark.parametrize("name", ["a" * count for count in range(1, 9)])
def test_the_data_starts_at_a_multiple_of_eight(tmp_path: Path, name: str) -> None:
    """However long the names are: a float can be mapped where it lies."""
    path = tmp_path / "x.safetensors"
    safetensors.write(path, {name: [np.ones(1)]}, "F32")
    assert 0 == int.from_bytes(path.read_bytes()[:8], "little") % 8


@pytest.mark.parametrize("number", [1e6, np.inf, np.nan])
def test_a_number_that_float16_cannot_hold_is_refused(tmp_path: Path, number: float) -> None:
    """Rather than an engine that says nothing."""
    with pytest.raises(CheckpointError, match="layer holds a number"):
        safetensors.write(tmp_path / "x", {"layer": [np.array([1.0, number])]}, "F16")


@pytest.mark.parametrize("kept", [4, 20, 100, -1])
def test_a_file_cut_short_is_refused(tmp_path: Path, kept: int) -> None:
    """Wherever it breaks off."""
    path = tmp_path / "x.safetensors"
    safetensors.write(path, {"a": [np.zeros(30)]}, "F32")
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(CheckpointError, match="cut short"):
        safetensors.read(path)
