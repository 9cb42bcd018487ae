"""ANSWER -> RIGHT OR WRONG without running code: extraction, mathematics, pass@k.

Not here: the sandbox, and asking a model.
"""
