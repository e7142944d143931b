"""What a decoder's end means: warnings, or the error that a client gets.

Knows: reasons, signals, and which words they have.
Must not know: how a decoder runs. Its report is a stranger's word: only known codes count.
"""

import json
import signal
from collections.abc import Mapping
from dataclasses import dataclass

from server import texts
from server.audio.media_process import Verdict
from server.audio.spool_space import no_room
from server.errors import AudioTooLong, BadAudio, InternalError, ServerError
from server.texts import Text

MESSAGES: Mapping[str, Text] = {
    "empty": texts.EMPTY_FILE,
    "not_media": texts.NOT_MEDIA,
    "playlist": texts.PLAYLIST,
    "no_audio_stream": texts.NO_AUDIO_STREAM,
    "unsupported_codec": texts.UNSUPPORTED_CODEC,
    "no_samples": texts.NO_SAMPLES,
    "bad_header": texts.BAD_HEADER,
    "out_of_memory": texts.OUT_OF_MEMORY,
    "too_slow": texts.TOO_SLOW,
    "decoder_crashed": texts.DECODER_STOPPED,
    "sandbox_violation": texts.DECODER_STOPPED,
}
"""Reason → what the client is told; a reason that is not here is a fault of ours."""

SIGNALS: Mapping[int, str] = {
    signal.SIGSYS: "sandbox_violation",
    signal.SIGXCPU: "too_slow",
    signal.SIGALRM: "too_slow",
    signal.SIGXFSZ: "audio_too_long",
    signal.SIGSEGV: "decoder_crashed",
    signal.SIGBUS: "decoder_crashed",
    signal.SIGFPE: "decoder_crashed",
    signal.SIGILL: "decoder_crashed",
    signal.SIGABRT: "decoder_crashed",
    signal.SIGTRAP: "decoder_crashed",
}
"""Fatal signal → reason; SIGKILL is not here, for it may be the kernel's want of memory."""

WARNINGS = ("audio_truncated", "audio_damaged")


@dataclass(frozen=True, slots=True)
class Refusals:
    """The limits that messages name."""

    max_audio_seconds: float
    load_timeout: float

    def error(self, reason: str) -> ServerError:
        """The error for a reason; one that is unknown is a fault of ours."""
        if reason == "audio_too_long":
            return AudioTooLong(
                texts.AUDIO_TOO_LONG.filled(max_seconds=self.max_audio_seconds),
                param="file",
                reason=reason,
            )
        if reason in MESSAGES:
            message = MESSAGES[reason].filled(load_timeout=self.load_timeout)
            return BadAudio(message, param="file", reason=reason)
        if reason == "spool_full":
            return no_room()
        return InternalError(texts.LOADER_FAILED, reason=reason)

    def warnings(self, verdict: Verdict) -> tuple[str, ...]:
        """The warnings of a decoder that did its work.

        Raises:
            BadAudio, AudioTooLong, Overloaded, InternalError: it did not.
        """
        if verdict.exit < 0:
            raise self.error(SIGNALS.get(-verdict.exit, "decoder_killed"))
        try:
            report = json.loads(verdict.report) if verdict.exit == 0 else None
        except (ValueError, RecursionError):  # a hijacked decoder may say anything
            report = None
        match report:
            case {"warnings": list(warnings)}:
                return tuple(code for code in WARNINGS if code in warnings)
            case {"reason": str(reason)} if reason in MESSAGES or reason == "audio_too_long":
                raise self.error(reason)
            case {"reason": "spool_full"}:
                raise self.error("spool_full")
        fault = self.error("decoder_fault")
        fault.add_note(f"exit status {verdict.exit}, report {verdict.report[:100]!r}")
        raise fault
