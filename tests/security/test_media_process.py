"""The media process's life: slots, deadlines, cancellation, death, and what it may know."""

import asyncio
import gc
import os
import re
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from conftest import LoadingRoom, OpenRoom
from media_samples import encode, sine, wav

from server import texts
from server.audio.loader import Loader
from server.errors import BadAudio, InternalError
from server.types import Audio

CLIP = wav(sine(16_000, 0.5))

UNDECODED = "^" + re.escape(str(texts.LOADER_FAILED)) + "$"
"""All that a client is told, whatever went wrong."""


def children(pid: int) -> list[int]:
    """The processes that `pid` has started and that are not reaped."""
    text = Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii")
    return [int(number) for number in text.split()]


def wait_until(happens: Callable[[], bool]) -> bool:
    """Whether something happens within five seconds."""
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline:
        if happens():
            return True
        time.sleep(0.01)
    return False


@pytest.fixture(scope="module")
def long_file() -> bytes:
    """Over an hour of audio, which takes seconds to decode."""
    return encode("mp3", "mp3", 44_100, "mono", 60.0, options=(("write_xing", "0"),)) * 120


async def _load_after(loader: Loader, fd: int, children_of: int) -> asyncio.Task[Audio]:
    task = asyncio.create_task(loader.load(fd))
    while not children(children_of):
        await asyncio.sleep(0.005)
    return task


def test_a_loader_is_healthy_while_its_process_runs(tmp_path: Path) -> None:
    """Before `start` and after `close` a loader is not healthy; `start` names no layer here."""
    room = LoadingRoom(tmp_path, start=False)
    before = room.loader.healthy
    missing = room.runner.run(room.loader.start())
    during = room.loader.healthy
    room.close()

    assert (before, missing, during, room.loader.healthy) == (False, (), True, False)


def test_the_offset_of_the_upload_does_not_matter(room: LoadingRoom) -> None:
    """A file is read from its first byte, and the caller's offset stays where it was."""
    with room.file(CLIP) as fd:
        os.lseek(fd, 1_000, os.SEEK_SET)

        audio = room.runner.run(room.loader.load(fd))

        assert (audio.duration, os.lseek(fd, 0, os.SEEK_CUR)) == (0.5, 1_000)


def test_loads_run_side_by_side(open_room: OpenRoom, long_file: bytes) -> None:
    """With two slots a short file does not wait for a long one."""
    room = open_room(max_audio_seconds=86_400.0)

    async def both() -> tuple[float, bool]:
        with room.file(long_file) as long_fd, room.file(CLIP) as short_fd:
            long = await _load_after(room.loader, long_fd, room.pid)
            short = await room.loader.load(short_fd)
            done = long.done()
            long.cancel()
            await asyncio.gather(long, return_exceptions=True)
            return short.duration, done

    assert room.runner.run(both()) == (0.5, False)


def test_a_load_waits_for_a_slot(open_room: OpenRoom, long_file: bytes) -> None:
    """With one slot there is never more than one decoder."""
    room = open_room(max_audio_seconds=86_400.0, max_loads=1)

    async def crowd() -> int:
        with room.file(long_file) as long_fd, room.file(CLIP) as short_fd:
            long = await _load_after(room.loader, long_fd, room.pid)
            short = asyncio.create_task(room.loader.load(short_fd))
            await asyncio.sleep(0.1)
            count = len(children(room.pid))
            long.cancel()
            await short
            return count

    assert room.runner.run(crowd()) == 1


def test_cancelling_kills_the_decoder(open_room: OpenRoom, long_file: bytes) -> None:
    """Nobody decodes for a client who has left."""
    room = open_room(max_audio_seconds=86_400.0)
    pid = room.pid

    async def leave() -> None:
        with room.file(long_file) as fd:
            task = await _load_after(room.loader, fd, pid)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task

    room.runner.run(leave())

    assert wait_until(lambda: children(pid) == [])
    assert room.load(CLIP).duration == 0.5


def test_a_file_that_takes_too_long_is_refused(open_room: OpenRoom, long_file: bytes) -> None:
    """The time limit holds, names itself, and leaves no decoder behind."""
    room = open_room(max_audio_seconds=86_400.0, load_timeout=0.3)
    started = time.monotonic()

    with pytest.raises(BadAudio, match=r"longer than 0\.3 s") as caught:
        room.load(long_file)

    assert caught.value.reason == "too_slow"
    assert time.monotonic() - started < 2.0
    assert wait_until(lambda: children(room.pid) == [])


def test_a_dead_process_is_started_anew(open_room: OpenRoom) -> None:
    """When the media process dies, `healthy` says so and the next load works."""
    room = open_room()
    os.kill(room.pid, signal.SIGKILL)
    assert wait_until(lambda: not room.loader.healthy)

    assert room.load(CLIP).duration == 0.5
    assert room.loader.healthy


def test_restarts_are_a_second_apart(open_room: OpenRoom) -> None:
    """A process that keeps dying does not make the server start one after another."""
    room = open_room()
    os.kill(room.pid, signal.SIGKILL)
    assert wait_until(lambda: not room.loader.healthy)
    first = room.loader._started_at

    room.load(CLIP)

    assert room.loader._started_at - first >= 1.0


def test_a_load_under_way_fails_when_the_process_dies(
    open_room: OpenRoom, long_file: bytes
) -> None:
    """Its death is a fault of ours, which names nothing; its decoders die with it."""
    room = open_room(max_audio_seconds=86_400.0)
    pid = room.pid

    async def murder() -> list[int]:
        with room.file(long_file) as fd:
            task = await _load_after(room.loader, fd, pid)
            orphans = children(pid)
            os.kill(pid, signal.SIGKILL)
            with pytest.raises(InternalError, match=UNDECODED):
                await task
            return orphans

    orphans = room.runner.run(murder())

    assert orphans != []
    assert wait_until(lambda: not any(Path(f"/proc/{orphan}").exists() for orphan in orphans))


def test_a_decoder_that_is_killed_is_a_fault_of_ours(open_room: OpenRoom, long_file: bytes) -> None:
    """SIGKILL is the kernel's word for want of memory: the file may be innocent."""
    room = open_room(max_audio_seconds=86_400.0)

    async def murder() -> str | None:
        with room.file(long_file) as fd:
            task = await _load_after(room.loader, fd, room.pid)
            os.kill(children(room.pid)[0], signal.SIGKILL)
            with pytest.raises(InternalError) as caught:
                await task
            return caught.value.reason

    assert room.runner.run(murder()) == "decoder_killed"


def test_closing_ends_everything(open_room: OpenRoom, long_file: bytes) -> None:
    """A closed loader leaves no process, and loads no more."""
    room = open_room(max_audio_seconds=86_400.0)
    pid = room.pid

    async def close_midway() -> None:
        with room.file(long_file) as fd:
            task = await _load_after(room.loader, fd, pid)
            await room.loader.close()
            with pytest.raises(InternalError):
                await task

    room.runner.run(close_midway())

    assert not Path(f"/proc/{pid}").exists()
    with pytest.raises(InternalError):
        room.load(CLIP)


def test_sigterm_and_sigint_leave_the_process_to_its_parent(room: LoadingRoom) -> None:
    """A supervisor that signals the whole group does not cut the drain short."""
    pid = room.pid
    for number in (signal.SIGINT, signal.SIGTERM):
        os.kill(pid, number)

    assert room.load(CLIP).duration == 0.5
    assert room.pid == pid


def test_the_process_knows_no_secret(open_room: OpenRoom, monkeypatch: pytest.MonkeyPatch) -> None:
    """The media process's environment is empty, and it holds no file of the server's."""
    monkeypatch.setenv("SUSSURRO_API_KEYS", "secret")
    with Path(__file__).open(encoding="utf-8"):
        room = open_room()
        proc = Path(f"/proc/{room.pid}")

        def opened() -> list[str]:
            links = {str(link.readlink()) for link in (proc / "fd").iterdir()}
            return sorted(link.split(":")[0] for link in links)

        # Python's own start under the C locale may add LC_CTYPE; nothing is inherited.
        assert b"SUSSURRO" not in (proc / "environ").read_bytes()
        # Its selector and its control socket; the socket of the last job closes in a moment.
        assert wait_until(lambda: opened() == ["/dev/null", "anon_inode", "socket"])


def test_the_process_has_one_thread_and_is_small(room: LoadingRoom) -> None:
    """It can fork safely, and stays under 64 MiB resident."""
    status = Path(f"/proc/{room.pid}/status").read_text(encoding="ascii")
    fields = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)

    assert fields["Threads"].strip() == "1"
    assert int(fields["VmRSS"].split()[0]) < 64 * 1024


def test_a_hundred_loads_leak_no_descriptor(room: LoadingRoom) -> None:
    """Neither side keeps a file, a socket or a process from a load that is over."""
    process = room.pid

    def held() -> tuple[int, int, list[int]]:
        gc.collect()
        ours, theirs = (len([*Path(f"/proc/{pid}/fd").iterdir()]) for pid in ("self", process))
        return ours, theirs, children(process)

    room.load(CLIP)
    before = held()
    for index in range(100):
        if index % 2:
            room.load(CLIP)
        else:
            with pytest.raises(BadAudio):
                room.load(b"no media")

    assert held() == before


def test_the_spool_folder_stays_empty(open_room: OpenRoom, tmp_path: Path) -> None:
    """Decoded audio has no name on disk, from the first byte on."""
    room = open_room()

    audio = room.load(CLIP)

    assert list(tmp_path.iterdir()) == []
    assert np.array_equal(audio.pcm, sine(16_000, 0.5))


def test_a_spool_folder_that_is_gone_is_a_fault_of_ours(
    open_room: OpenRoom, tmp_path: Path
) -> None:
    """The client hears nothing of folders."""
    spool = tmp_path / "spool"
    spool.mkdir()
    room = open_room(spool_dir=spool)
    spool.rmdir()

    with pytest.raises(InternalError, match=UNDECODED):
        room.load(CLIP)


def test_the_parent_never_imports_the_decoder() -> None:
    """PyAV and FFmpeg are mapped in the media process alone."""
    code = "import sys, server.audio.loader; sys.exit('av' in sys.modules)"

    assert os.spawnl(os.P_WAIT, sys.executable, sys.executable, "-c", code) == 0
