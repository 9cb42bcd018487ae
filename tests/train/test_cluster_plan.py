"""A plan's numbers by hand: memory by part, operations, time, and what cannot be."""

import inspect
import typing
from pathlib import Path

import pytest

from codling.core.errors import ConfigError
from codling.model.config import ModelConfig, MoEConfig
from codling.model.sizes import sizes
from codling.train.cluster_plan import PlanConfig, find_faults, known_gpus, plan, read_workload
from codling.train.layout import ParallelLayout, count_activations, count_memory
from codling.train.parallel.mesh import RankLayout

SHAPE = ModelConfig(
    vocab_size=1000, hidden_size=64, intermediate_size=128, n_layers=4, n_heads=4, max_position=64
)
MOE = ModelConfig(
    vocab_size=1000,
    hidden_size=64,
    intermediate_size=128,
    n_layers=4,
    n_heads=4,
    moe=MoEConfig(n_routed_experts=8, n_experts_per_token=2, moe_intermediate_size=32),
)


def test_one_gpu_holds_18_bytes_of_every_parameter() -> None:
    parts = count_memory(SHAPE, ParallelLayout(gpus=1), 64, 1)
    n = sizes(SHAPE).total
    assert (parts["weights"], parts["gradients"], parts["optimizer"]) == (2 * n, 4 * n, 12 * n)
    assert parts["logits"] == 6 * 1000 * 64


def test_a_token_leaves_its_states_and_products() -> None:
    # 4 states of 64; queries, keys, values and output of 64; gate, value and product of 128.
    assert count_activations(SHAPE) == 2 * (4 * 64 + 4 * 64 + 3 * 128)
    parts = count_memory(SHAPE, ParallelLayout(gpus=1, micro_batch=3), 64, 3)
    assert parts["activations"] == 3 * 64 * 4 * count_activations(SHAPE)
    again = count_memory(SHAPE, ParallelLayout(gpus=1, recompute=True), 64, 1)
    assert again["activations"] == 64 * (4 * 2 * 64 + count_activations(SHAPE))


def test_sharing_divides_what_is_held() -> None:
    one = count_memory(SHAPE, ParallelLayout(gpus=1), 64, 8)
    four = count_memory(SHAPE, ParallelLayout(gpus=4), 64, 8)
    assert four["optimizer"] == one["optimizer"] // 4
    assert four["gradients"] == one["gradients"] // 4
    moments_alone = count_memory(SHAPE, ParallelLayout(gpus=4, shard="optimizer"), 64, 8)
    assert moments_alone["weights"] == one["weights"]
    assert moments_alone["optimizer"] == one["optimizer"] // 4
    halves = count_memory(SHAPE, ParallelLayout(gpus=2, tensor=2), 64, 8)
    assert halves["activations"] == one["activations"] // 2
    assert halves["weights"] == one["weights"] // 2


def test_experts_are_spread_and_the_rest_is_not() -> None:
    assert sizes(MOE).routed == 3 * 8 * 3 * 64 * 32
    layout = {"gpus": 8, "shard": "none"}
    one = count_memory(MOE, ParallelLayout(**layout), 64, 8)  # type: ignore[arg-type]
    four = count_memory(MOE, ParallelLayout(**layout, expert=4), 64, 8)  # type: ignore[arg-type]
    assert one["weights"] - four["weights"] == 2 * sizes(MOE).routed * 3 // 4


def test_a_pipeline_keeps_as_many_micro_batches_as_it_has_stages() -> None:
    whole = count_memory(SHAPE, ParallelLayout(gpus=1), 64, 8)
    stage = count_memory(SHAPE, ParallelLayout(gpus=4, pipeline=4), 64, 8)
    assert stage["activations"] == whole["activations"]
    assert (
        count_memory(SHAPE, ParallelLayout(gpus=4, pipeline=4), 64, 2)["activations"]
        < (whole["activations"])
    )


def test_the_text_of_a_recipe_is_that_of_its_steps() -> None:
    work = read_workload(PlanConfig(model="1b"))
    assert work.n_tokens == 477_000 * 1024 * 4096
    assert sizes(work.shape).total == 1_346_471_936
    assert work.flops == pytest.approx(
        work.n_tokens * 6 * (sizes(work.shape).active + 24 * 16 * 128 * 2 * 2048)
    )
    assert read_workload(PlanConfig(model="1b", tokens=5e9, context=2048)).n_tokens == 5e9


def test_a_published_model_without_a_recipe_is_planned_with_20_tokens_a_parameter() -> None:
    work = read_workload(PlanConfig(model="coder-5.7bmqa"))
    assert work.n_tokens == 20 * sizes(work.shape).active
    assert work.n_windows * work.window == 4 << 20


def test_deepseek_v2_takes_the_published_hours_at_a_quarter_of_the_peak() -> None:
    """172.8 thousand hours of an H800 for 1T tokens (arXiv:2405.04434, section 3.2.3)."""
    work = read_workload(PlanConfig(model="v2", tokens=1e12))
    hours = work.flops / (989e12 * 3600)
    assert 0.2 < hours / 172_800 < 0.3


def test_what_does_not_fit_is_told_with_what_would() -> None:
    gpus = known_gpus()
    config = PlanConfig(model="coder-6.7b", gpu="RTX4090")
    assert find_faults(config, gpus["RTX4090"], read_workload(config)) == [
        "this does not fit; --recompute would"
    ]
    config = PlanConfig(model="v2", gpus=8)
    assert "no layout does" in find_faults(config, gpus["H100"], read_workload(config))[0]
    fitting = PlanConfig(model="1b")
    assert find_faults(fitting, gpus["H100"], read_workload(fitting)) == []


def test_slow_layouts_are_told() -> None:
    gpu = known_gpus()["H100"]
    idle = PlanConfig(model="1b", gpus=64, tensor=16, pipeline=4, batch=2)
    told = find_faults(idle, gpu, read_workload(idle))
    assert any("reaches beyond a node" in each for each in told)
    assert any("stands still 60% of the time" in each for each in told)
    many = PlanConfig(model="1b", gpus=4096)
    assert "without any" in find_faults(many, gpu, read_workload(many))[0]


@pytest.mark.parametrize(
    ("flags", "by_hand"),
    [
        (  # 8 GPUs share 33.343e9 parameters: 4.1679e9 each; 62 layers, of which two are gathered
            {"model": "33b", "gpus": 8},
            {
                "weights": 2 * 4.1679e9 + 2 * 2 * 0.53779e9,
                "gradients": 4 * 4.1679e9,
                "optimizer": 12 * 4.1679e9,
                # 4 states of 7168; 56 + 8 heads of 128, twice; 3 of 19200: 102,656 numbers
                "activations": 2 * 102_656 * 62 * 4096,
                "logits": 6 * 32_256 * 4096,
            },
        ),
        (  # a stage of 15 of 60 layers has 3.5169e9 parameters, over 16 copies, and 6.9599e9 of
            # experts, over the two that have the same: 3.6998e9 each
            {"model": "v2", "gpus": 64, "pipeline": 4, "expert": 8},
            {
                "weights": 2 * 3.6998e9 + 2 * 2 * (3.5169e9 + 6.9599e9) / 15,
                "gradients": 4 * 3.6998e9,
                "optimizer": 12 * 3.6998e9,
                # 4 states of 5120; latents of 4160, 128 heads of 320, twice; 8 experts of 3 x 1536,
                # and what 6 of them are given and give: 204,864 numbers; four batches on the way
                "activations": 2 * 204_864 * 15 * 4 * 4096,
                "logits": 6 * 102_400 * 4096,
            },
        ),
    ],
)
def test_two_published_models_need_what_a_hand_calculation_says(
    flags: dict[str, typing.Any], by_hand: dict[str, float]
) -> None:
    config = PlanConfig(**flags)
    work = read_workload(config)
    parts = count_memory(work.shape, config, work.window, work.n_windows)
    total = sum(by_hand.values())
    expected = by_hand | {"libraries and gaps": (2 << 30) + 0.05 * total}
    assert parts == pytest.approx(expected, rel=1e-3)


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ({"model": "1b", "gpu": "H1000"}, "no GPU H1000; choose one of A100"),
        ({"model": "nope"}, "published models are coder-1.3b"),
        ({"model": "sft"}, r"sft has no table \[pretrain\]"),
        ({"model": "1b", "tensor": 3, "gpus": 9}, "--tensor 3 does not divide 16 kv heads"),
        ({"model": "5.7b-mqa", "tensor": 2}, "--tensor 2 does not divide 1 kv heads"),
        ({"model": "v2", "tensor": 3, "gpus": 6}, "--tensor 3 does not divide 128 heads"),
        ({"model": "1b", "tensor": 16}, "8 GPUs cannot be laid out as 16 x 1 x 1"),
        ({"model": "1b", "pipeline": 32, "gpus": 32}, "--pipeline 32 is more than 24 layers"),
        ({"model": "lite-moe", "expert": 6}, "--expert 6 does not divide 64 experts"),
        ({"model": "lite-moe", "expert": 16}, "the 8 GPUs that are data parallel"),
        ({"model": "1b", "gpus": 3, "context_parallel": 3}, "cp=3 cuts a window into 6 equal"),
        ({"model": "1b", "gpu": "cpu", "tensor": 2}, "--tensor is for GPUs; with --gpu cpu leave"),
    ],
)
def test_a_mistake_is_one_line(flags: dict[str, typing.Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        plan(PlanConfig(**flags))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("pretrain = 3", r"\[pretrain\] must be a table of settings, not 3"),
        ("[[pretrain]]\nseed = 1", r"\[pretrain\] must be a table of settings, not \["),
        ("[pretrain]\n[tokenizer]\nvocab_size = 'x'", r"\[tokenizer\].vocab_size must be int"),
        ("pack = 1\n[pretrain]", r"\[pack\] must be a table"),
    ],
)
def test_a_recipe_of_wrong_types_is_one_line(tmp_path: Path, text: str, message: str) -> None:
    recipe = tmp_path / "r.toml"
    recipe.write_text(text)
    with pytest.raises(ConfigError, match=message):
        plan(PlanConfig(model=str(recipe)))


@pytest.mark.parametrize(
    ("shape", "degrees"),
    [
        (ModelConfig(n_heads=4, n_kv_heads=1), {"tensor": 2}),
        (ModelConfig(n_heads=4, qk_norm=True), {"tensor": 2}),
        (ModelConfig(n_heads=4, tie_embeddings=True), {"pipeline": 2}),
        (ModelConfig(n_heads=4, n_layers=4), {"pipeline": 8}),
    ],
)
def test_a_plan_refuses_what_a_run_refuses(shape: ModelConfig, degrees: dict[str, int]) -> None:
    run = RankLayout(tp=degrees.get("tensor", 1), pp=degrees.get("pipeline", 1))
    with pytest.raises(ConfigError):
        run.check(shape)
    with pytest.raises(ConfigError):
        ParallelLayout(gpus=8, **degrees).check(shape)  # type: ignore[arg-type]


def test_what_makes_no_step_is_told() -> None:
    gpu = known_gpus()["H100"]
    short = PlanConfig(model="tiny", tokens=10)
    assert "10 tokens are less than one step" in find_faults(short, gpu, read_workload(short))
    large = PlanConfig(model="tiny", gpus=2, micro_batch=5)
    (told,) = find_faults(large, gpu, read_workload(large))
    assert told == "a step has 4 windows for each data-parallel group, fewer than --micro-batch 5"


def test_a_plan_for_this_machine_follows_its_flags() -> None:
    one, eight = (plan(PlanConfig(model="tiny", gpu="cpu", batch=n)) for n in (1, 8))
    assert "1 windows of 512 tokens" in one
    assert memory_of(one) < memory_of(eight)
    again = plan(PlanConfig(model="tiny", gpu="cpu", recompute=True))
    assert memory_of(again) < memory_of(eight)


def memory_of(text: str) -> float:
    """GiB of the activations."""
    (line,) = (each for each in text.splitlines() if "activations" in each)
    return float(line.split()[1])


def test_the_page_names_memory_time_and_energy() -> None:
    text = plan(PlanConfig(model="33b", gpus=64))
    assert "33,342,991,360, of which a token meets 33,111,780,352" in text
    assert "191.4 days at 40% of 989 TFLOP/s" in text
    assert "205.8 MWh at 700 W a GPU" in text
    assert "Warning" not in text


def test_help_names_every_gpu_of_the_table() -> None:
    source = inspect.getsource(PlanConfig)
    assert all(name in source for name in known_gpus())
