"""SOURCES -> SAMPLES: the stages; what they use lies in the folders. No torch.

Not here: tokens (tokens/), and the pages that show a corpus (report/).
"""
