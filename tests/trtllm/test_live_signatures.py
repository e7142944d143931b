"""The acceptance compares the record with the live bindings: the comparison itself."""

from types import SimpleNamespace
from typing import Any

import pytest
from live_signatures import ATTRIBUTES, ENUMS, differences, forms, missing_flags, recorded

from engine_build import recordings
from engine_build.compile import flags
from engine_build.dims import SIZES
from engine_build.gpus import GPUS
from engine_build.plan import make_plan

AWAIT = """
await_responses(self, timeout: Optional[datetime.timedelta | float] = None) -> list[Response]
await_responses(self, id: int, timeout: datetime.timedelta | None = None) -> list[Response]

Overloaded function.

1. ``await_responses(self, ids: collections.abc.Sequence[int], timeout: X[a, b] = None) -> list``
"""


def test_forms_are_read_off_docstrings() -> None:
    """Names in order, whatever their types and defaults are; all forms."""
    assert [["timeout"], ["id", "timeout"], ["ids", "timeout"]] == forms(AWAIT, "await_responses")
    keyword = "__init__(self, a: dict[str, int] = {'x': (1, 2)}, /, *, b: int = 1) -> None"
    assert [["a", "*", "b"]] == forms(keyword, "__init__")
    assert [[]] == forms("shutdown(self) -> None", "shutdown")
    assert [] == forms("no signature here", "shutdown")


def live() -> Any:
    """A module whose docstrings are as recorded, in nanobind's words."""
    classes: dict[str, Any] = {owner: type(owner, (), {}) for owner in (*ATTRIBUTES, *ENUMS)}
    for name in recordings.callables():
        owner, _, method = name.partition(".")
        method = method or "__init__"

        def called() -> None:
            """Replaced below."""

        lines = [f"{method}({', '.join(['self', *form])}) -> None" for form in recorded(name)]
        called.__doc__ = "\n".join(lines)
        classes.setdefault(owner, type(owner, (), {}))
        setattr(classes[owner], method, called)
    for owner in ATTRIBUTES:
        for name in recordings.attributes(owner):
            setattr(classes[owner], name, None)
    for owner in ENUMS:
        for name in recordings.members(owner):
            setattr(classes[owner], name, None)
    return SimpleNamespace(**classes)


def test_a_module_as_recorded_has_no_differences() -> None:
    """Nothing is reported that is right."""
    assert [] == list(differences(live()))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda m: delattr(m, "SamplingConfig"), "SamplingConfig is not there"),
        (lambda m: delattr(m.Executor, "cancel_request"), "Executor.cancel_request is not there"),
        (lambda m: delattr(m.Result, "is_final"), "Result.is_final is not there"),
        (lambda m: delattr(m.FinishReason, "TIMED_OUT"), "FinishReason.TIMED_OUT is not there"),
        (
            lambda m: setattr(
                m.Request.__init__, "__doc__", "__init__(self, input_token_ids, max_new_tokens)"
            ),
            "Request: recorded (input_token_ids, max_tokens",
        ),
    ],
)
def test_each_difference_is_told(change: Any, said: str) -> None:
    """A class, a method, an attribute, a member, the name of an argument."""
    module = live()
    change(module)
    assert any(line.startswith(said) for line in differences(module))


def test_a_flag_that_is_not_in_the_help_is_told() -> None:
    """All recorded ones are looked for; those that our builds pass are among them."""
    told = "usage: trtllm-build [-h]\n" + "\n".join(f"  --{f} VALUE" for f in recordings.flags())
    assert [] == missing_flags(told)
    assert ["max_encoder_input_len"] == missing_flags(
        told.replace("--max_encoder_input_len", "--x")
    )
    plan = make_plan("large-v3", GPUS["l40"], SIZES["large-v3"])
    used = {word[2:] for part in flags(plan).values() for word in part if word.startswith("--")}
    assert used <= set(recordings.flags())
