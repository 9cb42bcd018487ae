"""A reserved cache, and what of it is in memory."""

import os
from pathlib import Path

import pytest
import torch

from codling.engine.decoder_cpu import stacked_cache
from codling.model.config import ModelConfig


def resident_bytes() -> int:
    """Memory of this process that is in use."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="no /proc here")
def test_a_reserved_cache_takes_only_the_pages_in_use() -> None:
    shape = ModelConfig(vocab_size=300, hidden_size=256, n_layers=16, n_heads=4)
    before = resident_bytes()
    cache, k_NBKSD, _ = stacked_cache(shape, 16, 4096, torch.float32)
    for store in cache.stores:
        for tensor in store:
            tensor[:, :, 0] = 1.0  # one token in each row, layer and head
    grown = resident_bytes() - before
    # By hand: 16 layers x 16 rows x 4 heads x 2 kinds, a page of 4 KiB each, are 8 MiB of 2 GiB.
    assert k_NBKSD.nbytes == 2**30
    assert grown < 64 * 2**20
