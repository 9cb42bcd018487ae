"""CHECKPOINTS FOR OTHER ENGINES: GGUF for llama.cpp and Ollama, folders for transformers and vLLM,
plain or with quantised weights.

Not here: reading and writing of our own checkpoints and of published ones (checkpoint/).
"""
