"""The error tree."""

import inspect
from collections.abc import Iterator

import pytest

from server import errors, texts
from server.errors import Draining, Overloaded, ServerError


def tree(root: type[ServerError]) -> Iterator[type[ServerError]]:
    """All errors below the root."""
    for child in root.__subclasses__():
        yield child
        yield from tree(child)


ERRORS = list(tree(ServerError))


@pytest.mark.parametrize("error", ERRORS)
def test_every_error_has_a_status_a_type_and_a_code(error: type[ServerError]) -> None:
    """A client can act on each of them."""
    assert 400 <= error.status <= 504
    assert error.type in {"invalid_request_error", "server_error", "requests", "insufficient_quota"}
    assert error.code


def test_codes_are_unique() -> None:
    """A code names one error."""
    assert len(ERRORS) == len({error.code for error in ERRORS})


@pytest.mark.parametrize("error", ERRORS)
def test_the_caller_is_blamed_for_4xx_only(error: type[ServerError]) -> None:
    """OpenAI's types: 5xx is the server's fault, all else is the request's."""
    assert (error.type == "server_error") == (error.status >= 500)


@pytest.mark.parametrize("error", ERRORS)
def test_the_drawing_shows_every_error_with_its_status(error: type[ServerError]) -> None:
    """The module's docstring is the map."""
    lines = (inspect.getdoc(errors) or "").splitlines()

    assert 1 == sum(f"── {error.__name__} " in line and str(error.status) in line for line in lines)


def test_an_error_keeps_what_the_client_is_told() -> None:
    """Message, field and when to come back; the reason is for the log."""
    error = Overloaded(texts.NO_DISK, param="file", retry_after=5, reason="disk")

    assert (texts.NO_DISK.en, "file", 5, "disk") == (
        error.message,
        error.param,
        error.retry_after,
        error.reason,
    )


def test_draining_is_no_fault_of_the_engine() -> None:
    """Both are 503, and clients tell them apart by their codes."""
    assert Draining.status == Overloaded.status
    assert Draining.code != Overloaded.code
