"""NEAR-DUPLICATES: shingles, MinHash and clusters.

Not here: the stage (corpus/dedup.py), and exact duplicates (corpus/clean.py).
"""
