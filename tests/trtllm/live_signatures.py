"""What the TensorRT-LLM that is here accepts, read off its own words, beside what was recorded.

nanobind opens the docstring of a method with one line for each of its forms, such as
`cancel_request(self, id: Optional[int] = None) -> None`.
"""

import re
from collections.abc import Iterator
from inspect import Parameter, Signature
from typing import Any

from engine_build import recordings

ATTRIBUTES = ("Request", "Response", "Result", "IterationStats", "KvCacheStats")
ENUMS = ("ModelType", "BatchingType", "CapacitySchedulerPolicy", "FinishReason")


def missing_flags(told: str) -> list[str]:
    """Recorded flags that the help of trtllm-build, `told`, does not name."""
    known = set(re.findall(r"--([a-z0-9_]+)", told))
    return [flag for flag in recordings.flags() if flag not in known]


def forms(docstring: str, name: str) -> list[list[str]]:
    """The names of each form's parameters, `self` left out; `*` parts those by name only."""
    found = []
    for line in docstring.splitlines():
        start = re.match(rf"\s*(?:\d+\.\s*)?`*{name}\(", line)
        if start is None:
            continue
        names = [part.split(":")[0].split("=")[0].strip() for part in _split(line[start.end() :])]
        found.append([each for each in names if each not in ("self", "/", "")])
    return found


def _split(text: str) -> Iterator[str]:
    """The arguments of a call, up to its closing bracket."""
    depth, part = 0, ""
    for character in text:
        if character == ")" and depth == 0:
            break
        depth += (character in "([{") - (character in ")]}")
        if character == "," and depth == 0:
            yield part
            part = ""
        else:
            part += character
    yield part


def recorded(name: str) -> list[list[str]]:
    """The recorded forms of a callable, in the same way."""
    return [_names(signature) for signature in recordings.signatures(name)]


def _names(signature: Signature) -> list[str]:
    names: list[str] = []
    for parameter in signature.parameters.values():
        if parameter.kind is Parameter.KEYWORD_ONLY and "*" not in names:
            names.append("*")
        names.append(parameter.name)
    return names


def differences(module: Any) -> Iterator[str]:
    """What the live module has otherwise, one line each."""
    for name in recordings.callables():
        owner, _, method = name.partition(".")
        found = getattr(module, owner, None)
        called = found and getattr(found, method or "__init__", None)
        if called is None:
            yield f"{name} is not there"
            continue
        live = forms(called.__doc__ or "", method or "__init__")
        for form in recorded(name):
            if form not in live:
                yield f"{name}: recorded ({', '.join(form)}), live {live}"
    named = {owner: recordings.attributes(owner) for owner in ATTRIBUTES}
    named |= {owner: recordings.members(owner) for owner in ENUMS}
    for owner, names in named.items():
        for name in names:
            if not hasattr(getattr(module, owner, None), name):
                yield f"{owner}.{name} is not there"
