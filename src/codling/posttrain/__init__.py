"""WHAT IS DONE TO A TRAINED MODEL: adapting it to a repository, answers, preferences, rewards.

Not here: the loop, which is that of train/, and what shows whether it helped (evaluate/heldout).
"""
