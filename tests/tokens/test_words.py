"""Bulk encoding gives the ids of the library: every character, random text, parts of text."""

import json
import unicodedata
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pytest

from codling.core.errors import TokenizerError
from codling.tokens import bulk
from codling.tokens.bpe import train
from codling.tokens.bulk import BulkEncoder
from codling.tokens.tokenizer import Tokenizer
from codling.tokens.words import WordEncoder
from tokens.token_samples import LINES

PALETTE = [
    *"ab Z_9(.=+\n\r\t",
    *("  ", "é", "你", "。", "가", "٣"),
    *("\u0f3c", "\u2460", "\U0001f41f", "\u00a0"),
    *("'", "'s", "'LL", "'ve", "\n\n", "    "),
]


@pytest.fixture(scope="module", params=["coder-v1", "qwen2"])
def splitter(request: pytest.FixtureRequest, tokenizer: Tokenizer) -> Tokenizer:
    """A tokenizer for each way of splitting."""
    if request.param == "coder-v1":
        return tokenizer
    core = train(iter([LINES * 20, *random_texts(200, 60)]), 700, "qwen2")
    return Tokenizer(json.loads(core.to_str()))


def words_of(tokenizer: Tokenizer) -> WordEncoder:
    assert tokenizer.splits is not None
    return WordEncoder(tokenizer.encode_batch, tokenizer.splits)


def flat(tokenizer: Tokenizer, texts: list[str]) -> tuple[list[int], list[int]]:
    encoded = tokenizer.encode_batch(texts)
    return [i for ids in encoded for i in ids], [len(ids) for ids in encoded]


def random_texts(n: int, length: int) -> list[str]:
    rng = Random(0)
    return ["".join(rng.choices(PALETTE, k=rng.randrange(length))) for _ in range(n)]


@pytest.mark.long
def test_random_texts_give_the_ids_of_the_library(splitter: Tokenizer) -> None:
    words = words_of(splitter)
    for texts in (random_texts(300, 40), [LINES, "", LINES * 3], random_texts(100, 400)):
        found = words.encode(texts)
        assert found is not None
        ids, lengths = found
        assert (ids.tolist(), lengths.tolist()) == flat(splitter, texts)


def test_tables_grow_without_losing_a_word(
    tokenizer: Tokenizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("codling.tokens.words._FIRST_SLOTS", 4)
    monkeypatch.setattr("codling.tokens.words._MAX_WORDS", 500)
    words = words_of(tokenizer)
    for first in (0, 400, 0, 900):
        texts = [f"word{chr(97 + i % 26)}{i}x " * 2 for i in range(first, first + 600)]
        found = words.encode(texts)
        assert found is not None
        assert found[0].tolist() == flat(tokenizer, texts)[0]


@pytest.mark.slow
def test_every_character_splits_as_in_the_library(splitter: Tokenizer) -> None:
    words = words_of(splitter)
    codes = [
        c for c in range(0x110000)
        if not 0xD800 <= c < 0xE000 and unicodedata.category(chr(c)) != "Cn"
    ]  # fmt: skip
    texts = ["".join(f"a{chr(c)}b {chr(c)}.{chr(c)} \n" for c in codes[i::64]) for i in range(64)]
    found = words.encode(texts)
    assert found is not None
    expected = flat(splitter, texts)
    assert (found[0].tolist(), found[1].tolist()) == expected


@pytest.mark.long
def test_a_character_of_unknown_class_goes_to_the_library(
    splitter: Tokenizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bulk, "MIN_BYTES", 0)
    texts = ["a = 1\n", "b\U000e0fffc"]
    assert unicodedata.category("\U000e0fff") == "Cn"
    assert words_of(splitter).encode(texts) is None
    ids, lengths = BulkEncoder(splitter).encode(texts)
    assert (ids.tolist(), lengths.tolist()) == flat(splitter, texts)


def test_both_ways_agree_and_refuse_half_a_surrogate_pair(
    splitter: Tokenizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    by_library = BulkEncoder(splitter).encode([LINES, "x"])
    monkeypatch.setattr(bulk, "MIN_BYTES", 0)
    by_words = BulkEncoder(splitter).encode([LINES, "x"])
    one: Any
    other: Any
    for one, other in zip(by_library, by_words, strict=True):
        assert np.array_equal(one, other)
        assert one.dtype == other.dtype
    with pytest.raises(TokenizerError, match="U\\+D800"):
        BulkEncoder(splitter).encode(["\ud800"])


@pytest.mark.long
def test_only_tokenizers_whose_splits_are_known_use_the_words(
    tokenizer: Tokenizer, shared_data: Path
) -> None:
    assert tokenizer.splits == "coder-v1"
    folder = shared_data / "tokenizers"
    published = Tokenizer.open(folder / "deepseek-coder-v1-tokenizer.rebuilt.json")
    assert published.splits == "coder-v1"
    assert Tokenizer.open(folder / "deepseek-v2-tokenizer.json").splits is None


def test_the_long_s_of_a_contraction_goes_to_the_library(splitter: Tokenizer) -> None:
    texts = ["it'\u017f a"]
    found = words_of(splitter).encode(texts)
    assert found is None or found[0].tolist() == flat(splitter, texts)[0]


def test_a_long_text_is_encoded_in_parts_with_the_same_ids(
    tokenizer: Tokenizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bulk, "_PIECE_CHARS", 40)
    text = LINES * 10 + "   \n\n\n  tail"
    pieces = bulk._pieces(text)
    assert len(pieces) > 10
    assert "".join(pieces) == text
    assert BulkEncoder(tokenizer).encode([text])[0].tolist() == tokenizer.encode(text)
