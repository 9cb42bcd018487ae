"""CHECKPOINTS FOR OTHER ENGINES: GGUF, quantised weights. Nothing is here yet.

Not here: reading and writing of our own checkpoints and of published ones (checkpoint/).
"""
