"""TOKENS + MODEL -> CHECKPOINT: the one training loop and what it needs."""
