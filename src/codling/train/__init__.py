"""TOKENS + MODEL -> CHECKPOINT: the one training loop and what it needs.

Not here: the layers (model/), and training of adapters (posttrain/).
"""
