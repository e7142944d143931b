"""The workflows in docs/n8n: imported, published, and run by whoever sends their form.

As a user does, the test chooses credentials and puts its own addresses in; nothing else is changed.
"""

import json
import queue
import re
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

import httpx
import pytest
from n8n_process import Json
from place import NewN8n, Place
from server_process import ROOT, Process, Start
from sinks import chat, mail_server

FOLDER = ROOT / "docs" / "n8n"
AUDIO = ROOT / "tests" / "audio"
OPENAI: Json = {"openAiApi": {"id": "http", "name": "http"}}
"""The credential that n8n has for the server."""


def prepared(name: str, addresses: Mapping[str, str], credentials: Mapping[str, Json]) -> Json:
    """A workflow file with a user's addresses and credentials."""
    text = (FOLDER / f"{name}.json").read_text(encoding="utf-8")
    for placeholder, address in addresses.items():
        assert placeholder in text
        text = text.replace(placeholder, address)
    workflow: Json = json.loads(text)
    for node in workflow["nodes"]:
        assert "credentials" not in node, "a file for others holds no credential"
        if node["name"] in credentials:
            node["credentials"] = credentials[node["name"]]
    return {"id": name, **workflow}


def send_form(client: httpx.Client, path: str, recording: str, **fields: str) -> None:
    """What a browser sends."""
    with (AUDIO / recording).open("rb") as file:
        answer = client.post(f"/form/{path}", files={"field-0": file}, data=fields)
    assert 200 == answer.status_code, answer.text


def test_a_meeting_becomes_an_e_mail(new_n8n: NewN8n, place: Place) -> None:
    """A summary line, then the text in paragraphs with their times."""
    n8n = new_n8n()
    with mail_server() as (port, mails):
        server = {"host": "127.0.0.1", "port": port, "secure": False, "disableStartTls": True}
        smtp = {"id": "smtp", "name": "smtp", "type": "smtp", "data": server}
        addresses = {"https://sussurro.example/v1": place.bases["http"]}
        chosen = {"Transcribe": OPENAI, "Send": {"smtp": {"id": "smtp", "name": "smtp"}}}
        n8n.load([smtp], [prepared("meeting-to-email", addresses, chosen)])
        with n8n.serving("meeting-to-email", "/form/meeting") as client:
            send_form(client, "meeting", "en-river.ogg", **{"field-1": "ana@example.org"})
            mail = mails.get(timeout=60)

    summary, first, *_ = mail.get_content().replace("\r", "").split("\n\n")
    assert ("ana@example.org", "Transcript of en-river.ogg") == (mail["to"], mail["subject"])
    assert re.fullmatch(r"en-river\.ogg: 00:00:\d\d, english, \d+ words", summary)
    assert first.startswith("[00:00:0")
    assert "the children ran" in mail.get_content().replace("\r\n", " ")


def test_a_translation_is_posted_to_a_chat(new_n8n: NewN8n, place: Place) -> None:
    """Portuguese speech arrives as an English message with the recording's name."""
    n8n = new_n8n()
    with chat() as (port, posts):
        addresses = {"https://chat.example": f"http://127.0.0.1:{port}"}
        n8n.load([], [prepared("translation-to-chat", addresses, {"Translate": OPENAI})])
        with n8n.serving("translation-to-chat", "/form/translation") as client:
            send_form(client, "translation", "pt-chuva.ogg")
            post = posts.get(timeout=60)

    assert post["text"].startswith("pt-chuva.ogg: ")
    assert {"the", "a", "of", "it", "and"} & set(post["text"].lower().split())


WEBHOOKS = {
    "SUSSURRO_WEBHOOK_SECRET": "whsec_" + "c3Vzc3Vycm8" * 4,
    "SUSSURRO_WEBHOOK_ALLOW": "localhost, 127.0.0.1",
}
"""As the page says for an n8n beside the server; n8n's resume URLs name `localhost`."""


@pytest.fixture(scope="module")
def telling(launch: Start, weights_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Process:
    """A server with the real model, jobs, and webhooks to this machine."""
    folder = str(tmp_path_factory.mktemp("jobs"))
    settings = {"SUSSURRO_WEIGHTS_DIR": str(weights_dir), "SUSSURRO_JOBS_DIR": folder}
    return launch("-m", "server", **settings, **WEBHOOKS).ready()


def test_a_long_recording_is_waited_for(new_n8n: NewN8n, telling: Process) -> None:
    """The workflow sleeps until the job's webhook wakes it; the text comes to the chat."""
    n8n = new_n8n()
    with chat() as (port, posts):
        addresses = {
            "https://sussurro.example": telling.url,
            "https://chat.example": f"http://127.0.0.1:{port}",
        }
        n8n.load([], [prepared("long-recording-to-chat", addresses, {"Start": OPENAI})])
        with n8n.serving("long-recording-to-chat", "/form/long") as client:
            send_form(client, "long", "en-river.ogg")
            post = posts.get(timeout=90)

    assert post["text"].startswith("en-river.ogg: ")
    assert "the children ran" in post["text"]


def test_events_are_believed_by_their_signature(new_n8n: NewN8n, telling: Process) -> None:
    """A forged one goes nowhere; the server's comes to the chat with the text."""
    n8n = new_n8n()
    secret = subprocess.check_output(
        [sys.executable, "-m", "ops", "webhooks", "secret", "e2e"],
        cwd=ROOT,
        env=WEBHOOKS,
        text=True,
    ).strip()
    forged = {"webhook-id": "msg_1", "webhook-timestamp": "1", "webhook-signature": "v1,AAAA"}
    with chat() as (port, posts):
        addresses = {
            "https://chat.example": f"http://127.0.0.1:{port}",
            "whsec_put-yours-here": secret,
        }
        n8n.load([], [prepared("job-events-to-chat", addresses, {})])
        with n8n.serving("job-events-to-chat", "/webhook/transcripts") as client:
            hook = str(client.base_url.join("/webhook/transcripts"))
            for sent in ("1", str(int(time.time()))):
                headers = forged | {"webhook-timestamp": sent}
                answer = client.post("/webhook/transcripts", json={"type": "x"}, headers=headers)
                assert 500 == answer.status_code, answer.text
            with telling.client() as caller, (AUDIO / "en-river.ogg").open("rb") as file:
                fields = {"background": "true", "webhook_url": hook}
                job = caller.post("/v1/audio/transcriptions", files={"file": file}, data=fields)
            assert 202 == job.status_code, job.text
            post = posts.get(timeout=90)
        with pytest.raises(queue.Empty):
            posts.get_nowait()

    assert post["text"].startswith(f"job.succeeded {job.json()['id']}: ")
    assert "the children ran" in post["text"]


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.json")), ids=lambda path: path.name)
def test_every_workflow_file_is_tested(path: Path) -> None:
    """One that nobody runs is not shipped."""
    assert f'prepared("{path.stem}"' in Path(__file__).read_text(encoding="utf-8")
