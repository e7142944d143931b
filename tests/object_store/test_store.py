"""Audio in a store that speaks S3: kept as it was, found, freed."""

from pathlib import Path

import numpy as np
import pytest
from s3_store import S3Store

from server.errors import JobsUnavailable
from server.jobs.audio_objects import AudioObjects
from server.types import Audio


@pytest.fixture
def objects(store: S3Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AudioObjects:
    for name, value in store.environ.items():
        monkeypatch.setenv(name, value)
    return AudioObjects("s3://jobs/audio", tmp_path)


def test_an_hour_comes_back_as_it_was(objects: AudioObjects) -> None:
    """In parts, as S3 wants large objects; and after it is gone, whoever has it open has it."""
    rng = np.random.default_rng(1)
    hour = Audio(rng.integers(-32_768, 32_768, 3_600 * 16_000, dtype=np.int16), ("w",))
    objects.write("job_1", hour)
    read = objects.read("job_1", ("w",))
    assert ["job_1"] == objects.older_than(-60)
    assert [] == objects.older_than(3_600)
    objects.delete("job_1")
    objects.delete("job_1")

    assert np.array_equal(hour.pcm, read.pcm)
    assert [] == objects.older_than(-60)
    with pytest.raises(FileNotFoundError):
        objects.read("job_1", ())


def test_a_store_that_is_gone_says_so_in_seconds(objects: AudioObjects, store: S3Store) -> None:
    """For every call; what cannot be freed is left to the sweep."""
    audio = Audio(np.zeros(16_000, dtype=np.int16))
    objects.write("job_1", audio)
    store.kill()
    for work in (
        lambda: objects.write("job_2", audio),
        lambda: objects.read("job_1", ()),
        lambda: objects.older_than(0),
    ):
        with pytest.raises(JobsUnavailable):
            work()
    objects.delete("job_1")
    store.start()
    assert np.array_equal(audio.pcm, objects.read("job_1", ()).pcm)


def test_a_store_that_does_not_answer_stops_the_start(
    store: S3Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It must not be found out by the first caller."""
    for name, value in store.environ.items():
        monkeypatch.setenv(name, value)
    store.kill()
    with pytest.raises(OSError, match="cannot be reached"):
        AudioObjects("s3://jobs/elsewhere", tmp_path)
