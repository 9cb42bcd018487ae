"""BENCHMARKS IN THE CORPUS: their texts, and the n-grams that find them.

Not here: the stage (corpus/decontaminate.py), and near-duplicates.
"""
