"""Recordings and folders of them, sent to a running server; results beside them or elsewhere.

Knows: a client's work: what is left to do, how fast the server takes it, how results are written.
Must not know: how the server works.
"""
