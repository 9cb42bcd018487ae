"""DOCUMENTS -> TOKENS: byte-level BPE, special tokens, fill-in-the-middle, packing, the token dataset."""
