"""Fast encoding of much text, for tokenizers that split as coder-v1 or Qwen2 do.

Input: texts. Output: the ids that the `tokenizers` library gives, many times faster: source code
repeats its words, so each is encoded once, by the library, and every later one is looked up.

Where coder-v1's five patterns split depends only on the two characters at a place and the one after
them; Qwen2's pattern is followed alternative by alternative. Either way one pass over the bytes
finds the words, which are identified by 128 bits of hash.

Not here: short texts and other splitters (bulk.py gives those to the library).
"""

import unicodedata
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt
from numba import njit

from codling.tokens.families import SplitsName

Array = npt.NDArray[Any]
Hashes = tuple[np.uint64, np.uint64]

LINE_END, SPACE, LETTER, PUNCTUATION, NUMBER, CJK, UNKNOWN = 1, 2, 4, 8, 16, 32, 64
_BLANK, _NOT_SIGN = SPACE | LINE_END, LETTER | NUMBER | SPACE | LINE_END
_ASCII_SPACE, _APOSTROPHE, _LONG_S = 0x20, 0x27, (0xC5, 0xBF)
_SEED_A, _SEED_B = np.uint64(14695981039346656037), np.uint64(0x9E3779B97F4A7C15)
_FIRST_SLOTS = 1 << 18
_MAX_WORDS = 1 << 22
"""At most this many different words are cached (some 200 MB); then the cache is emptied."""
_SPACES = (
    *range(0x09, 0x0E),
    *(0x20, 0x85, 0xA0, 0x1680),
    *range(0x2000, 0x200B),
    *(0x2028, 0x2029, 0x202F, 0x205F, 0x3000),
)
"""What `\\s` matches: Unicode's White_Space."""


class WordEncoder:
    """Encodes texts with the words that it has seen before."""

    def __init__(
        self, encode_words: Callable[[Sequence[str]], list[list[int]]], splits: SplitsName
    ) -> None:
        """`encode_words` is the library's encoding of many short texts."""
        self._encode_words = encode_words
        self._is_qwen2 = splits == "qwen2"
        self._n_words: int
        self._tables: tuple[Array, Array]
        self._pool: Array
        self._starts: Array
        self._forget()

    def encode(self, texts: Sequence[str]) -> tuple[Array, Array] | None:
        """The ids of all texts end to end (uint32) and how many each has (int64).

        None if a character is so new that its class is not known here. Raises UnicodeEncodeError
        for half a surrogate pair.
        """
        raw = [t.encode("utf-8") for t in texts]
        ends = np.cumsum([len(r) for r in raw], dtype=np.int64)
        data = np.frombuffer(b"".join(raw), dtype=np.uint8)
        if self._n_words > _MAX_WORDS:
            self._forget()
        known = self._tables, self._n_words
        found = _find_words(data, ends, _classes(), self._is_qwen2, *known)
        self._tables, words, word_ends, n_words, firsts = found
        if n_words < 0:
            self._forget()
            return None
        self._learn([data[a:b].tobytes().decode("utf-8") for a, b in firsts])
        self._n_words = n_words
        return _gather(words, word_ends, self._pool[: self._starts[n_words]], self._starts)

    def _learn(self, words: list[str]) -> None:
        encoded = self._encode_words(words) if words else []
        lengths = [len(ids) for ids in encoded]
        new = np.fromiter((i for ids in encoded for i in ids), np.uint32, sum(lengths))
        self._pool = np.concatenate([self._pool, new])
        self._starts = np.concatenate(
            [self._starts, self._starts[-1] + np.cumsum(lengths, dtype=np.int64)]
        )

    def _forget(self) -> None:
        self._n_words = 0
        self._tables = (
            np.full(_FIRST_SLOTS, -1, dtype=np.int32),
            np.empty((_FIRST_SLOTS // 2, 2), dtype=np.uint64),
        )
        self._pool = np.empty(0, dtype=np.uint32)
        self._starts = np.zeros(1, dtype=np.int64)


@cache
def _classes() -> npt.NDArray[np.uint8]:
    """The class bits of every code point; UNKNOWN where this Python's Unicode has no character."""
    table = np.zeros(0x110000, dtype=np.uint8)
    bits = {"L": LETTER, "P": PUNCTUATION, "N": NUMBER}
    for code in range(0x110000):
        category = unicodedata.category(chr(code))
        table[code] = UNKNOWN if category == "Cn" else bits.get(category[0], 0)
    table[list(_SPACES)] |= SPACE
    table[[0x0A, 0x0D]] = LINE_END
    table[0x0800:0x9FA6] |= CJK
    table[0xAC00:0xD800] |= CJK
    return table


@njit(cache=True, nogil=True)
def _find_words(  # noqa: PLR0913
    data: Array,
    ends: Array,
    classes: Array,
    is_qwen2: bool,
    tables: tuple[Array, Array],
    n_words: int,
) -> tuple[tuple[Array, Array], Array, Array, int, Array]:
    """Number the words of all texts.

    Returns the grown tables, the number of each word in order, how many words end with each text,
    how many are known now (-1: an unknown character), and where each new word first occurs.
    """
    slots, hashes = tables
    words = np.empty(len(data), dtype=np.int32)
    word_ends = np.empty(len(ends), dtype=np.int64)
    firsts = np.empty((1024, 2), dtype=np.int64)
    n_out, n_first, start = 0, 0, 0
    for text in range(len(ends)):
        end = ends[text]
        while start < end:
            if is_qwen2:
                at = _qwen2_end(data, start, end, classes)
            else:
                at = _coder_v1_end(data, start, end, classes)
            if at < 0:
                return (slots, hashes), words, word_ends, -1, firsts[:0]
            a, b = _extend_hash(data, start, at, _SEED_A, _SEED_B)
            if 2 * n_words >= len(slots):
                slots, hashes = _grow(slots, hashes, n_words)
            slot = _slot_of(slots, hashes, a, b)
            if slots[slot] < 0:
                slots[slot] = n_words
                hashes[n_words, 0], hashes[n_words, 1] = a, b
                n_words += 1
                if n_first == len(firsts):
                    firsts = np.concatenate((firsts, np.empty_like(firsts)))
                firsts[n_first, 0], firsts[n_first, 1] = start, at
                n_first += 1
            words[n_out] = slots[slot]
            n_out += 1
            start = at
        word_ends[text] = n_out
    return (slots, hashes), words[:n_out], word_ends, n_words, firsts[:n_first]


@njit(cache=True, nogil=True)
def _coder_v1_end(data: Array, start: int, end: int, classes: Array) -> int:
    """Where the word at byte `start` ends; -1 at an unknown character."""
    here, at = _class_at(data, start, end, classes)
    while not here & UNKNOWN:
        before = here
        here, here_end = _class_at(data, at, end, classes)
        after, _ = _class_at(data, here_end, end, classes)
        if at >= end or _splits(before, here, after):
            return at
        at = here_end
    return -1


@njit(cache=True, nogil=True)
def _splits(before: int, here: int, after: int) -> bool:
    """Whether a word begins between two characters, given their classes and that of the next."""
    if (before | here) & (LINE_END | NUMBER) or (before ^ here) & CJK:
        return True
    for kind in (LETTER, PUNCTUATION):
        if before & kind and not here & kind:
            return True
        if here & kind and not before & (kind | SPACE):
            return True
    return bool(here & SPACE and after & (LETTER | PUNCTUATION))


@njit(cache=True, nogil=True)
def _qwen2_end(data: Array, start: int, end: int, classes: Array) -> int:
    """Where the word at byte `start` ends; -1 at an unknown character.

    The alternatives of QWEN2_SPLIT in their order.
    """
    here, at = _class_at(data, start, end, classes)
    after, after_end = _class_at(data, at, end, classes)
    if (here | after) & UNKNOWN:
        return -1
    n_bytes = _contraction(data, start, end)
    if n_bytes:
        return start + n_bytes if n_bytes > 0 else -1
    if here & LETTER:
        return _run_end(data[:end], at, classes, LETTER, 0)
    if after & LETTER and not here & (LINE_END | NUMBER):
        return _run_end(data[:end], after_end, classes, LETTER, 0)
    if here & NUMBER:
        return at
    if here & _BLANK and data[start] == _ASCII_SPACE and at < end and not after & _NOT_SIGN:
        at, here = after_end, after
    if not here & _BLANK:
        at = _run_end(data[:end], at, classes, 0, _NOT_SIGN)
        return at if at < 0 else _run_end(data[:end], at, classes, LINE_END, 0)
    return _blanks_end(data, start, end, classes)


@njit(cache=True, nogil=True)
def _blanks_end(data: Array, start: int, end: int, classes: Array) -> int:
    """Where a run of white space ends: at its last line end; else at its end, or one before it if a
    word follows."""
    at, last, lines = start, start, -1
    while at < end:
        here, here_end = _class_at(data, at, end, classes)
        if not here & _BLANK:
            break
        last, at = at, here_end
        if here & LINE_END:
            lines = at
    if lines >= 0:
        return lines
    return last if at < end and last > start else at


@njit(cache=True, nogil=True)
def _run_end(data: Array, at: int, classes: Array, wanted: int, others: int) -> int:
    """Where characters of the class `wanted` (if 0: of none of `others`) end; -1 at an unknown
    one."""
    while at < len(data):
        here, here_end = _class_at(data, at, len(data), classes)
        if here & UNKNOWN:
            return -1
        if here & others or (wanted and not here & wanted):
            return at
        at = here_end
    return at


@njit(cache=True, nogil=True)
def _contraction(data: Array, start: int, end: int) -> int:
    """Bytes of 's, 't, 'm, 'd, 're, 've or 'll in any case; 0 for others, -1 where the s is the
    long one (U+017F)."""
    if data[start] != _APOSTROPHE or start + 1 >= end:
        return 0
    first = data[start + 1] | 32
    if first == 115 or first == 116 or first == 109 or first == 100:  # s, t, m, d
        return 2
    if start + 2 >= end:
        return 0
    second = data[start + 2] | 32
    if data[start + 1] == _LONG_S[0] and data[start + 2] == _LONG_S[1]:
        return -1
    if second == 101 and (first == 114 or first == 118):  # re, ve
        return 3
    return 3 if first == 108 and second == 108 else 0  # ll


@njit(cache=True, nogil=True)
def _class_at(data: Array, at: int, end: int, classes: Array) -> tuple[int, int]:
    """The class of the character at byte `at` and where it ends; (0, at) at the end of the text."""
    if at >= end:
        return 0, at
    code, n_more = np.int64(data[at]), 0
    if code >= 0xF0:
        code, n_more = code & 0x07, 3
    elif code >= 0xE0:
        code, n_more = code & 0x0F, 2
    elif code >= 0x80:
        code, n_more = code & 0x1F, 1
    for i in range(at + 1, at + 1 + n_more):
        code = code << 6 | (np.int64(data[i]) & 0x3F)
    return int(classes[code]), at + 1 + n_more


@njit(cache=True, nogil=True)
def _extend_hash(data: Array, start: int, end: int, a: np.uint64, b: np.uint64) -> Hashes:
    """Two 64-bit hashes, extended by more bytes: FNV-1a, and a multiply with a shift."""
    for i in range(start, end):
        a = (a ^ np.uint64(data[i])) * np.uint64(1099511628211)
        b = (b + np.uint64(data[i])) * np.uint64(0xD6E8FEB86659FD93)
        b ^= b >> np.uint64(32)
    return a, b


@njit(cache=True, nogil=True)
def _slot_of(slots: Array, hashes: Array, a: np.uint64, b: np.uint64) -> int:
    """Where the word with these hashes is, or the empty slot where it belongs."""
    last = len(slots) - 1
    slot = np.int64(a & np.uint64(last))
    while slots[slot] >= 0 and (hashes[slots[slot], 0] != a or hashes[slots[slot], 1] != b):
        slot = (slot + 1) & last
    return int(slot)


@njit(cache=True, nogil=True)
def _grow(slots: Array, hashes: Array, n_words: int) -> tuple[Array, Array]:
    """Tables of twice the size with the same words."""
    new_slots = np.full(2 * len(slots), -1, dtype=np.int32)
    new_hashes = np.empty((len(slots), 2), dtype=np.uint64)
    new_hashes[:n_words] = hashes[:n_words]
    for word in range(n_words):
        new_slots[_slot_of(new_slots, new_hashes, hashes[word, 0], hashes[word, 1])] = word
    return new_slots, new_hashes


@njit(cache=True, nogil=True)
def _gather(words: Array, word_ends: Array, pool: Array, starts: Array) -> tuple[Array, Array]:
    """The ids of the words, end to end, and how many each text has."""
    total = 0
    for word in words:
        total += starts[word + 1] - starts[word]
    ids = np.empty(total, dtype=np.uint32)
    lengths = np.empty(len(word_ends), dtype=np.int64)
    at, done, first = 0, 0, 0
    for text in range(len(word_ends)):
        for place in range(first, word_ends[text]):
            word = words[place]
            for i in range(starts[word], starts[word + 1]):
                ids[at] = pool[i]
                at += 1
        lengths[text] = at - done
        done, first = at, word_ends[text]
    return ids, lengths
