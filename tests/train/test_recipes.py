"""The recipes say what the papers say."""

from dataclasses import replace
from pathlib import Path

import pytest

from codling.checkpoint.load import load_config
from codling.cli import main
from codling.core.artifact import open_artifact
from codling.core.files import read_json_lines
from codling.core.recipe import build, read_recipe
from codling.model.sizes import sizes
from codling.train.pretrain import PretrainConfig
from codling.train.schedule import micro_batches, rate_at

RECIPES = Path(__file__).resolve().parents[2] / "recipes"


def recipe(name: str) -> PretrainConfig:
    path = RECIPES / name
    return build(PretrainConfig, read_recipe(path)["pretrain"], str(path))


def call(*words: str) -> int:
    with pytest.raises(SystemExit) as stopped:
        main(list(words))
    assert isinstance(stopped.value.code, int)
    return stopped.value.code


PRETRAINING = [p for p in sorted(RECIPES.glob("*.toml")) if "pretrain" in read_recipe(p)]


@pytest.mark.parametrize("path", PRETRAINING, ids=lambda p: p.name)
def test_every_recipe_is_a_valid_config(path: Path) -> None:
    assert recipe(path.name).batch_size > 0


def test_the_1b_recipe_is_deepseek_coder_1_3b() -> None:
    config = recipe("1b.toml")
    rows = -(-32022 // config.vocab_multiple) * config.vocab_multiple
    assert rows == 32256
    per_row = 2 * config.model.hidden_size
    assert sizes(config.model).total + per_row * (rows - config.model.vocab_size) == 1_346_471_936
    assert rate_at(config.max_steps - 1, config.max_steps, config.schedule) == pytest.approx(0.1)


def test_the_lite_recipe_has_the_parameters_of_v2_lite() -> None:
    config = recipe("lite-moe.toml")
    rows = -(-100002 // config.vocab_multiple) * config.vocab_multiple
    assert rows == 102400
    per_row = 2 * config.model.hidden_size
    assert sizes(config.model).total + per_row * (rows - config.model.vocab_size) == 15_706_484_224


@pytest.mark.parametrize(
    ("name", "tokens"),
    [
        ("1b", 2e12),
        ("5.7b-mqa", 2e12),
        ("6.7b", 2e12),
        ("33b", 2e12),
        ("lite-moe", 5.7e12),
        ("v2", 8.1e12),
        ("coder-v2", 6e12),
        ("coder-v2-lite", 6e12),
    ],
)
def test_a_recipe_trains_on_as_many_tokens_as_the_paper_says(name: str, tokens: float) -> None:
    config = recipe(f"{name}.toml")
    windows = micro_batches(config.max_steps or 0, config).stop - config.accumulate
    assert windows * config.batch_size * 4096 == pytest.approx(tokens, rel=0.01)


def test_the_batch_of_v2_grows_from_2304_to_9216_over_225_billion_tokens() -> None:
    config = recipe("v2.toml")
    sizes_of = [len(micro_batches(step, config)) * config.batch_size for step in (0, 9753, 9754)]
    assert sizes_of == [2304, 8960, 9216]
    n_tokens = micro_batches(9754, config).start * config.batch_size * 4096
    assert n_tokens == pytest.approx(225e9, rel=0.001)
    experts = config.experts
    alphas = (experts.expert_alpha, experts.device_alpha, experts.communication_alpha)
    assert (*alphas, experts.capacity, experts.exempt_share) == (0.003, 0.05, 0.02, 1.0, 0.1)


def test_5_7b_mqa_has_the_published_parameters() -> None:
    config = recipe("5.7b-mqa.toml")
    assert sizes(replace(config.model, vocab_size=32256)).total == 5_700_325_376


TINY = "--model.hidden-size 32 --model.intermediate-size 64 --model.n-layers 2 --model.n-heads 2 "
TINY += "--max-steps 3 --batch-size 4 --threads 1 --device cpu --no-compile --vocab-multiple 64 "
TINY += "--n-heldout-evals 0"
LATENT = " --model.mla.kv-lora-rank 16 --model.mla.qk-nope-head-dim 8 --model.mla.v-head-dim 8"
LATENT += " --model.mla.qk-rope-head-dim 8 --model.moe.n-routed-experts 16"
LATENT += " --model.moe.moe-intermediate-size 16"
SHORT = "--max-steps 2 --batch-size 2 --threads 1 --no-compile --device cpu --n-heldout-evals 0"
GROWING = " --accumulate 2 --accumulate-from 1 --ramp-steps 2"


@pytest.mark.slow
@pytest.mark.parametrize("path", PRETRAINING, ids=lambda p: p.name)
def test_every_recipe_runs_at_any_size_by_flags(
    path: Path, tokens_dir: Path, tokenizer_dir: Path, tmp_path: Path
) -> None:
    stated = read_recipe(path)["pretrain"]
    flags = [*TINY.split(), "--tokens-dir", str(tokens_dir), "--tokenizer-dir", str(tokenizer_dir)]
    if "moe" in stated["model"]:
        heads = (
            LATENT
            if stated["model"]["mla"].get("q_lora_rank") is None
            else (LATENT + " --model.mla.q-lora-rank 16")
        )
        flags += heads.split()
    else:
        kv_heads = min(2, stated["model"].get("n_kv_heads", 2))
        flags += ["--model.n-kv-heads", str(kv_heads)]
        flags += ["--model.head-dim", "16"] if "head_dim" in stated["model"] else []
    if stated.get("accumulate", 1) > 1:
        flags += (GROWING if "ramp_steps" in stated else " --accumulate 2").split()
    out = tmp_path / "checkpoint"
    assert call("pretrain", "--recipe", str(path), *flags, "--out-dir", str(out)) == 0
    made = open_artifact(out, "checkpoint")
    assert made.counts["n_steps"] == 3
    assert made.counts["n_skipped"] == 0
    if "extend" in read_recipe(path):
        long = tmp_path / "extended"
        words = ["--checkpoint-dir", str(out), "--tokens-dir", str(tokens_dir), "--context", "128"]
        words += [*SHORT.split(), "--out-dir", str(long)]
        assert call("extend", "--recipe", str(path), *words) == 0
        assert open_artifact(long, "checkpoint").counts["n_steps"] == 2


@pytest.mark.slow
def test_training_goes_on_from_a_checkpoint_with_its_own_shape(
    tokens_dir: Path, tokenizer_dir: Path, tmp_path: Path
) -> None:
    flags = [*TINY.split(), "--tokens-dir", str(tokens_dir), "--tokenizer-dir", str(tokenizer_dir)]
    first, second = tmp_path / "first", tmp_path / "second"
    longer = " ".join(flags).replace("--max-steps 3", "--max-steps 40").split()
    assert call("pretrain", *longer, "--out-dir", str(first)) == 0
    words = [*flags, "--start-from", str(first), "--out-dir", str(second)]
    assert call("pretrain", "--recipe", str(RECIPES / "coder-v2.toml"), *words) == 0
    before, after = (open_artifact(path, "checkpoint") for path in (first, second))
    assert load_config(second) == load_config(first)
    rows = [list(read_json_lines(a.path / "metrics.jsonl")) for a in (before, after)]
    assert rows[1][0]["loss"] < rows[0][0]["loss"] - 0.5
    assert [entry.kind for entry in after.manifest.inputs] == ["tokens", "tokenizer", "checkpoint"]
