"""OPTIMISERS over flat weights: AdamW, Muon.

Not here: schedules and the loop.
"""
