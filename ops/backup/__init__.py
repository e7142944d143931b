"""What a server has that nothing else could bring back, in one file; and back from it.

Knows: the operator's side of keys, usage, settings and builds.
Must not know: a running server's insides. Engines and weights are not in it: they can be made anew.
"""
