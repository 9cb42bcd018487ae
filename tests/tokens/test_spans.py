"""Spans: cutting tokenised text anywhere gives what the tokenizer gives for the parts."""

from random import Random

import pytest

from codling.tokens.spans import Spans
from codling.tokens.tokenizer import Tokenizer

TEXT = (
    "import os\n\n\ndef add(a, b):\n    return a + b  # é 你好\n\r\n  \n"
    "\tx = [1, 22, 333]\n\n" + "value = value + value\n" * 5
)


def test_every_cut_equals_encoding_the_part_alone(tokenizer: Tokenizer) -> None:
    spans = Spans(tokenizer, tokenizer.encode(TEXT))
    n = len(spans.raw)
    rng = Random(0)
    pairs = [
        (0, n),
        *(tuple(sorted((rng.randrange(n + 1), rng.randrange(n + 1)))) for _ in range(400)),
    ]
    for start, end in pairs:
        start, end = spans.char_border(start), spans.char_border(end)
        part = spans.raw[start:end].decode("utf-8")
        assert spans.encode(start, end) == tokenizer.encode(part), (start, end)


def test_borders_never_fall_inside_a_character(tokenizer: Tokenizer) -> None:
    spans = Spans(tokenizer, tokenizer.encode("a你b"))
    assert [spans.char_border(i) for i in range(6)] == [0, 1, 1, 1, 4, 5]


def test_tokens_that_begin_inside_a_character_are_refused(tokenizer: Tokenizer) -> None:
    spans = Spans(tokenizer, tokenizer.encode("鱼")[1:])
    with pytest.raises(UnicodeDecodeError):
        spans.encode(0, 1)
