"""WEIGHTS ON DISK: our names and the published ones, safetensors, Hugging Face folders, GGUF.

Not here: the networks that the weights are for (model/), and export to other engines (export/).
"""
