"""A MEMORY OF THE REPOSITORY, without training: what followed these tokens the last times.

Not here: which files a prompt shows (corpus/context.py), and anything that is trained.
"""
