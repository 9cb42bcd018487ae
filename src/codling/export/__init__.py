"""Checkpoints for other engines: Hugging Face folders, GGUF, quantised weights."""
