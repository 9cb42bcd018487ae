"""WHAT IS DONE TO A TRAINED MODEL: so far adapting it to a repository (LoRA, or all weights).

Not here: the loop, which is that of train/, and what shows whether it helped (evaluate/heldout).
"""
