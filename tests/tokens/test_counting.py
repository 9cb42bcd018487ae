"""Counting up to a limit: exact below it, and at the cost of the limit above it."""

import pytest

from codling.tokens.counting import count_tokens
from codling.tokens.tokenizer import Tokenizer
from tokens.token_samples import LINES


@pytest.mark.parametrize("text", ["", LINES, LINES * 40, " " * 9_000, "\u00e9\u4f60 x\n" * 500])
def test_the_count_is_exact_up_to_the_limit_and_one_more_beyond(
    tokenizer: Tokenizer, text: str
) -> None:
    n_tokens = len(tokenizer.encode(text))
    for limit in (n_tokens // 2, n_tokens - 1, n_tokens, n_tokens + 1, 10 * n_tokens):
        assert count_tokens(text, tokenizer, max(0, limit)) == min(n_tokens, max(0, limit) + 1)


def test_a_long_text_is_not_encoded_whole(
    tokenizer: Tokenizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[int] = []
    encode = Tokenizer.encode

    def spy(self: Tokenizer, text: str) -> list[int]:
        read.append(len(text))
        return encode(self, text)

    monkeypatch.setattr(Tokenizer, "encode", spy)
    text = "x = first + second\n" * 20_000
    assert count_tokens(text, tokenizer, 2_000) == 2_001
    assert sum(read) <= 2 * 8 * 2_000 < len(text) / 10
