"""Encoding whole corpora: flat arrays of ids, by the fastest way that gives exactly the same ids.

Input: many texts. Output: their ids end to end, and how many each has. Much text goes to words.py
where the tokenizer splits as coder-v1 or Qwen2 do; everything else to the `tokenizers` library,
long texts in parts.

Not here: prompts (tokenizer.py), and laying tokens out (pack.py).
"""

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from codling.tokens.families import SplitsName
from codling.tokens.tokenizer import Tokenizer

if TYPE_CHECKING:
    from codling.tokens.words import WordEncoder

MIN_BYTES = 1_000_000
"""Less text than this is not worth loading the compiled kernels."""
_PIECE_CHARS = 1 << 18
_SAFE_LINE = re.compile(r"\n(?=[^\s])")
"""Every published splitter ends a word here, so that a long text may be encoded in parts."""

Flat = tuple[npt.NDArray[np.uint32], npt.NDArray[np.int64]]


class BulkEncoder:
    """A tokenizer for much text; it remembers words between calls."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        self._words: WordEncoder | None = None

    def encode(self, texts: Sequence[str]) -> Flat:
        """The ids of all texts end to end, and how many each has.

        Raises TokenizerError if a text holds half of a surrogate pair.
        """
        splits = self._tokenizer.splits
        if splits and sum(map(len, texts)) >= MIN_BYTES:
            found = self._by_words(texts, splits)
            if found is not None:
                return found
        return self._by_library(texts)

    def _by_words(self, texts: Sequence[str], splits: SplitsName) -> Flat | None:
        if self._words is None:
            from codling.tokens.words import WordEncoder  # loads numba

            self._words = WordEncoder(self._tokenizer.encode_batch, splits)
        try:
            return self._words.encode(texts)
        except UnicodeEncodeError:
            return None

    def _by_library(self, texts: Sequence[str]) -> Flat:
        pieces = [_pieces(t) for t in texts]
        encoded = iter(self._tokenizer.encode_batch([p for many in pieces for p in many]))
        samples = [[i for _ in many for i in next(encoded)] for many in pieces]
        lengths = np.array([len(s) for s in samples], dtype=np.int64)
        ids = np.fromiter((i for s in samples for i in s), np.uint32, int(lengths.sum()))
        return ids, lengths


def _pieces(text: str) -> list[str]:
    """A long text in parts that end where a line begins with something else than space."""
    if len(text) <= _PIECE_CHARS:
        return [text]
    pieces, start = [], 0
    while border := _SAFE_LINE.search(text, start + _PIECE_CHARS):
        pieces.append(text[start : border.end()])
        start = border.end()
    return [*pieces, text[start:]]
