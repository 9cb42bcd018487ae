"""DOCUMENTS -> TOKENS: byte-level BPE, special tokens, fill-in-the-middle, packing."""
