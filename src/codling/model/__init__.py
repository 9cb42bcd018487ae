"""THE NETWORKS, with their configs and their KV cache.

Not here: files of weights (checkpoint/), tokenizers (tokens/), training (train/).
"""
