"""Marks of a text: bits that say which of the slow searches can find anything in it.

Not here: how they are found (marks_kernel.py) and the searches (rules.py, redaction/redact.py).
"""

from string import ascii_letters, digits

EMAIL = 1
IPV4 = 2
IPV6 = 4
BASE64 = 8
CODED = 16
URL = 32
"""A password in a URL."""
GENERATED = 64
XML = 128
ALL = 255
"""Every search has to be made."""

BASE64_RUN = 64
"""Shortest run of base64 that the rule "encoded" looks at."""
CODED_PARTS = 8
"""Fewest bytes in hexadecimal, or escaped characters, in a row that it looks at."""
_BASE64 = bytes(97 if chr(b) in f"{ascii_letters}{digits}+/=\n" else 32 for b in range(256))
_HEX = bytes(97 if chr(byte) in "0123456789abcdefABCDEF" else 32 for byte in range(256))
_CODED = bytes(b for b in range(256) if b >= 128 or chr(b) in "xu\\," or chr(b).isspace())


def plain_marks(text: str) -> int:
    """The marks of a text without compiled loops: those that are slow to find are all set."""
    data = text.encode()
    has_base64 = b"a" * BASE64_RUN in data.translate(_BASE64)
    has_coded = b"a" * 2 * CODED_PARTS in data.translate(_HEX, delete=_CODED)
    return ALL & ~(BASE64 | CODED) | (BASE64 if has_base64 else 0) | (CODED if has_coded else 0)
