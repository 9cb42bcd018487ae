"""K-quants: blocks by hand, and bytes equal to those of ggml."""

import json

import numpy as np
import pytest
from gguf import GGML_QUANT_SIZES, GGMLQuantizationType
from gguf.quants import dequantize, quantize

from codling.checkpoint.stream import stream_tensors
from codling.core.errors import CheckpointError
from codling.export.block_round import store_halves
from codling.export.block_types import quantize_rows
from export.ggml import quantize_with_ggml
from export.golden import GOLDEN, KINDS, PAIR_KINDS, golden_importance, golden_rows
from real_weights import find_weights

Q4_K, Q5_K, Q6_K = KINDS


def test_a_block_of_q4_k_by_hand() -> None:
    """63 times 0 to 15: step d = 1, every scale 63, no lows, so a code is its place."""
    codes = np.arange(256) % 16
    stored = quantize_rows((63 * codes).astype(np.float32)[None], Q4_K)[0]
    assert stored[:4].view(np.float16).tolist() == [1.0, 0.0]
    # Scales 63: six ones, two bits of a later 63 above them; lows 0; the low halves of the later.
    assert stored[4:16].tolist() == [255] * 4 + [0] * 4 + [15] * 4
    # The first of a pair of sub-blocks lies in the low half of a byte, the second in the high.
    assert stored[16:].tolist() == [17 * (i % 16) for i in range(128)]


def test_a_low_of_q4_k_by_hand() -> None:
    """From -63 in steps of 63: dmin = 1 and every low is 63."""
    codes = np.arange(256) % 16
    stored = quantize_rows((63 * codes - 63).astype(np.float32)[None], Q4_K)[0]
    assert stored[:4].view(np.float16).tolist() == [1.0, 1.0]
    assert stored[4:16].tolist() == [255] * 12


def test_a_block_of_q5_k_by_hand() -> None:
    """63 times 0 to 31: the fifth bit of the codes above 15 lies apart."""
    codes = np.arange(256) % 32
    stored = quantize_rows((63 * codes).astype(np.float32)[None], Q5_K)[0]
    assert stored[:4].view(np.float16).tolist() == [1.0, 0.0]
    assert stored[16:48].tolist() == [0] * 16 + [255] * 16
    assert stored[48:].tolist() == [17 * (i % 16) for i in range(128)]


def test_a_block_of_q6_k_by_hand() -> None:
    """128 times -32 to 31 with the peak below: d = -1 and every scale -128."""
    codes = np.tile([-32, 31, 0, 1, -1, 5, 16, -16], 32)
    stored = quantize_rows((128 * codes).astype(np.float32)[None], Q6_K)[0]
    assert stored[208:].view(np.float16)[0] == -1.0
    assert stored[192:208].view(np.int8).tolist() == [-128] * 16
    # Shifted by 32 the first are 0, 63, 32, 33: low four bits 0, 15, 0, 1, high two 0, 3, 2, 2.
    assert stored[:4].tolist() == [0, 255, 0, 17]
    assert stored[128:132].tolist() == [0, 255, 0b10101010, 0b10101010]


@pytest.mark.long
@pytest.mark.parametrize("kind", KINDS + PAIR_KINDS, ids=lambda kind: kind.name)
@pytest.mark.parametrize("weighing", ["plain", "importance"])
def test_bytes_are_those_that_ggml_made(kind: GGMLQuantizationType, weighing: str) -> None:
    wanted = json.loads(GOLDEN.read_text("utf-8"))[kind.name][weighing]
    importance = golden_importance() if weighing == "importance" else None
    assert quantize_rows(golden_rows(), kind, importance).tobytes().hex() == wanted


PLAIN_KINDS = [*PAIR_KINDS, GGMLQuantizationType.Q8_0]


@pytest.mark.parametrize("kind", PLAIN_KINDS, ids=lambda kind: kind.name)
def test_blocks_rounded_as_they_are_equal_the_gguf_packages(kind: GGMLQuantizationType) -> None:
    """Also blocks of nothing, of one value, of halves, and where two numbers are the largest."""
    odd = np.stack(
        [np.zeros(512), np.full(512, -0.3), np.arange(-256, 256) / 2, np.tile([1, -1], 256)]
    )
    rows = np.concatenate([golden_rows(), odd.astype(np.float32)])
    assert (quantize_rows(rows, kind) == quantize(rows, kind)).all()


@pytest.mark.parametrize("kind", KINDS + PAIR_KINDS, ids=lambda kind: kind.name)
def test_importance_lowers_the_error_that_it_weighs(kind: GGMLQuantizationType) -> None:
    rows, importance = golden_rows(), golden_importance()
    errors = [
        float(np.sum(importance * np.square(dequantize(stored, kind) - rows)))
        for stored in (quantize_rows(rows, kind, importance), quantize_rows(rows, kind))
    ]
    assert errors[0] < errors[1]


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_blocks_of_nothing_and_of_one_value_are_exact_enough(kind: GGMLQuantizationType) -> None:
    rows = np.stack([np.zeros(256), np.full(256, -0.3), np.full(256, 0.3)]).astype(np.float32)
    np.testing.assert_allclose(dequantize(quantize_rows(rows, kind), kind), rows, rtol=1e-3)


@pytest.mark.parametrize("kind", [Q4_K, *PLAIN_KINDS], ids=lambda kind: kind.name)
@pytest.mark.parametrize(
    ("value", "words"),
    [(np.nan, "NaN"), (np.inf, "infinities"), (-np.inf, "infinities"), (1e9, "too large")],
)
@pytest.mark.parametrize("weighed", [False, True])
def test_what_no_block_can_hold_is_refused(
    kind: GGMLQuantizationType, value: float, words: str, weighed: bool
) -> None:
    rows = np.ones((3, 4096), np.float32)
    rows[2, 4001] = value
    importance = np.ones(4096, np.float32) if weighed else None
    with pytest.raises(CheckpointError, match=words):
        quantize_rows(rows, kind, importance)


@pytest.mark.parametrize("kind", PAIR_KINDS, ids=lambda kind: kind.name)
def test_numbers_below_every_half_are_zeros_with_and_without_vector_registers(
    kind: GGMLQuantizationType,
) -> None:
    """Their scale has no inverse in fp32: without care, codes would be a conversion of infinity."""
    rows = golden_rows() * np.float32(1e-39)
    stored = quantize_rows(rows, kind)
    assert not dequantize(stored, kind).any()
    blocks = stored.reshape(-1, 18 + 2 * PAIR_KINDS.index(kind))
    assert (blocks[:, -16:] == blocks[0, -1]).all()


def test_scales_are_the_nearest_halves() -> None:
    """The compiled conversion beside numpy's: every f16, and f32 a little beside and between."""
    halves = np.arange(0x7C00, dtype=np.uint16).view(np.float16).astype(np.float32)
    between = (halves[:-1] + halves[1:]) / 2
    near = [np.nextafter(between, np.float32(side)) for side in (0, np.inf)]
    values = np.concatenate([halves, between, *near, [65519.0, 1e-30]]).astype(np.float32)
    for signed in (values, -values):
        out = np.zeros((len(signed), 4), np.uint8)
        assert store_halves(signed, out, 1)
        assert (out[:, 1:3].copy().view("<f2")[:, 0] == signed.astype("<f2")).all()
        assert not out[:, [0, 3]].any()
        assert (out[:, 2] >= 128).all() == (signed[5] < 0)
    assert not store_halves(np.array([65520.0], np.float32), out, 1)


def test_a_low_of_zero_has_the_sign_of_the_first_zero() -> None:
    rows = np.tile(np.array([2, -0.0, 0.0, 1], np.float32), (1, 64))
    assert (quantize_rows(rows, PAIR_KINDS[1]).reshape(8, 20)[:, 2:4] == [0, 128]).all()
    assert (quantize_rows(-rows[:, ::-1], PAIR_KINDS[0])[0, :2].view("<f2") == 0.25).all()


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS + PAIR_KINDS, ids=lambda kind: kind.name)
@pytest.mark.parametrize("spread", ["even", "heavy", "sparse", "mixed"])
@pytest.mark.parametrize("weighed", [False, True])
def test_blocks_equal_ggmls(kind: GGMLQuantizationType, spread: str, weighed: bool) -> None:
    """All of them here; a ggml built to fuse multiplications rounds a few differently."""
    if kind in PAIR_KINDS and not weighed:
        pytest.skip("the gguf package's, in which a block of zeros has the scale 0 and not -0")
    rows, importance = spread_rows(spread), None
    if weighed:
        drawn = np.random.default_rng(1).gamma(0.5, 1.0, rows.shape[1])
        importance = np.asarray(drawn, dtype=np.float32)
    ours = quantize_rows(rows, kind, importance)
    theirs = quantize_with_ggml(rows, kind, importance)
    block_bytes = GGML_QUANT_SIZES[kind][1]
    equal = (ours.reshape(-1, block_bytes) == theirs.reshape(-1, block_bytes)).all(axis=1)
    assert equal.mean() >= 0.97
    errors = [float(np.std(dequantize(stored, kind) - rows)) for stored in (ours, theirs)]
    assert errors[0] == pytest.approx(errors[1], rel=1e-4)


def spread_rows(spread: str) -> np.ndarray:
    rng = np.random.default_rng(0)
    size = (1024, 1024)
    if spread == "heavy":
        rows = 0.02 * rng.standard_t(2, size)
    elif spread == "mixed":
        rows = rng.normal(0, 1, size) * 10.0 ** rng.integers(-9, 3, (1024, 32)).repeat(32, 1)
    else:
        rows = rng.normal(0, 0.02, size)
    if spread == "sparse":
        rows *= rng.random(size) < 0.03
    return np.asarray(rows, dtype=np.float32)


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS + PAIR_KINDS, ids=lambda kind: kind.name)
def test_blocks_of_real_weights_equal_ggmls(kind: GGMLQuantizationType) -> None:
    """SmolLM2-135M's matrices of a layer near the middle, as rows of 1536: 97% of the blocks byte
    for byte, and no more error than ggml's."""
    path = find_weights("[Ss]mol[Ll][Mm]2-135*.gguf")
    _, tensors = stream_tensors(path)
    n_blocks = n_equal = 0
    for tensor in tensors:
        if ".layers.14." not in tensor.name or len(tensor.shape) != 2:
            continue
        rows = tensor.read().float().numpy().reshape(-1, 1536)
        ours, theirs = quantize_rows(rows, kind), quantize_with_ggml(rows, kind)
        size = GGML_QUANT_SIZES[kind][1]
        same = (ours.reshape(-1, size) == theirs.reshape(-1, size)).all(1)
        n_blocks, n_equal = n_blocks + len(same), n_equal + int(same.sum())
        errors = [float(np.square(dequantize(each, kind) - rows).sum()) for each in (ours, theirs)]
        assert errors[0] <= 1.001 * errors[1], tensor.name
    assert n_equal >= 0.97 * n_blocks > 0
