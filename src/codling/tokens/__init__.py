"""SAMPLES -> TOKENS: byte-level BPE, special tokens, fill-in-the-middle, chat templates, packing.

Not here: what the samples hold (corpus/), and how batches reach a device (train/loader.py).
"""
