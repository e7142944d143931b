"""One request for a transcription, once its form has arrived and is found good.

Knows: what was asked for, by whom it will be done, and what a job keeps of it.
Must not know: the order in which it is done.
"""

from dataclasses import dataclass, replace

from server import texts
from server.engines.base import EngineInfo
from server.errors import InvalidOption
from server.http.forms import Form
from server.http.jobs import SHOWN
from server.http.options import Wanted, check_words
from server.http.parts import Place, Transcriber
from server.http.spool import Spool
from server.jobs.record import Asked
from server.types import Audio


@dataclass(frozen=True, slots=True)
class Ask:
    """The form, what it asks for, the model that will do it, the request's place and its file."""

    form: Form
    wanted: Wanted
    model: Transcriber
    place: Place
    spool: Spool


def check_model(wanted: Wanted, info: EngineInfo) -> None:
    """Refuse what this model cannot do.

    Raises:
        InvalidOption: it does not know a language, or aligns no words.
    """
    for name, code in wanted.languages:
        if code not in info.languages:
            text = texts.MODEL_LACKS_LANGUAGE.filled(language=code, name=name)
            raise InvalidOption(text, param=name)
    check_words(wanted, aligns=info.aligns)


def codes_of(audio: Audio) -> str:
    """What went wrong with the audio without stopping us, for a header."""
    return ", ".join(audio.warnings)


def asked_of(ask: Ask, audio: Audio) -> Asked:
    """What a job keeps of a request: every format is to be had later, so words are needed."""
    fields = ask.form.fields
    shown = {name: list(fields[name]) for name in SHOWN if name in fields}
    choices = replace(ask.wanted.options, word_timestamps=True)
    return Asked(choices, shown, aligns=ask.model.engine.info.aligns, warnings=audio.warnings)
