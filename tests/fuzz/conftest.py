"""Tells the seed at the end of a run, also of one that went well."""

from seeding import SEED


def pytest_terminal_summary(terminalreporter: object) -> None:
    """A line that can be pasted."""
    terminalreporter.write_line(f"fuzzed with SUSSURRO_TEST_SEED={SEED}")  # type: ignore[attr-defined]
