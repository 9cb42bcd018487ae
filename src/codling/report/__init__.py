"""PAGES: the report of a run, the data card, drawings of dependencies.

Not here: scores and counts themselves.
"""
