"""What people read when a transcription fails, by client; docs/errors-as-read.md has it all.

`./just clients --write-page` puts what was seen into the page; without it the page must say so.
"""

import json
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import openai
import pytest
from failures import FAILURES, ROUTE, TITLES, Failure, arranged, write_upload
from node_sdk import Node
from page import Page
from reading import cell, numbered
from server_process import Start

Answer = dict[str, Any]
"""The server's: `status`, and `error` where it has a body."""


def elided(shown: str, answer: Answer) -> str:
    """A client's text as a cell, with {…} where it shows the whole body."""
    body = {"error": answer["error"]} if "error" in answer else {}
    for whole in (json.dumps(body), str(body)) if body else ():
        shown = shown.replace(whole, "{…}")
    return cell(shown, message(answer))


def message(answer: Answer) -> str:
    """The text that a person should get to see."""
    return str(answer.get("error", {}).get("message", ""))


def by_curl(url: str, failure: Failure, file: Path | None) -> tuple[Answer, str]:
    """What the server says, and what curl prints of it and ends with."""
    done = subprocess.run(
        ["curl", "-sS", "--fail-with-body", "-w", "%{stderr}%{http_code}\n", url + ROUTE]
        + ["-H", f"Authorization: Bearer {failure.key}", "-F", "model=whisper-1"]
        + (["-F", f"file=@{file}"] if file else []),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    status = int(re.findall(r"^\d{3}$", done.stderr, re.MULTILINE)[-1])
    if done.returncode == 22:
        return {"status": status, **json.loads(done.stdout)}, f"{done.stdout} (22)"
    line = re.search(r"curl: \(\d+\) .*", done.stderr)
    assert line, done.stderr
    return {"status": status}, re.sub(r"port 9 after \d+ ms", "port 9", line[0])


def by_python(url: str, failure: Failure, file: Path | None) -> str:
    """The last line of the traceback."""
    arguments = {"file": file} if file else {}
    with openai.OpenAI(api_key=failure.key, base_url=f"{url}/v1", max_retries=0) as client:
        try:
            client.audio.transcriptions.create(model="whisper-1", **arguments)  # type: ignore[call-overload]
        except (openai.OpenAIError, TypeError) as error:
            module = f"{type(error).__module__}." if isinstance(error, openai.OpenAIError) else ""
            return f"{module}{type(error).__name__}: {error}"
    pytest.fail("Python's SDK saw no error")


@pytest.fixture
def check(request: pytest.FixtureRequest) -> Callable[[str, dict[str, str]], None]:
    """Compare cells with the page's, or write them into it."""

    def compare(title: str, cells: dict[str, str]) -> None:
        if request.config.getoption("write_page"):
            Page().write(title, cells)
        assert cells == Page().row(title, cells)

    return compare


@pytest.mark.parametrize("failure", FAILURES, ids=lambda failure: failure.title)
def test_the_page_says_what_people_read(
    failure: Failure,
    start: Start,
    node: Node,
    tmp_path: Path,
    check: Callable[[str, dict[str, str]], None],
) -> None:
    """curl, and OpenAI's SDKs for Python and Node; where the server has a message, all show it."""
    if shutil.which("curl") is None:
        pytest.skip("curl is not installed")
    file = write_upload(failure, tmp_path)
    seen = {}
    answer: Answer = {}
    with arranged(failure, start, tmp_path) as place:
        answer, seen["curl"] = by_curl(place(), failure, file)
        seen["Python"] = by_python(place(), failure, file)
        seen["Node"] = node(place(), file=file, key=failure.key)["error"]["shown"]

    cells = {client: elided(shown, answer) for client, shown in seen.items()}
    error = answer.get("error", {})
    code = f"`{error['code']}`" if error else "none"
    status = str(answer["status"] or "none")
    for client, text in cells.items():
        local = failure.upload is None and client == "Python"  # it asks for a file by itself
        assert ("…" in text) == (bool(error) and not local), (client, seen[client])
        assert str(tmp_path) not in seen[client]
    text = numbered(message(answer)) or "none"
    check(failure.title, {"Status": status, "Code": code, "Message": text, **cells})


@pytest.mark.parametrize("column", ["Status", "curl"])
def test_the_page_has_no_other_failure(column: str) -> None:
    """A row that is no longer tested is gone."""
    assert TITLES == Page().titles(column)
