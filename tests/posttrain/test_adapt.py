"""The stage adapt: what it learns, keeps, resumes and refuses; merge and use of what it makes."""

import hashlib
import json
import os
import pickle
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from codling.checkpoint.load import load_model
from codling.checkpoint.store import save_hf
from codling.core.errors import CheckpointError, ConfigError
from codling.core.files import read_json_lines
from codling.engine.request import SamplingParams
from codling.engine.text import TextEngine
from codling.model.transformer import Transformer
from codling.posttrain.adapt import AdaptConfig, adapt
from codling.posttrain.merge import MergeConfig, merge
from codling.posttrain.plan import check_memory, plan
from codling.tokens.pack import PackConfig, pack
from codling.train.config import OptimizerConfig
from posttrain.tiny_base import SHAPE

Config = Callable[..., AdaptConfig]
TOKENS = torch.arange(40).reshape(1, 40)
FAST = OptimizerConfig(name="adamw", learning_rate=1e-2, eps=1e-8)


@torch.no_grad()
def logits(model: Transformer) -> torch.Tensor:
    return model.logits(model(TOKENS))


def digests(folder: Path) -> dict[str, str]:
    entries = json.loads((folder / "manifest.json").read_text())["files"]
    return {e["name"]: e["sha256"] for e in entries if e["name"] != "metrics.jsonl"}


def losses(folder: Path) -> list[float]:
    return [row["loss"] for row in read_json_lines(folder / "metrics.jsonl")]


@pytest.mark.long
def test_lora_learns_and_makes_an_adapter_alone(adapt_config: Config, base_dir: Path) -> None:
    made = adapt(adapt_config(max_steps=30, optimizer=FAST))
    assert made.kind == "adapter"
    assert made.counts["validation_bits"] < made.counts["validation_bits_before"]
    names = sorted(f.name for f in made.manifest.files)
    assert names == ["adapter_config.json", "adapter_model.safetensors", "metrics.jsonl"]
    tensors = load_file(made.path / "adapter_model.safetensors")
    assert sum(t.numel() for t in tensors.values()) == made.counts["trained"]
    assert made.counts["parameters"] == sum(p.numel() for p in load_model(base_dir).parameters())


def test_full_weights_make_a_checkpoint(adapt_config: Config, base_dir: Path) -> None:
    made = adapt(adapt_config(mode="full", full_rate_share=1.0, optimizer=FAST))
    assert made.kind == "checkpoint"
    assert made.counts["validation_bits"] < made.counts["validation_bits_before"]
    assert not torch.equal(logits(load_model(made.path)), logits(load_model(base_dir)))


def test_full_weights_learn_at_a_tenth_of_the_rate(adapt_config: Config) -> None:
    config = adapt_config(optimizer=FAST)
    assert config.loop().optimizer.learning_rate == pytest.approx(1e-2)
    assert replace(config, mode="full").loop().optimizer.learning_rate == pytest.approx(1e-3)


@pytest.mark.long
def test_an_adapter_at_load_time_equals_the_merged_checkpoint(
    adapt_config: Config, base_dir: Path, tmp_path: Path
) -> None:
    transformers = pytest.importorskip("transformers")
    made = adapt(adapt_config(optimizer=FAST))
    config = MergeConfig(model=base_dir, adapter=made.path, out_dir=tmp_path / "merged")
    merged = merge(config)
    unmerged = load_model(base_dir, adapter=made.path)
    assert not torch.equal(logits(unmerged), logits(load_model(base_dir)))
    # The checkpoint is stored in bf16.
    rounded = Transformer(unmerged.config)
    rounded.load_state_dict({n: t.bfloat16().float() for n, t in unmerged.state_dict().items()})
    torch.testing.assert_close(logits(load_model(merged.path)), logits(rounded), rtol=0, atol=0)
    theirs = transformers.AutoModelForCausalLM.from_pretrained(merged.path, dtype=torch.float32)
    with torch.no_grad():
        torch.testing.assert_close(
            theirs(TOKENS).logits, logits(load_model(merged.path)), rtol=0, atol=1e-4
        )
    tokenizer = transformers.AutoTokenizer.from_pretrained(merged.path)
    assert tokenizer.decode(tokenizer("def f(x):")["input_ids"]).endswith("def f(x):")


@pytest.mark.long
def test_the_engine_answers_with_the_adapter(adapt_config: Config, base_dir: Path) -> None:
    made = adapt(adapt_config(max_steps=30, optimizer=FAST))
    asked, params = ["def "], SamplingParams(max_tokens=8)
    texts = []
    for adapter in (None, made.path):
        with TextEngine.open(base_dir, adapter=adapter, precision="float32") as engine:
            texts.append(engine.complete(asked, params)[0].text)
    assert texts[0] != texts[1]


def test_an_adapter_is_refused_beside_other_weights_of_the_same_shape(
    adapt_config: Config, base_dir: Path, tmp_path: Path
) -> None:
    made = adapt(adapt_config(max_steps=1))
    save_hf(Transformer(SHAPE, torch.Generator().manual_seed(4)), SHAPE, tmp_path / "other")
    with pytest.raises(CheckpointError, match=r"was made for .*whose weights are not those of"):
        load_model(tmp_path / "other", adapter=made.path)
    moved = base_dir.rename(tmp_path / "moved")
    load_model(moved, adapter=made.path)
    moved.rename(base_dir)


def test_tokens_of_another_tokenizer_or_order_are_one_line(
    adapt_config: Config, base_dir: Path, samples: Any, tmp_path: Path
) -> None:
    config = PackConfig(
        samples_dir=samples.path, tokenizer_dir=base_dir, out_dir=tmp_path / "spm", context=64
    )
    spm = pack(config).path
    with pytest.raises(ConfigError, match="pack with --fim-spm-share 0"):
        adapt(adapt_config(tokens_dir=spm))
    meta = json.loads((spm / "meta.json").read_text())
    text = json.dumps(meta | {"vocab_size": 399})
    (spm / "meta.json").write_text(text + " " * ((spm / "meta.json").stat().st_size - len(text)))
    with pytest.raises(ConfigError, match="made with a vocabulary of 399"):
        adapt(adapt_config(tokens_dir=spm))


@pytest.mark.long
def test_replayed_windows_take_their_share_of_the_rows(
    adapt_config: Config, tokens_dir: Path
) -> None:
    plain = adapt(adapt_config())
    other = adapt(adapt_config(replay_dir=tokens_dir, out_dir=plain.path.with_name("replayed")))
    assert losses(plain.path) != losses(other.path)
    assert other.id != plain.id


RUN = """
import pickle, sys
from codling.posttrain.adapt import adapt
adapt(pickle.load(sys.stdin.buffer))
"""


@pytest.mark.long
@pytest.mark.parametrize(
    ("number", "mode"),
    [
        pytest.param(signal.SIGKILL, "lora", id="kill-lora"),
        pytest.param(signal.SIGTERM, "full", id="term-full", marks=pytest.mark.slow),
        pytest.param(signal.SIGTERM, "lora", id="term-lora", marks=pytest.mark.slow),
        pytest.param(signal.SIGKILL, "full", id="kill-full", marks=pytest.mark.slow),
    ],
)
def test_a_killed_run_ends_bit_for_bit_like_a_calm_one(
    adapt_config: Config, tmp_path: Path, mode: str, number: signal.Signals
) -> None:
    config = adapt_config(mode=mode, max_steps=40, save_seconds=0.0, optimizer=FAST)
    calm = adapt(replace(config, out_dir=tmp_path / "calm"))
    process = subprocess.Popen(
        [sys.executable, "-c", RUN], stdin=subprocess.PIPE, stderr=subprocess.DEVNULL
    )
    assert process.stdin is not None
    process.stdin.write(pickle.dumps(config))
    process.stdin.close()
    metrics = tmp_path / "out.partial" / "metrics.jsonl"
    while process.poll() is None and not (metrics.exists() and len(metrics.read_bytes()) > 2000):
        time.sleep(0.005)
    os.kill(process.pid, number)
    process.wait()
    assert not (tmp_path / "out").exists()
    resumed = adapt(config)
    assert losses(resumed.path) == losses(calm.path)
    assert digests(resumed.path) == digests(calm.path)
    assert resumed.counts["best_step"] == calm.counts["best_step"]


def test_the_plan_counts_what_is_trained(adapt_config: Config) -> None:
    small, large = (plan(SHAPE, adapt_config(rank=r), 64) for r in (4, 8))
    assert large.n_trained == 2 * small.n_trained
    assert plan(SHAPE, adapt_config(mode="full"), 64).n_trained == small.n_parameters
    assert "parameters are trained" in str(small)


@pytest.mark.parametrize(
    ("changes", "gib", "message"),
    [
        ({"batch_size": 64}, 24.0, "--recompute would fit"),
        ({"batch_size": 64, "recompute": True}, 0.9, "--batch-size"),
        ({"batch_size": 1}, 0.5, "--context 512 would fit"),
        ({"batch_size": 1}, 0.2, "a base of about 0M parameters would fit"),
    ],
)
def test_a_base_too_large_is_one_line_with_what_would_fit(
    adapt_config: Config, changes: dict[str, Any], gib: float, message: str
) -> None:
    config = adapt_config(**changes)
    with pytest.raises(ConfigError, match="GiB are free") as caught:
        check_memory(replace(SHAPE, n_layers=8), config, 2048, int(gib * 2**30))
    assert message in str(caught.value), str(caught.value)


def test_the_same_settings_are_done_already(adapt_config: Config) -> None:
    first = adapt(adapt_config())
    bytes_of = hashlib.sha256((first.path / "adapter_model.safetensors").read_bytes()).hexdigest()
    again = adapt(adapt_config())
    assert again.id == first.id
    assert digests(again.path)["adapter_model.safetensors"] == bytes_of


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")
def test_compiled_it_learns_what_it_learns_uncompiled(adapt_config: Config, tmp_path: Path) -> None:
    plain = adapt(adapt_config(precision="fp32", optimizer=FAST))
    compiled = adapt(
        adapt_config(precision="fp32", optimizer=FAST, compile=True, out_dir=tmp_path / "compiled")
    )
    assert losses(compiled.path) == pytest.approx(losses(plain.path), rel=1e-3)
    assert compiled.counts["validation_bits"] < compiled.counts["validation_bits_before"]
