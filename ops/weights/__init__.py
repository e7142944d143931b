"""Whisper weights: what is known, where it comes from, and the folder that keeps it.

Knows: pinned files, their sources, and a store that only ever holds complete models.
Must not know: engines, HTTP routes, audio.
"""
