"""CHECKPOINT -> COMPLETIONS: batched generation with a KV cache, sampling, stops and streaming."""
