"""WHICH DOCUMENTS LEAVE, AND WHY: counts over bytes and lines, rules, profiles, syntax.

Not here: licences, secrets and duplicates.
"""
