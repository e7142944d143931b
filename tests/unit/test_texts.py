"""What a client can be told, in both languages."""

import re
import string
from pathlib import Path

import pytest

from server import texts
from server.errors import EngineError, InternalError, InvalidOption
from server.texts import Text

SERVER = Path(__file__).parents[2] / "server"

CATALOGUE = {name: text for name, text in vars(texts).items() if isinstance(text, Text)}

PARTS = {"CHUNKING", "MEDIA_LOADER", "NUMBER_ABOVE", "NUMBER_BETWEEN", "ONE_OF", "ONLY_TEXT"}
"""Texts that stand inside others; they are no sentences."""

DO = re.compile(
    r"\b(Ask|Check|Convert|Correct|Leave|Let|Play|Put|Send|Shorten|Split|Try|Use|See)\b|\{how\}"
)
FACA = re.compile(
    r"\b(Converta|Corrija|Deixe|Divida|Encurte|Envie|Omita|Peça|Reproduza|Tente|Use|Veja|Verifique"
    r"|Coloque)\b|\{how\}"
)


def fields(template: str) -> set[str]:
    """The names in braces."""
    return {name for _, name, _, _ in string.Formatter().parse(template) if name}


@pytest.mark.parametrize("name", CATALOGUE)
def test_every_text_is_there_in_both_languages(name: str) -> None:
    """Two different sentences with the same values in them."""
    text = CATALOGUE[name]

    assert text.en.strip()
    assert text.pt.strip()
    assert text.en != text.pt
    assert fields(text.en) == fields(text.pt)


@pytest.mark.parametrize("name", sorted(CATALOGUE.keys() - PARTS))
def test_every_text_says_what_to_do_next(name: str) -> None:
    """In the imperative, in each language, as a whole sentence."""
    text = CATALOGUE[name]

    assert DO.search(text.en)
    assert FACA.search(text.pt)
    assert text.en.endswith((".", "}"))
    assert text.pt.endswith((".", "}"))


SAID = {
    name
    for file in SERVER.rglob("*.py")
    for name in re.findall(r"\btexts\.([A-Z_0-9]+)", file.read_text(encoding="utf-8"))
}


@pytest.mark.parametrize("name", CATALOGUE)
def test_every_text_is_said_somewhere(name: str) -> None:
    """No text outlives its reason."""
    assert name in SAID


def test_values_are_not_templates() -> None:
    """What a caller sent may hold braces."""
    text = texts.FIELD_NOT_UTF8.filled(name="{count}")

    assert text.said("en").startswith("`{count}` is not")
    assert text.said("pt").startswith("`{count}` não")


def test_a_text_inside_another_is_in_the_same_language() -> None:
    """Also two levels down."""
    text = texts.NO_FILE.filled(how=texts.HOW_TO_SEND.filled(route="translations"))

    assert "Envie o arquivo" in text.said("pt")
    assert "audio/translations" in text.said("pt")


@pytest.mark.parametrize("error", [InternalError, EngineError])
def test_a_plain_string_stays_here(error: type[InternalError]) -> None:
    """A fault's own words are for the log; the client is told something general."""
    fault = error("/secret/path is broken")

    assert "/secret/path is broken" == str(fault)
    assert "secret" not in fault.said("en") + fault.said("pt")


def test_an_error_speaks_both_languages() -> None:
    """`message` is the English one."""
    error = InvalidOption(texts.EMPTY_FILE)

    assert error.message == error.said("en") == str(error)
    assert "vazio" in error.said("pt")
