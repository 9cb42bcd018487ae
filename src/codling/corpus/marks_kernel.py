"""What the slow searches are spared: a compiled loop over the UTF-8 bytes of many texts at once.

Input: the data and offsets of an Arrow string array. Output: per text its marks (marks.py), the
formats of secrets that it may hold, and its base64: characters of the longest run, and of all.

Of each byte eight classes are found at once, as eight bits, without a branch; then eight bytes are
looked at together as one word of 64 bits. Only where a word says that something may be there, its
surroundings are read byte by byte:

    a word of key characters alone  a key has 15 in a row; in its run anchors are looked for (a hash
                                    table)
    a word of base64 alone          64 in a row have one
    16 hexadecimal digits between characters that no list of numbers or escapes has
    @, a dot after a digit, a colon after a hexadecimal digit

A mark may be set where its search finds nothing, never the other way round: tests check this.

numba is loaded by importing this module, so only large runs do (clean.py). It serves filters/ and
redaction/ in one pass and knows both, so it lies in neither: redaction/ imports filters/marks.py.

Not here: the searches themselves (rules.py, redact.py), and where a secret may be assigned to a
name (redaction/name_kernel.py).

Digest of what is compiled in from other files: 491cde4ab4516658.
"""

# ruff: noqa: ANN001, ANN202, C901, PLR0913, SIM102
# The types inside compiled loops are numba's business.
# mypy: disable-error-code="assignment,no-untyped-def"

from collections.abc import Mapping
from functools import cache
from string import ascii_letters, ascii_lowercase, ascii_uppercase, digits
from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from codling.corpus.filters import marks
from codling.corpus.filters.line_stats_kernel import Bytes, Offsets
from codling.corpus.redaction import name_kernel
from codling.corpus.redaction.name_kernel import may_assign

_EMAIL, _IPV4, _IPV6, _URL = marks.EMAIL, marks.IPV4, marks.IPV6, marks.URL
_CODED, _BASE64, _XML, _GENERATED = marks.CODED, marks.BASE64, marks.XML, marks.GENERATED
_BASE64_RUN, _CODED_PARTS = marks.BASE64_RUN, marks.CODED_PARTS

_CHUNK = 4096
_EACH = 0x0101010101010101
_KEY_RUN = 15
"""Key characters in a row that every key has; a run of that many bytes fills an aligned word."""
_PEM_RUN = 40
"""Characters of base64 in a row that every private key has."""
_BASE64_WORDS = (_BASE64_RUN - 7) // 8
"""Aligned words that a run of base64 fills at least."""
_HASH = 0x9E3779B1
_TABLE_BITS = 14
_AT, _DOT = 64, 46
_AT_WORD = (1 << 63) - (1 << 32)
"""The bits of formats whose anchors begin words (secrets.BITS)."""
# Classes of bytes that are read one by one.
_KEY, _WORD, _LOCAL, _DOMAIN, _HEX, _DIGIT, _CAPITAL, _SMALL, _PEM, _SECRET, _USER = (
    1 << i for i in range(11)
)
_LETTER = _CAPITAL | _SMALL


class Marks(NamedTuple):
    """What was found, one entry per text."""

    marks: NDArray[np.uint8]
    formats: NDArray[np.uint64]
    """Bits of the formats of secrets whose anchors occur where a secret may be."""
    base64: NDArray[np.int64]
    """[n, 2]: characters of the longest run of base64, and of all that are long enough."""


def mark(
    data: Bytes, offsets: Offsets, anchors: Mapping[str, int], *, pem: int = 0, named: int = 0
) -> Marks:
    """The marks of every text; `anchors` are four characters each, with the bits of their formats.

    `pem` is the bit of private keys, which need no anchor but a line of base64; `named` is that of
    secrets in no format but with a telling name (redaction/name_kernel.py).
    """
    n = len(offsets) - 1
    found = Marks(np.zeros(n, np.uint8), np.zeros(n, np.uint64), np.zeros((n, 2), np.int64))
    table = (*_anchor_table(tuple(anchors.items())), np.uint64(pem), np.uint64(named))
    _mark(data, offsets, table, (_classes(), name_kernel.tables()), *found)
    return found


@cache
def _anchor_table(
    anchors: tuple[tuple[str, int], ...],
) -> tuple[NDArray[np.uint32], NDArray[np.uint64]]:
    """Anchors and their bits as an open hash table."""
    keys = np.zeros(1 << _TABLE_BITS, np.uint32)
    bits = np.zeros(1 << _TABLE_BITS, np.uint64)
    for anchor, bit in anchors:
        word = int.from_bytes(anchor.encode(), "big")
        place = (word * _HASH & 0xFFFFFFFF) >> (32 - _TABLE_BITS)
        while keys[place] not in (0, word):
            place = (place + 1) % len(keys)
        keys[place] = word
        bits[place] |= np.uint64(bit)
    return keys, bits


@cache
def _classes() -> NDArray[np.uint16]:
    """Per byte the classes that the byte-by-byte parts ask for."""
    table = np.zeros(256, np.uint16)
    alnum = ascii_letters + digits
    for byte in range(128):
        character = chr(byte)
        table[byte] = (
            _KEY * (character in f"{alnum}_-./+=~%:!@#^&*")
            | _WORD * (character in f"{alnum}_-")
            | _LOCAL * (character in f"{alnum}_.+%-")
            | _DOMAIN * (character in f"{alnum}-.")
            | _CAPITAL * (character in ascii_uppercase)
            | _SMALL * (character in ascii_lowercase)
            | _HEX * (character in "0123456789abcdefABCDEF")
            | _DIGIT * (character in digits)
            | _PEM * (character in f"{alnum}+/")
            | _SECRET * (character not in ":/@\"'`<>{}$\\*()[]" and not character.isspace())
            | _USER * (character in f"{alnum}_.%+-")
        )
    # Patterns see letters and spaces outside ASCII as well.
    table[128:] = _KEY | _WORD | _SECRET | _USER
    return table


@njit(nogil=True, cache=True)
def _mark(data, offsets, anchors, tables, marked, held, base64):
    classes, name_tables = tables
    named = anchors[3]
    room = np.zeros(_CHUNK, np.uint8), np.zeros(64, np.uint8)
    for row in range(len(offsets) - 1):
        start, end = offsets[row], offsets[row + 1]
        found, formats = _mark_text(data, start, end, anchors, classes, room, base64[row])
        if named and may_assign(data, start, end, name_tables):
            formats |= named
        if base64[row, 0] >= _BASE64_RUN:
            found |= np.uint8(_BASE64)
        marked[row] = found
        held[row] = formats


@njit(nogil=True, cache=True)
def _mark_text(data, start, end, anchors, classes, room, base64):
    """The marks and the formats of one text; its base64 is added to `base64`."""
    one = np.uint64(_EACH)
    flags, block = room
    words = flags.view(np.uint64)
    found, formats = _head(data, start, end), np.uint64(0)
    last_digit = last_hex = last_key = np.uint64(0)
    base64_end = coded_end = coded_from = start
    n_hex = np.uint64(0)
    key_run = n_base64 = np.int64(0)
    for chunk in range(start, end, _CHUNK):
        n_words = _flag(data, chunk, min(np.int64(_CHUNK), end - chunk), flags, block)
        for k in range(n_words):
            w = words[k]
            at = chunk + 8 * k
            hexes, tens = w & one, (w >> np.uint64(1)) & one
            asked = _find_asked(w, hexes, _between(tens, last_digit), last_hex)
            last_digit, last_hex = tens >> np.uint64(56), hexes >> np.uint64(56)
            while asked:
                found |= _test_asked(data, at + _n_first(~asked), start, end, classes)
                asked &= asked - np.uint64(1)
            keys = (w >> np.uint64(4)) & one
            if keys == one:
                key_run = key_run + 8 if key_run else 8 + _n_last(last_key)
            elif key_run:
                key_run += _n_first(keys)
                if key_run >= _KEY_RUN:
                    stop = at + _n_first(keys)
                    formats |= _key_run(data, (stop - key_run, stop), anchors, classes)
                key_run = np.int64(0)
            last_key = keys
            n_base64 = n_base64 + 1 if (w >> np.uint64(2)) & one == one else 0
            if n_base64 >= _BASE64_WORDS and at >= base64_end:
                base64_end = _base64_run(data, at, start, end, classes, base64)
            here = (hexes * one) >> np.uint64(56)
            if (w >> np.uint64(3)) & one == one:
                n_hex += here
            else:
                if n_hex + here >= 16 and at >= coded_end and not found & _CODED:
                    found |= _test_coded(data, coded_from, min(at + 8, end), classes)
                    coded_end = at
                n_hex, coded_from = here, at
    if key_run >= _KEY_RUN:
        formats |= _key_run(data, (end - key_run, end), anchors, classes)
    if n_hex >= 16 and not found & _CODED:
        found |= _test_coded(data, coded_from, end, classes)
    return found, formats


@njit(nogil=True, cache=True)
def _find_asked(w, hexes, between_digits, last_hex):
    """The bytes of a word at which an address may be: @, and dots and colons in their places."""
    asked = (w >> np.uint64(5)) & between_digits
    asked |= (w >> np.uint64(6)) & ((hexes << np.uint64(8)) | last_hex)
    return (asked | (w >> np.uint64(7))) & np.uint64(_EACH)


@njit(nogil=True, cache=True)
def _between(flags, last):
    """The bytes of a word before and after which the flag is set; after its last it may be."""
    return ((flags << np.uint64(8)) | last) & ((flags >> np.uint64(8)) | np.uint64(1 << 56))


@njit(nogil=True, cache=True)
def _n_first(flags):
    """How many bytes of a word that is not full have the flag, from its first on."""
    one = np.uint64(_EACH)
    missing = ~flags & one
    return np.int64((((missing & (~missing + np.uint64(1))) - np.uint64(1)) & one) * one >> 56)


@njit(nogil=True, cache=True)
def _n_last(flags):
    """How many bytes of a word that is not full have the flag, up to its last."""
    one = np.uint64(_EACH)
    missing = ~flags & one
    for shift in (8, 16, 32):
        missing |= missing >> np.uint64(shift)
    return np.int64(8) - np.int64(missing * one >> np.uint64(56))


@njit(nogil=True, cache=True)
def _flag(data, start, size, flags, block):
    """Eight classes of each byte; returns how many words of eight bytes they fill."""
    at = np.int64(0)
    while at < size:
        if size - at >= 64:
            source = data[start + at : start + at + 64]
        else:
            block[:] = 0  # in no class
            block[: size - at] = data[start + at : start + size]
            source = block
        target = flags[at : at + 64]
        for j in range(64):
            x = source[j]
            low = x | np.uint8(32)
            ten = np.uint8(x - np.uint8(48)) < 10
            hexa = ten | (np.uint8(low - np.uint8(97)) < 6)
            word = ten | (np.uint8(low - np.uint8(97)) < 26)
            high = x >= 128
            space = (x == 32) | (np.uint8(x - np.uint8(9)) < 5) | (np.uint8(x - np.uint8(28)) < 4)
            base = word | (x == 43) | (x == 47) | (x == 10)
            coded = hexa | space | high | (x == 120) | (x == 117) | (x == 92) | (x == 44)
            # The characters - . / : and ! # % & * + = @ ^ _ ~
            key = word | high | (np.uint8(x - np.uint8(45)) < 3) | (x == 58) | (x == 33) | (x == 35)
            key |= (x == 37) | (x == 38) | (x == 42) | (x == 43) | (x == 61) | (x == 64)
            key |= (x == 94) | (x == 95) | (x == 126)
            target[j] = (
                np.uint8(hexa)
                | (np.uint8(ten) << np.uint8(1))
                | (np.uint8(base) << np.uint8(2))
                | (np.uint8(coded) << np.uint8(3))
                | (np.uint8(key) << np.uint8(4))
                | (np.uint8(x == 46) << np.uint8(5))
                | (np.uint8(x == 58) << np.uint8(6))
                | (np.uint8(x == 64) << np.uint8(7))
            )
        at += 64
    return (size + 7) >> 3


@njit(nogil=True, cache=True)
def _head(data, start, end):
    """Marks of the first lines: an XML declaration, the words of generated files."""
    found = np.uint8(0)
    lines = 0
    # Rules look at 100 and 2000 characters, of up to four bytes.
    for i in range(start, min(end - 4, start + 8000)):
        byte = data[i]
        low = byte | np.uint8(32)
        if byte == 10:
            lines += 1
            if lines >= 5 and i - start >= 400:
                break
        elif byte == 60:  # <?xml
            if i - start < 400 and data[i + 1] == 63 and data[i + 2] == 120 and data[i + 3] == 109:
                found |= np.uint8(_XML)
        elif lines < 5 and low == 103 and end - i >= 9:  # generated
            if (
                (data[i + 1] | 32) == 101
                and (data[i + 2] | 32) == 110
                and (data[i + 3] | 32) == 101
                and (data[i + 4] | 32) == 114
            ):
                found |= np.uint8(_GENERATED)
        elif lines < 5 and low == 100 and end - i >= 7:  # do not
            if (data[i + 1] | 32) == 111 and data[i + 2] == 32 and (data[i + 3] | 32) == 110:
                found |= np.uint8(_GENERATED)
    return found


@njit(nogil=True, cache=True)
def _test_asked(data, i, start, end, classes):
    """The mark for an @, a dot after a digit, or a colon after a hexadecimal digit."""
    if data[i] == _AT:
        return _at(data, i, start, end, classes)
    if data[i] == _DOT:
        for _ in range(2):
            n = _count_class(data, i + 1, min(i + 5, end), classes, _DIGIT)
            if not 1 <= n <= 3 or i + n + 1 >= end or data[i + n + 1] != _DOT:
                return np.uint8(0)
            i += n + 1
        is_digit = i + 1 < end and classes[data[i + 1]] & _DIGIT
        return np.uint8(_IPV4) if is_digit else np.uint8(0)
    # Public addresses begin with 2 or 3 and three more digits (redaction/addresses.py).
    if i < start + 4 or i + 1 >= end or not 50 <= data[i - 4] <= 51:
        return np.uint8(0)
    is_first = _count_class(data, i - 4, i, classes, _HEX) == 4
    goes_on = data[i + 1] == 58 or classes[data[i + 1]] & _HEX
    return np.uint8(_IPV6) if is_first and goes_on else np.uint8(0)


@njit(nogil=True, cache=True)
def _at(data, i, start, end, classes):
    """The marks for an @: of an e-mail address and of a password in a URL."""
    found = np.uint8(0)
    if i == start or i + 1 >= end:
        return found
    if classes[data[i - 1]] & _LOCAL:
        stop = i + 1
        while stop + 2 < end and classes[data[stop]] & _DOMAIN:
            is_dot = data[stop] == _DOT
            if is_dot and classes[data[stop + 1]] & _LETTER and classes[data[stop + 2]] & _LETTER:
                found |= np.uint8(_EMAIL)
                break
            stop += 1
    if classes[data[i + 1]] & _WORD and classes[data[i - 1]] & _SECRET:
        k = i - 1
        while k >= start and classes[data[k]] & _SECRET and i - k <= 256:
            k -= 1
        if k > start + 1 and data[k] == 47 and data[k - 1] == 47 and i - k > 16:
            found |= np.uint8(_URL)
        if k > start + 2 and data[k] == 58 and i - k > 8:
            user = k - 1
            while user >= start and classes[data[user]] & _USER and k - user <= 256:
                user -= 1
            if user >= start + 2 and data[user] == 47 and data[user - 1] == 47:
                found |= np.uint8(_URL)
    return found


@njit(nogil=True, cache=True)
def _count_class(data, start, end, classes, wanted):
    n = 0
    while start + n < end and classes[data[start + n]] & wanted:
        n += 1
    return n


@njit(nogil=True, cache=True)
def _key_run(data, run, anchors, classes):
    """The formats of which a key may be in a run of key characters."""
    first, stop = run
    found = _test_anchored(data, first, stop, anchors)
    n = 0
    kinds = np.uint16(0)
    for i in range(first, stop):
        kind = classes[data[i]]
        kinds |= kind
        n = n + 1 if kind & _PEM else 0
        if n >= _PEM_RUN:
            found |= anchors[2]
            break
    # Anchors that words begin with: a key of those formats is a mixture, too.
    is_mixed = kinds & _DIGIT or kinds & _LETTER == _LETTER
    return found if is_mixed or n >= _PEM_RUN else found & ~np.uint64(_AT_WORD)


@njit(nogil=True, cache=True)
def _test_anchored(data, start, end, anchors):
    keys, bits = anchors[0], anchors[1]
    at_word = np.uint64(_AT_WORD)
    found = np.uint64(0)
    word = np.uint32(0)
    mask = np.uint32((1 << _TABLE_BITS) - 1)
    for i in range(start, end):
        word = np.uint32(word << np.uint32(8)) | np.uint32(data[i])
        if i - start < 3:
            continue
        place = np.uint32(word * np.uint32(_HASH)) >> np.uint32(32 - _TABLE_BITS)
        while keys[place] != 0:
            if keys[place] == word:
                begins = i - start < 4 or not _is_word(data[i - 4])
                found |= bits[place] if begins else bits[place] & ~at_word
                break
            place = np.uint32(place + np.uint32(1)) & mask
    return found


@njit(nogil=True, cache=True)
def _is_word(byte):
    return byte == 95 or np.uint8(byte - 48) < 10 or np.uint8((byte | 32) - 97) < 26


@njit(nogil=True, cache=True)
def _base64_run(data, at, start, end, classes, runs):
    """Add the run of base64 around `at` to the longest and the sum; returns its end."""
    first = last = at
    while first > start and (classes[data[first - 1]] & _PEM or data[first - 1] == 10):
        first -= 1
    while last < end and (classes[data[last]] & _PEM or data[last] == 10):
        last += 1
    if last - first >= _BASE64_RUN:
        length = last - first
        for i in range(last, min(end, last + 2)):
            if data[i] != 61:
                break
            length += 1
        runs[0] = max(runs[0], length)
        runs[1] += length
    return last


@njit(nogil=True, cache=True)
def _test_coded(data, start, end, classes):
    """The mark for enough hexadecimal pairs, or escaped characters, in a row."""
    digits = pairs = escapes = np.int64(0)
    for i in range(start, end + 1):
        byte = data[i] if i < end else np.uint8(0)
        if i < end and classes[byte] & _HEX:
            digits += 1
            continue
        if digits:
            # A lone 0 before an x only begins the next number.
            if not (digits == 1 and byte == 120):
                pairs = pairs + 1 if digits == 2 else 0
                escapes = escapes + 1 if digits == 4 else 0
                if max(pairs, escapes) >= _CODED_PARTS:
                    return np.uint8(_CODED)
            digits = 0
        is_between = byte >= 128 or byte in (120, 117, 92, 44) or byte == 32
        if not (is_between or 9 <= byte <= 13 or 28 <= byte <= 31):
            pairs = escapes = 0
    return np.uint8(0)
