"""Added tokens that are words of the text, not special: each keeps its own number."""

import json
from pathlib import Path

import tokenizers

from codling.tokens.bpe import train
from codling.tokens.tokenizer import Tokenizer
from tokens.token_samples import LINES


def test_a_plain_token_behind_the_special_ones_keeps_its_number(tmp_path: Path) -> None:
    """Without the special tokens before it the library would give it the first of theirs."""
    written = json.loads(train(iter([LINES]), 300, "coder-v1").to_str())
    first = 1 + max(token["id"] for token in written["added_tokens"])
    like = written["added_tokens"][-1] | {"special": False, "normalized": False}
    more = [like | {"id": first + i, "content": text} for i, text in enumerate(("    ", "漢 字"))]
    written["added_tokens"] += more
    (tmp_path / "tokenizer.json").write_text(json.dumps(written))
    text = "a    b 漢 字 c"
    wanted = (
        tokenizers.Tokenizer.from_str(json.dumps(written))
        .encode(text, add_special_tokens=False)
        .ids
    )
    assert {first, first + 1} <= set(wanted)
    assert Tokenizer.open(tmp_path).encode(text) == wanted
