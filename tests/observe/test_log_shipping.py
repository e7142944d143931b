"""Ten thousand real log lines reach a real store, each once, though it is killed meanwhile.

And none of them holds what a caller said, sent or is secret.
"""

import json
import re
import subprocess
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from log_store import EXAMPLES, Shipper, Store
from programs import ROOT, environ, unpacked, until
from server_process import KEY, Process, launcher

LINES = 10_000
CLIP = ROOT / "tests/audio/en-meeting.ogg"
MARKS = (
    "MarkFile",
    "MarkPrompt",
    "MarkHotwords",
    "MarkModel",
    "MarkPath",
    "MarkHeader",
    "MarkQuery",
)
AT_ONCE = 8


def speak(client: httpx.Client) -> tuple[set[str], str]:
    """A transcription with something to hide in every place; the words said, and its id."""
    answer = client.post(
        "/v1/audio/transcriptions?x=MarkQuery",
        files={"file": ("MarkFile.ogg", CLIP.read_bytes())},
        data={"prompt": "MarkPrompt", "hotwords": "MarkHotwords", "response_format": "json"},
        headers={"x-custom": "MarkHeader", "user-agent": "MarkHeader"},
    )
    assert 200 == answer.status_code
    words = {word.lower() for word in re.findall(r"[A-Za-z]{6,}", answer.json()["text"])}
    return words, answer.headers["x-request-id"]


def ask(client: httpx.Client, number: int) -> None:
    """One of the many small requests, good and bad."""
    match number % 5:
        case 0:
            client.get("/v1/MarkPath")
        case 1:
            client.get("/healthz", headers={"x-request-id": f"mine-{number}"})
        case 2:
            client.post("/v1/audio/transcriptions", data={"model": "MarkModel"})
        case 3:
            client.get("/v1/models", headers={"Authorization": "Bearer wsk_MarkHeader"})
        case _:
            client.get("/v1/models")


def talk(server: Process, begin: int, end: int) -> None:
    """A caller with its connection."""
    with server.client() as client:
        for number in range(begin, end):
            ask(client, number)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    """With the example's table."""
    store = Store(tmp_path / "store")
    store.start()
    store.query((EXAMPLES / "clickhouse.sql").read_text(encoding="utf-8"))
    yield store
    store.kill()


@pytest.mark.model
@pytest.mark.timeout(600)
def test_every_line_arrives_once_and_says_nothing_secret(
    tmp_path: Path, store: Store, weights_dir: Path
) -> None:
    """The store is killed in the middle, and the shipper after it; both go on."""
    with launcher(tmp_path) as launch:
        server = launch("-m", "server", SUSSURRO_WEIGHTS_DIR=str(weights_dir)).ready()
        log = server._out
        shipper = Shipper(tmp_path / "shipper", log, store)
        assert 0 == shipper.check().returncode, shipper.check().stderr
        shipper.start()
        try:
            with server.client() as client:
                said, request_id = speak(client)
            callers = [
                threading.Thread(
                    target=talk, args=(server, LINES * n // AT_ONCE, LINES * (n + 1) // AT_ONCE)
                )
                for n in range(AT_ONCE)
            ]
            for caller in callers:
                caller.start()
            until(lambda: stored(store) > LINES // 5, "the first lines are stored", 120)
            store.kill()
            begun = count(log)
            until(lambda: count(log) > begun + LINES // 5, "lines are written meanwhile", 120)
            shipper.kill()
            shipper.start()
            store.start()
            for caller in callers:
                caller.join()
            assert 0 == server.stop()
            lines = log.read_text(encoding="utf-8").splitlines()
            assert len(lines) > LINES
            until(lambda: stored(store) == len(lines), "every line is stored", 120)
            raw = int(store.query("SELECT count() FROM sussurro"))
            rows = store.query("SELECT line FROM sussurro FINAL FORMAT JSONEachRow")
            spoken = store.query(
                "SELECT request_id FROM sussurro FINAL WHERE event = 'request' "
                "AND route = '/v1/audio/transcriptions' AND status = 200 AND audio_s > 4"
            )
        finally:
            shipper.kill()

    assert Counter(lines) == Counter(json.loads(row)["line"] for row in rows.splitlines())
    assert spoken == f"{request_id}\n"  # its fields can be searched
    text = log.read_text(encoding="utf-8")
    for mark in (*MARKS, KEY.key, KEY.key[8:30]):
        assert mark not in text, mark
    assert len(said) > 3
    for word in said:
        assert word not in text.lower(), word
    print(f"\n{len(lines)} lines, {raw} rows before they were made one")  # noqa: T201


def count(log: Path) -> int:
    """Lines in a log."""
    return log.read_bytes().count(b"\n")


def stored(store: Store) -> int:
    """Different lines in the store."""
    return int(store.query("SELECT count() FROM (SELECT line FROM sussurro FINAL)"))


def test_rsyslog_takes_its_example(tmp_path: Path) -> None:
    """Debian's rsyslogd reads the configuration; it would say what is wrong."""
    root = unpacked("rsyslog")
    example = (EXAMPLES / "rsyslog.conf").read_text(encoding="utf-8")
    example = example.replace("/var/spool/rsyslog", str(tmp_path))
    codes = []
    for number, text in enumerate((example, example.replace("imfile", "imfiles"))):
        file = tmp_path / f"{number}.conf"
        file.write_text(text)
        modules = next(root.glob("usr/lib/*/rsyslog"))
        done = subprocess.run(
            [root / "usr/sbin/rsyslogd", "-N1", "-f", file, "-M", modules],
            env=environ(root),
            capture_output=True,
            check=False,
        )
        codes.append(done.returncode)

    assert [0, 1] == codes
