"""More clients than the server takes: everybody is answered, and nothing is left behind."""

import asyncio
import time
from collections import Counter
from pathlib import Path

import httpx
import pytest
from server_process import KEY, Process, Start, noise

TRANSCRIPTIONS = "/v1/audio/transcriptions"
CLIENTS = 200
UPLOAD = noise(20.0)  # 640 kB: all of them at once would be 128 MB


async def ask(client: httpx.AsyncClient) -> httpx.Response:
    """One request; whoever hangs fails the test."""
    return await client.post(
        TRANSCRIPTIONS, files={"file": ("n.wav", UPLOAD)}, data={"language": "pt"}
    )


async def crowd(server: Process, clients: int) -> list[httpx.Response]:
    """Everybody at once, each on a connection of its own."""
    limits = httpx.Limits(max_connections=clients, max_keepalive_connections=0)
    headers = {"Authorization": f"Bearer {KEY.key}"}
    async with httpx.AsyncClient(
        base_url=server.url, headers=headers, limits=limits, timeout=60
    ) as client:
        return await asyncio.gather(*(ask(client) for _ in range(clients)))


def memory_kib(server: Process, field: str) -> int:
    """`VmRSS` or `VmHWM` of the server."""
    status = Path(f"/proc/{server.popen.pid}/status").read_text()
    (line,) = [x for x in status.splitlines() if x.startswith(field)]
    return int(line.split()[1])


BOUNDS = {
    "SUSSURRO_MAX_REQUESTS": "4",
    "SUSSURRO_MAX_WAITING": "12",
    "SUSSURRO_MAX_LOADS": "1",
    "FAKE_WINDOW_SECONDS": "0.05",
}


@pytest.mark.parametrize(
    ("bounds", "refusals"),
    [
        ({"SUSSURRO_MAX_QUEUE_WAIT": "30"}, {503}),
        ({"SUSSURRO_MAX_QUEUE_WAIT": "0"}, {503}),
        ({"SUSSURRO_MAX_QUEUE_WAIT": "1", "SUSSURRO_MAX_REQUESTS_PER_KEY": "3"}, {429}),
    ],
    ids=["waiting", "at once", "one key's share"],
)
def test_two_hundred_clients_at_once_are_all_answered(
    start: Start, bounds: dict[str, str], refusals: set[int]
) -> None:
    """200, 429 or 503 for each, with a time to come back; memory stays, and then all is idle."""
    server = start(**BOUNDS, **bounds).ready()
    with server.client() as client:
        asyncio.run(crowd(server, 20))  # threads and their memory are there from now on
        before = memory_kib(server, "VmHWM")
        responses = asyncio.run(crowd(server, CLIENTS))
        statuses = Counter(response.status_code for response in responses)

        assert {200} | refusals == set(statuses)
        assert statuses[200] >= (16 if bounds["SUSSURRO_MAX_QUEUE_WAIT"] == "30" else 3)
        for response in responses:
            if response.status_code != 200:
                assert 1 <= int(response.headers["retry-after"]) <= 60
                assert "true" == response.headers["x-should-retry"]
        assert memory_kib(server, "VmHWM") - before < 48 * 1024

        started = time.monotonic()
        assert 200 == client.post(TRANSCRIPTIONS, files={"file": ("n.wav", UPLOAD)}).status_code
        assert time.monotonic() - started < 5
    assert 0 == server.stop()
    lines = server.lines("request")
    assert 20 + CLIENTS + 1 == sum(line["route"] == TRANSCRIPTIONS for line in lines)
    assert [] == server.lines("fault") + server.lines("library")
