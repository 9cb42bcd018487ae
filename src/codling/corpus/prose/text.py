"""Running text in English and Chinese: what language it is in, and pieces of paragraphs.

Input: a text. Output: shares of scripts, and pieces that end with a paragraph.

Not here: where texts come from and what is kept of them (prose.py), decoding (sources/decode.py).
"""

import re
from collections.abc import Iterator
from typing import Literal

Kind = Literal["english", "chinese"]

MIN_HAN = 0.3
"""Share of Han characters among these and ASCII letters that Chinese text has."""
MAX_KANA = 0.1
"""Share of kana among Han and kana above which a text is Japanese."""
MIN_ASCII = 0.8
"""Share of ASCII letters among all letters that English text has."""

_HAN = re.compile(r"[\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]+")
_KANA = re.compile(r"[\u3040-\u30ff\uff66-\uff9d]+")
_ASCII = re.compile(r"[A-Za-z]+")
_LETTERS = re.compile(r"[^\W\d_]+")
_PARAGRAPHS = re.compile(r"\n[ \t\u3000]*\n+")


def han_share(text: str) -> float:
    """Share of Han characters among these and ASCII letters.

    >>> round(han_share("用 Python 写程序"), 2)
    0.4
    """
    han, ascii_letters = _count(_HAN, text), _count(_ASCII, text)
    return han / max(1, han + ascii_letters)


def language_reason(kind: Kind, text: str) -> str | None:
    """Why a text is not in the language asked for, as its share; None if it is.

    >>> language_reason("chinese", "No Han."), language_reason("english", "Running text.")
    ('0.00 Han', None)
    """
    if kind == "english":
        share = _count(_ASCII, text) / max(1, _count(_LETTERS, text))
        return None if share >= MIN_ASCII else f"{share:.2f} ASCII letters"
    share = han_share(text)
    if share < MIN_HAN:
        return f"{share:.2f} Han"
    kana = _count(_KANA, text)
    return f"{kana} kana" if kana > MAX_KANA * (kana + _count(_HAN, text)) else None


def pieces(text: str, max_chars: int) -> Iterator[str]:
    """The text in pieces of at most `max_chars`, cut between paragraphs; a longer one stays whole.

    >>> list(pieces("ab\\n\\ncd\\n\\nef", 8))
    ['ab\\n\\ncd\\n', 'ef\\n']
    """
    kept: list[str] = []
    size = 0
    for paragraph in _PARAGRAPHS.split(text.replace("\r\n", "\n")):
        if kept and size + len(paragraph) + 2 > max_chars:
            yield "\n\n".join(kept) + "\n"
            kept, size = [], 0
        stripped = paragraph.strip("\n")
        if stripped.strip():
            kept.append(stripped)
            size += len(stripped) + 2
    if kept:
        yield "\n\n".join(kept) + "\n"


def _count(pattern: re.Pattern[str], text: str) -> int:
    return sum(map(len, pattern.findall(text)))
