import wave
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ops.accuracy.manifest import Clip
from ops.accuracy.peer import Peer, PeerMissing, PeerOptions
from ops.accuracy.timed import TimedText
from ops.accuracy.transcripts import Hypothesis


class Measuring(Peer):
    """Says how many samples it was given, and in which language."""

    name = "measuring"
    packages = ("numpy",)
    loads = 0

    def load(self) -> Callable[[Any, str | None], Hypothesis]:
        """Nothing to load."""
        self.loads += 1
        place = (TimedText(0.0, 1.0, "x"),)
        return lambda samples, language: Hypothesis(
            f"{len(samples)} {samples.dtype}", language, 0.0, segments=place, words=place
        )


@pytest.fixture
def options(tmp_path: Path) -> PeerOptions:
    """Options with a file where the weights would be."""
    (tmp_path / "model.bin").write_bytes(b"weights")
    return PeerOptions(model_dir=tmp_path, cache_dir=tmp_path)


@pytest.fixture
def clip(tmp_path: Path) -> Clip:
    """Half a second of silence at 8 kHz."""
    path = tmp_path / "a.wav"
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(8_000)
        file.writeframes(bytes(8_000))
    return Clip(path, "pt", 0.5, "x", "dev", "short")


def test_a_peer_gets_resampled_audio_and_the_language(options: PeerOptions, clip: Clip) -> None:
    """float32 at 16 kHz whatever the file holds; both clocks run; the answer is whole."""
    pytest.importorskip("faster_whisper")
    answer = Measuring(options).transcribe(clip)
    assert answer.text == "8000 float32"
    assert answer.language == "pt"
    assert answer.wall_s > 0
    assert answer.cpu_s is not None
    assert answer.words == answer.segments == (TimedText(0.0, 1.0, "x"),)


def test_no_language_is_given_for_silence_or_detection(tmp_path: Path, clip: Clip) -> None:
    """A clip without speech has none, and `detect_language` hides it."""
    pytest.importorskip("faster_whisper")
    silence = Clip(clip.path, "xx", 0.5, "", "dev", "silence")
    shown = Measuring(PeerOptions(tmp_path, tmp_path))
    hidden = Measuring(PeerOptions(tmp_path, tmp_path, detect_language=True))
    assert shown.transcribe(silence).language is None
    assert hidden.transcribe(clip).language is None


def test_a_peer_is_loaded_once(options: PeerOptions, clip: Clip) -> None:
    """The model stays for the clips that follow."""
    pytest.importorskip("faster_whisper")
    peer = Measuring(options)
    peer.transcribe(clip)
    peer.transcribe(clip)
    assert peer.loads == 1


def test_options_weights_and_versions_are_in_the_fingerprint(options: PeerOptions) -> None:
    """Whatever may change the text makes another fingerprint."""
    first = dict(Measuring(options).fingerprint)
    assert "numpy" in first
    other = PeerOptions(options.model_dir, options.cache_dir, beam_size=1)
    assert first != dict(Measuring(other).fingerprint)
    (options.model_dir / "model.bin").write_bytes(b"other weights")
    assert first != dict(Measuring(options).fingerprint)


def test_a_missing_package_is_named(options: PeerOptions, monkeypatch: pytest.MonkeyPatch) -> None:
    """The report can say why a peer was not run."""
    monkeypatch.setattr(Measuring, "packages", ("no-such-package",))
    with pytest.raises(PeerMissing, match="no-such-package is not installed"):
        _ = Measuring(options).fingerprint
