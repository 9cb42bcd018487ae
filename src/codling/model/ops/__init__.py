"""ONE OPERATION, SEVERAL WAYS: attention and grouped products, plain and fast, behind one dispatch.

Not here: layers and their weights.
"""
