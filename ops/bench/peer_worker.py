"""`python -m ops.bench.peer_worker`: one peer in a process of its own; JSON lines in and out.

Knows: how a peer is made and asked.
Must not know: who asks. So peers' memory and threads are apart from one another's.
"""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ops.accuracy.manifest import Clip
from ops.accuracy.peer import Peer, PeerOptions
from ops.accuracy.peers import PEERS
from ops.accuracy.transcripts import Hypothesis
from ops.bench import ggml


class WhisperCpp(Peer):
    """whisper.cpp by pywhispercpp, in float16."""

    name = "whisper.cpp"
    packages = ("pywhispercpp",)

    def load(self) -> Callable[[Any, str | None], Hypothesis]:
        """Convert the weights once, and load them."""
        from pywhispercpp.model import Model  # noqa: PLC0415  as the other peers

        path = self.options.cache_dir / f"{self.fingerprint['weights']}.ggml"
        if not path.is_file():
            ggml.convert(self.options.model_dir, path)
        beam = self.options.beam_size
        model = Model(
            str(path),
            params_sampling_strategy=1 if beam > 1 else 0,
            redirect_whispercpp_logs_to=None,
            n_threads=self.options.threads,
            print_progress=False,
            print_realtime=False,
            **({"beam_search": {"beam_size": beam, "patience": -1.0}} if beam > 1 else {}),
        )

        def run(samples: Any, language: str | None) -> Hypothesis:  # noqa: ANN401  an array
            segments = model.transcribe(samples, language=language or "auto")
            text = " ".join(segment.text for segment in segments)
            return Hypothesis(text=text, language=language, wall_s=0.0)

        return run


class OpenVINOGenAI(Peer):
    """OpenVINO GenAI: an encoder in float16, a decoder in int8, bfloat16 where there is such."""

    name = "openvino-genai"
    packages = ("openvino-genai", "openvino", "faster-whisper", "av")

    def load(self) -> Callable[[Any, str | None], Hypothesis]:
        """Convert the weights once, and load them."""
        import openvino_genai  # noqa: PLC0415  as the other peers

        from ops.bench import openvino_ir  # noqa: PLC0415  likewise

        folder = self.options.cache_dir / f"{self.fingerprint['weights']}.openvino"
        if not folder.is_dir():
            openvino_ir.convert(self.options.model_dir, folder)
        pipeline = openvino_genai.WhisperPipeline(
            folder, "CPU", INFERENCE_NUM_THREADS=self.options.threads
        )

        def run(samples: Any, language: str | None) -> Hypothesis:  # noqa: ANN401  an array
            given = {"language": f"<|{language}|>"} if language else {}
            result = pipeline.generate(
                samples, task="transcribe", num_beams=self.options.beam_size, **given
            )
            return Hypothesis(text=" ".join(result.texts), language=language, wall_s=0.0)

        return run


def main(name: str, model: str, cache: str, beam: str, threads: str) -> None:
    """Load, say so, then answer one clip a line until there is none."""
    answers, sys.stdout = sys.stdout, sys.stderr  # libraries print
    options = PeerOptions(
        model_dir=Path(model), cache_dir=Path(cache), beam_size=int(beam), threads=int(threads)
    )
    own = (WhisperCpp, OpenVINOGenAI)
    kinds: dict[str, type[Peer]] = {**PEERS, **{kind.name: kind for kind in own}}
    peer = kinds[name](options)
    versions = {package: peer.fingerprint[package] for package in peer.packages}
    _ = peer.run  # loaded and warm
    print(json.dumps({"versions": versions}), file=answers, flush=True)
    for line in sys.stdin:
        asked = json.loads(line)
        clip = Clip(Path(asked["path"]), asked["language"], 0.0, "", "", "")
        hypothesis = peer.transcribe(clip)
        answer = {"text": hypothesis.text, "wall_s": hypothesis.wall_s}
        print(json.dumps(answer), file=answers, flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
