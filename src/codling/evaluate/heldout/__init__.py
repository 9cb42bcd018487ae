"""THE USER'S OWN CODE AS A TEST: bits per byte, insertion, the n-gram baseline.

Not here: published benchmarks (evaluate/tasks).
"""
