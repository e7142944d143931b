"""Whether a deployed server does what its callers need, asked from outside.

Knows: what a client sees.
Must not know: a server's settings, files or insides.
"""
