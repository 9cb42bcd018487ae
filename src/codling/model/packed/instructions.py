"""Sums of four products of bytes, by the instructions that the processor has.

Input: 64 weights (bytes without sign) of 16 rows, four columns each, and the four activations
(bytes with sign) that belong to the columns. Output: 16 sums of 32 bits. All ways give the same
integers; which one is compiled follows from the processor that compiles.

    avx512   vpdpbusd on 512 bits (AVX512-VNNI)
    vnni     vpdpbusd on 256 bits (AVX-VNNI)
    avx2     vpmaddubsw and vpmaddwd
    neon     sdot (Arm's dot-product extension)
    plain    multiplications and additions, on everything

Not here: what the bytes mean (tile_ir.py).
"""

# ruff: noqa: ANN401, PLR0913 -- llvmlite's builder and values, one by one
from typing import Any, Literal

import llvmlite.binding as llvm  # type: ignore[import-untyped]
from llvmlite import ir

Instructions = Literal["avx512", "vnni", "avx2", "neon", "plain"]

I8, I16, I32 = ir.IntType(8), ir.IntType(16), ir.IntType(32)
F32 = ir.FloatType()
LANES = 16
"""Rows that are computed at once."""
V16I32, V16F32 = ir.VectorType(I32, LANES), ir.VectorType(F32, LANES)
V64I8 = ir.VectorType(I8, 4 * LANES)


def best_instructions(features: dict[str, bool] | None = None) -> Instructions:
    """What the processor with these features computes fastest with; None asks this processor.

    >>> best_instructions({"avx2": True, "fma": True, "f16c": True}), best_instructions({})
    ('avx2', 'plain')
    """
    has = llvm.get_host_cpu_features() if features is None else features
    if has.get("dotprod"):
        return "neon"
    if not (has.get("fma") and has.get("f16c") and has.get("avx2")):
        return "plain"
    if has.get("avx512vnni") and has.get("avx512bw") and has.get("avx512vl"):
        return "avx512"
    return "vnni" if has.get("avxvnni") else "avx2"


HERE: Instructions = best_instructions()


def dot(builder: Any, way: Instructions, sums: Any, w: Any, x: Any, *, wide: bool) -> Any:
    """sums[i] + w[4i : 4i + 4] . x for each of 16 rows.

    `sums` <16 x i32>, `w` <64 x i8> without sign, `x` one i32 of four bytes with sign between -127
    and 127. `wide`: weights may use all 8 bits; else they are below 128.
    """
    if way == "avx512":
        return _dpbusd(builder, sums, w, x, LANES, "llvm.x86.avx512.vpdpbusd.512")
    if way == "plain":
        return _dot_plain(builder, sums, w, x)
    width, part_of = (4, _dot_neon) if way == "neon" else (8, _PARTS[way])
    parts = [
        part_of(
            builder,
            take(builder, sums, first, width),
            take(builder, w, 4 * first, 4 * width),
            x,
            wide,
        )
        for first in range(0, LANES, width)
    ]
    while len(parts) > 1:
        pairs = zip(parts[::2], parts[1::2], strict=True)
        parts = [_join(builder, low, high) for low, high in pairs]
    return parts[0]


def splat(builder: Any, value: Any, n: int = LANES) -> Any:
    """A vector of n times the value."""
    kind = ir.VectorType(value.type, n)
    one = builder.insert_element(ir.Constant(kind, ir.Undefined), value, ir.Constant(I32, 0))
    places = ir.Constant(ir.VectorType(I32, n), [0] * n)
    return builder.shuffle_vector(one, ir.Constant(kind, ir.Undefined), places)


def take(builder: Any, vector: Any, first: int, n: int, step: int = 1) -> Any:
    """n elements of a vector, from the first one on."""
    places = ir.Constant(ir.VectorType(I32, n), [first + step * i for i in range(n)])
    return builder.shuffle_vector(vector, ir.Constant(vector.type, ir.Undefined), places)


def call(builder: Any, name: str, result: Any, *arguments: Any) -> Any:
    """An LLVM intrinsic."""
    module, kind = builder.module, ir.FunctionType(result, [a.type for a in arguments])
    function = module.globals.get(name) or ir.Function(module, kind, name)
    return builder.call(function, arguments)


def multiply_add(builder: Any, way: Instructions, a: Any, b: Any, c: Any) -> Any:
    """a x b + c, rounded once where the processor can."""
    if way == "plain":
        return builder.fadd(builder.fmul(a, b), c)
    return call(builder, "llvm.fma.v16f32", V16F32, a, b, c)


def half_to_float(builder: Any, way: Instructions, bits: Any) -> Any:
    """<16 x i16>, the bits of half-precision numbers, as <16 x float>, exactly."""
    if way != "plain":
        halves = builder.bitcast(bits, ir.VectorType(ir.HalfType(), LANES))
        return builder.fpext(halves, V16F32)
    wide = builder.zext(bits, V16I32)
    size = builder.shl(builder.and_(wide, _constant(0x7FFF)), _constant(13))
    # The exponent's offset is 15 in one type and 127 in the other.
    scaled = builder.fmul(builder.bitcast(size, V16F32), ir.Constant(V16F32, [2.0**112] * LANES))
    sign = builder.shl(builder.and_(wide, _constant(0x8000)), _constant(16))
    return builder.bitcast(builder.or_(builder.bitcast(scaled, V16I32), sign), V16F32)


def _constant(value: int) -> Any:
    return ir.Constant(V16I32, [value] * LANES)


def _join(builder: Any, low: Any, high: Any) -> Any:
    n = low.type.count + high.type.count
    return builder.shuffle_vector(low, high, ir.Constant(ir.VectorType(I32, n), list(range(n))))


def _dpbusd(builder: Any, sums: Any, w: Any, x: Any, n: int, name: str) -> Any:
    words = builder.bitcast(w, sums.type)
    return call(builder, name, sums.type, sums, words, splat(builder, x, n))


def _dot_vnni(builder: Any, sums: Any, w: Any, x: Any, _wide: bool) -> Any:
    return _dpbusd(builder, sums, w, x, 8, "llvm.x86.avx512.vpdpbusd.256")


def _dot_avx2(builder: Any, sums: Any, w: Any, x: Any, wide: bool) -> Any:
    """Pairs are summed in 16 bits: 127 x 127 x 2 and 128 x 127 x 2 fit, 255 x 127 x 2 does not."""
    xs = builder.bitcast(splat(builder, x, 8), w.type)
    parts = [w]
    if wide:
        low, high = (ir.Constant(w.type, [mask] * 32) for mask in (0x7F, 0x80))
        parts = [builder.and_(w, low), builder.and_(w, high)]
    for part in parts:
        v16i16 = ir.VectorType(I16, 16)
        pairs = call(builder, "llvm.x86.avx2.pmadd.ub.sw", v16i16, part, xs)
        ones = ir.Constant(v16i16, [1] * 16)
        fours = call(builder, "llvm.x86.avx2.pmadd.wd", ir.VectorType(I32, 8), pairs, ones)
        sums = builder.add(sums, fours)
    return sums


def _dot_neon(builder: Any, sums: Any, w: Any, x: Any, wide: bool) -> Any:
    """Both factors have a sign: weights of 8 bits are taken 128 lower, which is put back."""
    xs = builder.bitcast(splat(builder, x, 4), w.type)
    name = "llvm.aarch64.neon.sdot.v4i32.v16i8"
    if wide:
        flipped = ir.Constant(w.type, [0x80] * 16)
        # 128 x = 64 x + 64 x
        half = ir.Constant(w.type, [64] * 16)
        sums = call(builder, name, sums.type, sums, half, xs)
        sums = call(builder, name, sums.type, sums, half, xs)
        w = builder.xor(w, flipped)
    return call(builder, name, sums.type, sums, w, xs)


def _dot_plain(builder: Any, sums: Any, w: Any, x: Any) -> Any:
    for i in range(4):
        column = builder.zext(take(builder, w, i, LANES, step=4), V16I32)
        shifted = builder.trunc(builder.lshr(x, ir.Constant(I32, 8 * i)), I8)
        value = builder.sext(shifted, I32)
        sums = builder.add(sums, builder.mul(column, splat(builder, value)))
    return sums


_PARTS = {"vnni": _dot_vnni, "avx2": _dot_avx2}
