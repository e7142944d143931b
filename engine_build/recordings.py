"""What TensorRT-LLM 1.2.1 accepts, as recorded: flags of trtllm-build, signatures of its executor.

Knows: the files in `recorded/`.
Must not know: who calls what. TensorRT-LLM itself is not needed.
"""

import tomllib
from collections.abc import Mapping, Sequence
from functools import cache
from inspect import Parameter, Signature
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent / "recorded"


@cache
def _content(name: str) -> Mapping[str, Any]:
    return tomllib.loads((FOLDER / f"{name}.toml").read_text(encoding="utf-8"))


def version() -> str:
    """The version of TensorRT-LLM that everything here was recorded from."""
    return str(_content("executor")["version"])


def problems_of(arguments: Sequence[str]) -> list[str]:
    """What trtllm-build would not accept, or calls deprecated; empty if all is well.

    Args:
        arguments: flags and values as in an argument list, without the program's name.
    """
    recorded = _content("trtllm_build")
    values = dict.fromkeys(recorded["path"]["flags"], "path")
    values |= dict.fromkeys(recorded["number"]["flags"], "number")
    problems = []
    left = list(reversed(arguments))
    while left:
        word = left.pop()
        flag = word.removeprefix("--")
        if not word.startswith("--"):
            problems.append(f"{word} is no flag")
        elif flag in recorded["deprecated"]["flags"]:
            problems.append(f"--{flag} is deprecated")
        elif flag in recorded["switch"]["flags"]:
            continue
        elif flag not in values and flag not in recorded["choice"]:
            problems.append(f"--{flag} is unknown")
        elif not left or left[-1].startswith("--"):
            problems.append(f"--{flag} needs a value")
        else:
            value = left.pop()
            number = values.get(flag) == "number"
            if (number and not value.isdigit()) or (
                flag in recorded["choice"] and value not in recorded["choice"][flag]
            ):
                problems.append(f"--{flag} does not accept {value}")
    return problems


def flags() -> tuple[str, ...]:
    """Every recorded flag of trtllm-build that is not deprecated, without its dashes."""
    recorded = _content("trtllm_build")
    named = [flag for kind in ("path", "number", "switch") for flag in recorded[kind]["flags"]]
    deprecated = recorded["deprecated"]["flags"]
    return tuple(flag for flag in (*named, *recorded["choice"]) if flag not in deprecated)


def signatures(name: str) -> tuple[Signature, ...]:
    """All forms of a class or method of the executor bindings, such as `Executor.await_responses`.

    Binding a call to them says whether the real one would accept it.

    Raises:
        KeyError: nothing of that name was recorded.
    """
    entry = _content("executor")["callable"][name]
    return tuple(_signature(form) for form in (entry, *entry.get("overloads", ())))


def _signature(form: Mapping[str, Sequence[str]]) -> Signature:
    either, keyword = Parameter.POSITIONAL_OR_KEYWORD, Parameter.KEYWORD_ONLY
    parameters = [Parameter(name, either) for name in form.get("required", ())]
    parameters += [Parameter(name, either, default=None) for name in form.get("optional", ())]
    parameters += [Parameter(name, keyword, default=None) for name in form.get("keyword", ())]
    return Signature(parameters)


def callables() -> tuple[str, ...]:
    """Every recorded class and method."""
    return tuple(_content("executor")["callable"])


def attributes(name: str) -> tuple[str, ...]:
    """The recorded attributes of a class."""
    return tuple(_content("executor")["attributes"][name])


def members(name: str) -> tuple[str, ...]:
    """The members of a recorded enumeration, in order."""
    return tuple(_content("executor")["enums"][name])
