"""COMPILED LOOPS of decoding, and the team of threads that runs them.

Not here: scheduling, and the plain twins that tests compare with (model/).
"""
