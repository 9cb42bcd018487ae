"""Whether a prompt can fit into the context, decided before all of it is encoded.

Input: a text, a tokenizer, the context's length. Output: nothing, or the error that a client would
get after the encoding, at a cost that depends on the context and not on the text.

Not here: how tokens are counted (tokens/counting.py), the cutting of insertions (tokens/fim.py).
"""

from collections.abc import Iterable

from codling.serve.errors import too_long_error
from codling.serve.side_work import Check
from codling.tokens.counting import fewest_tokens, is_long, lower_bounds
from codling.tokens.tokenizer import Tokenizer


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
    if not is_long(sum(map(len, texts)), max_length):
        return
    n_before = 0
    for text in texts:
        n_tokens = 0
        check()
        for n_tokens in lower_bounds(text, tokenizer, max_length):
            check()
            if n_before + n_tokens > max_length:
                raise too_long_error(n_before + n_tokens, max_length, param, at_least=True)
        n_before += n_tokens
