"""Builds of engines: which there are, which one serves, and how a new one takes its place.

Knows: the folder of engines, and the stages of its builds.
Must not know: the server's requests, HTTP, audio.
"""
