"""A reserved cache, and what of it is in memory."""

import os
from pathlib import Path

import pytest
import torch

from codling.core.errors import ConfigError
from codling.engine import reserved
from codling.engine.reserved import bytes_per_token, reserve_cache, share_out, tokens_per_page
from codling.model.cache import KVCache
from codling.model.config import MLAConfig, ModelConfig
from codling.model.transformer import Transformer

SHAPE = ModelConfig(vocab_size=300, hidden_size=256, n_layers=16, n_heads=4)
has_proc = pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="no /proc here")


def resident_bytes() -> int:
    """Memory of this process that is in use."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


@has_proc
def test_a_reserved_cache_takes_only_the_pages_in_use() -> None:
    before = resident_bytes()
    cache, (keys, _) = reserve_cache(SHAPE, 16, 4096, torch.float32)
    for store in cache.stores:
        for tensor in store:
            tensor[:, :, 0] = 1.0  # one token in each row, layer and head
    grown = resident_bytes() - before
    # By hand: 16 layers x 16 rows x 4 heads x 2 kinds, a page of 4 KiB each, are 8 MiB of 2 GiB.
    assert keys.tensor.nbytes == 2**30
    assert grown < 64 * 2**20


@has_proc
def test_a_row_gives_the_memory_behind_its_tokens_back() -> None:
    cache, kinds = reserve_cache(SHAPE, 2, 2048, torch.float32)
    for store in cache.stores:
        for tensor in store:
            tensor[:] = 1.0
    before = resident_bytes()
    for kind in kinds:
        kind.release(1, 512, 2048)
    # 16 layers x 4 heads x 2 kinds x 1536 tokens of 256 bytes are 48 MiB.
    assert before - resident_bytes() > 40 * 2**20
    keys = cache.stores[3][0]
    assert float(keys[1, :, :512].min()) == float(keys[0].min()) == 1.0
    assert float(keys[1, :, 512:].abs().max()) == 0.0


def test_only_whole_pages_are_given_back() -> None:
    cache, (keys, _) = reserve_cache(SHAPE, 1, 100, torch.float32)
    cache.stores[0][0][:] = 1.0
    keys.release(0, 20, 40)  # a page has 16 tokens of 256 bytes: 16 to 31, 32 to 47
    assert float(cache.stores[0][0].min()) == 1.0
    keys.release(0, 17, 64)
    assert cache.stores[0][0][0, 0, 16:65, 0].tolist() == [1.0] * 16 + [0.0] * 32 + [1.0]


def test_latents_are_reserved_too_and_their_rows_begin_with_a_page() -> None:
    mla = MLAConfig(kv_lora_rank=24, qk_nope_head_dim=12, qk_rope_head_dim=8, v_head_dim=16)
    shape = ModelConfig(vocab_size=97, hidden_size=32, n_layers=2, n_heads=4, mla=mla)
    cache, (latents,) = reserve_cache(shape, 3, 50, torch.float32)
    assert tokens_per_page(shape, torch.float32) == 32  # 128 bytes each
    assert latents.tensor.shape == (2, 3, 1, 64, 32)
    assert [t.shape for t in cache.stores[1]] == [(3, 1, 64, 32)]


def test_a_reserved_cache_is_laid_out_like_the_plain_one() -> None:
    plain = KVCache.allocate(SHAPE, 3, 32)
    reserved, (keys, _) = reserve_cache(SHAPE, 3, 32, torch.float32)
    assert reserved.n_bytes == plain.n_bytes
    assert [t.shape for s in reserved.stores for t in s] == [
        t.shape for s in plain.stores for t in s
    ]
    reserved.stores[1][0][2, 0, 5] = 1.0
    assert float(keys.tensor[1, 2, 0, 5].sum()) == SHAPE.head_size


def test_a_cache_of_bytes_holds_half_and_moves_its_scales_with_its_rows() -> None:
    cache, kinds = reserve_cache(SHAPE, 3, 64, torch.bfloat16, "int8")
    # By hand: 16 layers x 4 heads x 2 kinds x (64 bytes and a scale of 4), half of 2 x 64 and more.
    per_token = sum(kind.tensor[:, 0, :, 0].nbytes for kind in kinds)
    assert per_token == bytes_per_token(SHAPE, torch.bfloat16, "int8") == 16 * 4 * 2 * 68
    assert bytes_per_token(SHAPE, torch.bfloat16) == 16 * 4 * 2 * 128
    numbers = torch.randn(1, 4, 5, 64, generator=torch.Generator().manual_seed(0)) * 3
    first = cache.rows(0, 1)
    keys, values = first.write(7, first.span(5), numbers, -numbers)
    assert keys.dtype == torch.bfloat16
    assert torch.equal(keys, -values)
    assert float((keys.float() - numbers).abs().max()) < float(numbers.abs().max()) / 127
    cache.copy_row(0, 2, 5)
    last = cache.rows(2, 3)
    last.lengths_B = torch.tensor([5])
    again, _ = last.write(7, last.span(1), numbers[:, :, :1], numbers[:, :, :1])
    assert torch.equal(again[:, :, :5], keys)
    assert torch.equal(again[:, :, 5], keys[:, :, 0])


def test_a_context_whose_positions_do_not_fit_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    # Heads of 64 numbers: two tables of 32 float32, 256 bytes, for each of 2**20 positions.
    model = Transformer(ModelConfig(vocab_size=9, hidden_size=64, n_layers=1, n_heads=1))
    monkeypatch.setattr(reserved, "available_bytes", lambda: 2**28 - 1)
    with pytest.raises(ConfigError, match=r"1,048,576 tokens takes 0.2 GiB .* lower --max-length"):
        share_out(model, 1, 2**20, 4.0)
    monkeypatch.setattr(reserved, "available_bytes", lambda: 2**28)
    assert share_out(model, 1, 2**20, 4.0)[1] == 2**20
