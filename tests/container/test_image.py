"""The image: what is in it, what is not, and how it is built."""

import json
import re
from typing import Any

import pytest
from packaging.requirements import Requirement
from private_engine import Engine
from stack import IMAGE, MEASURED, ROOT, Built

MAX_BYTES = 700_000_000
COMPILERS = ("cc", "gcc", "g++", "c++", "clang", "make", "ld", "as", "go", "rustc", "tcc")


@pytest.fixture(scope="module")
def image(built: Built) -> dict[str, Any]:
    """What the engine says of the image."""
    return built.engine.inspect(IMAGE)


def run(built: Built, *command: str, **options: str) -> str:
    """What a command in a container without a network prints."""
    flags = [f"--{name}={value}" for name, value in options.items()]
    return built.engine.docker("run", "--rm", "--network=none", *flags, IMAGE, *command).stdout


def test_it_is_small(image: dict[str, Any]) -> None:
    """Less than 700 MB, base included; models are outside."""
    MEASURED["image, base included"] = f"{image['Size'] / 1e6:.0f} MB"
    assert MAX_BYTES > image["Size"]


def test_it_says_how_it_wants_to_be_run(image: dict[str, Any]) -> None:
    """User, signal, health check, port and labels are part of it."""
    config = image["Config"]
    assert ("10001:10001", "SIGTERM") == (config["User"], config["StopSignal"])
    assert "python" == config["Healthcheck"]["Test"][1]
    assert ["9005/tcp"] == list(config["ExposedPorts"])
    labels = {name.removeprefix("org.opencontainers.image.") for name in config["Labels"]}
    assert {"title", "description", "licenses", "version", "revision"} <= labels


def test_it_holds_exactly_the_pinned_packages(built: Built) -> None:
    """Version by version, nothing more and nothing less."""
    report = run(built, "python", "-m", "pip", "inspect")
    inspected = json.loads(report)
    installed = {
        re.sub(r"[-_.]+", "-", item["metadata"]["name"]).lower(): item["metadata"]["version"]
        for item in inspected["installed"]
    }
    text = (ROOT / "requirements" / "postgres.txt").read_text(encoding="utf-8")
    lines = re.findall(r"^(\S+==.*?) \\$", text, re.MULTILINE)
    pinned = {
        item.name: str(item.specifier).removeprefix("==")
        for item in map(Requirement, lines)
        if item.marker is None or item.marker.evaluate(inspected["environment"])
    }
    installed.pop("setuptools", None)  # Python's own venv module puts it there before 3.12
    assert pinned == installed


def test_a_wrong_pin_ends_the_build(built: Built) -> None:
    """One digit of one hash is enough."""
    assert 0 != built.with_a_wrong_pin.returncode
    assert "DO NOT MATCH THE HASHES" in built.with_a_wrong_pin.stderr


def test_there_is_no_compiler_in_it(built: Built) -> None:
    """Nor anything else that makes programs."""
    script = f"import shutil; print([n for n in {COMPILERS} if shutil.which(n)])"
    assert "[]" == run(built, "python", "-c", script).strip()


def test_it_holds_no_key_and_no_weights(built: Built) -> None:
    """Only what .dockerignore lets through."""
    script = "import os; print(sorted(os.listdir('/app')), os.listdir('/weights'))"
    assert "['engine_build', 'ops', 'server'] []" == run(built, "python", "-c", script).strip()


def test_usage_can_be_kept_in_a_volume(built: Built) -> None:
    """A new volume at /state belongs to the server's user."""
    script = "open('/state/usage', 'w').close(); import os; print(os.stat('/state').st_uid)"
    flags = ("run", "--rm", "--network=none", "--read-only", "--volume=/state")
    done = built.engine.docker(*flags, IMAGE, "python", "-c", script)
    assert "10001" == done.stdout.strip()


def test_without_a_key_it_says_what_to_do(built: Built) -> None:
    """Exit code 78, so that nobody restarts it for ever without looking."""
    done = built.engine.docker("run", "--rm", "--network=none", IMAGE, check=False)
    assert 78 == done.returncode
    assert "no API key: run `python -m ops keys new NAME`" in done.stderr


def test_a_key_can_be_made_with_it(built: Built) -> None:
    """No checkout is needed on a server that has the image."""
    made = json.loads(run(built, "python", "-m", "ops", "keys", "new", "n8n", "--json"))
    assert made["record"].startswith("n8n:sha256:")


def test_the_gpu_images_can_be_built(engine: Engine, gpu_images: tuple[str, str]) -> None:
    """On a stand-in for TensorRT-LLM's image: stages, paths, hashes and users fit together.

    Nothing is shown of TensorRT-LLM or of a GPU.
    """
    script = """
import av, falcon, numba, numpy, tiktoken
from importlib.metadata import version
print(numpy.__file__, version("openai-whisper"))
"""
    pins = (ROOT / "requirements" / "gpu-source.txt").read_text(encoding="utf-8")
    (whisper,) = re.findall(r"^openai-whisper==(\S+)", pins, re.MULTILINE)
    for name in gpu_images:
        assert "10001:10001" == engine.inspect(name)["Config"]["User"]
        found = engine.docker("run", "--rm", "--entrypoint=python", name, "-c", script).stdout
        assert found.startswith("/usr/lib/python3/dist-packages/numpy")
        assert whisper == found.split()[-1]


def test_engines_are_built_on_a_gpu_only(engine: Engine, gpu_images: tuple[str, str]) -> None:
    """The build image refuses in one line where there is none."""
    _, image = gpu_images
    done = engine.docker("run", "--rm", "--network=none", image, check=False)
    assert 1 == done.returncode
    assert "no NVIDIA driver" in done.stderr
    assert 1 == len(done.stderr.splitlines())
