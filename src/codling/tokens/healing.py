r"""Token healing: a prompt that ends within a token, and an answer that must begin with its end.

A tokenizer joins blanks and the word after them, the letters of a name, the marks of an operator.
A prompt that ends between them ends in tokens after which the model has never seen the rest: after
"if a:\n" or "if a:\n    " as tokens of their own, base models write a new function at the left
margin. So the prompt ends before its last run of blanks, letters or marks, and the answer is held
to begin with that run: at each step only tokens that agree with what is still missing of it are
allowed. The rest of the answer is the model's, conditioned on the text as it stands.

    text = "if ready:\n    ret"      prompt "if ready:\n   ", the answer begins with " ret"

Input: a text. Output: the text and its end; the tokens that agree with a beginning. Not here: the
step that asks (engine/engine.py).

Source: the name and the idea are those of the guidance library; here the whole run is taken back,
not one token of it.
"""

import re
from bisect import bisect_left
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from codling.tokens.fim import CursorPrompt
from codling.tokens.tokenizer import Tokenizer

MAX_LEAD = 64
"""Characters that an answer repeats at most: more are not one token."""
_RUN = re.compile(r"(?:\s+|[^\S\n]?(?:\w+|[^\w\s]+))\Z")


def split_run(text: str) -> tuple[str, str]:
    r"""A text before its last run of blanks, letters or marks, and that run.

    >>> split_run("if a:\n    "), split_run("    ret"), split_run("a.b("), split_run("")
    (('if a:', '\n    '), ('   ', ' ret'), ('a.b', '('), ('', ''))
    """
    found = _RUN.search(text, max(0, len(text) - MAX_LEAD - 1))
    if found is None or len(found[0]) > MAX_LEAD:
        return text, ""
    return text[: found.start()], found[0]


def continuation_prompt(
    tokenizer: Tokenizer, text: str, *, literal: bool, whole: Sequence[int] | None = None
) -> CursorPrompt:
    """The ids of a text to be continued, up to its last run; the answer must begin with that.

    Special tokens written out in it are read as such, or with `literal` as text. A text that is one
    run, or ends with a special token, is taken whole (`whole`: its ids, if they are at hand).

    Raises TokenizerError for look-alikes of special tokens, unless `literal`.
    """
    before, lead = split_run(text)
    ids = _encode(tokenizer, before, literal) if before and lead else []
    if not ids or not literal:
        whole = _encode(tokenizer, text, literal) if whole is None else whole
        if not ids or _n_special(tokenizer, ids) != _n_special(tokenizer, whole):
            return CursorPrompt(whole)
    return CursorPrompt(ids, lead, is_certain=True)


def _encode(tokenizer: Tokenizer, text: str, literal: bool) -> list[int]:
    if not literal:
        return tokenizer.encode_prompt(text)
    return tokenizer.start_ids + tokenizer.encode(text)


def _n_special(tokenizer: Tokenizer, ids: Sequence[int]) -> int:
    return sum(map(tokenizer.is_special, ids))


class TokenIndex:
    """The tokens of a tokenizer, sorted by their bytes; special ones are left out."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        raw = [tokenizer.token_bytes(i) for i in range(tokenizer.vocab_size)]
        ids = [i for i, text in enumerate(raw) if text and not tokenizer.is_special(i)]
        ids.sort(key=raw.__getitem__)
        self._bytes = [raw[i] for i in ids]
        self._ids = np.array(ids, np.int64)

    def find(self, rest: bytes) -> NDArray[np.int64]:
        """The ids of tokens that begin with `rest`, or with which it begins."""
        parts = [self._range(rest, self._after(rest))]
        parts += [self._range(rest[:n], rest[:n] + b"\0") for n in range(1, len(rest))]
        return np.concatenate(parts)

    def _range(self, first: bytes, end: bytes | None) -> NDArray[np.int64]:
        stop = len(self._bytes) if end is None else bisect_left(self._bytes, end)
        return self._ids[bisect_left(self._bytes, first) : stop]

    def _after(self, prefix: bytes) -> bytes | None:
        """The first bytes that sort after all that begin with `prefix`; None if nothing does."""
        kept = prefix.rstrip(b"\xff")
        return kept[:-1] + bytes([kept[-1] + 1]) if kept else None


class Healing:
    """What an answer still has to begin with."""

    def __init__(self, index: TokenIndex, tokenizer: Tokenizer, lead: str) -> None:
        """The answer begins with `lead`."""
        self._index, self._tokenizer = index, tokenizer
        self._rest = lead.encode()

    @property
    def is_done(self) -> bool:
        """Whether the answer has begun with all of it."""
        return not self._rest

    def mask(self, logits_V: NDArray[np.float32]) -> NDArray[np.float32]:
        """The row with the tokens that do not agree at minus infinity; the row itself when all is
        there, or no token agrees."""
        allowed = self._index.find(self._rest) if self._rest else ()
        if not len(allowed):
            return logits_V
        masked_V = np.full_like(logits_V, -np.inf)
        masked_V[allowed] = logits_V[allowed]
        return masked_V

    def accept(self, token_id: int) -> bool:
        """Take the token that was chosen; True if it only repeats what the answer begins with."""
        raw, rest = self._tokenizer.token_bytes(token_id), self._rest
        repeats = bool(raw) and rest.startswith(raw)
        self._rest = rest[len(raw) :] if repeats else b""
        return repeats
