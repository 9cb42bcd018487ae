"""ANSWER -> RIGHT OR WRONG: extraction, mathematics, pass@k, tests out of an answer's reach.

Not here: the sandbox, and asking a model.
"""
