"""Token healing: where a prompt is cut, and which tokens agree with what is missing."""

import numpy as np
import pytest

from codling.tokens.healing import (
    MAX_LEAD,
    Healing,
    TokenIndex,
    continuation_prompt,
    split_run,
)
from codling.tokens.tokenizer import Tokenizer


@pytest.mark.parametrize(
    ("text", "lead"),
    [
        ("def f():\n    ret", " ret"),
        ("def f():\n    ", "\n    "),
        ("def f():\n\n\t", "\n\n\t"),
        ("x = ", " "),
        ("x = a +=", " +="),
        ("self.na", "na"),
        ("self.", "."),
        ("größe", "größe"),
        ("a\r\n  ", "\r\n  "),
        ("", ""),
        ("\n" * (MAX_LEAD + 1), ""),
        ("a" + " " * MAX_LEAD, " " * MAX_LEAD),
        ("a" + " " * (MAX_LEAD + 1), ""),
    ],
)
def test_the_last_run_of_one_kind_is_left_to_the_answer(text: str, lead: str) -> None:
    assert split_run(text) == (text.removesuffix(lead), lead)


def test_the_tokens_that_agree_are_those_of_a_plain_search(tokenizer: Tokenizer) -> None:
    index = TokenIndex(tokenizer)
    pieces = {i: tokenizer.token_bytes(i) for i in range(tokenizer.vocab_size)}
    for text in ("\n    ", " ret", "e", "größe", "\x7f", "漢字"):
        rest = text.encode()
        expected = {
            i
            for i, raw in pieces.items()
            if raw
            and not tokenizer.is_special(i)
            and (raw.startswith(rest) or rest.startswith(raw))
        }
        assert set(index.find(rest).tolist()) == expected
        assert expected
    last = TokenIndex(tokenizer).find(b"\xff\xff").tolist()
    assert all(b"\xff\xff".startswith(pieces[i]) for i in last)


def test_an_answer_that_is_held_spells_the_lead_whatever_the_model_likes(
    tokenizer: Tokenizer,
) -> None:
    index, random = TokenIndex(tokenizer), np.random.default_rng(0)
    for lead in ("\n        ", " ret", "größ", "=="):
        for _ in range(20):
            healing, ids = Healing(index, tokenizer, lead), []
            while not healing.is_done:
                row_V = random.normal(size=tokenizer.vocab_size).astype(np.float32)
                ids.append(int(healing.mask(row_V).argmax()))
                healing.accept(ids[-1])
            raw = tokenizer.join_bytes(ids)
            assert raw.startswith(lead.encode())
            assert not tokenizer.join_bytes(ids[:-1]).startswith(lead.encode())


def test_the_allowed_tokens_keep_their_logits_and_the_row_is_not_changed(
    tokenizer: Tokenizer,
) -> None:
    row_V = np.arange(tokenizer.vocab_size, dtype=np.float32)
    kept_V = row_V.copy()
    healing = Healing(TokenIndex(tokenizer), tokenizer, " x")
    masked_V = healing.mask(row_V)
    allowed = np.flatnonzero(np.isfinite(masked_V))
    assert 0 < len(allowed) < len(row_V)
    assert (masked_V[allowed] == row_V[allowed]).all()
    assert (row_V == kept_V).all()
    assert Healing(TokenIndex(tokenizer), tokenizer, "").mask(row_V) is row_V


def test_prompt_and_lead_are_the_text(tokenizer: Tokenizer) -> None:
    for text in ("def f():\n    ret", "a = b", "if x:\n\t"):
        prompt = continuation_prompt(tokenizer, text, literal=True)
        assert tokenizer.decode(prompt) + prompt.lead == text
        assert prompt.is_certain


def test_a_text_of_one_run_and_a_mark_at_the_end_are_asked_whole(tokenizer: Tokenizer) -> None:
    assert continuation_prompt(tokenizer, "def", literal=True).lead == ""
    assert continuation_prompt(tokenizer, "", literal=True) == tokenizer.encode_prompt("")
    hole = tokenizer.specials.fim_hole
    assert hole is not None
    mark = tokenizer.special_text(hole)
    for text in (f"a{mark}", f"a{mark})", f"a {mark}>|"):
        prompt = continuation_prompt(tokenizer, text, literal=False)
        assert prompt == tokenizer.encode_prompt(text)
        assert prompt.lead == ""
    prompt = continuation_prompt(tokenizer, f"a{mark}b c", literal=False)
    assert prompt.lead == " c"
