"""Which texts may assign a secret to a name, or give one to a command: a compiled loop over bytes.

Input: the bytes of one text. Output: whether behind a stem of assigned_secrets.STEMS, or a flag
that takes a password, there is a value of eight bytes or more in which a letter meets a digit, or a
capital follows a small letter, twice. Of 64 bytes at once it is found, without a branch, where
stems begin; only there the bytes behind are read one by one: the rest of the name, then signs and
words that may stand between a name and its value.

Not here: the rule itself (assigned_secrets.py). This may say yes where the rule finds nothing,
never the other way round.

Digest of what is compiled in from other files: b0cccfc659ecc1b4.
"""

# ruff: noqa: ANN001, ANN201, ANN202
# mypy: disable-error-code="no-untyped-def"

import numpy as np
from numba import njit
from numpy.typing import NDArray

from codling.corpus.redaction.assigned_secrets import (
    CUTS,
    FILLERS,
    INNER,
    MAX_REST,
    MIN_CHANGES,
    MIN_VALUE,
    REACH,
    SIGNS,
)

_MIN_VALUE, _MIN_CHANGES = MIN_VALUE, MIN_CHANGES
_REACH, _MAX_REST = 4 * REACH, 4 * MAX_REST
"""In bytes, of which a character has four at most."""
_SMALL, _CAPITAL, _DIGIT, _VALUE, _NAME, _SIGN, _QUOTE, _CUT, _INNER = (1 << i for i in range(9))
_LETTER = _SMALL | _CAPITAL
_LONGEST = max(map(len, FILLERS))


def tables() -> tuple[NDArray[np.uint16], NDArray[np.bool_]]:
    """The classes of bytes, and by length, first and last letter the words between."""
    classes = np.full(256, _VALUE, np.uint16)
    classes[[*range(9, 14), *range(28, 33), 34, 39, 60, 62, 96]] = 0
    classes[97:123] |= _SMALL | _NAME
    classes[65:91] |= _CAPITAL | _NAME
    classes[48:58] |= _DIGIT | _NAME
    classes[[ord(c) for c in "_.-"]] |= _NAME
    classes[128:] |= _NAME
    classes[[ord(c) for c in SIGNS]] |= _SIGN
    classes[[ord(c) for c in "\"'`"]] |= _QUOTE
    classes[[ord(c) for c in CUTS]] |= _CUT
    classes[[ord(c) for c in INNER]] |= _INNER
    fillers = np.zeros((_LONGEST + 1, 32, 32), np.bool_)
    for word in FILLERS:
        fillers[len(word), ord(word[0]) & 31, ord(word[-1]) & 31] = True
    return classes, fillers


@njit(nogil=True, cache=True)
def may_assign(data, start, end, known, block):
    """Whether the text from `start` to `end` has a stem and such a value behind it.

    `block` is room for 68 bytes, `known` are the `tables`.
    """
    hits = np.zeros(64, np.uint8)
    words = hits.view(np.uint64)
    at = start
    while at < end:
        if at + 68 <= len(data):
            _find_stems(data[at : at + 68], hits)
        else:
            block[:] = 0
            block[: end - at if end - at < 68 else 68] = data[at : min(end, at + 68)]
            _find_stems(block, hits)
        for k in range(8):
            if words[k]:
                for j in range(8 * k, 8 * k + 8):
                    if hits[j] and at + j < end and _may_hold(data, at + j, (start, end), known):
                        return True
        at += 64
    return False


@njit(nogil=True, cache=True)
def _find_stems(source, hits):
    for j in range(64):
        a, b = source[j] | np.uint8(32), source[j + 1] | np.uint8(32)
        c, d = source[j + 2] | np.uint8(32), source[j + 3] | np.uint8(32)
        p = (a == 112) & (
            ((b == 97) & (c == 115) & (d == 115))  # pass
            | (b == 119)  # pw, pwd
            | ((b == 115) & (c == 107))  # psk
        )
        key = (a == 107) & (b == 101) & (c == 121)
        secr = (a == 115) & (b == 101) & (c == 99) & (d == 114)
        toke = (a == 116) & (b == 111) & (c == 107) & (d == 101)
        auth = (a == 97) & (b == 117) & (c == 116) & (d == 104)
        cred = (a == 99) & (b == 114) & (c == 101) & (d == 100)
        iden = (a == 105) & (b == 100) & (c == 101) & (d == 110)
        stdi = (a == 115) & (b == 116) & (c == 100) & (d == 105)
        net = (a == 110) & (b == 101) & (c == 116) & (source[j + 3] == 32)
        obsc = (a == 111) & (b == 98) & (c == 115) & (d == 99)
        rase = (a == 114) & (b == 97) & (c == 115) & (d == 101)
        senh = (a == 115) & (b == 101) & (c == 110) & (d == 104)
        clav = (a == 99) & (b == 108) & (c == 97) & (d == 118)
        hasl = (a == 104) & (b == 97) & (c == 115) & ((d == 108) | (source[j + 3] > 127))
        paro = (a == 112) & (b == 97) & (c == 114) & (d == 111)
        kenn = (a == 107) & (b == 101) & (c == 110) & (d == 110)
        # With the bit that makes letters small set: п and П are then the same bytes, too.
        cyrillic = (a == 0xF0) & (b == 0xBF) & (c == 0xF0) & (d == 0xB0)
        han = (a == 0xE5) & (b == 0xAF) & (c == 0xA6) & (d == 0xE7)
        foreign = rase | senh | clav | hasl | paro | kenn | cyrillic | han
        kini = (a == 107) & (b == 105) & (c == 110) & (d == 105)
        bitm = (a == 98) & (b == 105) & (c == 116) & (d == 109)
        nsea = (a == 110) & (b == 115) & (c == 101) & (d == 97)
        ogin = (a == 111) & (b == 103) & (c == 105) & (d == 110)
        nnec = (a == 110) & (b == 110) & (c == 101) & (d == 99)
        pdo = (a == 112) & (b == 100) & (c == 111) & (source[j + 3] == 40)
        sql = (a == 115) & (b == 113) & (c == 108) & ((d == 105) | (d == 112))
        sudo = (a == 115) & (b == 117) & (c == 100) & (d == 111)
        thin = (a == 116) & (b == 104) & (c == 105) & (d == 110)
        user = (source[j] == 45) & (source[j + 1] == 45) & (c == 117) & (d == 115)
        port = (source[j] == 53) & (b == 52) & (c == 51) & (d == 50)
        stars = (source[j] == 58) & (b == 42) & (c == 58)
        foreign |= kini | bitm | nsea | ogin | nnec | pdo | sql | sudo | thin | user | port | stars
        flag = (source[j] == 32) & (source[j + 1] == 45)
        flag &= np.uint8(c - np.uint8(97)) <= 22  # any letter up to w
        known = p | key | secr | toke | auth | cred | iden | stdi | net | obsc | flag
        hits[j] = np.uint8(known | foreign)


@njit(nogil=True, cache=True)
def _may_hold(data, i, bounds, known):
    """Whether a secret may follow the stem or flag at `i`, or around the command there; the
    text has the `bounds` (start, end)."""
    _, end = bounds
    if data[i] == 32:
        return _has_value(data, i, end, known)
    if _is_command(data, i, bounds):
        return True
    return _is_stem(data, i, bounds, known[0]) and _has_value(data, i, end, known)


@njit(nogil=True, cache=True)
def _has_value(data, i, end, known):
    """Whether a value that may be a secret follows the stem or flag at `i`."""
    classes, fillers = known
    last_start = i + _REACH
    is_flag = data[i] == 32
    in_quotes = is_flag  # what follows a flag is read as if it were
    if is_flag:
        i += 3
    else:
        stop = min(end, i + _MAX_REST)
        while i < stop and classes[data[i]] & _NAME:
            i += 1
    while i < end and i <= last_start:
        kind = classes[data[i]]
        if data[i] == 10:
            if not _goes_on(data, i, end):
                return False
            i += 1
        elif kind & _SIGN or data[i] == 13:
            in_quotes = is_flag or kind & _QUOTE != 0 or (in_quotes and kind & _INNER != 0)
            i += 1
        else:
            stop = i
            while stop < end and classes[data[stop]] & _LETTER:
                stop += 1
            n = stop - i
            is_word = 0 < n <= _LONGEST and (stop == end or not _is_word_byte(data[stop], classes))
            if not (is_word and fillers[n, data[i] & 31, data[stop - 1] & 31]):
                return _is_mixed(data, i, end, classes, in_quotes)
            # Other words look like one of these, and so does a login before the colon of `curl -u`.
            if _is_mixed(data, i, end, classes, in_quotes):
                return True
            in_quotes = is_flag
            i = stop
    return False


@njit(nogil=True, cache=True)
def _is_stem(data, i, bounds, classes):
    """Whether what begins at `i` is a stem, as far as one byte before and behind tell: `pw` alone
    stands between other bytes than letters, and what only commands hold is none."""
    start, end = bounds
    first, second = data[i] | np.uint16(32), data[i + 1] | np.uint16(32)
    if first == 112 and second == 119:  # pw
        is_pwd = i + 2 < end and (data[i + 2] | np.uint16(32)) == 100
        alone = (i == start or not classes[data[i - 1]] & _LETTER) and (
            i + 2 >= end or not classes[data[i + 2]] & _LETTER
        )
        return is_pwd or alone
    if first == 110 or first == 98 or not classes[data[i]] & _NAME:
        return False  # net us, nsea, nnec, bitm, and signs
    if first == 111 and second == 103:  # ogin; obsc is read like a name
        return False
    if first == 115 and second != 101:  # stdi, sql, sudo: only secr and senh name something
        return False
    of_command = (first == 107 and second == 105) or (first == 112 and second == 100)
    of_command = of_command or (first == 116 and second == 104) or 48 <= first <= 57
    return not of_command


@njit(nogil=True, cache=True)
def _is_command(data, i, bounds):
    """Whether at `i` a command is named that is given secrets elsewhere than behind a name."""
    return _is_fed(data, i, bounds) or _is_called(data, i, bounds)


@njit(nogil=True, cache=True)
def _is_fed(data, i, bounds):
    """-stdin, with-token, chpasswd, htpasswd, net use."""
    start, end = bounds
    first, before = data[i] | np.uint16(32), data[i - 1] if i > start else np.uint16(0)
    second = data[i + 1] | np.uint16(32)
    if first == 115:  # s
        return before == 45 and second == 116  # - t
    if first == 116:  # t
        return before == 45 and i > start + 1 and data[i - 2] == 104 and second == 111  # - h o
    if first == 112 and second == 97:  # pa
        return before == 104 or (before == 116 and i > start + 1 and data[i - 2] == 104)  # h, ht
    if first == 110 and second == 101:  # ne
        return i + 5 < end and data[i + 4] == 117 and data[i + 5] == 115  # u s
    return False


@njit(nogil=True, cache=True)
def _is_called(data, i, bounds):
    """The other marks of commanded_secrets.toml, each by its four bytes and some beside them."""
    start, end = bounds
    first, second = data[i] | np.uint16(32), data[i + 1] | np.uint16(32)
    behind = data[i + 4] if i + 4 < end else np.uint16(0)
    if first == 111 and second == 103:  # login( vault login addlogin
        return behind == 40 or behind == 32
    if first == 110 and second == 110:  # connect( connection(
        while i < end and 97 <= data[i] | np.uint16(32) <= 122:
            i += 1
        return i < end and data[i] == 40
    if first == 115 and second == 117:  # sudo -
        return behind == 32 and i + 5 < end and data[i + 5] == 45
    if first == 116:  # thin:
        return second == 104 and behind == 58
    if first == 53:  # 5432
        return i > start and data[i - 1] == 58 and behind == 58
    is_unseal = first == 110 and second == 115
    is_sql = first == 115 and second == 113
    is_kinit = first == 107 and second == 105
    is_pdo = first == 112 and second == 100
    is_sign_or_rabbit = first == 45 or first == 58 or first == 98  # --us :*: bitm
    return is_unseal or is_sql or is_kinit or is_pdo or is_sign_or_rabbit


@njit(nogil=True, cache=True)
def _is_word_byte(byte, classes):
    return byte == 95 or classes[byte] & (_LETTER | _DIGIT) != 0


@njit(nogil=True, cache=True)
def _goes_on(data, i, end):
    """Whether a name's value may stand on the line after the break at `i`."""
    before = i - 1
    while before >= 0 and (data[before] == 32 or data[before] == 9 or data[before] == 13):
        before -= 1
    if before >= 0 and (data[before] == 62 or data[before] == 124):  # > |
        return True
    if before >= 1 and (data[before] == 43 or data[before] == 45):  # + -
        return data[before - 1] == 62 or data[before - 1] == 124
    operators = before >= 0 and (
        data[before] == 61 or data[before] == 40 or data[before] == 58 or data[before] == 92
    )
    after = i + 1
    while after < end and (data[after] == 32 or data[after] == 9 or data[after] == 45):
        after += 1
    if after < end and (data[after] == 34 or data[after] == 39 or data[after] == 60):
        if operators:  # = ( : or a backslash before, a quote behind
            return True
        after += 1
    low = data[after] | np.uint16(32) if after < end else np.uint16(0)
    return low == 118 or low == 100 or low == 115  # value, default, string


@njit(nogil=True, cache=True)
def _is_mixed(data, i, end, classes, in_quotes):
    """Whether the run of value bytes from `i` on is long and mixed enough, and no call."""
    n = changes = 0
    has_digit = False
    last = np.uint16(0)
    while i < end:
        kind = classes[data[i]]
        if not kind & _VALUE or (kind & _CUT and not in_quotes):
            break
        n += 1
        if kind & _DIGIT:
            has_digit = True
            changes += 1 if last & _LETTER else 0
        elif (last & _DIGIT and kind & _LETTER) or (last & _SMALL and kind & _CAPITAL):
            changes += 1
        last = kind
        i += 1
    is_call = i < end and not in_quotes and (data[i] == 40 or data[i] == 91)  # ( [
    is_enough = changes >= _MIN_CHANGES and (has_digit or changes > _MIN_CHANGES)
    return n >= _MIN_VALUE and is_enough and not is_call
