"""A tokenised text that can be cut between any two characters, cheaply.

Input: the ids of a text. Output: ids of any stretch of it, as the tokenizer would give them for
that stretch alone. Only the lines that are cut are encoded again: a line end is a token border, and
the text after it does not change how a line is split.

Not here: where to cut (fim.py) and what to do with the parts (pack.py).
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from codling.tokens.tokenizer import Tokenizer


class Spans:
    """The bytes of a run of tokens, with the byte at which each token ends."""

    def __init__(self, tokenizer: Tokenizer, ids: Sequence[int]) -> None:
        self._tokenizer = tokenizer
        self._ids = list(ids)
        self.raw = tokenizer.join_bytes(self._ids)
        lengths = tokenizer.token_lengths[self._ids]
        self._ends: npt.NDArray[np.int64] = np.concatenate([[0], np.cumsum(lengths)])

    def char_border(self, at: int) -> int:
        """The last border between characters at or before byte `at`."""
        while 0 < at < len(self.raw) and self.raw[at] & 0xC0 == 0x80:
            at -= 1
        return at

    def encode(self, start: int, end: int) -> list[int]:
        """The ids of bytes `start` to `end`, both borders between characters.

        Raises UnicodeDecodeError if the stretch is not UTF-8, as when the tokens begin inside a
        character.
        """
        first = start if start == 0 else self._line_after(start, end)
        if first > end:
            return self._encode_bytes(start, end)
        last = end if end == len(self.raw) else self._line_before(end, first)
        kept = self._ids[self._token_at(first) : self._token_at(last)]
        return self._encode_bytes(start, first) + kept + self._encode_bytes(last, end)

    def _encode_bytes(self, start: int, end: int) -> list[int]:
        if start >= end:
            return []
        return self._tokenizer.encode(self.raw[start:end].decode("utf-8"))

    def _line_after(self, start: int, end: int) -> int:
        """The first safe line start after `start`, or `end + 1` if there is none up to `end`."""
        at = self.raw.find(b"\n", start, end) + 1
        while at and not self._is_safe(at):
            at = self.raw.find(b"\n", at, end) + 1
        return at or end + 1

    def _line_before(self, end: int, first: int) -> int:
        """The last safe line start up to `end`, or `first` if there is none after that."""
        at = self.raw.rfind(b"\n", first, end) + 1
        while at and not self._is_safe(at):
            at = self.raw.rfind(b"\n", first, at - 1) + 1
        return at or first

    def _is_safe(self, at: int) -> bool:
        """Whether a line that does not belong to a run of line ends begins at token border `at`."""
        if at < len(self.raw) and self.raw[at] in b"\r\n":
            return False
        return bool(self._ends[self._token_at(at)] == at)

    def _token_at(self, at: int) -> int:
        """The first token that begins at or after byte `at`."""
        return int(np.searchsorted(self._ends, at))
