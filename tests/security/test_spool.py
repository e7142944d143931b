"""Uploads on the disk: who can find them, how many bytes they take, what is left after a crash."""

import contextlib
import os
import signal
import socket
import stat
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from media_samples import encode
from server_process import KEY, Process, Start, noise

MIB = 1 << 20
WAV = noise(1.0)
URL = "/v1/audio/transcriptions"


@contextlib.contextmanager
def half_sent(server: Process, size: int) -> Iterator[socket.socket]:
    """An upload of which so many bytes have arrived, and more are to come."""
    head = (
        f"POST {URL} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {KEY.key}\r\n"
        f"Content-Length: {2 * size}\r\nContent-Type: multipart/form-data; boundary=b\r\n\r\n"
        '--b\r\nContent-Disposition: form-data; name="file"; filename="mark.wav"\r\n\r\n'
    )
    port = int(server.url.rpartition(":")[2])
    with socket.create_connection(("127.0.0.1", port), timeout=10) as client:
        client.sendall(head.encode() + bytes(size))
        yield client


def spooled(server: Process, folder: Path) -> list[os.stat_result]:
    """The files that the server has open in its spool folder."""
    found = []
    for link in Path(f"/proc/{server.popen.pid}/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):
            if str(link.readlink()).startswith(str(folder)):
                found.append(link.stat())
    return found


def eventually_spooled(server: Process, folder: Path, size: int) -> list[os.stat_result]:
    """Those files, once they hold so many bytes."""
    end = time.monotonic() + 20
    while time.monotonic() < end:
        found = spooled(server, folder)
        if sum(file.st_size for file in found) >= size:
            return found
        time.sleep(0.02)
    raise AssertionError("the upload did not arrive")


def test_an_upload_has_no_name_and_is_gone_after_a_crash(start: Start, tmp_path: Path) -> None:
    """No file in the folder, mode 0600, no link; kill -9 frees the space."""
    folder = tmp_path / "spool"
    folder.mkdir()
    server = start(SUSSURRO_SPOOL_DIR=str(folder)).ready()
    with half_sent(server, 8 * MIB):
        (file,) = eventually_spooled(server, folder, 7 * MIB)

        assert [] == list(folder.iterdir())
        assert (0, 0o600, os.getuid()) == (file.st_nlink, stat.S_IMODE(file.st_mode), file.st_uid)
        server.popen.kill()
        assert -signal.SIGKILL == server.exit_code()
    assert [] == list(folder.iterdir())


def test_all_uploads_together_are_bounded(start: Start, tmp_path: Path) -> None:
    """503 and when to come back for the one that is too much; the space is free again after it."""
    server = start(SUSSURRO_MAX_SPOOL_BYTES=str(10 * MIB), SUSSURRO_MAX_AUDIO_SECONDS="600").ready()
    large = {"file": ("a.wav", WAV + bytes(6 * MIB))}
    with server.client() as client:
        with half_sent(server, 8 * MIB):
            time.sleep(0.5)
            refused = client.post(URL, files=large)
            small = client.post(URL, files={"file": ("a.wav", WAV)}, data={"language": "pt"})

        assert (503, "overloaded", "30") == (
            refused.status_code,
            refused.json()["error"]["code"],
            refused.headers["retry-after"],
        )
        assert 200 == small.status_code
        for _ in range(4):  # a leak would show: they are more than there is room for
            assert 200 == client.post(URL, files=large, data={"language": "pt"}).status_code


def test_decoded_audio_counts_too(start: Start) -> None:
    """Few bytes of a file may be many of audio."""
    server = start(SUSSURRO_MAX_SPOOL_BYTES=str(2 * MIB), SUSSURRO_MAX_AUDIO_SECONDS="600").ready()
    flac = silence(120)
    assert len(flac) < MIB
    with server.client() as client:
        answer = client.post(URL, files={"file": ("a.flac", flac)}, data={"language": "pt"})
        assert (503, "overloaded") == (answer.status_code, answer.json()["error"]["code"])
        answer = client.post(URL, files={"file": ("a.flac", silence(30))}, data={"language": "pt"})
        assert 200 == answer.status_code


def silence(seconds: int) -> bytes:
    """A FLAC file."""
    return encode("flac", "flac", 16_000, "mono", float(seconds), amplitude=0.0)


@pytest.mark.skipif(os.getuid() != 0, reason="only root may mount a folder of a fixed size")
@pytest.mark.parametrize("size", [1, 3], ids=["the upload", "the audio"])
def test_a_full_disk_is_told_as_such(start: Start, tmp_path: Path, size: int) -> None:
    """503, not 500, whichever of the two does not fit; and the next one that fits is served."""
    folder = tmp_path / "small"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={size}m,mode=0700", "none", str(folder)],
        check=False,
        capture_output=True,
    )
    if mounted.returncode:
        pytest.skip("this machine lets nobody mount")
    try:
        server = start(SUSSURRO_SPOOL_DIR=str(folder), SUSSURRO_MAX_AUDIO_SECONDS="600").ready()
        content = bytes(2 * MIB) if size == 1 else silence(200)
        with server.client() as client:
            for _ in range(2):
                answer = client.post(URL, files={"file": ("a", content)})
                error = answer.json()["error"]
                assert (503, "overloaded") == (answer.status_code, error["code"])
                assert "room" in error["message"]
            fits = client.post(URL, files={"file": ("a.wav", WAV)}, data={"language": "pt"})
            assert 200 == fits.status_code
        server.statuses(3)
        assert [] == server.lines("fault")
        server.stop()
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)
