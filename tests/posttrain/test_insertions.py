"""Insertion tasks among dialogues: their share, their format, and what of them counts."""

from pathlib import Path

import numpy as np
import pytest

from codling.core.errors import ConfigError
from codling.posttrain.insertions import join_streams, make_insertions
from codling.tokens.dialogue_files import LabelledStream
from codling.tokens.fim import insertion_prompt
from codling.tokens.tokenizer import Tokenizer

CODE = "def add(left, right):\n    total = left + right\n    return total\n\n\nadd(1, 2)"


@pytest.fixture
def tokenizer(base_dir: Path) -> Tokenizer:
    return Tokenizer.open(base_dir)


def dialogues(tokenizer: Tokenizer, answers: list[str]) -> LabelledStream:
    """Documents "ask" and an answer, which counts."""
    ids: list[int] = []
    counted: list[bool] = []
    lengths: list[int] = []
    ask = tokenizer.encode("ask")
    for answer in answers:
        tokens = tokenizer.encode(answer)
        ids += ask + tokens
        counted += [False] * len(ask) + [True] * len(tokens)
        lengths.append(len(ask) + len(tokens))
    ends = np.cumsum(lengths).astype(np.int64)
    starts = ends - np.array(lengths)
    return LabelledStream(np.array(ids), np.array(counted), starts, np.array(lengths))


@pytest.mark.parametrize("mode", ["psm", "spm"])
def test_the_middle_and_its_end_count_after_the_models_own_prompt(
    tokenizer: Tokenizer, mode: str
) -> None:
    tokenizer.config["fim_mode"] = mode
    stream = dialogues(tokenizer, [f"Sure:\n```python\n{CODE}\n```\nDone."] * 12)
    tasks = make_insertions(stream, tokenizer, 0.25, 512, seed=0)
    assert len(tasks.stream.starts) == 4  # 4 of 16 documents
    n_bytes = 0
    for start, length in zip(tasks.stream.starts, tasks.stream.lengths, strict=True):
        ids = tasks.stream.ids[start : start + length].tolist()
        counted = tasks.stream.counted[start : start + length]
        n_prompt = int(np.argmax(counted))
        assert counted[n_prompt:].all()
        assert ids[-1] == tokenizer.specials.eos
        middle = tokenizer.decode(ids[n_prompt:])
        at = 0
        while True:  # the hole whose prompt it is
            at = CODE.index(middle, at)
            # In SPM a blank before the cursor is left to the answer.
            cursors = (at, at + 1) if mode == "spm" and middle[:1] == " " else (at,)
            suffix = CODE[at + len(middle) :]
            prompts = [insertion_prompt(tokenizer, CODE[:c], suffix) for c in cursors]
            if ids[:n_prompt] in prompts:
                break
            at += 1
        n_bytes += len(middle.encode())
    assert tasks.n_bytes == n_bytes + 4 * int(tokenizer.token_lengths[tokenizer.specials.eos])
    assert tasks.n_counted == tasks.stream.counted.sum()


def test_tasks_fit_and_answers_take_turns_again(tokenizer: Tokenizer) -> None:
    stream = dialogues(tokenizer, [CODE * 8, "too short", "x = y + z\n" * 9])
    tasks = make_insertions(stream, tokenizer, 0.75, 60, seed=1)
    assert len(tasks.stream.starts) == 9
    assert tasks.stream.lengths.max() <= 60
    both = join_streams(stream, tasks.stream)
    assert both.ids[both.starts[3]] == tasks.stream.ids[0]
    assert both.lengths.tolist() == [*stream.lengths, *tasks.stream.lengths]


def test_what_cannot_insert_or_be_cut_is_one_line(tokenizer: Tokenizer) -> None:
    with pytest.raises(ConfigError, match="no answer is long enough"):
        make_insertions(dialogues(tokenizer, ["a", "b"]), tokenizer, 0.5, 60, seed=0)
    tokenizer.specials = type(tokenizer.specials)(eos=1)
    with pytest.raises(ConfigError, match="fim_rate needs a model that inserts"):
        make_insertions(dialogues(tokenizer, [CODE]), tokenizer, 0.5, 60, seed=0)
