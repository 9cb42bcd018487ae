"""The part of a tokenizer that encodes text."""

import json
from typing import Any

import pytest
import tokenizers

from codling.core.errors import TokenizerError
from codling.tokens.text_core import text_core

_MODEL = {
    "type": "BPE",
    "vocab": {"a": 0, "b": 1, "ab": 2, "aab": 3, "<end>": 4},
    "merges": ["a b", "a ab"],
}


def made(**model: Any) -> dict[str, Any]:
    return {
        "version": "1.0",
        "normalizer": {"type": "NFC"},
        "pre_tokenizer": None,
        "decoder": None,
        "added_tokens": [],
        "model": _MODEL | model,
    }


@pytest.mark.parametrize(
    "model",
    [
        {},
        {"merges": [["a", "b"], ["a", "ab"]]},
        {"ignore_merges": True, "unk_token": "b", "fuse_unk": True, "dropout": None},
        {"byte_fallback": True, "end_of_word_suffix": None},
    ],
)
def test_a_vocabulary_is_read_as_the_library_reads_the_whole_file(model: dict[str, Any]) -> None:
    file = made(**model)
    whole = tokenizers.Tokenizer.from_str(json.dumps(file | {"post_processor": None}))
    core = text_core(file, ())
    assert core.to_str() == whole.to_str()
    assert core.encode("aabab").ids == whole.encode("aabab").ids == [3, 2]


def test_a_special_token_is_none_of_its_words() -> None:
    assert text_core(made(), {"<end>"}).token_to_id("<end>") is None


@pytest.mark.parametrize("merges", [["a b a"], [["a"]], [7], ["a x"]])
def test_merges_that_are_no_pairs_of_tokens_are_an_error(merges: list[Any]) -> None:
    with pytest.raises(TokenizerError, match="the tokenizer cannot be read"):
        text_core(made(merges=merges), ())
