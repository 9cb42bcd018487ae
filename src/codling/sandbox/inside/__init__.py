"""What runs inside the sandbox: the fork server, one cell per job, and the notary of Python
verdicts.

This folder is shown read-only to the sandboxed interpreter, which imports it without the rest of
codling: standard library only, and nothing here may import from outside this folder.
"""
