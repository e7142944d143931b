"""Two whole servers on the same weights: TensorRT-LLM's engine on its double, CTranslate2's."""

import json
import shutil
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest
from engine_folder import make_folder
from server_process import Process, Start, launcher

from engine_build import checkpoint

pytestmark = [pytest.mark.model, pytest.mark.timeout(600)]

TESTS = Path(__file__).parents[1]
CLIPS = ("en-river", "pt-chuva")
DOUBLE = str(TESTS / "trtllm" / "double_server.py")
TIMESTAMP_BEGIN = 50_364
TIMEOUT = 300.0
GREEDY = {"SUSSURRO_BEAM_SIZE": "1", "SUSSURRO_ENGINE_WINDOW_TIMEOUT": str(TIMEOUT)}


@pytest.fixture(scope="module")
def folder(weights_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The CPU engine's weights, converted, as an engine for an L40."""
    path = tmp_path_factory.mktemp("engine")
    shutil.copyfile(weights_dir / "base" / "tokenizer.json", path / "tokenizer.json")
    make_folder(path, checkpoint.read(weights_dir / "base"))
    return path


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Start]:
    """Starts servers; none outlives the tests."""
    with launcher(tmp_path_factory.mktemp("servers")) as launch:
        yield launch


def client_of(server: Process) -> httpx.Client:
    """Patient: the double steps in NumPy."""
    client = server.ready().client()
    client.timeout = httpx.Timeout(TIMEOUT)
    return client


@pytest.fixture(scope="module")
def cpu(start: Start, weights_dir: Path) -> Iterator[httpx.Client]:
    """A server as it is started everywhere, whose engine rounds nothing."""
    server = start(
        "-m", "server", **GREEDY, SUSSURRO_WEIGHTS_DIR=str(weights_dir),
        SUSSURRO_ENGINE="ctranslate2", SUSSURRO_COMPUTE_TYPE="float32",
        SUSSURRO_ENCODER="ctranslate2",
    )  # fmt: skip
    with client_of(server) as client:
        yield client
    assert 0 == server.stop()


@pytest.fixture
def double(start: Start, folder: Path) -> Callable[..., Process]:
    """Starts a server on the TensorRT-LLM engine."""
    return partial(start, DOUBLE, DOUBLE_FOLDER=str(folder), **GREEDY)


def ask(client: httpx.Client, name: str, **fields: Any) -> httpx.Response:
    """One clip with its segments and words."""
    audio = (TESTS / "audio" / f"{name}.ogg").read_bytes()
    return client.post(
        "/v1/audio/transcriptions",
        files={"file": (f"{name}.ogg", audio)},
        data={"model": "base", "response_format": "verbose_json", **fields},
    )


def spoken(answer: dict[str, Any]) -> list[list[int]]:
    """The text tokens of each segment; its timestamps are compared as seconds."""
    return [[t for t in s["tokens"] if t < TIMESTAMP_BEGIN] for s in answer["segments"]]


def test_transcripts_are_equal(
    cpu: httpx.Client, double: Callable[..., Process], weights_dir: Path
) -> None:
    """Both clips at once, their languages detected: the same words at the same places."""
    config = json.loads((weights_dir / "base" / "config.json").read_text())
    server = double(DOUBLE_HEADS=json.dumps(config["alignment_heads"]))
    granularities = {"timestamp_granularities[]": ["segment", "word"]}
    with client_of(server) as gpu, ThreadPoolExecutor(len(CLIPS)) as pool:
        answers = list(pool.map(lambda name: ask(gpu, name, **granularities), CLIPS))
    assert 0 == server.stop()
    for name, answer in zip(CLIPS, answers, strict=True):
        expected, found = ask(cpu, name, **granularities).json(), answer.json()
        assert 200 == answer.status_code, found
        assert expected["text"] == found["text"]
        assert expected["language"] == found["language"]
        assert spoken(expected) == spoken(found)
        assert [w["word"] for w in expected["words"]] == [w["word"] for w in found["words"]]
        for kind in ("segments", "words"):
            for one, other in zip(expected[kind], found[kind], strict=True):
                # The CPU's engine looks at a view fitted to the clip, TensorRT-LLM's at all 30 s.
                assert one["start"] == pytest.approx(other["start"], abs=0.1)
                assert one["end"] == pytest.approx(other["end"], abs=0.1)
