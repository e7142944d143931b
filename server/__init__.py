"""Sussurro: a self-hosted speech-to-text server that answers OpenAI's audio API."""

__version__ = "0.1.0"
