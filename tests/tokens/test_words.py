"""Bulk encoding gives the ids of the library: every character, random text, parts of text."""

import unicodedata
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pytest

from codling.core.errors import TokenizerError
from codling.tokens import bulk
from codling.tokens.bulk import BulkEncoder
from codling.tokens.tokenizer import Tokenizer
from codling.tokens.words import WordEncoder
from tokens.token_samples import LINES

PALETTE = [
    *"ab Z_9(.=+\n\r\t",
    *("  ", "é", "你", "。", "가", "٣"),
    *("\u0f3c", "\u2460", "\U0001f41f", "\u00a0"),
]


def flat(tokenizer: Tokenizer, texts: list[str]) -> tuple[list[int], list[int]]:
    encoded = tokenizer.encode_batch(texts)
    return [i for ids in encoded for i in ids], [len(ids) for ids in encoded]


def random_texts(n: int, length: int) -> list[str]:
    rng = Random(0)
    return ["".join(rng.choices(PALETTE, k=rng.randrange(length))) for _ in range(n)]


@pytest.mark.long
def test_random_texts_give_the_ids_of_the_library(tokenizer: Tokenizer) -> None:
    words = WordEncoder(tokenizer.encode_batch)
    for texts in (random_texts(300, 40), [LINES, "", LINES * 3], random_texts(100, 400)):
        found = words.encode(texts)
        assert found is not None
        ids, lengths = found
        assert (ids.tolist(), lengths.tolist()) == flat(tokenizer, texts)


def test_tables_grow_without_losing_a_word(
    tokenizer: Tokenizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("codling.tokens.words._FIRST_SLOTS", 4)
    monkeypatch.setattr("codling.tokens.words._MAX_WORDS", 500)
    words = WordEncoder(tokenizer.encode_batch)
    for first in (0, 400, 0, 900):
        texts = [f"word{chr(97 + i % 26)}{i}x " * 2 for i in range(first, first + 600)]
        found = words.encode(texts)
        assert found is not None
        assert found[0].tolist() == flat(tokenizer, texts)[0]


@pytest.mark.slow
def test_every_character_splits_as_in_the_library(tokenizer: Tokenizer) -> None:
    words = WordEncoder(tokenizer.encode_batch)
    codes = [
        c for c in range(0x110000)
        if not 0xD800 <= c < 0xE000 and unicodedata.category(chr(c)) != "Cn"
    ]  # fmt: skip
    texts = ["".join(f"a{chr(c)}b {chr(c)}.{chr(c)} \n" for c in codes[i::64]) for i in range(64)]
    found = words.encode(texts)
    assert found is not None
    expected = flat(tokenizer, texts)
    assert (found[0].tolist(), found[1].tolist()) == expected


def test_a_character_of_unknown_class_goes_to_the_library(
    tokenizer: Tokenizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bulk, "MIN_BYTES", 0)
    texts = ["a = 1\n", "b\U000e0fffc"]
    assert unicodedata.category("\U000e0fff") == "Cn"
    assert WordEncoder(tokenizer.encode_batch).encode(texts) is None
    ids, lengths = BulkEncoder(tokenizer).encode(texts)
    assert (ids.tolist(), lengths.tolist()) == flat(tokenizer, texts)


def test_both_ways_agree_and_refuse_half_a_surrogate_pair(
    tokenizer: Tokenizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    by_library = BulkEncoder(tokenizer).encode([LINES, "x"])
    monkeypatch.setattr(bulk, "MIN_BYTES", 0)
    by_words = BulkEncoder(tokenizer).encode([LINES, "x"])
    one: Any
    other: Any
    for one, other in zip(by_library, by_words, strict=True):
        assert np.array_equal(one, other)
        assert one.dtype == other.dtype
    with pytest.raises(TokenizerError, match="U\\+D800"):
        BulkEncoder(tokenizer).encode(["\ud800"])


@pytest.mark.long
def test_only_tokenizers_that_split_like_coder_v1_use_the_words(
    tokenizer: Tokenizer, shared_data: Path
) -> None:
    assert tokenizer.splits_like_coder_v1
    folder = shared_data / "tokenizers"
    assert Tokenizer.open(folder / "deepseek-coder-v1-tokenizer.rebuilt.json").splits_like_coder_v1
    assert not Tokenizer.open(folder / "deepseek-v2-tokenizer.json").splits_like_coder_v1


def test_a_long_text_is_encoded_in_parts_with_the_same_ids(
    tokenizer: Tokenizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bulk, "_PIECE_CHARS", 40)
    text = LINES * 10 + "   \n\n\n  tail"
    pieces = bulk._pieces(text)
    assert len(pieces) > 10
    assert "".join(pieces) == text
    assert BulkEncoder(tokenizer).encode([text])[0].tolist() == tokenizer.encode(text)
