"""LANGUAGES: the table of names, suffixes and markers, and hints where suffixes do not decide.

Not here: how a language is parsed, run or screened.
"""
