"""CHECKPOINTS FOR OTHER ENGINES: GGUF for llama.cpp and Ollama, plain folders for transformers and
vLLM.

Not here: reading and writing of our own checkpoints and of published ones (checkpoint/); GPTQ and
other weights quantised for vLLM, which are not written yet.
"""
