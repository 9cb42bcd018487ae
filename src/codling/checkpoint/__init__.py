"""Weights on disk: our names and the published ones, safetensors, Hugging Face folders, GGUF."""
