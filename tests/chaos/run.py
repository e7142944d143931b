"""`./just chaos`: jobs for two real servers while what they stand on is killed.

Two servers share a PostgreSQL, a folder and usage; one has its engines on a Ray cluster of two
nodes. At random a server, PostgreSQL, an engine's process, a node of Ray or the receiver of
webhooks is ended by `kill -9` and started again. Ends with 1 if a promise was broken. The same seed
kills the same things at the same times, though what they are at by then is the machine's affair.
"""

import random
import signal
import statistics
import sys
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path

import click
import httpx
import log_lines
from faults import Faults
from ledger import Aftermath, Ledger, problems
from load import ROUTE, Client
from server_process import KEY
from world import World

AUDIO = Path(__file__).parents[1] / "audio"
CLIPS = {
    "en-meeting.ogg": 3,
    "en-river.ogg": 3,
    "pt-chuva.ogg": 3,
    "pt-reuniao.ogg": 3,
    "en-long.ogg": 1,
    "pt-long.ogg": 1,
}
"""Each with how often it is taken: a long one has several windows, of which some may be kept."""

HEADERS = {"Authorization": f"Bearer {KEY.key}"}
STOP_SECONDS = 40.0


@click.command(help=__doc__)
@click.option("--minutes", default=10.0, help="Of load and faults.")
@click.option("--seed", default=None, type=int, help="Where chance starts; another one by default.")
@click.option("--clients", default=6, help="Jobs that are under way at once.")
@click.option("--gap", default=6.0, help="Seconds between two kills on average.")
@click.option("--patience", default=300.0, help="Seconds after which a job counts as hung.")
@click.option("--weights", envvar="SUSSURRO_TEST_WEIGHTS_DIR", help="Folder of the model base.")
def main(
    minutes: float, seed: int | None, clients: int, gap: float, patience: float, weights: str
) -> None:
    """Run it."""
    seed = random.SystemRandom().randrange(1 << 32) if seed is None else seed
    print(f"seed {seed}", flush=True)
    with tempfile.TemporaryDirectory(prefix="sussurro-chaos-") as name:
        world = World(Path(name), str(Path(weights).expanduser()))
        try:
            found = chaos(world, minutes * 60, seed, clients, gap, patience)
        finally:
            world.close()
    print(f"problems: {len(found)}", *found[:40], sep="\n  ", flush=True)
    sys.exit(bool(found))


def chaos(
    world: World, seconds: float, seed: int, clients: int, gap: float, patience: float
) -> list[str]:
    """Load and faults; what is wrong afterwards."""
    world.until_ready()
    clips = {name: (AUDIO / name).read_bytes() for name in CLIPS}
    expected = reference(world, clips)
    before = used(world)
    ledger, stop = Ledger(), threading.Event()
    urls = [server.url for server in world.servers]
    load = [
        threading.Thread(
            target=Client(urls, HEADERS, ledger, world.receiver.url, seed + number, patience).work,
            args=(clips, list(CLIPS.values()), stop),
        )
        for number in range(1, clients + 1)
    ]
    started = time.monotonic()
    for thread in load:
        thread.start()
    faults = Faults(world, seed, gap)
    faults.run(seconds, lambda: any(each.trouble for each in ledger.submissions))
    stop.set()
    for thread in load:
        thread.join()
    lasted = time.monotonic() - started
    found = [f"a fault did not work: {error}" for error in faults.errors]
    world.until_ready()
    world.until_told(patience)
    after = Aftermath(
        world.states(),
        used(world) - before,
        logged(world, "job"),
        world.webhooks(),
        world.receiver.came(),
    )
    found += problems(ledger, expected, after)
    codes = {server.name: server.stop(STOP_SECONDS) for server in world.servers}
    found += [f"server {name} stopped with {code}" for name, code in codes.items() if code]
    found += in_logs(world)
    tell(world, ledger, faults, lasted)
    tell_webhooks(after)
    return found


def reference(world: World, clips: dict[str, bytes]) -> dict[str, str]:
    """Each clip's text while nothing is killed, by every server: they have to agree."""
    found: dict[str, str] = {}
    for server in world.servers * 2:
        for name, audio in clips.items():
            answer = httpx.post(
                server.url + ROUTE,
                files={"file": (name, audio)},
                data={"response_format": "text"},
                headers=HEADERS,
                timeout=120,
            )
            answer.raise_for_status()
            if found.setdefault(name, answer.text) != answer.text:
                raise click.ClickException(f"{name} has two texts without any fault")
    return found


def used(world: World) -> int:
    """Transcriptions that were counted, by both servers."""
    url = world.servers[0].url + "/v1/usage"
    answer = httpx.get(url, headers=HEADERS, timeout=20).raise_for_status()
    return sum(day["requests"] for day in answer.json()["data"])


def logged(world: World, event: str) -> list[str]:
    """Ids of jobs in the logs of every process there has been."""
    return [
        line["job"]
        for server in world.servers
        for process in server.processes
        for line in process.lines(event)
    ]


def in_logs(world: World) -> list[str]:
    """What no server should have had to write, and ends that were nobody's doing."""
    found = []
    for server in world.servers:
        if refused := server.ends[78]:
            found.append(f"server {server.name} took its settings for wrong {refused} times")
        for process in server.processes:
            log_lines.check(process.stdout)
            found += [
                f"server {server.name}: {line}"
                for line in process.lines("fault")
                if line["code"] == "internal_error"
            ]
            # Of one that was killed, its media process may say that its parent is gone.
            if process.popen.returncode != -signal.SIGKILL and "Traceback" in process.stderr:
                found.append(f"server {server.name}: {process.stderr[-2000:]}")
    return found


def tell(world: World, ledger: Ledger, faults: Faults, lasted: float) -> None:
    """The figures."""
    waits = sorted(each.seconds for each in ledger.submissions)
    lost = Counter(
        line["cause"]
        for server in world.servers
        for process in server.processes
        for line in process.lines("engine_lost")
    )
    tried = Counter(
        line["attempts"]
        for server in world.servers
        for process in server.processes
        for line in process.lines("job")
    )
    kept = sum(
        line.get("windows_kept", 0)
        for server in world.servers
        for process in server.processes
        for line in process.lines("job")
    )
    print(f"{lasted:.0f} s, kills: {dict(faults.kills)}, {faults.kills.total()} in all")
    at_once = ledger.at_once
    jobs = len(ledger.submissions) - at_once
    print(f"  answers at once: {at_once}")
    print(f"  jobs: {jobs}, by attempts: {dict(sorted(tried.items()))}")
    print(f"  windows that a second attempt did not compute again: {kept}")
    print(f"  asked again: {dict(ledger.again.most_common())}")
    print(f"  engines lost, by cause: {dict(lost)}")
    print(f"  ends of servers: { {each.name: dict(each.ends) for each in world.servers} }")
    if waits:
        print(f"  seconds from submission to text: {statistics.median(waits):.1f}, {waits[-1]:.1f}")


def tell_webhooks(after: Aftermath) -> None:
    """How often they came, and what was answered."""
    times = Counter(Counter(event.id for event in after.events).values())
    answers = Counter(event.answer for event in after.events)
    print(f"  webhooks: {len(after.hooks)}, by how often they came: {dict(sorted(times.items()))}")
    print(f"  they were answered, 0 is nothing: {dict(sorted(answers.items()))}", flush=True)


if __name__ == "__main__":
    main()
