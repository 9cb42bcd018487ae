"""DOCUMENTS ON DISK: schemas, writing, reading, counting, dropping rows of Parquet shards.

Not here: what the rows mean to a stage.
"""
