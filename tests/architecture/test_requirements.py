"""The requirement files: pinned, hashed, free of addresses, and each line has its reason."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
REQUIREMENTS = ROOT / "requirements"
LOCKED = (
    *("tools", "server", "cpu", "postgres", "s3", "traces", "gpu", "gpu-source"),
    *(
        "dev",
        "ray",
        "object-store",
        "fuzz",
        "clients",
        "container",
        "observe",
        "accuracy",
        "oracle",
    ),
)
PIN = re.compile(r"^([a-z0-9-]+)==([^\s;\\]+)( ; [^\\]+)? \\$", re.MULTILINE)


def text_of(name: str) -> str:
    """A requirement file's content."""
    return (REQUIREMENTS / name).read_text(encoding="utf-8")


def pins(name: str) -> set[tuple[str, str, str]]:
    """(package, version, marker) of a locked file."""
    return {(m[1], m[2], m[3] or "") for m in PIN.finditer(text_of(f"{name}.txt"))}


def direct(name: str) -> set[str]:
    """The packages that an `.in` file names itself."""
    words = re.findall(r"^([a-z0-9][A-Za-z0-9_.-]*)", text_of(name), re.MULTILINE)
    return {word.lower() for word in words}


@pytest.mark.parametrize("name", [*LOCKED, "rtx"])
def test_every_pin_has_hashes(name: str) -> None:
    """A line is a pin or a hash, and each pin is followed by a hash."""
    lines = text_of(f"{name}.txt").splitlines()
    entries = [line for line in lines if not line.startswith("    --hash=sha256:")]
    assert len(pins(name)) == len(entries)
    for line, following in zip(lines, [*lines[1:], ""], strict=True):
        assert not line.endswith("\\") or following.startswith("    --hash=sha256:")


@pytest.mark.parametrize("path", sorted(REQUIREMENTS.iterdir()), ids=lambda path: path.name)
def test_no_address_is_written_down(path: Path) -> None:
    """Where packages come from is the affair of whoever installs them."""
    assert [] == re.findall(r"https?://\S+|--(?:extra-)?index\S*|--find-links", path.read_text())


@pytest.mark.parametrize(
    ("smaller", "larger"),
    [
        ("server", "cpu"),
        ("cpu", "dev"),
        ("cpu", "postgres"),
        ("cpu", "s3"),
        ("s3", "object-store"),
        ("traces", "dev"),
        ("dev", "clients"),
        ("dev", "container"),
        ("dev", "fuzz"),
        ("postgres", "ray"),
        ("dev", "observe"),
        ("gpu-source", "accuracy"),
        ("cpu", "oracle"),
    ],
)
def test_larger_sets_hold_the_smaller_ones(smaller: str, larger: str) -> None:
    """The tests run what users run, version by version."""
    assert set() == pins(smaller) - pins(larger)


def test_the_gpu_image_is_the_cpu_image_without_numpy() -> None:
    """The base image's own NumPy must stay; setuptools builds what comes as source."""
    assert {"numpy"} == {package for package, _, _ in pins("postgres") - pins("gpu")}
    assert {"setuptools"} == {package for package, _, _ in pins("gpu") - pins("postgres")}
    assert set() == {"numpy", "triton"} & {package for package, _, _ in pins("gpu-source")}


@pytest.mark.parametrize("name", [*LOCKED])
def test_no_set_installs_torch(name: str) -> None:
    """The default install stays small."""
    packages = {package for package, _, _ in pins(name)}
    assert set() == {p for p in packages if p.startswith(("torch", "nvidia", "tensorrt"))}


@pytest.mark.parametrize("path", sorted(REQUIREMENTS.glob("*.in")), ids=lambda path: path.name)
def test_every_dependency_has_a_reason(path: Path) -> None:
    """docs/dependencies.md has a line of its own for it."""
    reasons = dict(
        re.findall(
            r"^\| ([a-z0-9-]+) \| (.+) \|$",
            (ROOT / "docs" / "dependencies.md").read_text(encoding="utf-8"),
            re.MULTILINE,
        )
    )
    assert set() == direct(path.name) - set(reasons)


def test_no_reason_is_left_behind() -> None:
    """What is no longer needed is no longer explained."""
    wanted = set().union(*(direct(path.name) for path in REQUIREMENTS.glob("*.in")))
    wanted |= direct("torch.txt")
    explained = re.findall(
        r"^\| ([a-z0-9-]+) \|",
        (ROOT / "docs" / "dependencies.md").read_text(encoding="utf-8"),
        re.MULTILINE,
    )
    assert set() == set(explained) - wanted - {"package", "---"}
