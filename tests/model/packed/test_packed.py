"""Packed matrices: every set of instructions computes the same integers, and the numbers are those
that were stored."""

import ctypes
import hashlib
import inspect
from typing import Any

import llvmlite.binding as llvm  # type: ignore[import-untyped]
import numpy as np
import pytest
import torch
from llvmlite import ir  # type: ignore[import-untyped]
from numba import njit

from codling.model.packed import instructions, kernels, tile_ir
from codling.model.packed.instructions import (
    HERE,
    I32,
    V16I32,
    V64I8,
    Instructions,
    best_instructions,
    dot,
)
from codling.model.packed.linear import PackedLinear
from codling.model.packed.matrix import (
    FORMS,
    PackedMatrix,
    allocate,
    pack_codes,
    put_codes,
    put_scales,
)
from codling.model.packed.quantize import Bits, round_matrix

N, M = 40, 256
Numbers = np.random.Generator
Array = np.ndarray[Any, Any]


def random_matrix(form: str, numbers: Numbers) -> tuple[PackedMatrix, Array]:
    """A matrix of random bits, and what it means in float64."""
    kind = FORMS[form]
    codes = numbers.integers(0, 2**kind.bits, (N, M), dtype=np.uint8)
    matrix = allocate(form, N, M)
    put_codes(matrix, 0, codes)
    if kind.n_levels == 1:
        halves = [numbers.normal(size=(N, M // 32)).astype(np.float16) for _ in range(2)]
        put_scales(matrix.scales, 0, *halves[: 1 + kind.has_min])
        scale, least = (each.astype(np.float64).repeat(32, 1) for each in halves)
    else:
        tops = [numbers.normal(size=(N, 1)).astype(np.float16) for _ in range(2)]
        put_scales(matrix.tops, 0, *tops[: 1 + kind.has_min])
        small = [numbers.integers(0, 64, (N, M // 32), dtype=np.uint8) for _ in range(2)]
        if kind.sixteens:
            small = [numbers.integers(-128, 128, (N, M // 32)).astype(np.int8) for _ in range(2)]
        put_scales(matrix.scales, 0, *small)
        wide = [each.astype(np.float64).repeat(32, 1) for each in small]
        scale, least = tops[0] * wide[0], tops[1] * wide[1]
        if kind.sixteens:
            scale = tops[0] * np.stack(small, -1).reshape(N, -1).astype(np.float64).repeat(16, 1)
    if kind.has_min:
        return matrix, scale * codes + least
    return matrix, scale * (codes.astype(np.float64) - kind.zero)


def products(matrix: PackedMatrix, x_RM: Array) -> tuple[Array, Array]:
    """x w^T, and x as it was rounded."""
    entry = np.array(kernels.entry_of(matrix), dtype=np.int64)
    n_tokens, n_groups = len(x_RM), matrix.n_groups
    activations = kernels.new_activations(n_tokens, n_groups)
    kernels.round_activations(x_RM, *activations, n_groups)
    out_RN = np.zeros((n_tokens, matrix.n_rows), dtype=np.float32)
    n_tiles = len(matrix.codes)
    kernels.multiply(entry, 0, n_tiles, *activations, kernels.new_scratch(n_groups), out_RN, False)
    scale = activations[1][:, :n_groups].astype(np.float64).repeat(32, 1)
    return out_RN, (activations[0] * scale)[:, : x_RM.shape[1]]


@pytest.mark.parametrize("form", FORMS)
def test_a_product_is_that_of_the_stored_numbers_and_the_rounded_activations(form: str) -> None:
    numbers = np.random.default_rng(0)
    matrix, w_NM = random_matrix(form, numbers)
    x_RM = numbers.normal(size=(15, M)).astype(np.float32)
    got, rounded = products(matrix, x_RM)
    expected = rounded @ w_NM.T
    assert np.linalg.norm(got - expected) < 1e-6 * np.linalg.norm(expected)
    # Half a step of 1/127 of the largest of each group.
    assert np.abs(rounded - x_RM).max() <= np.abs(x_RM).max() / 254 * 1.01


@pytest.mark.parametrize("form", FORMS)
def test_a_token_has_the_same_bits_alone_and_in_a_batch(form: str) -> None:
    numbers = np.random.default_rng(1)
    matrix, _ = random_matrix(form, numbers)
    x_RM = numbers.normal(size=(15, M)).astype(np.float32)  # 8 + 4 + 2 + 1 tokens
    together, _ = products(matrix, x_RM)
    alone = [products(matrix, x_RM[r : r + 1])[0][0] for r in range(15)]
    assert np.array_equal(together, np.stack(alone))


@pytest.mark.parametrize("form", FORMS)
def test_rows_come_out_as_they_went_in(form: str) -> None:
    matrix, w_NM = random_matrix(form, np.random.default_rng(2))
    entry = np.array(kernels.entry_of(matrix), dtype=np.int64)
    rows = np.array([3, 39, 16])
    out = np.zeros((3, M), dtype=np.float32)
    kernels.rows_of(entry, rows, kernels.new_scratch(matrix.n_groups), out)
    np.testing.assert_allclose(out, w_NM[rows], rtol=1e-5, atol=1e-4)


def test_a_scale_may_hold_for_128_columns_or_a_row_and_rows_need_not_fill_a_tile() -> None:
    codes = np.full((3, 128), 9, dtype=np.uint8)
    x = np.ones((1, 128), dtype=np.float32)
    for group in (128, None):
        matrix = pack_codes("q4", codes, np.full((3, 1), 0.5), group=group)
        assert matrix.scales.shape == (1, 1, 1, 16)
        np.testing.assert_allclose(products(matrix, x)[0], [[64.0, 64.0, 64.0]], rtol=1e-6)
    least = pack_codes("q4_min", codes, np.full((3, 1), 0.5), np.full((3, 1), -4.0), group=128)
    np.testing.assert_allclose(products(least, x)[0], [[64.0, 64.0, 64.0]], rtol=1e-6)


@pytest.mark.parametrize(("bits", "error"), [(8, 0.006), (4, 0.09)])
def test_rounded_weights_are_near(bits: Bits, error: float) -> None:
    numbers = np.random.default_rng(3)
    w_NM = numbers.normal(size=(33, 70)).astype(np.float32)
    linear = PackedLinear(round_matrix(w_NM, bits))
    x = torch.from_numpy(numbers.normal(size=(2, 3, 70)).astype(np.float32))
    exact = x @ torch.from_numpy(w_NM).T
    assert float((linear(x) - exact).norm() / exact.norm()) < 1.3 * error


def compiled_dot(way: Instructions, wide: bool, triple: str | None = None) -> Any:
    """The machine code of `dot`: as a function of four addresses here, as text for `triple`."""
    module = ir.Module()
    pointers = [kind.as_pointer() for kind in (V16I32, V64I8, I32)]
    function = ir.Function(module, ir.FunctionType(ir.VoidType(), pointers), "dot")
    builder = ir.IRBuilder(function.append_basic_block())
    values = [builder.load(argument) for argument in function.args]
    for value in values:
        value.align = 1
    out = dot(builder, way, *values, wide=wide)
    builder.store(out, function.args[0], align=1)
    builder.ret_void()
    llvm.initialize_all_targets()
    llvm.initialize_all_asmprinters()
    if triple is not None:
        module.triple = triple
        machine = llvm.Target.from_triple(triple).create_target_machine(features="+dotprod", opt=3)
        return machine.emit_assembly(llvm.parse_assembly(str(module)))
    features = llvm.get_host_cpu_features().flatten()
    target = llvm.Target.from_default_triple()
    machine = target.create_target_machine(
        cpu=llvm.get_host_cpu_name(), features=features, opt=3, jit=True
    )
    parsed = llvm.parse_assembly(str(module))
    engine = llvm.create_mcjit_compiler(parsed, machine)
    engine.finalize_object()
    call = ctypes.CFUNCTYPE(None, *[ctypes.c_void_p] * 3)(engine.get_function_address("dot"))
    return engine, call


def runnable() -> list[Instructions]:
    """The sets that this processor has."""
    has = llvm.get_host_cpu_features()
    found: list[Instructions] = ["plain"]
    if HERE in ("avx512", "vnni", "avx2"):
        found.append("avx2")
    if has.get("avxvnni") or (has.get("avx512vnni") and has.get("avx512vl")):
        found.append("vnni")
    return [*found, *(way for way in (HERE,) if way not in found)]


@pytest.mark.parametrize("way", runnable())
@pytest.mark.parametrize("wide", [False, True])
def test_all_instructions_give_the_same_integers(way: Instructions, wide: bool) -> None:
    """The largest numbers are among them: 255 x 127 twice does not fit into 16 bits."""
    numbers = np.random.default_rng(4)
    _engine, call = compiled_dot(way, wide)
    for case in range(20):
        w = numbers.integers(0, 256 if wide else 64, 64, dtype=np.uint8)
        x = numbers.integers(-127, 128, 4).astype(np.int8)
        if case < 2:
            w[:], x[:] = 255 if wide else 63, 127 if case else -127
        sums = numbers.integers(-1000, 1000, 16).astype(np.int32)
        expected = sums + w.reshape(16, 4).astype(np.int32) @ x.astype(np.int32)
        call(sums.ctypes.data, w.ctypes.data, x.ctypes.data)
        assert np.array_equal(sums, expected)


def test_on_arm_the_dot_product_extension_is_used() -> None:
    try:
        text = compiled_dot("neon", wide=True, triple="aarch64-linux-gnu")
    except RuntimeError:
        pytest.skip("this LLVM knows no Arm")
    assert text.count("sdot") == 12  # four quarters, each with twice 64 x for the offset


def test_the_instructions_follow_from_the_processor() -> None:
    haswell = {"fma": True, "f16c": True, "avx2": True}
    assert best_instructions(haswell) == "avx2"
    assert best_instructions(haswell | {"avxvnni": True}) == "vnni"
    whole = {"avx512vnni": True, "avx512bw": True, "avx512vl": True}
    assert best_instructions(haswell | whole) == "avx512"
    assert best_instructions({"dotprod": True}) == "neon"
    assert best_instructions({}) == "plain"


def test_machine_code_is_made_anew_when_what_writes_it_changes() -> None:
    """numba looks at the file of a compiled function, not at what writes its instructions."""
    sources = inspect.getsource(tile_ir) + inspect.getsource(instructions)
    line = f"Digest of what writes it: {hashlib.sha256(sources.encode()).hexdigest()[:16]}."
    assert line in (kernels.__doc__ or ""), f"say so in the docstring of kernels.py: {line}"


def test_kernels_call_one_compiled_function() -> None:
    """So that it is not compiled into each of them, which takes half a minute."""
    matrix = round_matrix(np.ones((16, 32), dtype=np.float32), 8)
    address = kernels.entry_of(matrix)[-1]
    assert len(kernels.entry_of(matrix)) == kernels.ENTRY
    assert njit(lambda n: n)(address) == kernels.entry_of(matrix)[-1]
