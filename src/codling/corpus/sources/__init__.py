"""WHAT A USER POINTS AT: folders, git repositories, archives, dumps, opened safely.

Not here: what becomes of the files (corpus/collect.py).
"""
