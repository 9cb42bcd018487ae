"""WHICH LICENCE A FILE IS UNDER: notices, headers, metadata, texts, SPDX expressions.

Not here: what a licence permits in law; the gate only knows its own list.
"""
