"""WHAT EVERY STAGE STANDS ON: errors, recipes, artefacts, shards, languages, progress. No torch.

Not here: anything that only one stage needs.
"""
