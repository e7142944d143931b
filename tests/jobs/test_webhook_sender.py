"""One POST to a real receiver, whatever that does."""

import asyncio
import ssl
import time
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from receiver import Receiver, receiving

from server.webhooks import sender as module
from server.webhooks.guard import Guard
from server.webhooks.sender import Sender

HERE = Guard(("127.0.0.0/8",))


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    """On loopback."""
    with receiving() as found:
        yield found


def post(url: str, guard: Guard = HERE, **options: ssl.SSLContext) -> tuple[str, str]:
    """An event."""
    sender = Sender(guard, **options)
    return asyncio.run(sender.post(url, {"webhook-id": "msg_1"}, b'{"a":1}'))


def test_what_is_sent_arrives(receiver: Receiver) -> None:
    """Body, headers, path; and no word of which version we are."""
    assert ("delivered", "200") == post(receiver.url + "?a=b")
    ((headers, body),) = receiver.came
    assert b'{"a":1}' == body
    assert ("msg_1", "application/json") == (headers["webhook-id"], headers["content-type"])
    assert f"127.0.0.1:{receiver.port}" == headers["host"]
    assert "sussurro/0" == headers["user-agent"]


@pytest.mark.parametrize(
    ("status", "outcome"),
    [(204, "delivered"), (202, "delivered"), (410, "gone"), (404, "failed"), (500, "failed")],
)
def test_what_an_answer_means(receiver: Receiver, status: int, outcome: str) -> None:
    """Any 2xx is good; 410 means never again."""
    receiver.status = status
    assert (outcome, str(status)) == post(receiver.url)


def test_a_redirect_is_not_followed(receiver: Receiver) -> None:
    """It could lead inside."""
    with receiving() as other:
        receiver.status, receiver.headers = 307, {"location": other.url}
        assert ("failed", "307") == post(receiver.url)
        assert [] == other.came


def test_nobody_there() -> None:
    """A word for the log, without the address."""
    with receiving() as gone:
        url = gone.url
    assert ("failed", "ConnectionRefusedError") == post(url)


def slowly(handler: BaseHTTPRequestHandler) -> None:
    """A byte of the head now and then."""
    handler.wfile.write(b"HTTP/1.1 200 OK\r\nx: ")
    for _ in range(100):
        time.sleep(0.05)
        handler.wfile.write(b"a")


def silently(_handler: BaseHTTPRequestHandler) -> None:
    """Nothing, for some time."""
    time.sleep(1)


@pytest.mark.parametrize("how", [slowly, silently])
def test_a_slow_receiver_has_a_time(
    receiver: Receiver, how: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    """For all of its answer."""
    monkeypatch.setattr(module, "TIMEOUT", 0.3)
    receiver.instead = how  # type: ignore[assignment]
    started = time.monotonic()
    assert ("failed", "timeout") == post(receiver.url)
    assert time.monotonic() - started < 1


def test_a_large_answer_is_not_read(receiver: Receiver) -> None:
    """Its status is enough."""

    def endless(handler: BaseHTTPRequestHandler) -> None:
        handler.wfile.write(b"HTTP/1.1 200 OK\r\n\r\n" + bytes(1 << 20))

    receiver.instead = endless
    assert ("delivered", "200") == post(receiver.url)


@pytest.mark.parametrize(
    "answer",
    [
        b"SSH-2.0-x\r\n",
        b"",
        b"HTTP/1.1 abc OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"a: b\r\n" * 50_000,
    ],
)
def test_what_is_no_http_has_failed(receiver: Receiver, answer: bytes) -> None:
    """Nor is a head without end one."""
    receiver.instead = lambda handler: handler.wfile.write(answer) and None  # type: ignore[func-returns-value]
    outcome, _ = post(receiver.url)
    assert "failed" == outcome


def test_inside_is_refused_without_a_connection(receiver: Receiver) -> None:
    """A name that leads there, too."""
    assert ("failed", "plain_http") == post(receiver.url, Guard(()))

    async def resolve(_host: str, _port: int) -> Sequence[str]:
        return ["127.0.0.1"]

    assert ("failed", "inside") == post("https://a.example/hook", Guard((), resolve))
    assert [] == receiver.came


def certificate(folder: Path, name: str) -> Path:
    """A key and a certificate for a name, in one file."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .sign(key, hashes.SHA256())
    )
    file = folder / f"{name}.pem"
    pem, raw = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    file.write_bytes(
        key.private_bytes(pem, raw, serialization.NoEncryption()) + made.public_bytes(pem)
    )
    return file


def test_the_address_is_pinned_and_the_name_is_checked(receiver: Receiver, tmp_path: Path) -> None:
    """TLS knows the name of the URL, whatever address that was; another name is refused."""
    file = certificate(tmp_path, "hooks.example")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(file)
    receiver.server.socket = context.wrap_socket(receiver.server.socket, server_side=True)

    async def resolve(_host: str, _port: int) -> Sequence[str]:
        return ["127.0.0.1"]

    guard = Guard(("127.0.0.0/8",), resolve)
    trusting = ssl.create_default_context(cafile=file)
    url = f"https://hooks.example:{receiver.port}/hook"
    assert ("delivered", "200") == post(url, guard, context=trusting)
    other = f"https://other.example:{receiver.port}/hook"
    assert ("failed", "SSLCertVerificationError") == post(other, guard, context=trusting)
    assert ("failed", "SSLCertVerificationError") == post(url, guard)
    assert [f"hooks.example:{receiver.port}"] == [headers["host"] for headers, _ in receiver.came]
