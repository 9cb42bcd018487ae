"""WHAT RUNS BEHIND THE WALL: the fork server, one cell per job, the notary of Python verdicts.

Not here: anything beyond the standard library. The folder is shown read-only to the sandboxed
interpreter, which imports it without the rest of codling.
"""
