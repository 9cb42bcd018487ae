"""PROMPTS WITH TESTS: rows of one form, made from published data or from a repository's own tests.

Not here: what an answer is worth (posttrain/rewards.py), and learning from it.
"""
