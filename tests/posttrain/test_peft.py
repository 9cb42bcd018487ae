"""Adapters to and from peft (extra `finetune`): the same logits, both ways."""

from pathlib import Path
from typing import Any

import pytest
import torch

from codling.checkpoint.adapter import load_adapter, merge, save_adapter
from codling.checkpoint.store import save_hf
from codling.core.errors import CheckpointError
from codling.model.config import ModelConfig
from codling.posttrain.lora import matrices
from posttrain.test_lora import DENSE, QWEN, TOKENS, V2, logits, make, trained

transformers = pytest.importorskip("transformers")
peft = pytest.importorskip("peft", reason="peft is not installed (extra finetune)")
SHAPES = [pytest.param(s, id=i) for s, i in ((DENSE, "llama"), (QWEN, "qwen2"), (V2, "v2"))]
pytestmark = pytest.mark.filterwarnings("ignore")


def published(config: ModelConfig, folder: Path) -> Any:
    """The plain model as transformers loads it."""
    save_hf(make(config), config, folder)
    return transformers.AutoModelForCausalLM.from_pretrained(folder).eval()


@pytest.mark.parametrize("config", SHAPES)
def test_peft_loads_our_adapters(config: ModelConfig, tmp_path: Path) -> None:
    ours = trained(config)
    save_adapter(matrices(ours), tmp_path / "a", rank=4, alpha=8.0, base_name="x")
    theirs = peft.PeftModel.from_pretrained(published(config, tmp_path / "m"), tmp_path / "a")
    with torch.no_grad():
        torch.testing.assert_close(theirs(TOKENS).logits, logits(ours), rtol=0, atol=1e-4)


@pytest.mark.parametrize("config", SHAPES[:2])
@pytest.mark.parametrize(
    "settings",
    [
        {"target_modules": ["o_proj", "down_proj"]},
        {"target_modules": "all-linear"},
        {"target_modules": r".*\.layers\.\d\.self_attn\.o_proj"},
        {"target_modules": ["o_proj"], "use_rslora": True},
        {
            "target_modules": ["o_proj", "down_proj"],
            "rank_pattern": {"o_proj": 2, r"layers\.1\..*down_proj": 5},
            "alpha_pattern": {"layers.0.self_attn.o_proj": 32},
        },
    ],
    ids=["suffixes", "all-linear", "pattern", "rslora", "patterns"],
)
def test_we_load_adapters_of_peft(
    config: ModelConfig, settings: dict[str, Any], tmp_path: Path
) -> None:
    lora = peft.LoraConfig(task_type="CAUSAL_LM", r=3, lora_alpha=12, **settings)
    theirs = peft.get_peft_model(published(config, tmp_path / "m"), lora).eval()
    torch.manual_seed(0)
    for name, parameter in theirs.named_parameters():
        if "lora_B" in name:
            parameter.data.normal_(0, 0.1)
    theirs.save_pretrained(tmp_path / "a")
    ours = make(config)
    merge(ours, load_adapter(tmp_path / "a"))
    assert not torch.equal(logits(ours), logits(make(config)))
    with torch.no_grad():
        torch.testing.assert_close(theirs(TOKENS).logits, logits(ours), rtol=0, atol=1e-4)


def test_we_load_adapters_of_latent_attention_and_refuse_those_of_stacked_experts(
    tmp_path: Path,
) -> None:
    for name, targets in (("a", ["kv_b_proj", "q_a_proj"]), ("b", ["o_proj", "down_proj"])):
        lora = peft.LoraConfig(task_type="CAUSAL_LM", r=3, target_modules=targets)
        theirs = peft.get_peft_model(published(V2, tmp_path / "m"), lora).eval()
        torch.manual_seed(0)
        for parameter_name, parameter in theirs.named_parameters():
            if "lora_B" in parameter_name:
                parameter.data.normal_(0, 0.1)
        theirs.save_pretrained(tmp_path / name)
        if name == "a":
            ours = make(V2)
            merge(ours, load_adapter(tmp_path / "a"))
            with torch.no_grad():
                torch.testing.assert_close(theirs(TOKENS).logits, logits(ours), rtol=0, atol=1e-4)
    with pytest.raises(CheckpointError, match="parameters that are not modules"):
        load_adapter(tmp_path / "b")
