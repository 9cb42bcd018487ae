"""Every way to run a model gives the same numbers: cached, chunked, padded, absorbed, grouped."""

from dataclasses import replace

import pytest
import torch

from codling.model.cache import KVCache
from codling.model.config import MLAConfig, ModelConfig, MoEConfig, RopeConfig
from codling.model.transformer import Transformer

DENSE = ModelConfig(
    vocab_size=64,
    hidden_size=32,
    intermediate_size=48,
    n_layers=2,
    n_heads=4,
    max_position=64,
    init_std=0.2,
)
YARN = RopeConfig(
    scaling="yarn", factor=4.0, original_max_position=16, mscale=0.7, mscale_all_dim=1.0
)
CONFIGS = {
    "mha": DENSE,
    "gqa": replace(DENSE, n_kv_heads=2, attention_bias=True),
    "qk-norm": replace(DENSE, n_kv_heads=2, qk_norm=True, tie_embeddings=True),
    "mqa": replace(DENSE, n_kv_heads=1, rope=RopeConfig(scaling="linear", factor=4.0)),
    "mla": replace(
        DENSE,
        rope=YARN,
        mla=MLAConfig(
            kv_lora_rank=16, q_lora_rank=20, qk_nope_head_dim=8, qk_rope_head_dim=8, v_head_dim=12
        ),
        moe=MoEConfig(
            n_routed_experts=8, n_shared_experts=1, n_experts_per_token=3, moe_intermediate_size=16
        ),
    ),
}
TOKENS = torch.randint(0, 64, (3, 48), generator=torch.Generator().manual_seed(0))


@pytest.fixture(params=CONFIGS, autouse=True)
def model(request: pytest.FixtureRequest) -> Transformer:
    return Transformer(CONFIGS[request.param], torch.Generator().manual_seed(1)).eval()


@pytest.fixture
def full(model: Transformer) -> torch.Tensor:
    with torch.no_grad():
        return model(TOKENS)


def cache_for(model: Transformer, n_rows: int = 3, length: int = 48) -> KVCache:
    return KVCache.allocate(model.config, n_rows, length)


def close(ours: torch.Tensor, expected: torch.Tensor) -> None:
    torch.testing.assert_close(ours, expected, rtol=0, atol=1e-5)


@pytest.mark.long
@torch.no_grad()
@pytest.mark.parametrize("cuts", [[48], [1] * 48, [20, 1, 1, 7, 1, 18], [5] * 9 + [3]])
def test_any_chunks_through_the_cache_equal_one_pass(model, full, cuts: list[int]) -> None:
    cache = cache_for(model)
    parts, start = [], 0
    for n in cuts:
        parts.append(model(TOKENS[:, start : start + n], cache=cache))
        cache.advance(n)
        start += n
    close(torch.cat(parts, dim=1), full)


@torch.no_grad()
def test_unequal_rows_padded_on_the_right_equal_single_rows(model, full) -> None:
    lengths = torch.tensor([7, 20, 1])
    cache = cache_for(model)
    hidden = model(TOKENS[:, :20], cache=cache)
    cache.advance(lengths)
    for row, n in enumerate(lengths.tolist()):
        close(hidden[row, :n], full[row, :n])
    for step in range(5):
        now = lengths + step
        hidden = model(TOKENS.gather(1, now[:, None]), cache=cache)
        cache.advance(1)
        close(hidden[:, 0], full[torch.arange(3), now])
    # An unequal chunk again, whose padding passes the end of the fullest row.
    starts = (lengths + 5).tolist()
    chunk = torch.stack([TOKENS[r, s : s + 22] for r, s in enumerate(starts)])
    hidden = model(chunk, cache=cache)
    for row, start in enumerate(starts):
        close(hidden[row], full[row, start : start + 22])


@torch.no_grad()
def test_padding_beyond_the_last_slot_is_dropped(model, full) -> None:
    cache = cache_for(model, length=24)
    model(TOKENS[:, :20], cache=cache)
    cache.advance(torch.tensor([20, 10, 20]))
    chunk = torch.stack([TOKENS[0, 20:30], TOKENS[1, 10:20], TOKENS[2, 20:30]])
    hidden = model(chunk, cache=cache)
    close(hidden[1], full[1, 10:20])
    close(hidden[0, :4], full[0, 20:24])


@torch.no_grad()
def test_rows_can_be_copied_and_shared(model, full) -> None:
    cache = cache_for(model)
    model(TOKENS[:, :10], cache=cache)
    cache.advance(10)
    cache.copy_row(2, 0, 10)
    alone = cache.rows(0, 1)
    close(model(TOKENS[2:3, 10:12], cache=alone)[0], full[2, 10:12])
    assert cache.lengths_B.tolist() == [10, 10, 10]


@torch.no_grad()
def test_rows_of_unequal_length_change_places(model, full) -> None:
    cache = cache_for(model)
    model(TOKENS[:, :10], cache=cache)
    cache.advance(torch.tensor([10, 4, 10]))
    cache.swap_rows(0, 1, 10, 4)
    assert cache.lengths_B.tolist() == [4, 10, 10]
    hidden = model(torch.stack([TOKENS[1, 4:6], TOKENS[0, 10:12], TOKENS[2, 10:12]]), cache=cache)
    close(hidden[0], full[1, 4:6])
    close(hidden[1], full[0, 10:12])


@torch.no_grad()
def test_stale_slots_are_never_seen(model, full) -> None:
    cache = cache_for(model)
    model(TOKENS.flip(1), cache=cache)
    close(model(TOKENS[:, :9], cache=cache), full[:, :9])


def test_the_cache_takes_what_the_formula_says(model) -> None:
    cache = KVCache.allocate(model.config, 3, 48, dtype=torch.bfloat16)
    assert cache.n_bytes == 3 * 48 * 2 * model.config.kv_elements_per_token


@torch.no_grad()
def test_bf16_stays_near_fp32(model, full) -> None:
    cache = KVCache.allocate(model.config, 3, 48, dtype=torch.bfloat16)
    model.bfloat16()
    hidden = model(TOKENS[:, :20], cache=cache)
    assert hidden.dtype == torch.bfloat16
    assert (hidden.float() - full[:, :20]).abs().mean() < 0.1


def test_angles_stay_exact_when_the_model_is_narrowed_or_emptied(model) -> None:
    expected = model.rope.cos.clone()
    assert torch.equal(model.bfloat16().rope.cos, expected)
    assert torch.equal(model.to_empty(device="cpu").rope.cos, expected)


def test_every_parameter_gets_a_gradient(model) -> None:
    model.train()
    model.logits(model(TOKENS)).square().mean().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())


@torch.no_grad()
def test_sequences_beyond_the_first_table_of_angles_grow_it(model) -> None:
    model.rope.build(8, torch.device("cpu"))
    grown = model(TOKENS)
    model.rope.build(64, torch.device("cpu"))
    close(grown, model(TOKENS))
