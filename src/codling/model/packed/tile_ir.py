"""The innermost loop of a product with a packed matrix: 16 rows times one or several tokens.

A weight is scale x (code - zero), or scale x code + minimum; columns in groups share a scale and a
minimum. Activations are bytes with a scale per 32 columns. Per group of 32 columns (or twice per
group, where weights share a scale in sixteens) a sum of products of integers is exact; then

    out += (sum - zero x (sum of the activations)) x (their scale) x scale     or
    out += sum x (their scale) x scale + minimum x (their scale x the sum of the activations)

in this order, whatever the number of tokens: so a token's result has the same bits alone and in a
batch.

How codes, scales and activations lie: matrix.py, activations.py. Not here: loops over rows.
"""

# ruff: noqa: ANN401, PLR0913 -- llvmlite's builder and values, one by one
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from llvmlite import ir  # type: ignore[import-untyped]
from numba import extending, types
from numba.core import cgutils

from codling.model.packed.instructions import (
    F32,
    I8,
    I16,
    I32,
    LANES,
    V16F32,
    V16I32,
    V64I8,
    Instructions,
    dot,
    half_to_float,
    multiply_add,
    splat,
)

GROUP = 32
"""Columns in which activations share a scale."""
_QUADS = GROUP // 4
_I64 = ir.IntType(64)
_VECTOR = 4 * LANES
"""Bytes of 16 rows, four columns each."""


@dataclass(frozen=True)
class CodeForm:
    """How the codes and scales of a matrix are written."""

    bits: int
    """Of a code: 4, 5, 6 or 8."""
    zero: int
    """The code of weight 0, where there is no minimum."""
    has_min: bool
    n_levels: int
    """1: a half-precision scale (and minimum) per group. 2: one per 256 columns, times a byte per
    group. 0: float32, for tiles that were unpacked."""
    sixteens: bool = False
    """Columns share a scale in sixteens."""

    @property
    def group_bytes(self) -> int:
        """Bytes of the codes of 16 rows and 32 columns."""
        return LANES * GROUP * self.bits // 8


class _Emitter:
    """Writes the loop for one form and a number of tokens."""

    def __init__(self, builder: Any, way: Instructions, form: CodeForm, n_tokens: int) -> None:
        self.builder, self.way, self.form, self.n_tokens = builder, way, form, n_tokens
        self.zero = ir.Constant(V16F32, [-float(form.zero)] * LANES)

    def loop(self, parts: Any) -> None:
        codes, scales, tops, shift, x, factors, n_groups, out = parts
        builder = self.builder
        number = builder.sitofp(shift, F32) if self.form.n_levels == 0 else None
        self.zero = splat(builder, builder.fneg(number)) if number else self.zero
        zero = ir.Constant(V16F32, [0.0] * LANES)
        room: Any = cgutils.alloca_once_value
        totals = [room(builder, zero) for _ in range(self.n_tokens)]
        with cgutils.for_range(builder, n_groups) as loop:
            group = loop.index
            weights = self._weights(codes, group)
            halves = [weights[:4], weights[4:]] if self.form.sixteens else [weights]
            for half, quads in enumerate(halves):
                scale, minimum = self._scales(scales, tops, shift, group, half)
                for token, total in enumerate(totals):
                    at = (group, half, token, n_groups)
                    sums = self._sums(quads, x, at)
                    old = builder.load(total)
                    builder.store(self._add(old, sums, scale, minimum, factors, at), total)
        for token, total in enumerate(totals):
            self._store(out, token, builder.load(total))

    def unpack(self, parts: Any) -> None:
        """Codes as bytes, scales and minima as float32, group by group."""
        codes, scales, tops, shift, n_groups, code_out, scale_out, min_out = parts
        builder = self.builder
        n_halves = 2 if self.form.sixteens else 1
        with cgutils.for_range(builder, n_groups) as loop:
            group = loop.index
            for i, quad in enumerate(self._weights(codes, group)):
                self._put(code_out, self._offset(group, _QUADS * _VECTOR, i * _VECTOR), quad)
            for half in range(n_halves):
                scale, minimum = self._scales(scales, tops, shift, group, half)
                place = self._offset(group, n_halves * _VECTOR, half * _VECTOR)
                self._put(scale_out, place, scale)
                if minimum is not None:
                    self._put(min_out, place, minimum)

    def _weights(self, codes: Any, group: Any) -> list[Any]:
        """The codes of the group, eight times 16 rows of four columns."""
        builder, bits, size = self.builder, self.form.bits, self.form.group_bytes
        first = self._offset(group, size, 0)
        n_loads = size // _VECTOR
        vectors = [
            self._get(codes, builder.add(first, ir.Constant(_I64, i * _VECTOR)), V64I8)
            for i in range(n_loads)
        ]
        if bits == 8:
            return vectors
        low = [builder.and_(v, _bytes(15)) for v in vectors[:4]]
        high = [self._right(v, 4, 15) for v in vectors[:4]]
        quads = [*low, *high]
        if bits == 4:
            return quads
        per, mask = (8, 1) if bits == 5 else (4, 3)
        planes = vectors[4:]
        return [
            builder.or_(quad, self._field(planes[i // per], (bits - 4) * (i % per), mask))
            for i, quad in enumerate(quads)
        ]

    def _field(self, plane: Any, shift: int, mask: int) -> Any:
        """(plane >> shift & mask) << 4, for each byte."""
        if shift < 4:
            moved = self.builder.shl(plane, _bytes(4 - shift))
        else:
            moved = self._right(plane, shift - 4, 255) if shift > 4 else plane
        return self.builder.and_(moved, _bytes(mask << 4))

    def _right(self, vector: Any, n: int, mask: int) -> Any:
        moved = self.builder.lshr(vector, _bytes(n))
        return moved if mask >= 255 >> n else self.builder.and_(moved, _bytes(mask))

    def _scales(
        self, scales: Any, tops: Any, shift: Any, group: Any, half: int
    ) -> tuple[Any, Any | None]:
        """Scale of each row in the group, and minimum, if the form has one."""
        builder, form = self.builder, self.form
        if form.n_levels == 0:
            n_halves = 2 if form.sixteens else 1
            place = self._offset(group, n_halves * _VECTOR, half * _VECTOR)
            scale = self._get(scales, place, V16F32)
            return scale, self._get(tops, place, V16F32) if form.has_min else None
        n_kinds = 2 if form.has_min else 1
        if form.n_levels == 1:
            shared = builder.lshr(group, shift)
            return self._halves(scales, shared, n_kinds)
        top, top_min = self._halves(tops, builder.lshr(group, ir.Constant(_I64, 3)), n_kinds)
        small = [self._small(scales, group, i) for i in range(2)]
        if form.sixteens:
            return builder.fmul(top, small[half]), None
        return builder.fmul(top, small[0]), builder.fmul(top_min, small[1])

    def _small(self, scales: Any, group: Any, i: int) -> Any:
        """A byte per row as a number: with sign where it may have one."""
        v16i8 = ir.VectorType(I8, LANES)
        raw = self._get(scales, self._offset(group, 2 * LANES, i * LANES), v16i8)
        extend = self.builder.sext if self.form.sixteens else self.builder.zext
        return self.builder.sitofp(extend(raw, V16I32), V16F32)

    def _halves(self, base: Any, index: Any, n_kinds: int) -> tuple[Any, Any | None]:
        v16i16 = ir.VectorType(I16, LANES)
        found = [
            half_to_float(
                self.builder,
                self.way,
                self._get(base, self._offset(index, n_kinds * 32, i * 32), v16i16),
            )
            for i in range(n_kinds)
        ]
        return found[0], found[1] if n_kinds == 2 else None

    def _sums(self, quads: list[Any], x: Any, at: Any) -> Any:
        group, half, token, n_groups = at
        builder = self.builder
        row = builder.mul(n_groups, ir.Constant(_I64, token * GROUP))
        first = builder.add(row, self._offset(group, GROUP, 16 * half))
        sums = ir.Constant(V16I32, [0] * LANES)
        for i, quad in enumerate(quads):
            four = self._get(x, builder.add(first, ir.Constant(_I64, 4 * i)), I32)
            sums = dot(builder, self.way, sums, quad, four, wide=self.form.bits == 8)
        return sums

    def _add(
        self, total: Any, sums: Any, scale: Any, minimum: Any | None, factors: Any, at: Any
    ) -> Any:
        builder, way, form = self.builder, self.way, self.form
        value = builder.sitofp(sums, V16F32)
        if minimum is None:
            plane = 3 if form.sixteens else 1
            value = multiply_add(builder, way, self.zero, self._factor(factors, plane, at), value)
        value = builder.fmul(value, self._factor(factors, 0, at))
        total = multiply_add(builder, way, value, scale, total)
        if minimum is not None:
            total = multiply_add(builder, way, minimum, self._factor(factors, 2, at), total)
        return total

    def _factor(self, factors: Any, plane: int, at: Any) -> Any:
        """One of the activations' numbers per group, in every lane: planes as in activations.py."""
        group, half, token, n_groups = at
        builder = self.builder
        before = builder.mul(n_groups, ir.Constant(_I64, token * 5 + plane))
        if plane == 3:
            group = builder.add(builder.shl(group, ir.Constant(_I64, 1)), ir.Constant(_I64, half))
        place = builder.shl(builder.add(before, group), ir.Constant(_I64, 2))
        return splat(builder, self._get(factors, place, F32))

    def _store(self, out: Any, token: int, value: Any) -> None:
        self._put(out, ir.Constant(_I64, token * _VECTOR), value)

    def _offset(self, index: Any, step: int, plus: int) -> Any:
        product = self.builder.mul(index, ir.Constant(_I64, step))
        return self.builder.add(product, ir.Constant(_I64, plus))

    def _get(self, base: Any, offset: Any, kind: Any) -> Any:
        place = self.builder.inttoptr(self.builder.add(base, offset), kind.as_pointer())
        value = self.builder.load(place)
        value.align = 1
        return value

    def _put(self, base: Any, offset: Any, value: Any) -> None:
        place = self.builder.inttoptr(self.builder.add(base, offset), value.type.as_pointer())
        self.builder.store(value, place, align=1)


def _bytes(value: int) -> Any:
    return ir.Constant(V64I8, [value] * (4 * LANES))


def tile_product(forms: Sequence[CodeForm], n_tokens: int, way: Instructions) -> Any:
    """A function for numba: (form, codes, scales, tops, shift, x, factors, n_groups, out), all
    int64: the place among `forms`, addresses and numbers. It writes [n_tokens, 16] float32 to
    `out`. For unpacked forms `tops` is the minima, and `shift` the code of weight 0."""
    emitters = [lambda b, args, f=f: _Emitter(b, way, f, n_tokens).loop(args) for f in forms]
    return _function(emitters)


def tile_unpacker(forms: Sequence[CodeForm], way: Instructions) -> Any:
    """A function for numba: (form, codes, scales, tops, shift, n_groups, codes_out, scales_out,
    minima_out), which turns a tile into one of form `form_of_unpacked(form)`."""
    return _function([lambda b, args, f=f: _Emitter(b, way, f, 1).unpack(args) for f in forms])


def form_of_unpacked(form: CodeForm) -> CodeForm:
    """The form of an unpacked tile: bytes, and float32 scales."""
    return replace(form, bits=8, n_levels=0)


def _function(emitters: Sequence[Any]) -> Any:
    """One function that does what its first argument chooses."""

    @extending.intrinsic
    def function(
        _context: Any, _form: Any, _a: Any, _b: Any, _c: Any, _d: Any, _e: Any, _f: Any, _g: Any,
        _h: Any,
    ) -> Any:  # fmt: skip
        def generate(context: Any, builder: Any, _signature: Any, args: Any) -> Any:
            end = builder.append_basic_block("chosen")
            switch = builder.switch(args[0], end)
            for i, emit in enumerate(emitters):
                block = builder.append_basic_block(f"form{i}")
                switch.add_case(ir.Constant(_I64, i), block)
                builder.position_at_end(block)
                emit(builder, args[1:])
                builder.branch(end)
            builder.position_at_end(end)
            return context.get_dummy_value()

        return types.void(*([types.int64] * 9)), generate

    return function
