"""Token n-grams of texts and the search for them, as byte-array kernels.

Input: texts as UTF-8 bytes. Output: numbers. Two readings of a text are used, both blind to case
and white space:

    words      runs of `[A-Za-z_0-9]`, and each character outside ASCII
    symbols    the same, and each other visible character as a token of its own

An n-gram is the hash of n tokens in a row. `Index` holds the n-grams to look for; `find` gives the
first place of each in a document. The tests compare the kernels with their plain-Python twins
(`*_reference`).

Not here: which strings are looked for, and what is done with a hit (decontaminate.py).
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numba
import numpy as np
from numpy.typing import NDArray

Bytes = NDArray[np.uint8]
Ints = NDArray[np.int64]
Hashes = NDArray[np.uint64]

_FNV_START, _FNV_PRIME = 0xCBF29CE484222325, 0x100000001B3
_BASE = 0x9E3779B97F4A7C15
_M64 = (1 << 64) - 1
_FILTER_BITS = 22
HEAD = 3
"""Symbols at the beginning of a short string by which it is looked up."""

# What a byte is: 0 nothing, 1 part of a word, 2 a symbol, 3 the start of a character outside ASCII,
# 4 its continuation.
_KIND = np.zeros(256, np.uint8)
_KIND[33:127] = 2
_KIND[[i for i in range(128) if re.match(rb"[A-Za-z_0-9]", bytes([i]))]] = 1
_KIND[0x80:0xC0] = 4
_KIND[0xC0:] = 3
_FOLD = np.arange(256, dtype=np.uint8)
_FOLD[ord("A") : ord("Z") + 1] += 32


@dataclass(frozen=True)
class Index:
    """What to look for, in the form the kernel needs."""

    grams: Hashes
    """Hashes of n-grams of words, ascending."""
    gram_owners: Ints
    """For each the number of the text that it comes from."""
    n: int
    heads: Hashes
    """Hashes of the first HEAD symbols of each short string, ascending."""
    lengths: Ints
    """Number of symbols of each short string."""
    wholes: Hashes
    """Hash of all symbols of each short string."""
    string_owners: Ints
    gram_filter: NDArray[np.bool_]
    head_filter: NDArray[np.bool_]


@dataclass(frozen=True)
class Tokens:
    """One reading of a text."""

    hashes: Hashes
    starts: Ints
    """The first byte of each token."""

    def __len__(self) -> int:
        return len(self.hashes)


def words(text: bytes) -> Tokens:
    """The words of a text."""
    return _read(text, symbols=False)


def symbols(text: bytes) -> Tokens:
    """The words and other visible characters of a text."""
    return _read(text, symbols=True)


def ngrams(tokens: Hashes, n: int) -> Hashes:
    """The hashes of all n-grams, in order."""
    made = np.empty(max(0, len(tokens) - n + 1), np.uint64)
    _ngrams(tokens, n, made)
    return made


def build_index(
    grams: Sequence[tuple[int, int]], strings: Sequence[tuple[bytes, int]], n: int
) -> Index:
    """An index of (hash of an n-gram of words, owner) and (short string, owner)."""
    grams = sorted(dict(reversed(grams)).items())
    rows = []
    for text, owner in strings:
        tokens = symbols(text).hashes
        if len(tokens) >= HEAD:
            head, whole = ngrams(tokens[:HEAD], HEAD)[0], ngrams(tokens, len(tokens))[0]
            rows.append((int(head), len(tokens), int(whole), owner))
    rows.sort()
    gram_hashes = np.array([g for g, _ in grams], np.uint64)
    heads = np.array([r[0] for r in rows], np.uint64)
    return Index(
        gram_hashes,
        np.array([owner for _, owner in grams], np.int64),
        n,
        heads,
        np.array([r[1] for r in rows], np.int64),
        np.array([r[2] for r in rows], np.uint64),
        np.array([r[3] for r in rows], np.int64),
        _filter(gram_hashes),
        _filter(heads),
    )


def find(index: Index, text: Bytes) -> tuple[int, int] | None:
    """The first entry of the index that a text holds: its owner and the byte where it starts."""
    size = len(text)
    hashes, starts = np.empty(size, np.uint64), np.empty(size, np.int64)
    found = np.full(2, -1, np.int64)
    _find(
        text, hashes, starts, found, index.n, index.grams, index.gram_filter,
        index.heads, index.lengths, index.wholes, index.head_filter,
    )  # fmt: skip
    if found[0] < 0:
        return None
    entry = int(found[0])
    if entry < len(index.grams):
        return int(index.gram_owners[entry]), int(found[1])
    return int(index.string_owners[entry - len(index.grams)]), int(found[1])


def _read(text: bytes, *, symbols: bool) -> Tokens:
    hashes, starts = np.empty(len(text), np.uint64), np.empty(len(text), np.int64)
    n = _tokens(np.frombuffer(text, np.uint8), symbols, hashes, starts)
    return Tokens(hashes[:n].copy(), starts[:n].copy())


def _filter(hashes: Hashes) -> NDArray[np.bool_]:
    made = np.zeros(1 << _FILTER_BITS, np.bool_)
    made[hashes >> np.uint64(64 - _FILTER_BITS)] = True
    return made


@numba.njit(nogil=True, cache=True)
def _tokens(data, with_symbols, hashes, starts):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    prime, base = np.uint64(_FNV_PRIME), np.uint64(_BASE)
    i, end, n = 0, len(data), 0
    while i < end:
        kind = _KIND[data[i]]
        if kind == 0 or kind == 4 or (kind == 2 and not with_symbols):
            i += 1
            continue
        starts[n] = i
        token = (np.uint64(_FNV_START) ^ np.uint64(_FOLD[data[i]])) * prime
        i += 1
        more = 1 if kind == 1 else 4
        while kind != 2 and i < end and _KIND[data[i]] == more:
            token = (token ^ np.uint64(_FOLD[data[i]])) * prime
            i += 1
        hashes[n] = token * base
        n += 1
    return n


@numba.njit(nogil=True, cache=True)
def _ngrams(tokens, n, out):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    base = np.uint64(_BASE)
    for i in range(len(out)):
        value = np.uint64(0)
        for k in range(i, i + n):
            value = value * base + tokens[k]
        value ^= value >> np.uint64(31)
        out[i] = value * base


@numba.njit(nogil=True, cache=True)
def _find(data, hashes, starts, found, n, grams, gram_filter, heads, lengths, wholes, head_filter):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202, PLR0913, C901
    shift, base = np.uint64(64 - _FILTER_BITS), np.uint64(_BASE)
    n_tokens = _tokens(data, False, hashes, starts)
    for i in range(n_tokens - n + 1):
        value = np.uint64(0)
        for k in range(i, i + n):
            value = value * base + hashes[k]
        value = (value ^ (value >> np.uint64(31))) * base
        if gram_filter[value >> shift]:
            at = np.searchsorted(grams, value)
            if at < len(grams) and grams[at] == value:
                found[0], found[1] = at, starts[i]
                return
    if not len(heads):
        return
    n_tokens = _tokens(data, True, hashes, starts)
    for i in range(n_tokens - HEAD + 1):
        value = np.uint64(0)
        for k in range(i, i + HEAD):
            value = value * base + hashes[k]
        value = (value ^ (value >> np.uint64(31))) * base
        if not head_filter[value >> shift]:
            continue
        at = np.searchsorted(heads, value)
        while at < len(heads) and heads[at] == value:
            if i + lengths[at] <= n_tokens:
                whole = np.uint64(0)
                for k in range(i, i + lengths[at]):
                    whole = whole * base + hashes[k]
                if (whole ^ (whole >> np.uint64(31))) * base == wholes[at]:
                    found[0], found[1] = len(grams) + at, starts[i]
                    return
            at += 1


def tokens_reference(text: bytes, *, symbols: bool) -> list[bytes]:
    """The tokens of `words` or `symbols`, in plain Python."""
    pattern = rb"[A-Za-z_0-9]+|[\xc0-\xff][\x80-\xbf]*" + (rb"|[!-~]" if symbols else b"")
    return [token.lower() for token in re.findall(pattern, text)]


def find_reference(
    grams: Iterable[Sequence[bytes]], strings: Iterable[bytes], n: int, text: bytes
) -> bool:
    """Whether `find` finds something, in plain Python; `grams` are n words each."""
    own = tokens_reference(text, symbols=False)
    wanted = {tuple(g) for g in grams}
    if any(tuple(own[i : i + n]) in wanted for i in range(len(own) - n + 1)):
        return True
    own = tokens_reference(text, symbols=True)
    short = (tokens_reference(s, symbols=True) for s in strings)
    return any(own[i : i + len(s)] == s for s in short for i in range(len(own)) if len(s) >= HEAD)
