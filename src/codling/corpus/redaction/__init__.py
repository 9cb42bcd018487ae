"""WHAT IS REPLACED INSIDE A DOCUMENT: secrets, addresses, e-mails.

Not here: dropping whole documents (corpus/filters).
"""
