"""Attention of many queries together computes what one query alone computes."""

from typing import Any

import numpy as np
import pytest

from codling.engine.kernels import attention

Array = np.ndarray[Any, Any]
attend_together: Any = attention.attend_together
NO_SCALES = np.zeros(0, dtype=np.float32)
N_SLOTS = 150


def stored(x_SD: Array, kind: str) -> tuple[Array, Array]:
    """Numbers as a cache holds them, and the scales of its slots."""
    if kind == "float32":
        return x_SD, NO_SCALES
    if kind == "bfloat16":
        return (x_SD.view(np.uint32) >> 16).astype(np.uint16), NO_SCALES
    scale_S = np.abs(x_SD).max(axis=1) / np.float32(127)
    return np.rint(x_SD / scale_S[:, None]).astype(np.int8), scale_S


def read(x_SD: Array, scale_S: Array) -> Array:
    """The numbers that were stored, in double precision."""
    if x_SD.dtype == np.uint16:
        return (x_SD.astype(np.uint32) << 16).view(np.float32).astype(np.float64)
    whole = x_SD.astype(np.float64)
    return whole * scale_S[:, None] if len(scale_S) else whole


def attend(q_QD: Array, seen_Q: Array, parts: tuple[Array, ...], scale: float) -> Array:
    """All queries together, as the loop asks for them."""
    n, width = q_QD.shape
    room = attention.new_room(width)
    room[0][:n], room[-1][:n] = q_QD, seen_Q
    attend_together(n, *parts, np.float32(scale), room)
    return room[4][:n, :width].copy()


@pytest.mark.parametrize("kind", ["float32", "bfloat16", "int8"])
def test_queries_together_see_what_each_sees_and_have_the_same_bits_in_any_company(
    kind: str,
) -> None:
    rng = np.random.default_rng(0)
    width, scale = 24, 0.7  # a width that no vector divides
    k_SD, v_SD = (rng.standard_normal((N_SLOTS, width), dtype=np.float32) for _ in range(2))
    (k, k_scale), (v, v_scale) = stored(k_SD, kind), stored(v_SD, kind)
    parts = (k, v, k_scale, v_scale)
    q_QD = rng.standard_normal((attention.MOST, width), dtype=np.float32)
    seen_Q = rng.integers(1, N_SLOTS + 1, attention.MOST)
    seen_Q[:4] = 1, 64, 65, N_SLOTS
    together = attend(q_QD, seen_Q, parts, scale)
    for i in range(attention.MOST):
        scores = read(k, k_scale)[: seen_Q[i]] @ q_QD[i] * scale
        shares = np.exp(scores - scores.max())
        expected = shares @ read(v, v_scale)[: seen_Q[i]] / shares.sum()
        np.testing.assert_allclose(together[i], expected, rtol=1e-4, atol=2e-6)
    for some in (slice(3, 10), slice(40, 47)):
        np.testing.assert_array_equal(
            attend(q_QD[some], seen_Q[some], parts, scale), together[some]
        )
