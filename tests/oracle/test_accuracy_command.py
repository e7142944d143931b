"""The accuracy command with a server of its own, on a clip."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from ops.accuracy import accuracy

AUDIO = Path(__file__).parents[1] / "audio"


@pytest.mark.model
@pytest.mark.timeout(300)
def test_a_server_is_started_and_scored(
    tmp_path: Path, weights_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a URL the command needs nothing but clips; the report has the server's column."""
    monkeypatch.setenv("SUSSURRO_WEIGHTS_DIR", str(weights_dir))
    manifest = tmp_path / "manifest.tsv"
    fields = ("file", "language", "seconds", "reference", "source", "licence", "split", "kind")
    row = (str(AUDIO / "pt-chuva.ogg"), "pt", "3.97")
    text = "Depois de três semanas, a chuva parou e as crianças correram até o rio."
    row += (text, "ours", "Apache-2.0", "dev", "short")
    lines = ("\t".join((*fields, "note")), "\t".join((*row, "")))
    manifest.write_text("\n".join(lines) + "\n", encoding="utf-8")
    out = tmp_path / "out"
    arguments = ["--manifest", str(manifest), "--no-peers", "--out", str(out)]
    result = CliRunner().invoke(accuracy, arguments)
    assert 0 == result.exit_code, result.output
    results = json.loads((out / "results.json").read_text(encoding="utf-8"))
    (answers,) = results["answers"].values()
    (answer,) = answers.values()
    assert "semanas" in answer["text"]
