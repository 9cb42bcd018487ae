"""The networks alone: they know no files and no tokenizer."""
