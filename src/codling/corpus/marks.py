"""Marks of a text: bits that say which of the slow searches can find anything in it.

Not here: how they are found (byte_kernel.py) and the searches (filters.py, redact.py).
"""

SECRET = 1
EMAIL = 2
IPV4 = 4
IPV6 = 8
ENCODED = 16
ALL = 31
"""Every search has to be made."""
