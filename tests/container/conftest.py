"""One engine, one image, one project for all; see run.sh for where they live."""

import os
import re
import shutil
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from outside_world import OutsideWorld
from private_engine import (
    REDIS,
    Engine,
    build,
    build_gpu_base,
    build_redis,
    import_base,
    import_folder,
)
from stack import (
    BUILD_IMAGE,
    COMPOSE,
    COOLIFY_HOST,
    GPU_IMAGE,
    HOST,
    IMAGE,
    MEASURED,
    PROJECT,
    ROOT,
    Built,
    Stack,
)

CACHE = ROOT / ".cache" / "container-test"
PROXY = "sussurro-test-traefik:real"


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Show what was measured."""
    for name, value in MEASURED.items():
        terminalreporter.write_line(f"{name}: {value}")


def _versions(engine: Engine) -> None:
    """The programs that took part."""
    MEASURED["engine"] = engine.docker("version", "--format", "{{.Server.Version}}").stdout.strip()
    MEASURED["kernel"] = os.uname().release
    traefik = Path(sys.executable).with_name("traefik")
    for name, command in (
        ("compose", [COMPOSE, "version", "--short"]),
        ("traefik", [traefik, "version"]),
    ):
        said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        MEASURED[name] = said.split("Version:")[-1].split()[0]


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Built]:
    """An engine with the image of this checkout, and with one that could not be built."""
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    engine = Engine(CACHE / "engine")
    engine.start(outside=True)
    try:
        engine.remove_containers()
        import_base(engine, CACHE / "base")
        started = time.monotonic()
        done = build(engine, ROOT, "--target=cpu", f"--tag={IMAGE}")
        seconds = time.monotonic() - started
        assert done.returncode == 0, done.stderr[-3_000:]
        build_redis(engine, tmp_path_factory.mktemp("redis"))
        _versions(engine)
        MEASURED["build, packages from the registry included unless cached"] = f"{seconds:.0f} s"
        yield Built(engine, _build_wrongly(engine, tmp_path_factory.mktemp("wrong")))
    finally:
        engine.stop()


def _build_wrongly(engine: Engine, folder: Path) -> subprocess.CompletedProcess[str]:
    """The same build with one digit of one package's hashes changed."""
    for name in ("server", "ops", "engine_build", "requirements"):
        shutil.copytree(ROOT / name, folder / name)
    shutil.copy(ROOT / "Dockerfile.runtime", folder)
    pins = folder / "requirements" / "postgres.txt"
    before, after = pins.read_text().split("annotated-types==")
    after = re.sub(r"sha256:(.)", lambda m: f"sha256:{'0' if m[1] != '0' else '1'}", after, count=2)
    pins.write_text(f"{before}annotated-types=={after}")
    return build(engine, folder, "--target=cpu-packages")


@pytest.fixture(scope="session")
def gpu_images(engine: Engine, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    """The images for GPUs on the stand-in; the engine goes outside for them, and comes back."""
    engine.stop()
    engine.start(outside=True)
    build_gpu_base(engine, tmp_path_factory.mktemp("gpu"))
    for flags, dockerfile in (
        (("--target=gpu", f"--tag={GPU_IMAGE}"), "Dockerfile.runtime"),
        ((f"--tag={BUILD_IMAGE}",), "Dockerfile.build"),
    ):
        done = build(engine, ROOT, *flags, dockerfile=dockerfile)
        assert done.returncode == 0, done.stderr[-3_000:]
    engine.stop()
    engine.start(outside=False)
    return GPU_IMAGE, BUILD_IMAGE


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OutsideWorld]:
    """The only host beyond the engine."""
    world = OutsideWorld(tmp_path_factory.mktemp("world") / "host")
    yield world
    world.end()


@pytest.fixture(scope="session")
def engine(built: Built, world: OutsideWorld) -> Iterator[Engine]:
    """The same engine, now in the tests' own network."""
    engine = built.engine
    engine.stop()
    engine.start(outside=False)
    yield engine
    engine.remove_containers()


@pytest.fixture(scope="session")
def stack(
    engine: Engine, tmp_path_factory: pytest.TempPathFactory, weights_dir: Path
) -> Iterator[Stack]:
    """A project with weights and a certificate, nothing of it running."""
    folder = tmp_path_factory.mktemp("project")
    stack = Stack(engine, folder)
    _certificate(folder / "tls")
    program = folder / "traefik"
    program.mkdir()
    shutil.copy(Path(sys.executable).with_name("traefik"), program)
    import_folder(engine, program, PROXY, 'ENTRYPOINT ["/traefik"]')
    stack.configure(
        stack.environ["SUSSURRO_API_KEYS"],
        DOMAIN=HOST,
        TRAEFIK_IMAGE=PROXY,
        REDIS_IMAGE=REDIS,
        DOCKER_SOCKET=str(engine.socket),
        PUBLISH_TLS="127.0.0.1:8443",
    )
    # The one-shot service, with a folder instead of the network.
    engine.docker("tag", IMAGE, f"{PROJECT}-weights")
    stack.compose(
        *("run", "--rm", "--no-deps", "--volume", f"{weights_dir / 'base'}:/from:ro", "weights"),
        *("python", "-m", "ops", "weights", "get", "base", "--from", "/from"),
    )
    yield stack
    stack.compose("down", "--volumes")


def _certificate(folder: Path) -> None:
    folder.mkdir()
    names = ",".join(f"DNS:{name}" for name in (HOST, COOLIFY_HOST, "localhost"))
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"),
            *("-nodes", "-days", "2", "-subj", "/CN=test", "-addext", f"subjectAltName={names}"),
            *("-keyout", str(folder / "key.pem"), "-out", str(folder / "cert.pem")),
        ],
        check=True,
        capture_output=True,
    )


@pytest.fixture
def tls(stack: Stack) -> ssl.SSLContext:
    """Trusts the certificate of the tests alone."""
    return ssl.create_default_context(cafile=str(stack.folder / "tls" / "cert.pem"))
