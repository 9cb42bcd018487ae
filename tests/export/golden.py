"""Weights that come out the same everywhere, and what ggml once made of them."""

from pathlib import Path

import numpy as np
from gguf import GGMLQuantizationType

GOLDEN = Path(__file__).with_name("golden_blocks.json")
KINDS = [GGMLQuantizationType[name] for name in ("Q4_K", "Q5_K", "Q6_K")]
PAIR_KINDS = [GGMLQuantizationType[name] for name in ("Q4_0", "Q4_1", "Q5_0", "Q5_1")]
_COLUMNS = 512


def golden_rows() -> np.ndarray:
    """Two rows of 512: a bell of about 0.02 with some weights ten times as large."""
    return _bell(2 * _COLUMNS).reshape(2, _COLUMNS)


def golden_importance() -> np.ndarray:
    """How much each column matters: a few a hundred times more than most."""
    return np.square(_bell(_COLUMNS) * np.float32(50)) + np.float32(1e-3)


def _bell(count: int) -> np.ndarray:
    """Sums of four numbers of a linear congruential generator, exact in any version of numpy."""
    state, numbers = 12345, []
    for _ in range(count):
        total = 0
        for _ in range(4):
            state = (state * 1103515245 + 12345) % (1 << 31)
            total += (state >> 15) - (1 << 15)
        numbers.append(total * (10 if state % 61 == 0 else 1) / (1 << 21))
    return np.array(numbers, dtype=np.float32)
