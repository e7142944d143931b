"""The established implementations, run on the same weights and the same files.

Knows: how openai-whisper and faster-whisper are called, and with which options.
Must not know: scores, reports, the server.
The temperature ladder samples: openai-whisper is seeded before each clip; CTranslate2 only once,
when the model opens, so that what it samples depends on the clips before.
"""

from collections.abc import Callable, Mapping
from typing import Any

from ops.accuracy import checkpoint
from ops.accuracy.peer import SEED, Peer
from ops.accuracy.timed import TimedText
from ops.accuracy.transcripts import Hypothesis

TEMPERATURES = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)
BATCH_SIZE = 8
"""faster-whisper's own default for its batched pipeline."""


class OpenAIWhisper(Peer):
    """openai-whisper in float32, with its command line's defaults."""

    name = "openai-whisper"
    packages = ("openai-whisper", "torch", "faster-whisper", "av")
    extra: Mapping[str, str] = {"compute_type": "float32", "condition_on_previous_text": "True"}

    def load(self) -> Callable[[Any, str | None], Hypothesis]:
        """Convert the weights once, and load them."""
        import torch  # noqa: PLC0415
        import whisper  # noqa: PLC0415

        weights = self.fingerprint["weights"]
        path = self.options.cache_dir / "checkpoints" / f"{weights}.pt"
        if not path.is_file():
            checkpoint.convert(self.options.model_dir, path)
        torch.set_num_threads(self.options.threads)
        model = whisper.load_model(str(path), device="cpu")
        heads = torch.zeros(model.dims.n_text_layer, model.dims.n_text_head, dtype=torch.bool)
        for layer, head in checkpoint.alignment_heads(self.options.model_dir):
            heads[layer, head] = True
        model.register_buffer("alignment_heads", heads.to_sparse(), persistent=False)

        def run(samples: Any, language: str | None) -> Hypothesis:  # noqa: ANN401  an array
            torch.manual_seed(SEED)
            result = model.transcribe(
                samples,
                language=language,
                beam_size=self.options.beam_size,
                best_of=5,
                temperature=TEMPERATURES,
                word_timestamps=self.options.word_timestamps,
                fp16=False,
            )
            segments = result["segments"]
            return Hypothesis(
                text=result["text"],
                language=result["language"],
                wall_s=0.0,
                segments=tuple(TimedText(s["start"], s["end"], s["text"]) for s in segments),
                words=tuple(
                    TimedText(w["start"], w["end"], w["word"])
                    for s in segments
                    for w in s.get("words", ())
                ),
            )

        return run


class FasterWhisper(Peer):
    """faster-whisper, window after window, in int8."""

    name = "faster-whisper"
    packages = ("faster-whisper", "ctranslate2", "av", "onnxruntime")
    extra: Mapping[str, str] = {"compute_type": "int8", "condition_on_previous_text": "True"}

    def pipeline(self) -> Callable[..., tuple[Any, Any]]:
        """The library's own `transcribe`."""
        import ctranslate2  # noqa: PLC0415
        from faster_whisper import WhisperModel  # noqa: PLC0415

        ctranslate2.set_random_seed(SEED)  # must come before the model opens
        self.model = WhisperModel(
            str(self.options.model_dir),
            device="cpu",
            compute_type="int8",
            cpu_threads=self.options.threads,
        )
        transcribe: Callable[..., tuple[Any, Any]] = self.model.transcribe
        return transcribe

    def load(self) -> Callable[[Any, str | None], Hypothesis]:
        """Open the model."""
        transcribe = self.pipeline()

        def run(samples: Any, language: str | None) -> Hypothesis:  # noqa: ANN401  an array
            lazy, info = transcribe(
                samples,
                language=language,
                beam_size=self.options.beam_size,
                word_timestamps=self.options.word_timestamps,
            )
            segments = list(lazy)
            return Hypothesis(
                text="".join(segment.text for segment in segments),
                language=info.language,
                wall_s=0.0,
                segments=tuple(TimedText(s.start, s.end, s.text) for s in segments),
                words=tuple(
                    TimedText(w.start, w.end, w.word) for s in segments for w in s.words or ()
                ),
            )

        return run


class FasterWhisperBatched(FasterWhisper):
    """faster-whisper's batched pipeline, which cuts at its bundled VAD; one temperature only."""

    name = "faster-whisper-batched"
    extra: Mapping[str, str] = {"compute_type": "int8", "batch_size": str(BATCH_SIZE)}

    def pipeline(self) -> Callable[..., tuple[Any, Any]]:
        """The library's own `transcribe`, batched."""
        from faster_whisper import BatchedInferencePipeline  # noqa: PLC0415

        super().pipeline()
        transcribe: Callable[..., tuple[Any, Any]] = BatchedInferencePipeline(self.model).transcribe
        return transcribe


PEERS: Mapping[str, type[Peer]] = {
    peer.name: peer for peer in (OpenAIWhisper, FasterWhisper, FasterWhisperBatched)
}
