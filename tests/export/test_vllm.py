"""vLLM loads the exported folders: the same greedy tokens from plain ones, and from quantised ones
log-probabilities near those of our loader's model.

Needs an environment with vLLM (vllm_python.py).
"""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from codling.checkpoint.load import load_model
from codling.engine.request import SamplingParams
from codling.engine.text import TextEngine
from codling.export.export import ExportConfig, export
from codling.model.config import MLAConfig, ModelConfig
from export.exported import LATENT, LLAMA, QWEN2, QWEN3, save
from vllm_python import run_with_vllm, vllm_python

pytestmark = pytest.mark.slow


def widen(shape: ModelConfig) -> ModelConfig:
    """The shape with heads of 32 numbers: vLLM's attention for CPUs has no smaller ones."""
    return replace(shape, hidden_size=128, intermediate_size=256, n_heads=4, init_std=0.08)


PUBLISHED_LATENT = MLAConfig(
    kv_lora_rank=512, q_lora_rank=64, qk_nope_head_dim=32, qk_rope_head_dim=64, v_head_dim=32
)
"""Of DeepSeek-V2's width, q_lora_rank + 576 in steps of 32: what vLLM's kernels for CPUs know."""
SHAPES = {
    "llama": widen(LLAMA),
    "qwen2": widen(QWEN2),
    "qwen3": widen(QWEN3),
    "deepseek2": replace(widen(LATENT), mla=PUBLISHED_LATENT, n_kv_heads=None),
}
FORMATS = ("w4a16", "w8a8", "fp8")
PROMPTS = [[int(i) for i in torch.arange(8 + n) * (n + 3) % 320] for n in range(10)]
N_NEW = 64
_GREEDY = """
from vllm import LLM, SamplingParams
llm = LLM(model={model!r}, dtype="float32", enforce_eager=True, max_model_len=128)
params = SamplingParams(temperature=0, max_tokens={n_new}, ignore_eos=True, detokenize=False)
done = llm.generate([dict(prompt_token_ids=ids) for ids in {prompts!r}], params, use_tqdm=False)
send([list(each.outputs[0].token_ids) for each in done])
"""
_SCORES = """
from vllm import LLM, SamplingParams
params = SamplingParams(temperature=0, max_tokens=1, prompt_logprobs=0, detokenize=False)
found = {{}}
for name, model in {models!r}.items():
    llm = LLM(model=model, dtype="bfloat16", enforce_eager=True, max_model_len=128)
    ids = {prompt!r}
    (done,) = llm.generate([dict(prompt_token_ids=ids)], params, use_tqdm=False)
    rows = done.prompt_logprobs[1:]
    found[name] = [row[i].logprob for row, i in zip(rows, ids[1:])]
    del llm
send(found)
"""


@pytest.mark.parametrize("kind", SHAPES)
def test_plain_folders_say_the_same(tmp_path: Path, kind: str) -> None:
    vllm_python()
    made = export_tiny(tmp_path, SHAPES[kind], "hf", "f32")
    with TextEngine.open(made, max_length=128, precision="float32") as engine:
        settings = SamplingParams(max_tokens=N_NEW, ignore_eos=True)
        streams = [engine.submit(prompt, settings) for prompt in PROMPTS]
        wanted = [list(stream.result().token_ids) for stream in streams]
    code = _GREEDY.format(model=str(made), n_new=N_NEW, prompts=PROMPTS)
    assert run_with_vllm(code) == wanted


@pytest.mark.parametrize("kind", SHAPES)
def test_quantised_folders_give_near_log_probabilities(tmp_path: Path, kind: str) -> None:
    vllm_python()
    # Without experts: vLLM has no kernel for CPUs that multiplies those of 4 bits.
    shape = replace(SHAPES[kind], moe=None)
    made = {name: export_tiny(tmp_path, shape, name) for name in FORMATS}
    prompt = [int(i) for i in torch.arange(60) * 5 % 320]
    models = {name: str(path) for name, path in made.items()}
    found = run_with_vllm(_SCORES.format(models=models, prompt=prompt))
    # Of bf16 and, in the latter two, of activations that our loader does not round.
    for name, most in (("w4a16", 0.02), ("w8a8", 0.1), ("fp8", 0.2)):
        wanted = our_scores(made[name], prompt)
        assert (torch.tensor(found[name]) - wanted).abs().mean() < most, name


def our_scores(folder: Path, prompt: list[int]) -> torch.Tensor:
    """The log-probability of each token but the first."""
    model, ids = load_model(folder, dtype=torch.float32), torch.tensor([prompt])
    with torch.no_grad():
        every = model.logits(model(ids))[0].log_softmax(-1)
    return every[:-1].gather(1, ids[0, 1:, None])[:, 0]


def export_tiny(folder: Path, shape: ModelConfig, name: Any, stored: Any = None) -> Path:
    """The path of the exported random model."""
    if not (folder / "m").exists():
        save(folder / "m", shape)
    return export(
        ExportConfig(model=folder / "m", format=name, type=stored, out_dir=folder / name)
    ).path
