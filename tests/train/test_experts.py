"""Experts in training: what is dropped and when, idle experts, biases, what the metrics tell."""

from pathlib import Path
from typing import Any

import pytest
import torch

from codling.checkpoint.load import load_model
from codling.checkpoint.store import TokenIds, save_hf
from codling.core.artifact import read_own
from codling.core.errors import ConfigError
from codling.core.files import read_json_lines
from codling.model.config import MLAConfig, ModelConfig, MoEConfig
from codling.model.moe import MoE, Router, route
from codling.model.ops.experts import apply_experts_plain, apply_experts_sorted
from codling.model.sizes import sizes
from codling.model.transformer import Transformer
from codling.train.config import ExpertsConfig, LoopConfig, OptimizerConfig
from codling.train.experts import choose_exempt
from codling.train.optim.flat import FlatWeights
from codling.train.optim.flat_optimizer import FlatOptimizer
from codling.train.step import EXPERT_LOAD, LossStep
from codling.train.summary import METRICS
from codling.train.trainer import Trainer


def shape(**changes: Any) -> ModelConfig:
    settings: dict[str, Any] = {
        "n_routed_experts": 8,
        "n_experts_per_token": 2,
        "moe_intermediate_size": 16,
    }
    settings |= {"n_group": 4, "topk_group": 2, "topk_method": "group_limited_greedy"}
    return ModelConfig(
        vocab_size=64,
        hidden_size=32,
        intermediate_size=64,
        n_layers=3,
        n_heads=2,
        max_position=32,
        mla=MLAConfig(kv_lora_rank=16, qk_nope_head_dim=8, qk_rope_head_dim=8, v_head_dim=8),
        moe=MoEConfig(**(settings | changes)),
    )


def model(**changes: Any) -> Transformer:
    return Transformer(shape(**changes), torch.Generator().manual_seed(0))


def gates(made: Transformer) -> list[Router]:
    return [block.mlp.gate for block in made.layers if isinstance(block.mlp, MoE)]


def biases(made: Transformer) -> list[torch.Tensor]:
    return [gate.get_parameter("e_score_correction_bias") for gate in gates(made)]


def batch(number: int) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(number)
    tokens = (torch.randint(0, 64, (4, 1), generator=generator) + torch.arange(17)) % 64
    return tokens[:, :-1].contiguous(), tokens[:, 1:].contiguous()


def train(folder: Path, batches: Any = batch, **changes: Any) -> Trainer:
    experts, moe = changes.pop("experts", ExpertsConfig()), changes.pop("moe", {})
    favour = changes.pop("favour", 0.0)
    settings: dict[str, Any] = {"max_steps": 6, "compile": False, "threads": 1, "device": "cpu"}
    folder.mkdir(exist_ok=True)
    config = LoopConfig(**(settings | {"precision": "fp32"} | changes))
    made = Trainer(model(**moe), batches, config, folder, experts=experts)
    for bias in biases(made.model) if favour else ():
        bias[0] = favour
    made.run()
    return made


def rows(folder: Path) -> list[dict[str, Any]]:
    return list(read_json_lines(folder / METRICS))


def test_what_is_dropped_is_as_if_it_had_not_been_chosen() -> None:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(20, 16, generator=generator)
    routing = route(
        torch.randn(20, 6, generator=generator).softmax(-1),
        MoEConfig(n_routed_experts=6, n_experts_per_token=2),
    )
    kept = torch.rand(20, 2, generator=generator) < 0.7
    gate_up = torch.randn(6, 20, 16, generator=generator) / 4
    matrices = [gate_up, torch.randn(6, 16, 10, generator=generator) / 4]
    gradients = []
    ways: list[tuple[Any, torch.Tensor, torch.Tensor | None]] = [
        (apply_experts_sorted, routing.weights_TK, kept),
        (apply_experts_plain, routing.weights_TK, kept),
        (apply_experts_plain, routing.weights_TK * kept, None),
    ]
    for run, weights, mask in ways:
        leaves = [t.clone().requires_grad_() for t in (x, *matrices)]
        out = run(leaves[0], routing.experts_TK, weights, *leaves[1:], mask)
        out.square().sum().backward()
        gradients.append([out, *(leaf.grad for leaf in leaves)])
    for found in gradients[:2]:
        torch.testing.assert_close(found, gradients[2], rtol=1e-4, atol=1e-4)


def test_training_drops_and_evaluation_does_not() -> None:
    inputs, targets = batch(0)
    tight = ExpertsConfig(capacity=0.25, exempt_share=0.0)
    dropping, whole = (
        LossStep(model(), compiled=False, experts=e) for e in (tight, ExpertsConfig())
    )
    assert dropping.loss(inputs, targets) != whole.loss(inputs, targets)
    assert dropping.evaluate(inputs, targets) == whole.evaluate(inputs, targets)


def test_exempt_sequences_are_computed_as_if_nothing_were_dropped() -> None:
    inputs, targets = batch(0)
    share = ExpertsConfig(capacity=0.25, exempt_share=1.0)
    exempt, whole = (LossStep(model(), compiled=False, experts=e) for e in (share, ExpertsConfig()))
    torch.testing.assert_close(exempt.loss(inputs, targets), whole.loss(inputs, targets))


def test_a_tenth_of_the_sequences_is_exempt_wherever_they_stand() -> None:
    tokens = torch.randint(0, 1000, (4000, 32), generator=torch.Generator().manual_seed(0))
    exempt = choose_exempt(tokens, 0.1)
    assert 0.08 < exempt.float().mean() < 0.12
    assert torch.equal(choose_exempt(tokens.flip(0), 0.1), exempt.flip(0))


@pytest.mark.parametrize("capacity", [0.0, 1.0])
def test_an_expert_without_tokens_has_zero_gradients_and_never_none(capacity: float) -> None:
    made = model(topk_method="greedy", n_group=2)
    experts = ExpertsConfig(capacity=capacity)
    with torch.no_grad():
        for gate in gates(made):
            # Nearly equal affinities: some experts are nobody's choice.
            gate.weight.zero_()
            gate.weight[3:] = 1e-9
    optimizer = FlatOptimizer(FlatWeights(made, torch.float32), OptimizerConfig(name="adamw"))
    LossStep(made, compiled=False, experts=experts).loss(*batch(0)).backward()
    idle = 0
    for name, parameter in made.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
        if ".experts." in name:
            idle += int((parameter.grad.flatten(1) == 0).all(1).sum())
    assert idle > 0
    before = optimizer.weights()["master"].clone()
    optimizer.add_gradients(first=True)
    assert torch.isfinite(optimizer.step(1.0))
    assert not torch.equal(before, optimizer.weights()["master"])


def test_the_metrics_tell_load_and_drops_and_the_loss_is_the_cross_entropy_alone(
    tmp_path: Path,
) -> None:
    strong = ExpertsConfig(
        expert_alpha=0.3, device_alpha=0.3, communication_alpha=0.3, capacity=0.5
    )
    plain = ExpertsConfig(expert_alpha=0.0)
    for name, experts in (("strong", strong), ("plain", plain)):
        train(tmp_path / name, experts=experts)
    first = rows(tmp_path / "strong")[0]
    assert first["loss"] == pytest.approx(rows(tmp_path / "plain")[0]["loss"], abs=0.05)
    assert first["balance_loss"] == pytest.approx(3 * 0.3 * 2, rel=0.2)
    assert 0.3 < first["dropped"] < 0.6
    assert 1 <= first["expert_load"] <= 8
    assert first["idle_experts"] >= 0
    assert "dropped" not in rows(tmp_path / "plain")[0]
    load = read_own(tmp_path / "strong" / EXPERT_LOAD)["load"]
    assert [len(layer) for layer in load] == [8, 8]
    assert [sum(layer) / 8 for layer in load] == pytest.approx([1, 1], abs=1e-3)


def test_a_bias_draws_tokens_to_experts_that_have_few() -> None:
    scores = torch.tensor([[0.5, 0.4, 0.1]])
    moe = MoEConfig(n_routed_experts=3, n_experts_per_token=1, selection_bias=True)
    routing = route(scores, moe, torch.tensor([-0.3, 0.0, 0.35]))
    assert routing.experts_TK.tolist() == [[2]]
    assert routing.weights_TK.tolist() == [[pytest.approx(0.1)]]  # the affinity, without the bias


def test_biases_move_against_the_load_and_even_it_out(tmp_path: Path) -> None:
    experts = ExpertsConfig(expert_alpha=0.0, bias_step=0.002)
    moe = {"selection_bias": True, "topk_method": "greedy"}
    optimizer = OptimizerConfig(learning_rate=1e-4, muon_learning_rate=1e-4)
    made = train(
        tmp_path / "run",
        experts=experts,
        moe=moe,
        optimizer=optimizer,
        max_steps=30,
        favour=0.03,
        batch_size=4,
    )
    loads = [row["expert_load"] for row in rows(tmp_path / "run")]
    assert loads[0] > 3  # expert 0 is nearly everyone's first choice
    assert max(loads[-5:]) < 2.5
    bias = biases(made.model)[0]
    assert bias.dtype == torch.float32
    assert bias[0] < 0.03


def test_a_run_with_biases_resumes_bit_for_bit(tmp_path: Path) -> None:
    def torn(number: int) -> Any:
        if number == 4:
            raise MemoryError
        return batch(number)

    settings: dict[str, Any] = {
        "experts": ExpertsConfig(bias_step=0.01, capacity=1.0),
        "moe": {"selection_bias": True},
    }
    calm = train(tmp_path / "calm", **settings)
    with pytest.raises(MemoryError):
        train(tmp_path / "torn", torn, save_seconds=0.0, **settings)
    resumed = train(tmp_path / "torn", **settings)
    assert [r["loss"] for r in rows(tmp_path / "torn")] == [
        r["loss"] for r in rows(tmp_path / "calm")
    ]
    for mine, theirs in zip(resumed.model.parameters(), calm.model.parameters(), strict=True):
        assert torch.equal(mine, theirs)
    loads = [read_own(tmp_path / name / EXPERT_LOAD)["load"] for name in ("calm", "torn")]
    assert loads[0] == loads[1]


def test_biases_are_part_of_the_checkpoint(tmp_path: Path) -> None:
    made = model(selection_bias=True)
    assert sizes(made.config).total == made.n_parameters()
    bias = biases(made)[0]
    bias.data.copy_(torch.arange(8) / 64)
    save_hf(made, made.config, tmp_path, dtype=torch.bfloat16, ids=TokenIds(bos=0, eos=1, pad=1))
    loaded = load_model(tmp_path)
    assert loaded.config.moe == made.config.moe
    found = biases(loaded)[0]
    assert torch.equal(found, bias)
    assert not found.requires_grad


@pytest.mark.parametrize(
    ("experts", "message"),
    [
        (ExpertsConfig(n_devices=3), "8 experts do not divide among 3 devices"),
        (ExpertsConfig(bias_step=0.1), "set model.moe.selection_bias = true"),
    ],
)
def test_settings_that_do_not_fit_the_experts_are_refused(
    experts: ExpertsConfig, message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        LossStep(model(), compiled=False, experts=experts)


@pytest.mark.parametrize(
    ("changes", "message"),
    [({"topk_group": 5}, "5 of 4 groups"), ({"n_experts_per_token": 5}, "reaches 4")],
)
def test_groups_that_cannot_hold_the_choice_are_refused(
    changes: dict[str, int], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        shape(**changes)
