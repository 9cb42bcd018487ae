"""MinHash over token 5-grams: signatures, bands and exact Jaccard similarity over byte arrays.

Input: documents as one array of UTF-8 bytes with offsets (the layout of an Arrow string column).
Output: arrays of numbers. A token is a run of `[A-Za-z_0-9]`, or one character of a script other
than Latin, so that Chinese texts are not compared by their few English words; a shingle is five
tokens in a row, or all of a shorter document, as a 32-bit hash. The licence comment at a document's
beginning is left out (license_comment.py). Documents without a token have no shingles and resemble
none.

    shingles(text)               the distinct shingles of one document, sorted
    signatures(data, offsets)    per document the least value of each of `n` permutations of its
                                 shingles
    band_hashes(signatures)      one hash per band of rows; documents that share one are candidates
    jaccard(...)                 exact similarity of pairs of shingle sets

Each kernel has a plain-Python twin (`*_reference`) that the tests compare it with. The kernels
release the GIL, so that threads share the work. Sources: Broder (1997); the ASCII tokens, 5 and 0.7
are bigcode's.

Not here: which documents are compared and which of them stay (clusters.py, dedup.py).

Digest of what is compiled in from other files: 5ce28bac7e000876.
"""

import re
from collections.abc import Sequence

import numba
import numpy as np
from numpy.typing import NDArray

from codling.corpus.duplicates.license_comment import license_end, license_end_reference

Bytes = NDArray[np.uint8]
Offsets = NDArray[np.int64]
Hashes = NDArray[np.uint32]

SHINGLE_TOKENS = 5
N_BANDS, N_ROWS = 16, 6
"""A pair of similarity s becomes a candidate with probability 1 - (1 - s^6)^16: 0.992 at 0.80."""

NO_SHINGLE = np.uint32(0xFFFFFFFF)
"""All values of the signature of a document without a token."""

_FNV_START, _FNV_PRIME = 0xCBF29CE484222325, 0x100000001B3
_MIX = 0x9E3779B97F4A7C15
_M64 = (1 << 64) - 1
# What a byte begins: 0 nothing, 1 part of a word, 2 a character that is a token. Left out are Latin
# letters (to C9), symbols and box drawings (E2), private and full-width forms (EF), emoji (F0).
_KIND = np.zeros(256, np.uint8)
_KIND[[i for i in range(256) if re.match(rb"[A-Za-z_0-9]", bytes([i]))]] = 1
_KIND[0xCD:0xEF] = 2
_KIND[0xE2] = 0


def permutations(n: int) -> tuple[Hashes, Hashes]:
    """The `n` permutations x -> (x ^ mask) * odd factor (mod 2^32): always the same ones."""
    generator = np.random.Generator(np.random.PCG64(20241105))
    masks = generator.integers(0, 2**32, n, dtype=np.uint32)
    factors = generator.integers(0, 2**32, n, dtype=np.uint32) | np.uint32(1)
    return masks, factors


def signatures(data: Bytes, offsets: Offsets, n: int = N_BANDS * N_ROWS) -> tuple[Hashes, Offsets]:
    """Signatures [documents, n] and the number of shingles, repeated ones counted, [documents]."""
    masks, factors = permutations(n)
    made = np.empty((len(offsets) - 1, n), np.uint32)
    n_shingles = np.empty(len(offsets) - 1, np.int64)
    _signatures(data, offsets, masks, factors, made, n_shingles)
    return made, n_shingles


def shingles(text: bytes) -> Hashes:
    """The distinct shingles of one document, ascending."""
    data = np.frombuffer(text, np.uint8)
    return np.unique(shingle_list(data, 0, len(data)))


def shingle_list(data: Bytes, start: int, end: int) -> Hashes:
    """All shingles of the document `data[start:end]`, in its order."""
    found = np.empty(_most_tokens(end - start), np.uint32)
    return found[: _shingles(data, start, end, found)].copy()


def band_hashes(signature: Hashes, n_bands: int = N_BANDS) -> NDArray[np.uint64]:
    """One hash per band [bands, documents], from signatures [documents, bands * rows]."""
    hashes = np.empty((n_bands, len(signature)), np.uint64)
    _band_hashes(signature, hashes)
    return hashes


def jaccard(sets: Hashes, starts: Offsets, left: Offsets, right: Offsets) -> NDArray[np.float32]:
    """Similarity of pairs (left[i], right[i]) of sets; set j is sets[starts[j] : starts[j + 1]]."""
    similarity = np.empty(len(left), np.float32)
    _jaccard(sets, starts, left, right, similarity)
    return similarity


@numba.njit(nogil=True, cache=True)
def _finish(value):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    """The 64-bit finalizer of MurmurHash3, folded to 32 bits."""
    value ^= value >> np.uint64(33)
    value *= np.uint64(0xFF51AFD7ED558CCD)
    value ^= value >> np.uint64(33)
    return np.uint32(value)


@numba.njit(nogil=True, cache=True)
def _most_tokens(n_bytes):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    """Two in three bytes: an ASCII letter and a character of two bytes, in turns."""
    return n_bytes * 2 // 3 + 1


@numba.njit(nogil=True, cache=True)
def _shingles(data, start, end, out):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    # The last five tokens in five variables: a ring with a remainder would cost as much as the
    # hashing.
    a = b = c = d = e = np.uint64(0)
    mix, prime, one = np.uint64(_MIX), np.uint64(_FNV_PRIME), np.uint64(1)
    n_tokens = n_out = np.uint64(0)
    i, end = np.uint64(license_end(data, start, end)), np.uint64(end)
    while i < end:
        kind = _KIND[data[i]]
        if kind == 0:
            i += one
            continue
        token = np.uint64(_FNV_START)
        if kind == 1:
            while i < end and _KIND[data[i]] == 1:
                token = (token ^ np.uint64(data[i])) * prime
                i += one
        else:
            first = i
            token = (token ^ np.uint64(data[i])) * prime
            i += one
            while i < end and data[i] >> 6 == 2:  # the character's other bytes
                token = (token ^ np.uint64(data[i])) * prime
                i += one
            if i - first == one:
                continue  # no UTF-8
        a, b, c, d, e = b, c, d, e, token
        n_tokens += one
        if n_tokens >= np.uint64(SHINGLE_TOKENS):
            out[n_out] = _finish((((a * mix + b) * mix + c) * mix + d) * mix + e)
            n_out += one
    if np.uint64(0) < n_tokens < np.uint64(SHINGLE_TOKENS):
        out[0] = _finish((((a * mix + b) * mix + c) * mix + d) * mix + e)
        n_out = one
    return np.int64(n_out)


@numba.njit(nogil=True, cache=True)
def _signatures(data, offsets, masks, factors, out, counts):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202, PLR0913
    n_hashes = len(masks)
    longest = 0
    for document in range(len(counts)):
        longest = max(longest, offsets[document + 1] - offsets[document])
    found = np.empty(_most_tokens(longest), np.uint32)
    for document in range(len(counts)):
        n = _shingles(data, offsets[document], offsets[document + 1], found)
        least = out[document]
        least[:] = np.uint32(0xFFFFFFFF)
        for i in range(n):
            shingle = found[i]
            for k in range(n_hashes):
                # Without the cast numba computes in 64 bits.
                value = np.uint32((shingle ^ masks[k]) * factors[k])
                least[k] = min(least[k], value)
        counts[document] = n


@numba.njit(nogil=True, cache=True)
def _band_hashes(signature, out):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    n_bands, n_rows = len(out), signature.shape[1] // len(out)
    for document in range(len(signature)):
        for band in range(n_bands):
            value = np.uint64(band)
            for row in range(n_rows):
                value = (value ^ np.uint64(signature[document, band * n_rows + row])) * np.uint64(
                    _MIX
                )
                value ^= value >> np.uint64(29)
            out[band, document] = value


@numba.njit(nogil=True, cache=True)
def _jaccard(sets, starts, left, right, out):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    for pair in range(len(left)):
        i, end_i = starts[left[pair]], starts[left[pair] + 1]
        j, end_j = starts[right[pair]], starts[right[pair] + 1]
        both = 0
        union = (end_i - i) + (end_j - j)
        while i < end_i and j < end_j:
            a, b = sets[i], sets[j]
            both += a == b
            i += a <= b
            j += b <= a
        union -= both
        out[pair] = both / union if union else 0.0


def shingles_reference(text: bytes) -> list[int]:
    """`shingle_list` in plain Python."""
    text = text[license_end_reference(text) :]
    tokens = []
    for match in re.finditer(rb"[A-Za-z_0-9]+|[\xcd-\xe1\xe3-\xee][\x80-\xbf]+", text):
        token = _FNV_START
        for byte in match.group():
            token = (token ^ byte) * _FNV_PRIME & _M64
        tokens.append(token)
    if tokens and len(tokens) < SHINGLE_TOKENS:
        tokens = [0] * (SHINGLE_TOKENS - len(tokens)) + tokens
    ends = range(SHINGLE_TOKENS, len(tokens) + 1)
    return [_mix(tokens[end - SHINGLE_TOKENS : end]) for end in ends]


def _mix(tokens: Sequence[int]) -> int:
    value = 0
    for token in tokens:
        value = (value * _MIX + token) & _M64
    value ^= value >> 33
    value = value * 0xFF51AFD7ED558CCD & _M64
    return (value ^ value >> 33) & 0xFFFFFFFF


def signature_reference(text: bytes, n: int = N_BANDS * N_ROWS) -> list[int]:
    """A row of `signatures` in plain Python."""
    masks, factors = permutations(n)
    found = shingles_reference(text)
    return [
        min(((s ^ int(mask)) * int(factor) & 0xFFFFFFFF for s in found), default=0xFFFFFFFF)
        for mask, factor in zip(masks, factors, strict=True)
    ]


def band_hashes_reference(signature: Sequence[int], n_bands: int = N_BANDS) -> list[int]:
    """A column of `band_hashes` in plain Python."""
    n_rows = len(signature) // n_bands
    made = []
    for band in range(n_bands):
        value = band
        for each in signature[band * n_rows : (band + 1) * n_rows]:
            value = (value ^ each) * _MIX & _M64
            value ^= value >> 29
        made.append(value)
    return made


def jaccard_reference(left: Sequence[int], right: Sequence[int]) -> float:
    """`jaccard` of one pair in plain Python."""
    union = set(left) | set(right)
    return len(set(left) & set(right)) / len(union) if union else 0.0
