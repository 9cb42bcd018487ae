"""Where the threads of a compiled loop wait for each other.

Input: a few numbers that they share. A thread that waits spins for some microseconds, then sleeps:
beside other work the one it waits for has been put aside, and a core that falls idle takes it up at
once, while one that only yields goes to the other work (docs/engine.md).

Not here: starting threads (team.py).
"""

# ruff: noqa: ANN401 -- arrays of any number type
# mypy: disable-error-code="untyped-decorator"
from typing import Any

from llvmlite import ir  # type: ignore[import-untyped]
from numba import extending, njit, types

_intrinsic: Any = extending.intrinsic  # its stub demands the context argument of every caller
_SPINS = 4000
_NAP = 50
"""Microseconds."""
_INT64 = ir.IntType(64)
_USLEEP: Any = types.ExternalFunction("usleep", types.int32(types.uint32))


@_intrinsic
def _atomic_add(_context: Any, array: Any, index: Any) -> Any:
    """Add 1 to an int64 that threads share; gives the value before."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        pointer = _pointer(context, builder, signature, args)
        return builder.atomic_rmw("add", pointer, ir.Constant(_INT64, 1), "seq_cst")

    return types.int64(array, index), generate


@_intrinsic
def _atomic_load(_context: Any, array: Any, index: Any) -> Any:
    """Read an int64 that another thread may write."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.load_atomic(_pointer(context, builder, signature, args), "seq_cst", 8)

    return types.int64(array, index), generate


@_intrinsic
def _atomic_store(_context: Any, array: Any, index: Any, _value: Any) -> Any:
    """Write an int64 that another thread may read."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        pointer = _pointer(context, builder, signature, args)
        builder.store_atomic(args[2], pointer, "seq_cst", 8)
        return context.get_dummy_value()

    return types.void(array, index, types.int64), generate


def _pointer(context: Any, builder: Any, signature: Any, args: Any) -> Any:
    array = context.make_array(signature.args[0])(context, builder, args[0])
    index = context.cast(builder, args[1], signature.args[1], types.int64)
    return builder.gep(array.data, [index])


@njit(nogil=True, cache=True)
def meet(sync: Any, n_threads: int) -> None:
    """Wait until all threads are here. sync[0] counts arrivals, sync[8] the meetings so far."""
    if n_threads == 1:
        return
    meeting = _atomic_load(sync, 8)
    if _atomic_add(sync, 0) == n_threads - 1:
        _atomic_store(sync, 0, 0)
        _atomic_store(sync, 8, meeting + 1)
        return
    spins = 0
    while _atomic_load(sync, 8) == meeting:
        spins += 1
        if spins > _SPINS:
            _USLEEP(_NAP)
