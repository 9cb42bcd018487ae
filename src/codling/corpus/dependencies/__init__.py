"""WHO NEEDS WHOM: a repository's imports, language by language, and the order they ask for.

Not here: joining files into samples (corpus/arrange.py).
"""
