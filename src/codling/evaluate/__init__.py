"""SCORES: held-out code, insertion, later commits, and the published benchmarks.

Not here: right or wrong of one answer (grading/), running programs (sandbox/), pages (report/).
"""
