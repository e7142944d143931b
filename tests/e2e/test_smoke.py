"""`ops smoke` at real servers: what is well is told, and what is not, with what to do."""

import json
import re
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from server_process import KEY, ROOT, Process, Start
from tls_front import certificate, tls_front

from ops.__main__ import main
from ops.smoke import edge, speech


def smoke(url: str, *arguments: str, key: str = KEY.key) -> tuple[int, dict[str, dict[str, Any]]]:
    """Exit code and findings by check; each that is not ok says what to do."""
    done = CliRunner().invoke(
        main, ["smoke", url, "--json", *arguments], env={"OPENAI_API_KEY": key}
    )
    findings = json.loads(done.stdout)
    for finding in findings:
        assert (finding["state"] == "ok") == (finding["todo"] is None), finding
    assert bool(done.exit_code) == any(finding["state"] == "failed" for finding in findings)
    return done.exit_code, {finding["check"]: finding for finding in findings}


def port_of(server: Process) -> int:
    """Where it listens."""
    return int(server.line("listening")["port"])


@pytest.mark.model
def test_a_server_that_does_all_it_should(
    start: Start, weights_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Behind TLS, with the real model: nothing but ok, in a table and as JSON."""
    server = start("-m", "server", SUSSURRO_WEIGHTS_DIR=str(weights_dir)).ready()
    files = certificate(tmp_path, 90)
    monkeypatch.setenv("SSL_CERT_FILE", str(files[0]))
    monkeypatch.setattr(speech, "ROUNDS", 1)
    with tls_front(port_of(server), files) as url:
        code, found = smoke(url + "/v1")

    assert (0, {"ok"}) == (code, {finding["state"] for finding in found.values()}), found
    assert "word error rate 0.00, language portuguese" == found["portuguese"]["found"]
    assert re.fullmatch(r"TLSv1\.3, certificate until \d{4}-\d\d-\d\d", found["tls"]["found"])
    assert {"alive", "ready", "models", "too large", "srt", "vtt", "streaming"} <= found.keys()


def test_a_server_that_hears_something_else(start: Start) -> None:
    """Words and languages are compared with what is said; the rest is well, and goes on."""
    code, found = smoke(start().ready().url)

    assert 1 == code
    assert {"english", "portuguese"} == {c for c, f in found.items() if f["state"] == "failed"}
    assert "heard «Bom dia.»" in found["english"]["todo"]
    assert "speed" in found


def test_certificates(start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An unknown authority is a failure, and the only finding; a last week is a note."""
    server = start().ready()
    files = certificate(tmp_path, 6)
    with tls_front(port_of(server), files) as url:
        code, found = smoke(url)
        assert (1, ["alive"]) == (code, [*found])
        assert "certificate verify failed" in found["alive"]["found"]
        assert "SSL_CERT_FILE" in found["alive"]["todo"]
        monkeypatch.setenv("SSL_CERT_FILE", str(files[0]))
        assert "note" == smoke(url)[1]["tls"]["state"]


def test_nobody_there() -> None:
    """One finding, not fifteen."""
    code, found = smoke("http://127.0.0.1:9")

    assert (1, ["alive"]) == (code, [*found])
    assert "no connection to http://127.0.0.1:9" == found["alive"]["found"]


def test_a_server_that_still_loads(start: Start) -> None:
    """It says what it waits for; no recording is sent."""
    server = start(FAKE_LOAD_SECONDS="30")
    code, found = smoke(server.url)

    assert (1, "failed") == (code, found["ready"]["state"])
    assert "503" in found["ready"]["found"]
    assert "english" not in found


def test_a_key_that_is_not_taken(start: Start) -> None:
    """No recording is sent, and the command that looks into keys is named."""
    code, found = smoke(start().ready().url, key="wsk_no_key")

    assert (1, "failed") == (code, found["models"]["state"])
    assert "ops keys check" in found["models"]["todo"]
    assert "english" not in found


class Open(BaseHTTPRequestHandler):
    """Looks like ours, and lets everybody in."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        """Yes to everything; with `plain`, as any web server would."""
        self.send_response(200)
        if not self.server.plain:
            self.send_header("openai-processing-ms", "0")
        self.send_header("content-length", "2")
        self.end_headers()
        self.wfile.write(b"{}")

    def log_message(self, *args: object) -> None:
        """Keep quiet."""


@pytest.fixture
def strange() -> Iterator[HTTPServer]:
    """Such a server."""
    running = HTTPServer(("127.0.0.1", 0), Open)
    running.plain = False
    thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield running
    running.shutdown()
    thread.join()
    running.server_close()


def test_a_server_that_lets_strangers_in(strange: HTTPServer) -> None:
    """With no key and with a wrong one."""
    client = edge.Client(f"http://127.0.0.1:{strange.server_port}", "wsk_a")
    found = [*edge._strangers(client), edge._request_id(client)]
    client.close()

    assert ["failed", "failed", "note"] == [finding.state for finding in found]
    assert found[0].todo.startswith("take it off the net")


def test_some_other_server(strange: HTTPServer) -> None:
    """Whatever answers 200 is not taken for ours."""
    strange.plain = True
    code, found = smoke(f"http://127.0.0.1:{strange.server_port}")

    assert (1, ["alive"]) == (code, [*found])


@pytest.mark.parametrize(
    ("status", "body", "state"),
    [
        (413, b'{"error": {"code": "upload_too_large", "message": "Too big (1)."}}', "ok"),
        (413, b"<html>413 Request Entity Too Large</html>", "note"),
        (200, b'{"text": ""}', "failed"),
        (502, b"", "failed"),
    ],
)
def test_who_refuses_what_is_too_large(status: int, body: bytes, state: str) -> None:
    """The server, a proxy in its place, or nobody."""
    assert state == edge._refusal("too large", status, body).state


def test_a_table_for_people_and_wrong_usage(start: Start) -> None:
    """A line for each check, with what to do below it; an address without http is none."""
    url = start(FAKE_LOAD_SECONDS="30").url
    done = CliRunner().invoke(main, ["smoke", url], env={"OPENAI_API_KEY": "wsk_a"})
    assert (1, "ok      alive: ") == (done.exit_code, done.output[:15])
    assert re.search(r"^FAILED  ready: .*\n {10}it may still load", done.output, re.MULTILINE)
    done = CliRunner().invoke(main, ["smoke", "localhost"], env={"OPENAI_API_KEY": "wsk_a"})
    assert 2 == done.exit_code


def test_the_samples_say_what_their_page_says() -> None:
    """Word for word."""
    readme = (ROOT / "ops" / "samples" / "README.md").read_text(encoding="utf-8")
    for sample in (speech.ENGLISH, speech.PORTUGUESE):
        assert re.search(
            rf"^\| `{sample.file}` \|.* \| {re.escape(sample.text)} \|$", readme, re.MULTILINE
        )
