"""Traefik in front of servers, with a certificate of a private authority.

Knows: Traefik's settings for the way in.
Must not know: what is behind it.
"""

import contextlib
import json
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import httpx
import pytest
import trustme
from n8n_process import free_port

TRAEFIK = Path(sys.prefix) / "bin" / "traefik"


class Authority:
    """A private certificate authority; `path` is what its users have to trust."""

    def __init__(self, folder: Path) -> None:
        self._authority = trustme.CA()
        self.path = folder / "ca.pem"
        self._authority.cert_pem.write_to_path(str(self.path))

    def certificate(self, folder: Path) -> dict[str, str]:
        """For 127.0.0.1, as Traefik's settings name it."""
        leaf = self._authority.issue_cert("127.0.0.1", "localhost")
        leaf.private_key_pem.write_to_path(str(folder / "key.pem"))
        for number, pem in enumerate(leaf.cert_chain_pems):
            pem.write_to_path(str(folder / "cert.pem"), append=number > 0)
        return {"certFile": str(folder / "cert.pem"), "keyFile": str(folder / "key.pem")}


@contextlib.contextmanager
def traefik(
    folder: Path, authority: Authority, behind: Mapping[str, str]
) -> Iterator[tuple[str, str]]:
    """Its https address, and the http one, which redirects to it.

    The first part of a path leads to the server of that name.
    """
    port, plain = free_port(), free_port()
    routers = {
        name: {
            "rule": f"PathPrefix(`/{name}/`)",
            "service": name,
            "middlewares": [f"{name}-strip"],
            "entryPoints": ["https"],
            "tls": {},
        }
        for name in behind
    }
    strip = {f"{name}-strip": {"stripPrefix": {"prefixes": [f"/{name}"]}} for name in behind}
    services = {name: {"loadBalancer": {"servers": [{"url": url}]}} for name, url in behind.items()}
    dynamic = {
        "tls": {"certificates": [authority.certificate(folder)]},
        "http": {"routers": routers, "middlewares": strip, "services": services},
    }
    (folder / "dynamic.json").write_text(json.dumps(dynamic))  # YAML holds JSON
    (folder / "dynamic.json").rename(folder / "dynamic.yaml")
    arguments = [
        f"--entryPoints.https.address=127.0.0.1:{port}",
        f"--entryPoints.http.address=127.0.0.1:{plain}",
        f"--entryPoints.http.http.redirections.entryPoint.to=:{port}",
        "--entryPoints.https.transport.respondingTimeouts.readTimeout=1800s",
        f"--providers.file.filename={folder / 'dynamic.yaml'}",
        "--global.checkNewVersion=false",
        "--global.sendAnonymousUsage=false",
    ]
    log = folder / "traefik.log"
    with log.open("wb") as out:
        process = subprocess.Popen([TRAEFIK, *arguments], stdout=out, stderr=out, cwd=folder)
    try:
        url = f"https://127.0.0.1:{port}"
        _wait_for(f"{url}/{next(iter(behind))}/healthz", authority, process, log)
        yield url, f"http://127.0.0.1:{plain}"
    finally:
        process.terminate()
        process.wait(30)


def _wait_for(
    url: str, authority: Authority, process: "subprocess.Popen[bytes]", log: Path
) -> None:

    context = ssl.create_default_context(cafile=str(authority.path))
    end = time.monotonic() + 30
    while True:
        with contextlib.suppress(httpx.HTTPError):
            if httpx.get(url, verify=context).status_code == 200:
                return
        if process.poll() is not None or time.monotonic() > end:
            pytest.fail(log.read_text())
        time.sleep(0.2)
