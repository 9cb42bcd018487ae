"""How many tokens a text has, up to a limit, at a cost that depends on the limit alone.

Input: a text, a tokenizer, a limit. Output: the exact count up to the limit, or that it is more.

Not here: what is done with a text that is too long (serve/length.py refuses it, fim.py and
corpus/context.py cut it).
"""

from collections.abc import Iterator

from codling.tokens.tokenizer import Tokenizer

_CHARS_PER_TOKEN = 8
"""More than in any code: it decides how long the pieces are that are encoded."""
_SHORTEST_PIECE = 8_192
"""Characters: in shorter ones the slack would be most of what is counted."""
_SLACK = 64
"""Tokens that a cut between two pieces may add at most, generously."""
_SHRINKING = 3
"""Composing characters (NFC) leaves a third of a text's bytes at least (Unicode's annex 15)."""


def count_tokens(text: str, tokenizer: Tokenizer, limit: int) -> int:
    """The number of tokens, or `limit + 1` where there are more than `limit`."""
    if fewest_tokens(text, tokenizer) > limit:
        return limit + 1
    if is_long(len(text), limit) and any(n > limit for n in lower_bounds(text, tokenizer, limit)):
        return limit + 1
    return min(len(tokenizer.encode(text)), limit + 1)


def fewest_tokens(text: str, tokenizer: Tokenizer) -> int:
    """A bound: no token stands for more bytes than the vocabulary's longest."""
    longest = max(1, int(tokenizer.token_lengths.max()))
    n_bytes = len(text) if text.isascii() else -(-len(text.encode(errors="replace")) // _SHRINKING)
    return -(-n_bytes // longest)


def is_long(n_chars: int, limit: int) -> bool:
    """Whether encoding pieces may be worth more than encoding all of so long a text."""
    return n_chars > 2 * _piece_length(limit)


def lower_bounds(text: str, tokenizer: Tokenizer, limit: int) -> Iterator[int]:
    """How many tokens the text has at least, by more and more of its pieces."""
    size, n_tokens = _piece_length(limit), 0
    for start in range(0, len(text), size):
        n_tokens += max(0, len(tokenizer.encode(text[start : start + size])) - _SLACK)
        yield n_tokens


def _piece_length(limit: int) -> int:
    return max(limit * _CHARS_PER_TOKEN, _SHORTEST_PIECE)
