"""`./just`, the wrapper: real virtual environments, with wheels from a local folder."""

import hashlib
import os
import shutil
import stat
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SYSTEM_PATH = "/usr/bin:/bin"

FAKE_JUST = """#!/bin/sh
echo "index: ${UV_DEFAULT_INDEX-unset}"
printf '%s\\n' "$@"
"""


def fake_tools(folder: Path, version: str) -> str:
    """A wheel whose program `just` prints its arguments; returns its pin."""
    info = f"rust_just-{version}.dist-info"
    path = folder / f"rust_just-{version}-py3-none-any.whl"
    script = f"rust_just-{version}.data/scripts/just"
    with zipfile.ZipFile(path, "w") as archive:
        program = zipfile.ZipInfo(script)
        program.external_attr = 0o100755 << 16
        archive.writestr(program, FAKE_JUST)
        meta = f"Metadata-Version: 2.1\nName: rust-just\nVersion: {version}\n"
        archive.writestr(f"{info}/METADATA", meta)
        tags = "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        archive.writestr(f"{info}/WHEEL", tags)
        archive.writestr(f"{info}/RECORD", "")
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    return f"rust-just=={version} --hash=sha256:{digest}\n"


class Checkout:
    """A copy of the wrapper in a folder with a space in its name."""

    def __init__(self, folder: Path) -> None:
        self.root = folder / "my checkout"
        self.wheels = folder / "wheels"
        (self.root / "requirements").mkdir(parents=True)
        self.wheels.mkdir()
        shutil.copy(ROOT / "just", self.root / "just")
        self.pins = self.root / "requirements" / "tools.txt"
        self.pins.write_text(fake_tools(self.wheels, "1.0.0"))
        python = folder / "bin"
        python.mkdir()
        (python / "python3").symlink_to(sys.executable)
        self.path = f"{python}:{SYSTEM_PATH}"

    def run(
        self, *arguments: str, shell: str = "sh", **environ: str
    ) -> subprocess.CompletedProcess[str]:
        """Run the wrapper from another folder; pip knows the local wheels only."""
        offline = {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(self.wheels)}
        return subprocess.run(
            [shell, str(self.root / "just"), *arguments],
            env={"PATH": self.path, "PIP_CONFIG_FILE": os.devnull} | offline | environ,
            cwd=self.wheels,
            capture_output=True,
            text=True,
            check=False,
        )

    def stub(self, name: str, text: str) -> None:
        """Put a program in front of the others."""
        program = self.root.parent / "bin" / name
        program.unlink(missing_ok=True)
        program.write_text(f"#!/bin/sh\n{text}\n")
        program.chmod(0o755)


@pytest.fixture
def checkout(tmp_path: Path) -> Checkout:
    """A fresh one."""
    return Checkout(tmp_path)


def test_the_wrapper_is_executable() -> None:
    """`./just` works right after a clone."""
    assert (ROOT / "just").stat().st_mode & stat.S_IXUSR


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Checkout:
    """A checkout that was run once; for tests that leave its tools alone."""
    checkout = Checkout(tmp_path_factory.mktemp("made"))
    first = checkout.run()
    assert "first run: installing just and uv" in first.stderr
    assert "--list" == first.stdout.splitlines()[-1]
    return checkout


@pytest.mark.parametrize("shell", ["sh", "dash", "bash"])
def test_any_shell_passes_the_arguments_on(made: Checkout, shell: str) -> None:
    """Unchanged, with the Justfile and folder of the checkout, from another folder."""
    if shutil.which(shell) is None:
        pytest.skip(f"no {shell} here")
    done = made.run("demo", "my file.ogg", shell=shell)
    where = ["--justfile", f"{made.root}/Justfile", "--working-directory", f"{made.root}"]
    assert [*where, "demo", "my file.ogg"] == done.stdout.splitlines()[1:]
    assert "" == done.stderr


def test_without_arguments_the_commands_are_listed(made: Checkout) -> None:
    """Nobody has to know a name first."""
    assert "--list" == made.run().stdout.splitlines()[-1]


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({}, "index: unset"),
        ({"PIP_INDEX_URL": "a"}, "index: a"),
        ({"PIP_INDEX_URL": "a", "UV_DEFAULT_INDEX": "b"}, "index: b"),
    ],
)
def test_an_index_set_for_pip_counts_for_uv(
    made: Checkout, environ: dict[str, str], expected: str
) -> None:
    """UV_DEFAULT_INDEX follows PIP_INDEX_URL, unless it is set."""
    assert expected == made.run(**environ).stdout.splitlines()[0]


def test_the_tools_are_made_once_and_again_when_their_pins_change(checkout: Checkout) -> None:
    """The second run says nothing; other pins are another first run."""
    first, second = checkout.run(), checkout.run()
    checkout.pins.write_text(fake_tools(checkout.wheels, "1.0.1"))
    third = checkout.run()
    assert ["first run" in run.stderr for run in (first, second, third)] == [True, False, True]
    assert "" == second.stderr


def test_a_wheel_with_another_hash_is_refused(checkout: Checkout) -> None:
    """Nothing of it stays, so the next run tries again."""
    fake_tools(checkout.wheels, "1.0.0")
    checkout.pins.write_text("rust-just==1.0.0 --hash=sha256:" + "0" * 64 + "\n")
    done = checkout.run()
    assert 0 != done.returncode
    assert "THESE PACKAGES DO NOT MATCH THE HASHES" in done.stderr
    assert [] == list(checkout.root.glob(".tools*"))


def test_without_python_it_says_what_to_install(checkout: Checkout) -> None:
    """A too old one counts as none."""
    for name in ("python3", "python3.13", "python3.12", "python3.11"):
        checkout.stub(name, "exit 1")
    done = checkout.run()
    assert 1 == done.returncode
    assert "just: Python 3.11 or newer is needed" in done.stderr


BARE_PYTHON = """case "$2" in *ensurepip*) exit 1;; *print*) echo python3.11-venv;; esac"""


def test_a_bare_python_is_completed_by_root(checkout: Checkout) -> None:
    """Debian's Python without venv gets its package."""
    checkout.stub("python3", BARE_PYTHON)
    checkout.stub("id", "echo 0")
    checkout.stub("apt-get", 'echo "apt-get $*"')
    done = checkout.run()
    assert "installing python3.11-venv" in done.stderr
    assert "apt-get install --yes --no-install-recommends python3.11-venv" in done.stderr


def test_a_bare_python_is_explained_to_others(checkout: Checkout) -> None:
    """Who is not root is told the exact command."""
    checkout.stub("python3", BARE_PYTHON)
    checkout.stub("id", "echo 1000")
    done = checkout.run()
    assert 1 == done.returncode
    assert "run: sudo apt-get install python3.11-venv" in done.stderr
