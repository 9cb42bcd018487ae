"""Whether a prompt can fit into the context, decided before all of it is encoded.

Input: a text, a tokenizer, the context's length. Output: nothing, or the error that a client would
get after the encoding, at a cost that depends on the context and not on the text.

Not here: the exact count (prompts.py), the cutting of insertions (tokens/fim.py).
"""

from collections.abc import Iterable

from codling.serve.errors import too_long_error
from codling.serve.side_work import Check
from codling.tokens.tokenizer import Tokenizer

_CHARS_PER_TOKEN = 8
"""More than in any code: it decides how long the pieces are that are encoded."""
_SLACK = 64
"""Tokens that a cut between two pieces may add at most, generously."""
_SHRINKING = 3
"""Composing characters (NFC) leaves a third of a text's bytes at least (Unicode's annex 15)."""


def fewest_tokens(text: str, tokenizer: Tokenizer) -> int:
    """A bound: no token stands for more bytes than the vocabulary's longest."""
    longest = max(1, int(tokenizer.token_lengths.max()))
    n_bytes = len(text) if text.isascii() else -(-len(text.encode(errors="replace")) // _SHRINKING)
    return -(-n_bytes // longest)


def refuse_too_long(
    check: Check, texts: Iterable[str], tokenizer: Tokenizer, max_length: int, param: str
) -> None:
    """Raise ApiError if the texts together surely have more than `max_length` tokens.

    First by the bound; then, for a long text, by encoding pieces until they are too many.
    """
    texts = list(texts)
    n_least = sum(fewest_tokens(text, tokenizer) for text in texts)
    if n_least > max_length:
        raise too_long_error(n_least, max_length, param, at_least=True)
    size = max_length * _CHARS_PER_TOKEN
    if sum(map(len, texts)) <= 2 * size:
        return
    n_tokens = 0
    for text in texts:
        for start in range(0, len(text), size):
            check()
            n_tokens += max(0, len(tokenizer.encode(text[start : start + size])) - _SLACK)
            if n_tokens > max_length:
                raise too_long_error(n_tokens, max_length, param, at_least=True)
