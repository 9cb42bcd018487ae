"""Bytes of text of unknown encoding become text.

Input: bytes. Output: text, or None.

Not here: reading files.
"""

import re

COMMON_HAN = 0.7
"""Share of the pairs in GB 18030 that are among the 3,755 most common characters in real text."""


_PAIRS = re.compile(rb"[\x81-\xfe][\x40-\x7e\x80-\xfe]")


_COMMON_PAIRS = re.compile(rb"[\xb0-\xd7][\xa1-\xfe]")


def decode(data: bytes) -> str | None:
    """The text of bytes in UTF-8 or GB 18030; None if they are neither.

    Bytes in GB 18030 are Chinese only if most of their pairs are common characters: nearly any text
    in another encoding would pass as some characters.

    >>> decode("你好世界".encode("gb18030")), decode("déjà vu".encode("latin-1"))
    ('你好世界', None)
    """
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        pass
    try:
        text = data.decode("gb18030")
    except UnicodeDecodeError:
        return None
    pairs = [pair for pair in _PAIRS.findall(data) if pair[0] >= 0xB0]
    common = sum(1 for pair in pairs if _COMMON_PAIRS.fullmatch(pair))
    return text if pairs and common >= COMMON_HAN * len(pairs) else None
