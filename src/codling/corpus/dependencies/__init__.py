"""DEPENDENCIES: a repository's imports, language by language, and the order that they require.

Not here: joining files into samples (corpus/arrange.py).
"""
