"""TLS in front of a server, with a certificate of its own making: bytes in, bytes out."""

import contextlib
import ipaddress
import socket
import socketserver
import ssl
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID


def certificate(folder: Path, days: int) -> tuple[Path, Path]:
    """A certificate for 127.0.0.1 that signs itself, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(days=days, hours=1))
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]),
            critical=False,
        )
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    (folder / "cert.pem").write_bytes(made.public_bytes(serialization.Encoding.PEM))
    (folder / "key.pem").write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return folder / "cert.pem", folder / "key.pem"


def pump(source: socket.socket, target: socket.socket) -> None:
    """Bytes from one to the other until one of them ends."""
    with contextlib.suppress(OSError):
        while block := source.recv(65_536):
            target.sendall(block)
        target.shutdown(socket.SHUT_WR)


class Front(socketserver.ThreadingTCPServer):
    """Takes TLS connections and hands them on to a port."""

    daemon_threads = True

    def __init__(self, port: int, files: tuple[Path, Path]) -> None:
        self.behind = port
        self.context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        self.context.load_cert_chain(*files)
        super().__init__(("127.0.0.1", 0), Handler)


class Handler(socketserver.BaseRequestHandler):
    """One connection."""

    server: Front

    def handle(self) -> None:
        """Both directions at once."""
        with (
            contextlib.suppress(OSError),
            self.server.context.wrap_socket(self.request, server_side=True) as outer,
            socket.create_connection(("127.0.0.1", self.server.behind)) as inner,
        ):
            back = threading.Thread(target=pump, args=(inner, outer))
            back.start()
            pump(outer, inner)
            back.join()


@contextlib.contextmanager
def tls_front(port: int, files: tuple[Path, Path]) -> Iterator[str]:
    """The URL of a front that runs meanwhile."""
    with Front(port, files) as front:
        thread = threading.Thread(target=front.serve_forever, args=(0.02,))
        thread.start()
        yield f"https://127.0.0.1:{front.server_address[1]}"
        front.shutdown()
        thread.join()
