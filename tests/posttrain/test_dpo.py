"""DPO: its loss and gradients are the published ones, and what it learns moves the right way."""

import copy
import json
import math
from pathlib import Path

import pytest
import torch
from torch import Tensor

from codling.core.errors import ConfigError, SourceError
from codling.core.files import read_json_lines
from codling.model.transformer import Transformer
from codling.posttrain.dpo import DpoConfig, PreferenceStep, dpo
from codling.posttrain.lora import add_lora
from codling.posttrain.preferences import Pairs, read_pair
from codling.tokens.dialogue_labels import Labelled
from codling.tokens.dialogue_rows import RowError
from codling.train.config import OptimizerConfig
from codling.train.parallel.ranks import Ranks
from posttrain.tiny_base import SHAPE

ASK = {"role": "user", "content": "q"}
GOOD, BAD = ({"role": "assistant", "content": text} for text in ("good", "bad"))


def documents(n: int) -> list[tuple[Labelled, Labelled]]:
    generator = torch.Generator().manual_seed(n)

    def one() -> Labelled:
        length = int(torch.randint(4, 20, (1,), generator=generator))
        ids = torch.randint(0, SHAPE.vocab_size, (length,), generator=generator).tolist()
        return Labelled(ids, [i >= 2 for i in range(length)])

    return [(one(), one()) for _ in range(n)]


def plain_log_probability(model: Transformer, document: Labelled) -> Tensor:
    """Token by token, from all logits at once."""
    ids = torch.tensor(document.ids)
    scores = model.logits(model(ids[None, :-1]))[0].log_softmax(-1)
    terms = [scores[i, ids[i + 1]] for i in range(len(ids) - 1) if document.counted[i + 1]]
    return torch.stack(terms).sum()


def test_loss_and_gradients_equal_a_plain_implementation() -> None:
    base = Transformer(SHAPE, torch.Generator().manual_seed(0))
    model = copy.deepcopy(base)
    layers = add_lora(model, 4, 8.0, torch.Generator().manual_seed(1))
    for layer in layers:
        layer.lora_B.data.normal_(0, 0.5, generator=torch.Generator().manual_seed(2))
    pairs = documents(5)
    step = PreferenceStep(model, compiled=False, beta=0.3)
    batch = Pairs(pairs, 32, 0, seed=0).batch(range(5))
    loss = step.loss(*batch)
    loss.backward()
    ours = [(layer.lora_A.grad, layer.lora_B.grad) for layer in layers]

    for layer in layers:
        layer.lora_A.grad = layer.lora_B.grad = None
    terms = []
    for chosen, rejected in pairs:
        gains = [
            plain_log_probability(model, each) - plain_log_probability(base, each).detach()
            for each in (chosen, rejected)
        ]
        terms.append(-torch.log(1 / (1 + torch.exp(-0.3 * (gains[0] - gains[1])))))
    expected = torch.stack(terms).mean()
    expected.backward()
    loss, expected = loss.detach(), expected.detach()
    assert float(loss) == pytest.approx(float(expected), abs=1e-5)
    assert abs(float(loss) - math.log(2)) > 0.01
    for layer, (a, b) in zip(layers, ours, strict=True):
        torch.testing.assert_close(a, layer.lora_A.grad, atol=1e-5, rtol=1e-4)
        torch.testing.assert_close(b, layer.lora_B.grad, atol=1e-5, rtol=1e-4)
    assert step.evaluate(*batch) == pytest.approx(float(loss), abs=1e-6)


def test_every_epoch_has_every_pair_and_ranks_share_them() -> None:
    pairs = Pairs(documents(6), 32, 0, seed=1)
    whole = pairs.micro_batch(0, 4, Ranks())
    halves = [pairs.micro_batch(0, 4, Ranks(rank, 2)) for rank in (0, 1)]
    assert [len(half[0]) for half in halves] == [4, 4]
    counted = [(targets != -100).sum(1).tolist() for _, targets in (whole, *halves)]
    assert counted[0] == counted[1] + counted[2]


@pytest.mark.parametrize(
    "row",
    [
        {"prompt": "q", "chosen": "good", "rejected": "bad"},
        {"instruction": "q", "chosen": "good", "rejected": "bad"},
        {"prompt": [ASK], "chosen": [GOOD], "rejected": [BAD]},
        {"prompt": "q", "chosen": [ASK, GOOD], "rejected": [ASK, BAD]},
        {"conversations": [{"from": "human", "value": "q"}]}
        | {"chosen": {"from": "gpt", "value": "good"}, "rejected": {"from": "gpt", "value": "bad"}},
    ],
)
def test_rows_of_every_shape_are_read(row: dict[str, object]) -> None:
    chosen, rejected = read_pair(row)
    assert chosen.messages == (ASK, GOOD)
    assert rejected.messages == (ASK, BAD)


def test_input_and_history_stand_before_the_answers() -> None:
    row = {"instruction": "Sort.", "input": "3 1", "history": [["q", "good"]], "system": "S"}
    chosen, _ = read_pair(row | {"chosen": "1 3", "rejected": "3 1"})
    said = [message["content"] for message in chosen.messages]
    assert said == ["S", "q", "good", "Sort.\n3 1", "1 3"]


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ({"chosen": "a", "rejected": "b"}, "unknown-shape"),
        ({"prompt": "q", "chosen": "a", "rejected": "a"}, "equal-answers"),
        ({"chosen": [ASK, GOOD], "rejected": [ASK | {"content": "x"}, BAD]}, "two-questions"),
        ({"prompt": "q", "chosen": " ", "rejected": "b"}, "empty-answer"),
        (["q"], "not-an-object"),
    ],
)
def test_a_row_that_cannot_be_used_has_a_reason(row: object, reason: str) -> None:
    with pytest.raises(RowError, match=reason):
        read_pair(row)


def config(base_dir: Path, folder: Path, rows: list[object], **changes: object) -> DpoConfig:
    path = folder / "pairs.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    settings: dict[str, object] = {
        "files": (path,),
        "model": base_dir,
        "out_dir": folder / "preferred",
        "template": "coder-v1",
        "context": 255,
        "heldout_share": 0.3,
        "batch_size": 2,
        "max_steps": 8,
        "optimizer": OptimizerConfig(name="adamw", learning_rate=5e-3, eps=1e-8),
        "threads": 1,
        "compile": False,
        "device": "cpu",
        "precision": "fp32",
    }
    return DpoConfig(**(settings | changes))  # type: ignore[arg-type]


def test_it_begins_at_ln_2_and_held_out_pairs_gain(base_dir: Path, tmp_path: Path) -> None:
    rows: list[object] = [
        {"prompt": [{"role": "system", "content": "S\n"}, {"role": "user", "content": f"{i}?"}]}
        | {"chosen": [{"role": "assistant", "content": f"yes {i}"}]}
        | {"rejected": [{"role": "assistant", "content": f"no {i}"}]}
        for i in range(12)
    ]
    made = dpo(config(base_dir, tmp_path, [*rows, {"text": "x"}]))
    assert made.kind == "adapter"
    first = next(iter(read_json_lines(made.path / "metrics.jsonl")))
    assert first["loss"] == pytest.approx(math.log(2), abs=1e-6)
    assert made.counts["heldout_loss_before"] == pytest.approx(math.log(2), abs=1e-6)
    assert made.counts["heldout_loss"] < 0.6
    assert (made.path / "chat_template.jinja").is_file()


def test_what_it_cannot_do_is_one_line(base_dir: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="reference is the base with its adapter off"):
        config(base_dir, tmp_path, [], mode="full")
    with pytest.raises(SourceError, match="can be learnt"):
        dpo(config(base_dir, tmp_path, [{"text": "x"}]))
    pair: dict[str, object] = {"prompt": "q", "chosen": "a", "rejected": "b"}
    with pytest.raises(SourceError, match="all 1 pairs that stay are held out: lower"):
        dpo(config(base_dir, tmp_path, [pair], heldout_share=0.999999))
    with pytest.raises(ConfigError, match="is a folder; name the files"):
        config(base_dir, tmp_path, [], files=(tmp_path,))
