"""SOURCES -> DOCUMENTS: collect, filter, redact, order and join the files of repositories. No torch."""
