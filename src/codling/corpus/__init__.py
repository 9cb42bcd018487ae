"""SOURCES -> DOCUMENTS: collect, filter, redact, order, join. No torch."""
