import io
import pickle
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from random_whisper import TINY, Name, pickled, random_checkpoint, save_pt, write_archive

from engine_build import pt_file
from engine_build.errors import CheckpointError

BY_TORCH = Path(__file__).with_name("written_by_torch.pt")


def refused(path: Path, reason: str) -> None:
    with pytest.raises(CheckpointError, match=reason):
        pt_file.load(path)


def test_a_file_that_pytorch_wrote_is_read() -> None:
    """Both types, a parameter, a transposed view, a shared storage, as PyTorch 2.13 saves them."""
    content = pt_file.load(BY_TORCH)
    numbers = np.arange(12, dtype=np.float32).reshape(3, 4)
    state = content["model_state_dict"]

    assert {"n_mels": 80, "n_vocab": 51865} == content["dims"]
    assert ["half", "single", "parameter", "transposed", "row"] == list(state)
    for name, expected in (
        ("half", numbers.astype(np.float16)),
        ("single", numbers / 3),
        ("parameter", numbers),
        ("transposed", numbers.T),
        ("row", numbers[1]),
    ):
        assert expected.dtype == state[name].dtype
        assert np.array_equal(expected, state[name]), name


def test_every_bit_comes_back(tmp_path: Path) -> None:
    """What was written is what is read, and nothing can write to it."""
    checkpoint = random_checkpoint(TINY)
    content = pt_file.load(save_pt(tmp_path / "tiny.pt", checkpoint))

    assert TINY.as_dict() == content["dims"]
    for name, tensor in checkpoint.tensors.items():
        found = content["model_state_dict"][name]
        assert tensor.tobytes() == found.tobytes()
        assert not found.flags.writeable


def text(value: str) -> bytes:
    """A string as pickles of protocol 2 hold it."""
    return pickle.BINUNICODE + len(value).to_bytes(4, "little") + value.encode()


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (pickle.BYTEARRAY8 + (1 << 40).to_bytes(8, "little"), "damaged|BYTEARRAY8"),
        (pickle.BINBYTES8 + (1 << 40).to_bytes(8, "little"), "damaged|BINBYTES8"),
        (pickle.NONE + pickle.LONG_BINPUT + b"\xff\xff\xff\x7f" + pickle.STOP, "names a place"),
        (pickle.EMPTY_SET + pickle.STOP, "EMPTY_SET, which no checkpoint needs"),
    ],
)
def test_a_small_file_cannot_ask_for_gigabytes(tmp_path: Path, content: bytes, reason: str) -> None:
    """What the unpickler would make room for before it has read anything is refused."""
    refused(write_archive(tmp_path / "bomb.pt", content, {}), reason)


@pytest.mark.parametrize(
    ("module", "name"),
    [("posix", "system"), ("builtins", "eval"), ("torch", "load"), ("collections", "Counter")],
)
def test_no_other_name_is_looked_up(tmp_path: Path, module: str, name: str) -> None:
    """A checkpoint that asks for a program is refused before anything runs."""
    out = io.BytesIO()
    out.write(pickle.GLOBAL + f"{module}\n{name}\n".encode())
    out.write(text(f"touch {tmp_path}/harm") + pickle.TUPLE1 + pickle.REDUCE + pickle.STOP)
    refused(write_archive(tmp_path / "evil.pt", out.getvalue(), {}), f"asks for {module}.{name}")
    assert not (tmp_path / "harm").exists()


def test_a_pickle_cannot_change_what_it_is_given(tmp_path: Path) -> None:
    """The stand-ins for PyTorch's functions take no attributes."""
    out = pickle.GLOBAL + b"torch._utils\n_rebuild_tensor_v2\n"
    out += pickle.EMPTY_DICT + text("__call__") + pickle.NONE + pickle.SETITEM
    refused(write_archive(tmp_path / "evil.pt", out + pickle.BUILD + pickle.STOP, {}), "damaged")


@pytest.mark.parametrize(
    ("size", "stride", "offset"),
    [
        ((13,), (1,), 0),
        ((12,), (1,), 1),
        ((2,), (-1,), 1),
        ((2, 2), (1,), 0),
        ((2,), (1,), -3),
        ((0,), (1,), 0),
        ((2,), (1 << 62,), 0),
    ],
)
def test_a_view_beyond_its_storage_is_refused(
    size: tuple[int, ...], stride: tuple[int, ...], offset: int
) -> None:
    """A file cannot make us read memory that is not its own."""
    rebuild = pt_file._RebuildTensor()
    with pytest.raises(ValueError, match="tensor"):
        rebuild(np.zeros(12, np.float32), offset, size, stride)


def test_other_archives_are_refused(tmp_path: Path) -> None:
    """Each with its reason."""
    path = tmp_path / "x.pt"
    path.write_bytes(b"not a zip file at all")
    refused(path, "no checkpoint of PyTorch")
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("readme.txt", "hello")
    refused(path, "no data.pkl")
    content = pickled({"x": np.zeros(64, np.float32)})
    refused(write_archive(path, *content, compression=zipfile.ZIP_DEFLATED), "not as long")
    refused(write_archive(path, *content, byteorder=b"big"), "little-endian")
    refused(write_archive(path, content[0], {}), "damaged")
    refused(write_archive(path, content[0], {"0": b"short"}), "not as long as it says")
    refused(write_archive(path, b"x" * (pt_file.MAX_PICKLE_BYTES + 1), {}), "too large")
    unknown = pickled({"x": Name("torch", "IntStorage")})
    refused(write_archive(path, *unknown), "asks for torch.IntStorage")


def test_a_file_cut_short_is_refused(tmp_path: Path) -> None:
    """The archive's index is at its end, so half a download is noticed at once."""
    path = save_pt(tmp_path / "tiny.pt", random_checkpoint(TINY))
    path.write_bytes(path.read_bytes()[:-1000])
    refused(path, "no checkpoint of PyTorch")


@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(st.integers(0, 10_000), st.integers(0, 255)), min_size=1, max_size=4))
def test_no_damage_ends_in_anything_but_a_word(
    tmp_path: Path, changes: list[tuple[int, int]]
) -> None:
    """Whatever bytes of the pickle change: it loads, or it is a CheckpointError."""
    content, storages = pickled({"dims": {"n_mels": 4}, "x": np.zeros((2, 3), np.float16)})
    damaged = bytearray(content)
    for place, value in changes:
        damaged[place % len(damaged)] = value
    path = write_archive(tmp_path / "x.pt", bytes(damaged), storages)
    try:
        pt_file.load(path)
    except CheckpointError as error:
        assert str(error)  # noqa: PT017  both ends are right
