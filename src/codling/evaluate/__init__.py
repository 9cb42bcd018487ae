"""Scores: held-out code, insertion, and the published benchmarks."""
