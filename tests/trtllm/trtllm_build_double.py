"""A program that stands in for trtllm-build: it writes what the real one leaves behind.

Knows: its command line, which is checked against the record, and the fields of config.json.
Must not know: GPUs. What it calls an engine is a few bytes.
"""

import json
import sys
from pathlib import Path

from engine_build import recordings


def values(arguments: list[str]) -> dict[str, str]:
    return {
        flag.removeprefix("--"): value
        for flag, value in zip(arguments[::2], arguments[1::2], strict=True)
    }


def number(text: str | None) -> int | None:
    return int(text) if text is not None else None


def main(arguments: list[str]) -> None:
    if problems := recordings.problems_of(arguments):
        sys.exit("; ".join(problems))
    given = values(arguments)
    checkpoint, out = Path(given["checkpoint_dir"]), Path(given["output_dir"])
    pretrained = json.loads((checkpoint / "config.json").read_text())
    if "logits_dtype" in given:
        pretrained["logits_dtype"] = given["logits_dtype"]
    config = {
        "version": recordings.version(),
        "pretrained_config": pretrained,
        "build_config": {
            "max_batch_size": number(given["max_batch_size"]),
            "max_seq_len": number(given["max_seq_len"]),
            "max_beam_width": number(given["max_beam_width"]),
            "max_encoder_input_len": number(given.get("max_encoder_input_len", "1024")),
            "kv_cache_type": "PAGED",
            "plugin_config": {
                "remove_input_padding": given["remove_input_padding"] == "enable",
                "paged_kv_cache": True,
                "tokens_per_block": number(given.get("tokens_per_block", "32")),
            },
        },
    }
    out.mkdir(parents=True, exist_ok=True)
    (out / "config.json").write_text(json.dumps(config))
    (out / "rank0.engine").write_bytes(b"engine of " + checkpoint.name.encode())
    Path("model.cache").write_bytes(b"timings")
    sys.stdout.write(f"Total time of building all engines: {out.name}\n")


if __name__ == "__main__":
    main(sys.argv[1:])
