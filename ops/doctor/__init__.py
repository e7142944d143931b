"""Whether a server can work on this machine as it is set up, and what to do where it cannot.

Knows: what the server needs from its surroundings.
Must not know: a running server's insides.
"""
