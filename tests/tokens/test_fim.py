"""Insertion: training transforms and prompts."""

from random import Random
from typing import Any

import pytest

from codling.core.errors import RequestError, TokenizerError
from codling.tokens.families import FIM_BEGIN, FIM_END, FIM_HOLE
from codling.tokens.fim import (
    Draw,
    Hole,
    cut,
    insertion_prompt,
    join,
    line_hole,
    near_suffix,
    psm,
    spm,
    training_task,
)
from codling.tokens.spans import Spans
from codling.tokens.tokenizer import Tokenizer


def test_psm_moves_the_middle_to_the_end() -> None:
    assert psm("ab", "cd", "ef") == f"{FIM_BEGIN}ab{FIM_HOLE}ef{FIM_END}cd"


def test_spm_shows_the_suffix_first_and_keeps_prefix_and_middle_together() -> None:
    assert spm("ab", "cd", "ef") == f"{FIM_BEGIN}{FIM_HOLE}ef{FIM_END}abcd"


def test_cut_never_loses_a_character_and_never_leaves_the_hole_empty() -> None:
    rng = Random(0)
    for text in ("", "a", "ab", "def f():\n    return 1\n"):
        for _ in range(50):
            hole = cut(text, rng)
            assert hole.prefix + hole.middle + hole.suffix == text
            assert hole.middle or not text


def test_every_place_between_characters_is_cut() -> None:
    rng = Random(0)
    starts = {len(cut("abcd", rng).prefix) for _ in range(200)}
    ends = {len(cut("abcd", rng).suffix) for _ in range(200)}
    assert starts == ends == {0, 1, 2, 3}
    assert cut("a", rng) == Hole("", "a", "")


def test_ids_of_a_task_equal_the_text_form(tokenizer: Tokenizer) -> None:
    prefix, hole, suffix = (tokenizer.encode(t) for t in ("de", "f f", "(x):\n"))
    tasks: tuple[Any, ...] = (("psm", psm), ("spm", spm))
    for mode, text in tasks:
        expected = tokenizer.encode(text("de", "f f", "(x):\n"), allow_special=True)
        joined = join(tokenizer, prefix, hole, suffix, mode=mode)
        assert tokenizer.decode(joined, skip_special=False) == text("de", "f f", "(x):\n")
        assert len(joined) >= len(expected)


def test_insertion_prompt_is_bos_begin_prefix_hole_suffix_end(tokenizer: Tokenizer) -> None:
    s = tokenizer.specials
    prefix, suffix = tokenizer.encode("def add("), tokenizer.encode("):\n")
    assert insertion_prompt(tokenizer, "def add(", "):\n") == [
        s.bos, s.fim_begin, *prefix, s.fim_hole, *suffix, s.fim_end,
    ]  # fmt: skip
    assert insertion_prompt(tokenizer, "def add(", "):\n", mode="spm") == [
        s.bos, s.fim_begin, s.fim_hole, *suffix, s.fim_end, *prefix,
    ]  # fmt: skip


def test_trimming_keeps_what_is_near_the_hole(tokenizer: Tokenizer) -> None:
    prefix, suffix = "a = 1\n" * 500 + "left", "right" + "\nb = 2" * 500
    prompt = insertion_prompt(tokenizer, prefix, suffix, max_tokens=64)
    assert len(prompt) <= 64
    hole = prompt.index(tokenizer.specials.fim_hole)
    assert prefix.endswith(tokenizer.decode(prompt[:hole]))
    assert suffix.startswith(tokenizer.decode(prompt[hole:]))
    assert len(prompt) > 50


@pytest.mark.parametrize("max_tokens", [5, 6, 9, 17, 33, 100])
def test_a_prompt_never_exceeds_its_room(tokenizer: Tokenizer, max_tokens: int) -> None:
    for prefix, suffix in (("x" * 300, ""), ("", "y" * 300), ("x" * 300, "y" * 300), ("x", "y")):
        assert len(insertion_prompt(tokenizer, prefix, suffix, max_tokens=max_tokens)) <= max_tokens


def test_a_trimmed_prefix_stays_put_while_the_user_types(tokenizer: Tokenizer) -> None:
    prefix = "".join(f"value_{i} = {i}\n" for i in range(400))
    prompts = []
    for typed in ("", "a", "ab", "ab ="):
        prompts.append(insertion_prompt(tokenizer, prefix + typed, "", max_tokens=200))
    starts = {tuple(p[:40]) for p in prompts}
    assert len(starts) <= 2


@pytest.mark.parametrize(
    ("prefix", "lead"),
    [
        ("def f():\n    ret", " ret"),
        ("x = a.items", "items"),
        ("imp", "imp"),
        ("if größe", " größe"),
        ("x = ", ""),
        ("def f():\n    ", ""),
        ("f(", ""),
        ("", ""),
        ("n" * 33, ""),
    ],
)
def test_a_word_at_the_cursor_is_left_to_the_answer(
    tokenizer: Tokenizer, prefix: str, lead: str
) -> None:
    prompt = insertion_prompt(tokenizer, prefix, "\nend", mode="psm", heals=True)
    assert (prompt.lead, prompt.forced) == (lead, lead)
    assert prompt == insertion_prompt(tokenizer, prefix.removesuffix(lead), "\nend", mode="psm")


def test_the_prompt_stands_still_while_a_word_is_typed(tokenizer: Tokenizer) -> None:
    typed = ["x = v", "x = val", "x = value", "x = value_12"]
    prompts = [insertion_prompt(tokenizer, each, "\nend", heals=True) for each in typed]
    assert all(prompt == prompts[0] for prompt in prompts)


def test_a_window_of_the_suffix_ends_with_a_line(tokenizer: Tokenizer) -> None:
    lines = "first = 1\nsecond = 2\n"
    n_tokens = len(tokenizer.encode(lines)) + 2
    suffix = lines + "third = 3\n" * 1000
    assert near_suffix(tokenizer, suffix, n_tokens) == lines
    assert near_suffix(tokenizer, suffix, None) == suffix


@pytest.mark.parametrize("suffix", ["", "é" * 100, "\nx" + "y" * 200, "z = 1\n", "\N{SNOWMAN}\n"])
@pytest.mark.parametrize("n_tokens", [0, 1, 2, 7, 1000])
def test_a_window_is_the_beginning_of_the_suffix_and_has_no_more_tokens(
    tokenizer: Tokenizer, suffix: str, n_tokens: int
) -> None:
    near = near_suffix(tokenizer, suffix, n_tokens)
    assert suffix.startswith(near)
    assert len(tokenizer.encode(near)) <= n_tokens
    assert near == suffix or len(tokenizer.encode(suffix)) > n_tokens


def test_no_room_for_the_marks_is_refused(tokenizer: Tokenizer) -> None:
    with pytest.raises(RequestError, match="leave no room"):
        insertion_prompt(tokenizer, "a", "b", max_tokens=4)


def test_a_part_that_begins_with_a_lookalike_is_refused(tokenizer: Tokenizer) -> None:
    with pytest.raises(TokenizerError, match="only looks like"):
        insertion_prompt(tokenizer, "<|fim_begin|>def f", "")


def test_a_file_that_quotes_a_lookalike_can_be_completed(tokenizer: Tokenizer) -> None:
    quoted = "TOKENS = ['<|fim_begin|>', '<|fim_hole|>']\n"
    prompt = insertion_prompt(tokenizer, quoted, quoted)
    assert tokenizer.decode(prompt) == quoted * 2


def test_a_real_mark_inside_the_code_is_text(tokenizer: Tokenizer) -> None:
    prompt = insertion_prompt(tokenizer, f"HOLE = '{FIM_HOLE}'", "")
    assert prompt.count(tokenizer.specials.fim_hole) == 1


def test_a_line_hole_leaves_indentation_and_line_end_outside() -> None:
    text = b"if a:\n\n    b()  \n\n"
    for at in (6, 7, 9, 16):
        begin, end = line_hole(text, at) or (0, 0)
        assert text[begin:end] == b"b()"
    assert line_hole(text, 0) == (0, 5)
    assert line_hole(text, len(text)) is None
    assert line_hole(b"\n \n", 0) is None


def test_the_share_of_line_holes_is_kept() -> None:
    rng = Random(0)
    draws = [Draw.of(rng, spm_share=0.25, line_share=0.5) for _ in range(2000)]
    assert abs(sum(d.is_line for d in draws) / 2000 - 0.5) < 0.04
    assert abs(sum(d.mode == "spm" for d in draws) / 2000 - 0.25) < 0.04


def test_a_line_task_asks_for_one_whole_line(tokenizer: Tokenizer) -> None:
    text = "def f(a):\n    return a\n"
    spans = Spans(tokenizer, tokenizer.encode(text))
    task = training_task(tokenizer, spans, Draw(0.7, 0.9, "psm", is_line=True))
    assert task is not None
    shown = tokenizer.decode(task, skip_special=False)
    assert psm("def f(a):\n    ", "return a", "\n") in shown


def test_an_spm_task_leaves_the_blank_before_the_hole_to_the_answer(tokenizer: Tokenizer) -> None:
    spans = Spans(tokenizer, tokenizer.encode("x = 1\n    return a\n"))
    task = training_task(tokenizer, spans, Draw(0.7, 0.9, "spm", is_line=True))
    assert task is not None
    prompt = insertion_prompt(tokenizer, "x = 1\n    ", "\n", mode="spm")
    assert task[: len(prompt)] == prompt
    assert tokenizer.decode(task[len(prompt) : -1]) == " return a"


def test_a_tokenizer_that_was_taught_spm_is_asked_in_spm(tokenizer: Tokenizer) -> None:
    assert tokenizer.fim_mode == "psm"
    tokenizer.config["fim_mode"] = "spm"
    try:
        prompt = insertion_prompt(tokenizer, "a", "b")
    finally:
        del tokenizer.config["fim_mode"]
    assert prompt == insertion_prompt(tokenizer, "a", "b", mode="spm")


def test_in_spm_a_blank_at_the_cursor_is_left_to_the_answer(tokenizer: Tokenizer) -> None:
    prompt = insertion_prompt(tokenizer, "    return ", "\n", mode="spm")
    assert prompt == insertion_prompt(tokenizer, "    return", "\n", mode="spm")
    assert prompt.lead == " "
    assert insertion_prompt(tokenizer, "    return", "\n", mode="spm").lead == ""
    assert insertion_prompt(tokenizer, "    return ", "\n", mode="psm").lead == ""


@pytest.mark.parametrize("suffix", ["", "\n", " \r\n\n"])
@pytest.mark.parametrize("indent", ["    ", "\t", " ", "\t  "])
def test_with_nothing_after_the_hole_the_indentation_is_left_to_the_answer(
    tokenizer: Tokenizer, indent: str, suffix: str
) -> None:
    prompt = insertion_prompt(tokenizer, f"if a:\n{indent}b\n{indent}", suffix)
    assert prompt == insertion_prompt(tokenizer, f"if a:\n{indent}b\n", suffix)
    assert prompt.lead == indent
    # The only indented line stays: it alone shows tabs or blanks, and how many.
    prompt = insertion_prompt(tokenizer, f"def f(n):\n{indent}", suffix)
    assert tokenizer.decode(prompt) == f"def f(n):\n{indent}{suffix}"
    assert prompt.lead == indent


@pytest.mark.parametrize(
    ("prefix", "suffix"),
    [
        ("def f(n):\n    ", "\n    return x"),
        ("def f(n):\n    x", ""),
        ("def f(n): ", ""),
        ("def f(n):\n", ""),
        ("", ""),
    ],
)
def test_other_insertions_are_asked_as_they_are(
    tokenizer: Tokenizer, prefix: str, suffix: str
) -> None:
    prompt = insertion_prompt(tokenizer, prefix, suffix)
    assert prompt.lead == ""
    assert tokenizer.decode(prompt) == prefix + suffix
