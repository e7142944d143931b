"""Whisper's vocabulary: text ↔ token ids, special tokens, and tokens ↔ words.

Knows: one model's vocabulary, read from its `tokenizer.json`.
Must not know: the model, audio, how a prompt is put together.
ADR 6 says why this wraps tiktoken instead of using a tokenizer package.
"""

import json
import string
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

import tiktoken

from server.decoding.languages import LANGUAGES
from server.types import Task

TIME_PRECISION = 0.02
"""Seconds that one timestamp token stands for."""

_PATTERN = r"""'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"""
"""How GPT-2 cuts text before byte-pair merging."""

_SPACELESS = frozenset({"zh", "ja", "th", "lo", "my", "yue"})
"""Languages written without spaces: their words are single characters here."""


class Tokenizer:
    """One model's vocabulary. Immutable and thread-safe."""

    def __init__(self, ranks: dict[bytes, int], special_tokens: dict[str, int]) -> None:
        """`ranks` maps byte strings to ids, which are also their merge ranks."""
        self._encoding = tiktoken.Encoding(
            "whisper", pat_str=_PATTERN, mergeable_ranks=ranks, special_tokens=special_tokens
        )
        self.eot = special_tokens["<|endoftext|>"]
        self.sot = special_tokens["<|startoftranscript|>"]
        self.sot_prev = special_tokens["<|startofprev|>"]
        self.sot_lm = special_tokens["<|startoflm|>"]
        self.transcribe = special_tokens["<|transcribe|>"]
        self.translate = special_tokens["<|translate|>"]
        self.no_timestamps = special_tokens["<|notimestamps|>"]
        # Its name differs between models; its place does not.
        self.no_speech = self.no_timestamps - 1
        self.timestamp_begin = self.no_timestamps + 1
        self.language_tokens = {
            code: special_tokens[f"<|{code}|>"]
            for code in LANGUAGES
            if f"<|{code}|>" in special_tokens
        }

    @classmethod
    def load(cls, path: Path) -> "Tokenizer":
        """Read a `tokenizer.json` as Whisper's conversions ship it.

        Raises:
            ValueError: it is not one of a multilingual Whisper.
        """
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            special = {token["content"]: token["id"] for token in content["added_tokens"]}
            byte_of = _byte_of_character()
            ranks = {
                bytes(byte_of[character] for character in text): rank
                for text, rank in content["model"]["vocab"].items()
                if text not in special and text
            }
            return cls(ranks, special)
        except KeyError as error:
            raise ValueError(f"not a multilingual Whisper vocabulary: no {error}") from error

    def encode(self, text: str) -> tuple[int, ...]:
        """Token ids of `text`; what looks like a special token is plain text here."""
        return tuple(self._encoding.encode_ordinary(text))

    def decode(self, tokens: Sequence[int]) -> str:
        """Text of the text tokens; special tokens and timestamps are left out."""
        return self.decode_bytes(tokens).decode("utf-8", errors="replace")

    def decode_bytes(self, tokens: Sequence[int]) -> bytes:
        """UTF-8 bytes of the text tokens; a character may be cut at either end."""
        return b"".join(
            self._encoding.decode_single_token_bytes(token)
            for token in tokens
            if token < self.eot and token != self._empty
        )

    @cached_property
    def _empty(self) -> int:
        """The multilingual vocabulary holds an empty string as its last text token."""
        return self.eot - 1

    def timestamp(self, token: int) -> float:
        """Seconds into the window that a timestamp token stands for."""
        assert token >= self.timestamp_begin, "This is a bug: not a timestamp token"
        return (token - self.timestamp_begin) * TIME_PRECISION

    def sot_sequence(self, language: str, task: Task) -> tuple[int, ...]:
        """The tokens that say what to do: start, language, task."""
        task_token = self.transcribe if task == "transcribe" else self.translate
        return (self.sot, self.language_tokens[language], task_token)

    @cached_property
    def suppress_tokens(self) -> tuple[int, ...]:
        """Tokens that a transcript never holds: what annotates instead of being spoken.

        Source: openai/whisper tokenizer.py non_speech_tokens, decoding.py _get_suppress_tokens.
        """
        musical = "♩♪♫♬♭♮♯"
        symbols = list('"#()*+/:;<=>@[\\]^_`{|}~「」『』')
        symbols += ["<<", ">>", "<<<", ">>>", "--", "---", "-(", "-[", "('", '("', "((", "))"]
        symbols += ["(((", ")))", "[[", "]]", "{{", "}}", "♪♪", "♪♪♪"]
        # A hyphen and a quote are fine inside a word, not between words.
        found = {self.encode(" -")[0], self.encode(" '")[0]}
        for symbol in symbols + list(musical):
            for tokens in (self.encode(symbol), self.encode(" " + symbol)):
                if len(tokens) == 1 or symbol in musical:
                    found.add(tokens[0])
        found |= {self.sot, self.transcribe, self.translate}
        found |= {self.sot_lm, self.sot_prev, self.no_speech}
        return tuple(sorted(found))

    def split_to_words(
        self, tokens: Sequence[int], language: str
    ) -> tuple[list[str], list[list[int]]]:
        """Cut text tokens into words: (words with their leading space, tokens of each)."""
        if language in _SPACELESS:
            return self._split_on_unicode(tokens)
        return self._split_on_spaces(tokens)

    def _split_on_unicode(self, tokens: Sequence[int]) -> tuple[list[str], list[list[int]]]:
        """The shortest token runs that are whole characters."""
        words: list[str] = []
        runs: list[list[int]] = []
        run: list[int] = []
        for token in tokens:
            run.append(token)
            text = self.decode_bytes(run)
            try:
                words.append(text.decode("utf-8"))
            except UnicodeDecodeError as error:
                if error.reason == "unexpected end of data":
                    continue  # the next token holds the rest of the character
                words.append(text.decode("utf-8", errors="replace"))
            runs.append(run)
            run = []
        if run:
            words.append(self.decode(run))
            runs.append(run)
        return words, runs

    def _split_on_spaces(self, tokens: Sequence[int]) -> tuple[list[str], list[list[int]]]:
        """Runs joined until the next one starts with a space or is a lone punctuation mark."""
        words: list[str] = []
        runs: list[list[int]] = []
        for text, run in zip(*self._split_on_unicode(tokens), strict=True):
            special = run[0] >= self.eot
            starts_word = text.startswith(" ") or text.strip() in string.punctuation
            if special or starts_word or not words:
                words.append(text)
                runs.append(list(run))
            else:
                words[-1] += text
                runs[-1].extend(run)
        return words, runs


def _byte_of_character() -> dict[str, int]:
    """The inverse of GPT-2's printable stand-ins for bytes.

    Bytes that print as themselves stand for themselves; the others, in order, are U+0100 on.
    """
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in printable]
    characters = {chr(byte): byte for byte in printable}
    return characters | {chr(0x100 + index): byte for index, byte in enumerate(others)}
