"""The internet as the tests know it: one host behind the engine's network, which counts callers.

Started as a program: `outside_world.py FOLDER`, in a network namespace of its own.
"""

import socket
import subprocess
import sys
import time
from pathlib import Path

ADDRESS, GATEWAY = "198.51.100.2", "198.51.100.1"  # a range for documents: nobody has it
PORT = 443


class OutsideWorld:
    """The host, and how many reached it by TCP and UDP."""

    def __init__(self, folder: Path) -> None:
        """Build it, at the end of a cable from here, and lead the default route there."""
        folder.mkdir()
        self._folder = folder
        self._process = subprocess.Popen(
            ["unshare", "--net", sys.executable, __file__, str(folder)]
        )
        while not (folder / "started").exists():
            assert self._process.poll() is None
            time.sleep(0.05)
        for command in (
            "link set lo up",
            f"link add world type veth peer name inner netns {self._process.pid}",
            f"address add {GATEWAY}/24 dev world",
            "link set world up",
            f"route add default via {ADDRESS}",
        ):
            subprocess.run(["ip", *command.split()], check=True)
        while not (folder / "ready").exists():
            assert self._process.poll() is None
            time.sleep(0.05)

    def visitors(self) -> dict[str, int]:
        """Connections and datagrams that came until now."""
        return {
            kind: len(lines.read_text().splitlines())
            if (lines := self._folder / kind).exists()
            else 0
            for kind in ("tcp", "udp")
        }

    def end(self) -> None:
        """The host is gone, and the cable with it."""
        self._process.kill()
        self._process.wait()


def main(folder: Path) -> None:
    """Be that host: it knows its own cable, and no way to any container's address."""
    (folder / "started").touch()
    while subprocess.run(["ip", "link", "show", "inner"], check=False).returncode != 0:
        time.sleep(0.05)
    for command in ("link set lo up", f"address add {ADDRESS}/24 dev inner", "link set inner up"):
        subprocess.run(["ip", *command.split()], check=True)
    listening = socket.create_server((ADDRESS, PORT))
    datagrams = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    datagrams.bind((ADDRESS, PORT))
    listening.setblocking(False)
    datagrams.setblocking(False)
    (folder / "ready").touch()
    while True:
        for kind, take in (("tcp", listening.accept), ("udp", lambda: datagrams.recvfrom(64))):
            try:
                _, peer = take()
            except BlockingIOError:
                continue
            with (folder / kind).open("a") as out:
                out.write(f"{peer[0]}\n")
        time.sleep(0.02)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
