"""RUNNING TEXT: Markdown, StackExchange, Chinese pages.

Not here: code, and what both share (filters, redaction).
"""
