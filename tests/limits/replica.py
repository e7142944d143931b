"""`python replica.py URL REPLICAS LIMIT CALLERS SECONDS`: one server's counting, under load.

CALLERS ask for one request of the same key again and again, for SECONDS, once they are told to by
a line. Prints JSON: `allowed`,
`asked`, and `slowest_ms`: the longest that a request waited, less what this process was late by
itself meanwhile, which is the machine's fault and not Redis'.
"""

import asyncio
import json
import sys
import time

from lateness import Lateness

from server.access.windows import Windows
from server.observe import logs


async def main(url: str, replicas: int, limit: int, callers: int, seconds: float) -> None:
    """Count, and print what came of it."""
    windows = Windows(url, replicas)
    await windows.start()
    print("started", flush=True)  # noqa: T201
    sys.stdin.readline()
    end, allowed, waits = time.monotonic() + seconds, 0, []

    async def ask() -> None:
        nonlocal allowed
        while (started := time.monotonic()) < end:
            count = await windows.request("n8n", limit)
            allowed += count.allowed
            waits.append((started, time.monotonic() - started))
            await asyncio.sleep(0.005)

    async with Lateness.watched() as lateness:
        await asyncio.gather(*(ask() for _ in range(callers)))
    slowest = max(lateness.waited(*wait) for wait in waits)
    print(json.dumps({"allowed": allowed, "asked": len(waits), "slowest_ms": 1000 * slowest}))  # noqa: T201
    await windows.close()


if __name__ == "__main__":
    logs.configure("error", sys.stderr)
    address, *numbers = sys.argv[1:]
    asyncio.run(main(address, *map(int, numbers[:-1]), float(numbers[-1])))
