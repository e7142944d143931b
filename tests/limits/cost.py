"""What keys, tokens, limits and usage add to a request.

`PYTHONPATH=.:tests python tests/limits/cost.py`
Prints rows of a Markdown table: milliseconds alone (median and p99 of 2000), and for each of 50
at once (the time until all are done, by 50; median of 100 rounds). The whole way through the
gate, and for a transcription the charge and the count as well.
"""

import asyncio
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path

import jwt
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from pydantic import SecretStr
from redis_server import RedisServer

from server.access.access import Access
from server.access.callers import Callers
from server.access.keys import new_key
from server.access.tokens import public_text
from server.settings import Settings

KEY, PRIVATE = new_key("n8n"), Ed25519PrivateKey.generate()
AT_ONCE = 50
Step = Callable[[], Awaitable[object]]


def settings(**more: object) -> Settings:
    """Limits that never refuse."""
    return Settings(
        api_keys=SecretStr(KEY.record),
        token_keys=SecretStr(public_text("ops", PRIVATE.public_key())),
        requests_per_minute=1_000_000,
        audio_minutes_per_hour=1_000_000,
        audio_minutes_per_day=1_000_000,
        **more,  # type: ignore[arg-type]
    )


def token() -> str:
    """A good one."""
    now = int(time.time())
    claims = {"iss": "sussurro", "aud": "sussurro", "sub": "n8n", "jti": "1", "iat": now}
    claims |= {"exp": now + 900, "scope": "transcribe"}
    return jwt.encode(claims, PRIVATE, algorithm="EdDSA", headers={"kid": "ops"})


async def measured(step: Step) -> str:
    """One row's figures."""

    async def timed(times: int = 1) -> float:
        started = time.perf_counter()
        await asyncio.gather(*(step() for _ in range(times)))
        return 1000 * (time.perf_counter() - started) / times

    alone = [await timed() for _ in range(2000)]
    together = [await timed(AT_ONCE) for _ in range(100)]
    p99 = statistics.quantiles(alone, n=100)[98]
    figures = (statistics.median(alone), p99, statistics.median(together))
    return " | ".join(f"{figure:.2f}" for figure in figures)


async def table(url: str, folder: str) -> None:
    """Measure, and print."""
    for name, more in (("memory", {}), ("Redis", {"redis_url": SecretStr(url)})):
        chosen = settings(usage_db=f"{folder}/{name}", **more)
        access = Access.open(chosen, Callers.from_settings(chosen))
        await access.start()
        credential = token()

        async def enter(credential: str, access: Access = access) -> object:
            caller = await access.gate.identify(credential, "127.0.0.1")
            await access.gate.admit(caller)
            return caller

        async def transcription(access: Access = access) -> None:
            caller = await access.gate.identify(KEY.key, "127.0.0.1")
            await access.gate.admit(caller)
            await access.allowances.spend(caller, 1.0)
            await access.usage.add("n8n", 1.0)

        print(f"| key, {name} | {await measured(partial(enter, KEY.key))} |")  # noqa: T201
        print(f"| token, {name} | {await measured(partial(enter, credential))} |")  # noqa: T201
        print(f"| transcription, {name} | {await measured(transcription)} |")  # noqa: T201
        print(f"Redis was lost {access.windows.lost} times.")  # noqa: T201
        await access.close()


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as scratch:
        redis = RedisServer(Path(scratch))
        redis.start()
        try:
            asyncio.run(table(redis.url, scratch))
        finally:
            redis.kill()
