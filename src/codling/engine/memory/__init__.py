"""A MEMORY OF THE REPOSITORY, without training: what followed these tokens earlier.

Not here: which files a prompt shows (corpus/context.py), and anything that is trained.
"""
