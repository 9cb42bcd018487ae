"""SEVERAL PROCESSES train one model.

Not here: the loop, which is the same for one process.
"""
