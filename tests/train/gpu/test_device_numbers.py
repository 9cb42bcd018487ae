"""Every architecture on the device: loss, gradients, a step of training and decoding as on the CPU.

The reference is the CPU in fp32, eager. On a GPU: `pytest -m gpu`. Here the same functions compare
the CPU in bf16, so that what runs on the GPU has been run.
"""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from codling.core.files import read_json_lines
from codling.engine.engine import Engine
from codling.engine.request import SamplingParams
from codling.engine.runner import Runner
from codling.engine.sequence import Sequence
from codling.model.config import MLAConfig, ModelConfig, MoEConfig, RopeConfig
from codling.model.transformer import Transformer
from codling.train.config import ExpertsConfig, LoopConfig, OptimizerConfig
from codling.train.step import LossStep
from codling.train.summary import METRICS
from codling.train.trainer import Trainer

pytestmark = pytest.mark.long
TORCH_WARNS = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning")
LENGTH = 64
LLAMA = ModelConfig(
    vocab_size=256,
    hidden_size=64,
    intermediate_size=128,
    n_layers=2,
    n_heads=4,
    n_kv_heads=2,
    max_position=LENGTH,
    init_std=0.1,
)
EXPERTS = MoEConfig(n_routed_experts=4, n_experts_per_token=2, moe_intermediate_size=32)
ARCHITECTURES = {
    "llama": LLAMA,
    "linear-rope": replace(LLAMA, rope=RopeConfig(scaling="linear", factor=4.0)),
    "qwen2": replace(LLAMA, attention_bias=True),
    "qwen3": replace(LLAMA, qk_norm=True, tie_embeddings=True, head_dim=32),
    "deepseek-v2": replace(
        LLAMA,
        n_kv_heads=None,
        mla=MLAConfig(kv_lora_rank=32, qk_nope_head_dim=16, qk_rope_head_dim=16, v_head_dim=16),
        moe=EXPERTS,
    ),
}
DEVICES = ["cpu", pytest.param("cuda", marks=pytest.mark.gpu)]
WAYS = [
    pytest.param("cpu", False),
    pytest.param("cpu", True, marks=pytest.mark.slow),
    pytest.param("cuda", False, marks=pytest.mark.gpu),
    pytest.param("cuda", True, marks=pytest.mark.gpu),
]


@pytest.fixture(params=ARCHITECTURES)
def shape(request: pytest.FixtureRequest) -> ModelConfig:
    return ARCHITECTURES[request.param]


def model(shape: ModelConfig, device: str, dtype: torch.dtype) -> Transformer:
    """Weights that bf16 can hold, the same in every type."""
    made = Transformer(shape, torch.Generator().manual_seed(0))
    for parameter in made.parameters():
        parameter.data = parameter.data.bfloat16().to(dtype)
    return made.to(device).train()


def tokens(n_rows: int = 4) -> tuple[Tensor, Tensor]:
    ids = torch.randint(0, 256, (n_rows, LENGTH + 1), generator=torch.Generator().manual_seed(1))
    return ids[:, :-1].contiguous(), ids[:, 1:].contiguous()


def loss_and_gradients(
    shape: ModelConfig, device: str, dtype: torch.dtype, *, compiled: bool
) -> tuple[float, dict[str, Tensor]]:
    made = model(shape, device, dtype)
    step = LossStep(made, compiled=compiled, experts=ExpertsConfig())
    loss = step.loss(*(t.to(device) for t in tokens()))
    loss.backward()
    step.release()
    return float(loss), {n: p.grad.float().cpu() for n, p in made.named_parameters()}


@TORCH_WARNS
@pytest.mark.parametrize(("device", "compiled"), WAYS)
def test_loss_and_gradients_in_bf16_are_near_those_of_the_cpu(
    shape: ModelConfig, device: str, compiled: bool
) -> None:
    expected, gradients = loss_and_gradients(shape, "cpu", torch.float32, compiled=False)
    loss, got = loss_and_gradients(shape, device, torch.bfloat16, compiled=compiled)
    assert loss == pytest.approx(expected, rel=5e-3)
    # A token whose experts are nearly level may go elsewhere in bf16.
    near = 0.03 if shape.moe is None else 0.2
    apart = {n: float((got[n] - g).norm() / g.norm()) for n, g in gradients.items()}
    assert {n: a for n, a in apart.items() if a > near} == {}


@TORCH_WARNS
@pytest.mark.gpu
def test_gradients_in_fp32_equal_those_of_the_cpu(shape: ModelConfig) -> None:
    expected, gradients = loss_and_gradients(shape, "cpu", torch.float32, compiled=False)
    loss, got = loss_and_gradients(shape, "cuda", torch.float32, compiled=False)
    assert loss == pytest.approx(expected, rel=1e-5)
    torch.testing.assert_close(got, gradients, rtol=1e-3, atol=1e-5)


def losses(shape: ModelConfig, folder: Path, **settings: Any) -> list[float]:
    folder.mkdir()
    optimizer = OptimizerConfig(learning_rate=1e-3)
    config = LoopConfig(max_steps=4, threads=1, compile=False, optimizer=optimizer, **settings)
    trainer = Trainer(model(shape, "cpu", torch.float32), lambda _: tokens(), config, folder)
    trainer.run()
    return [float(row["loss"]) for row in read_json_lines(folder / METRICS)]


@TORCH_WARNS
@pytest.mark.parametrize("device", DEVICES)
def test_steps_of_training_follow_those_of_the_cpu(
    shape: ModelConfig, device: str, tmp_path: Path
) -> None:
    expected = losses(shape, tmp_path / "fp32", device="cpu", precision="fp32")
    got = losses(shape, tmp_path / "bf16", device=device, precision="bf16")
    assert got == pytest.approx(expected, rel=0.01)
    assert got[-1] < got[0]


def decoded(shape: ModelConfig, device: str) -> list[int]:
    runner = Runner(model(shape, device, torch.float32).eval(), n_slots=2, max_length=LENGTH)
    engine = Engine(runner)
    sequence = Sequence([3, 1, 4, 1, 5, 9], SamplingParams(max_tokens=12, temperature=0.0))
    engine.add(sequence)
    while engine.busy:
        engine.step()
    return list(sequence.tokens)


@pytest.mark.gpu
def test_greedy_decoding_gives_the_tokens_of_the_cpu(shape: ModelConfig) -> None:
    assert decoded(shape, "cuda") == decoded(shape, "cpu")


def test_greedy_decoding_here_is_the_plain_model_s_choice(shape: ModelConfig) -> None:
    made = model(shape, "cpu", torch.float32).eval()
    ids = [3, 1, 4, 1, 5, 9]
    with torch.inference_mode():
        for _ in range(12):
            hidden = made(torch.tensor([ids]))
            ids.append(int(made.logits(hidden[0, -1]).argmax()))
    assert decoded(shape, "cpu") == ids
