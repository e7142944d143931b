"""What an n8n user reads when a transcription fails: the column n8n of docs/errors-as-read.md."""

from pathlib import Path

import pytest
from failures import FAILURES, Failure, arranged, write_upload
from n8n_process import N8n
from page import Page
from place import Place
from reading import cell
from server_process import Process, Start


@pytest.mark.parametrize("failure", FAILURES, ids=lambda failure: failure.title)
def test_the_page_says_what_n8n_shows(
    failure: Failure,
    place: Place,
    launch: Start,
    n8n: N8n,
    tmp_path: Path,
    request: pytest.FixtureRequest,
) -> None:
    """The title, and below it the server's own message, where it has one."""

    def start(**environ: str) -> Process:
        return launch(SUSSURRO_PORT=str(place.failing_port), **environ)

    write_upload(failure, place.files)
    workflow = "no-file" if failure.upload is None else "failing"
    if failure.key == "sk-wrong":
        workflow = "wrong-key"
    with arranged(failure, start, tmp_path) as address:
        address()
        title, description = n8n.execute(workflow).error

    page = Page()
    said = page.row(failure.title, {"Message": ""})["Message"]
    seen = {"n8n": cell(f"{title}: {description}" if description else title, said)}
    assert ("…" in seen["n8n"]) == (said != "none"), (title, description)
    if request.config.getoption("write_page"):
        page.write(failure.title, seen)
    assert seen == Page().row(failure.title, seen)
