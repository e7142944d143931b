"""Transcriptions that nobody waits for: kept on disk, run in turn, gone on with after a fall."""
