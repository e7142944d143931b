"""OpenAI's answers as JSON Schemas, in our own words.

Written from the facts of OpenAI's description (info.version 2.3.0), not from our code: what a
client may rely on. Fields that OpenAI calls optional are not required; fields of ours besides
theirs are allowed where they begin with `x_`.
"""

from typing import Any

TEXT = {"type": "string"}
NUMBER = {"type": "number"}
WHOLE = {"type": "integer"}


def strict(required: dict[str, Any], optional: dict[str, Any] | None = None) -> dict[str, Any]:
    """An object with exactly these fields, the optional ones if they are there."""
    return {
        "type": "object",
        "required": list(required),
        "properties": required | (optional or {}),
        "patternProperties": {"^x_": {}},
        "additionalProperties": False,
    }


DURATION = strict({"type": {"const": "duration"}, "seconds": NUMBER})
TOKENS = strict(
    {"type": {"const": "tokens"}, "input_tokens": WHOLE, "output_tokens": WHOLE}
    | {"total_tokens": WHOLE},
    {"input_token_details": strict({}, {"text_tokens": WHOLE, "audio_tokens": WHOLE})},
)
LOGPROBS = {
    "type": "array",
    "items": strict(
        {}, {"token": TEXT, "logprob": NUMBER, "bytes": {"type": "array", "items": NUMBER}}
    ),
}
LANGUAGES = {"type": "array", "items": strict({"code": TEXT})}
SEGMENT = strict(
    {"id": WHOLE, "seek": WHOLE, "start": NUMBER, "end": NUMBER, "text": TEXT}
    | {"tokens": {"type": "array", "items": WHOLE}, "temperature": NUMBER}
    | {"avg_logprob": NUMBER, "compression_ratio": NUMBER, "no_speech_prob": NUMBER}
)
WORD = strict({"word": TEXT, "start": NUMBER, "end": NUMBER})

JSON = strict(
    {"text": TEXT},
    {"usage": {"oneOf": [DURATION, TOKENS]}, "logprobs": LOGPROBS, "languages": LANGUAGES},
)
VERBOSE_JSON = strict(
    {"language": TEXT, "duration": NUMBER, "text": TEXT},
    {
        "task": {"enum": ["transcribe", "translate"]},
        "segments": {"type": "array", "items": SEGMENT},
        "words": {"type": "array", "items": WORD},
        "usage": DURATION,
    },
)
DELTA = strict(
    {"type": {"const": "transcript.text.delta"}, "delta": TEXT},
    {"logprobs": LOGPROBS, "segment_id": TEXT},
)
DONE = strict(
    {"type": {"const": "transcript.text.done"}, "text": TEXT},
    {"usage": TOKENS, "logprobs": LOGPROBS, "languages": LANGUAGES},
)
MODEL = strict(
    {"id": TEXT, "object": {"const": "model"}, "created": WHOLE, "owned_by": TEXT},
    {"shutdown_date": TEXT},
)
MODELS = strict({"object": {"const": "list"}, "data": {"type": "array", "items": MODEL}})
ERROR = strict(
    {
        "error": strict(
            {"message": TEXT, "type": TEXT}
            | {"param": {"type": ["string", "null"]}, "code": {"type": ["string", "null"]}}
        )
    }
)
