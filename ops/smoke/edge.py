"""The server's edge: whether it is there, safe to talk to, and lets in whom it should.

Knows: probes, TLS, headers, keys, the list of models, limits of size.
Must not know: speech.
"""

import ipaddress
import json
import ssl
import time
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from typing import Any
from urllib.parse import SplitResult, urlsplit

from urllib3.response import BaseHTTPResponse

from ops.client import Client, ClientError, failure
from ops.finding import Finding, failed, note, ok

TIMEOUT = 10.0
RENEW_DAYS = 14
"""Authorities that renew by themselves do so earlier."""
CLOCK_SECONDS = 5
"""Tokens are allowed as much (docs/security.md)."""
HUGE_BYTES = 1 << 50
"""Is declared, not sent."""


class Useless(Exception):
    """What failed makes all further checks pointless."""

    def __init__(self, finding: Finding) -> None:
        super().__init__(finding.found)
        self.finding = finding


def outside(client: Client) -> Iterator[Finding]:
    """All of it.

    Raises:
        Useless: nobody answers, it is no Sussurro, or the key is not taken.
    """
    response = _alive(client)
    yield ok("alive", f"{client.url} answers in {response.headers['openai-processing-ms']} ms")
    yield _secure(urlsplit(client.url))
    yield _clock(response)
    yield _request_id(client)
    yield _ready(client)
    yield from _strangers(client)
    yield _models(client)
    yield _too_large(client)


def _alive(client: Client) -> BaseHTTPResponse:
    try:
        response = client.ask("GET", "/healthz", key="")
    except ClientError as error:
        todo = "is it started, is the address right, is its certificate known here (SSL_CERT_FILE)?"
        raise Useless(failed("alive", str(error), todo)) from error
    if response.status != 200:
        todo = "give its real address; behind a proxy: it finds no healthy server, see its log"
        raise Useless(failed("alive", str(failure(response)), todo))
    if "openai-processing-ms" not in response.headers:
        todo = "give the address of the server; a proxy must pass on its headers"
        raise Useless(failed("alive", "it answers, but not as Sussurro does", todo))
    return response


def _secure(url: SplitResult) -> Finding:
    """The certificate was checked by the requests before; here is how long it lasts."""
    check, host = "tls", url.hostname or ""
    if url.scheme == "http":
        if _is_loopback(host):
            return ok(check, "not needed: it is this machine")
        todo = "put a proxy with TLS in front of it (docs/deploy-debian.md)"
        return note(check, "none: keys and recordings can be read on their way", todo)
    connection = HTTPSConnection(host, url.port, timeout=TIMEOUT)
    try:
        connection.connect()
        assert isinstance(connection.sock, ssl.SSLSocket), "that is what connect() makes"
        version, certificate = connection.sock.version(), connection.sock.getpeercert() or {}
    except OSError as error:
        return failed(check, f"no second connection: {error}", "ask again")
    finally:
        connection.close()
    ends = datetime.fromtimestamp(ssl.cert_time_to_seconds(str(certificate["notAfter"])), UTC)
    found = f"{version}, certificate until {ends.date()}"
    if (ends - datetime.now(UTC)).days < RENEW_DAYS:
        return note(check, found, "renew it; does what should do that by itself work?")
    return ok(check, found)


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _clock(response: BaseHTTPResponse) -> Finding:
    there = parsedate_to_datetime(response.headers["date"]).timestamp()
    apart = abs(there - time.time())
    found = f"{apart:.0f} s from the one here"
    if apart > CLOCK_SECONDS:
        todo = "one of the two is wrong: keys and tokens expire by it (chrony, systemd-timesyncd)"
        return note("clock", found, todo)
    return ok("clock", found)


def _request_id(client: Client) -> Finding:
    sent = uuid.uuid4().hex
    back = client.ask("GET", "/healthz", {"x-request-id": sent}, key="").headers
    if back.get("x-request-id") != sent:
        todo = (
            "let the proxy pass x-request-id on, in both directions: it finds a request's log line"
        )
        return note("request id", f"sent {sent}, got {back.get('x-request-id')}", todo)
    return ok("request id", "comes back as it was sent")


def _ready(client: Client) -> Finding:
    response = client.ask("GET", "/readyz", key="")
    if response.status != 200:
        todo = "it may still load; if it stays so, look at the log and at `ops doctor`"
        raise Useless(failed("ready", str(failure(response)), todo))
    engines = _json(response).get("engines", {})
    told = [f"{model} by {e['engine']}, build {e['build']}" for model, e in engines.items()]
    return ok("ready", "; ".join(told) or "it says so")


def _strangers(client: Client) -> Iterator[Finding]:
    """Nobody without a good key is let in."""
    for check, key in (("without a key", ""), ("with a wrong key", "wsk_smoke_test")):
        response = client.ask("GET", "/v1/models", key=key)
        if response.status == 401:
            yield ok(check, "refused")
        elif response.status == 429:
            todo = "wait a minute: too many wrong keys came from this address"
            yield note(check, "refused with 429", todo)
        else:
            todo = "take it off the net: whoever answers there lets strangers in"
            yield failed(check, f"answered {response.status}, not 401", todo)


def _models(client: Client) -> Finding:
    response = client.ask("GET", "/v1/models")
    if response.status == 403:
        todo = "give the key the scope `models` if n8n is to use it: it tests its credentials so"
        return note("models", "this key must not list them", todo)
    if response.status != 200:
        todo = "`ops keys check` tells what is wrong with a key; has the server its record?"
        raise Useless(failed("models", str(failure(response)), todo))
    return ok("models", ", ".join(model["id"] for model in _json(response)["data"]))


def _too_large(client: Client) -> Finding:
    """A huge upload is announced; the refusal has to come before a byte of it."""
    check, url = "too large", urlsplit(client.url)
    kind = HTTPSConnection if url.scheme == "https" else HTTPConnection
    connection = kind(url.hostname or "", url.port, timeout=TIMEOUT)
    try:
        connection.putrequest("POST", url.path + "/v1/audio/transcriptions")
        for name, value in {
            "Authorization": f"Bearer {client.key}",
            "Content-Type": "multipart/form-data; boundary=smoke",
            "Content-Length": str(HUGE_BYTES),
            "Expect": "100-continue",
        }.items():
            connection.putheader(name, value)
        connection.endheaders()
        response = connection.getresponse()
        body = response.read(65_536)
    except (OSError, HTTPException) as error:
        todo = "does a proxy wait for whole uploads? let it pass them on as they come"
        return failed(check, f"no refusal: {error or type(error).__name__}", todo)
    finally:
        connection.close()
    return _refusal(check, response.status, body)


def _refusal(check: str, status: int, body: bytes) -> Finding:
    try:
        error = json.loads(body)["error"]
        code, message = error["code"], error["message"]
    except (ValueError, TypeError, KeyError):
        code, message = None, body[:80].decode(errors="replace")
    if (status, code) == (413, "upload_too_large"):
        return ok(check, f"refused: {message.partition('(')[0].strip()}")
    if status == 413:
        todo = "a proxy refuses in its own words; raise its limit above SUSSURRO_MAX_UPLOAD_BYTES"
        return note(check, f"refused, but not by the server: {message}", todo)
    todo = "the server's limit (SUSSURRO_MAX_UPLOAD_BYTES) does not hold there; look at the proxy"
    return failed(check, f"answered {status}, not 413: {message}", todo)


def _json(response: BaseHTTPResponse) -> dict[str, Any]:
    """A body of JSON, or nothing."""
    try:
        content = json.loads(response.data)
    except ValueError:
        return {}
    return content if isinstance(content, dict) else {}
