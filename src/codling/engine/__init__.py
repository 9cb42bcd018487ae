"""CHECKPOINT -> COMPLETIONS: batched generation with a KV cache, sampling, stops and streaming.

Not here: HTTP (serve/), and the networks (model/).
"""
