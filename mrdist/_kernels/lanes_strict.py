"""Strict vector primitives of the solvers: pixels in the lanes, one fixed sequence of rounded operations a pixel.

Every product is rounded before it is added, and sums run in the order of the index: the same bits on every
processor, in every lane. What `mrdist._kernels.dot_products` may reorder are integers; here are fractions.

Batches hold ``SOLVE_LANES`` pixels in their fastest axis. Arguments called ``start`` are flat indices of a first
lane, strides and steps are flat distances.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import llvmlite.ir as ir
import numpy as np
import numpy.typing as npt
from numba import types
from numba.extending import intrinsic

from mrdist._kernels.lanes import INDEX, VECTOR_BYTES, Emitter, array_data, jit

SOLVE_LANES = 2 * VECTOR_BYTES // 8
"""Pixels in one batch of the solver: two vector registers, since one waits for its own last result too often."""
SOLVE_ROWS = 4
"""Matrix rows that one pass of `subtract_products` keeps in registers."""
_LINE = 64  # bytes of a cache line: a load that straddles two costs twice


@jit
def aligned(shape: tuple[int, ...]) -> npt.NDArray[np.float64]:
    """Return zeros of ``shape`` that begin on a cache line."""
    size = 1
    for n in shape:
        size *= n
    raw = np.zeros(size + _LINE // 8)
    skip = (-raw.ctypes.data % _LINE) // 8
    return raw[skip : skip + size].reshape(shape)


def broadcast(builder: Any, value: Any) -> Any:
    vector = ir.Constant(ir.VectorType(value.type, SOLVE_LANES), ir.Undefined)
    for lane in range(SOLVE_LANES):
        vector = builder.insert_element(vector, value, INDEX(lane))
    return vector


def dispatch(builder: Any, count: Any, most: int, generate: Callable[[int], None]) -> None:
    """Run the code that ``generate`` emits for ``count`` rows, out of 1..most."""
    done = builder.append_basic_block("lanes.done")
    choose = builder.switch(count, done)
    for rows in range(1, most + 1):
        block = builder.append_basic_block(f"lanes.rows{rows}")
        choose.add_case(INDEX(rows), block)
        builder.position_at_end(block)
        generate(rows)
        builder.branch(done)
    builder.position_at_end(done)


@intrinsic
def copy_lanes(typing_context, source, source_start, out, out_start):  # type: ignore[no-untyped-def]
    """Copy one group of lanes, integers or floats, to the float64 ``out``."""
    signature = types.void(source, types.int64, out, types.int64)

    def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        source_data, out_data = (array_data(context, builder, sig.args[k], args[k]) for k in (0, 2))
        emit = Emitter(context, builder, types.float64, SOLVE_LANES)
        emit.store(_floats(context, builder, sig.args[0].dtype, source_data, args[1]), out_data, args[3])
        return context.get_dummy_value()

    return signature, generate


@intrinsic
def centre_lanes(  # type: ignore[no-untyped-def]
    typing_context, source, source_start, n, a, a_start, b, b_start, out, out_start
):
    """Write ``n * source - a * b`` for one group of lanes of integers ``source`` and floats a and b."""
    i64 = types.int64
    signature = types.void(source, i64, types.float64, a, i64, b, i64, out, i64)

    def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        source_data, a_data, b_data, out_data = (
            array_data(context, builder, sig.args[k], args[k]) for k in (0, 3, 5, 7)
        )
        _, source_start, n, _, a_start, _, b_start, _, out_start = args
        emit = Emitter(context, builder, types.float64, SOLVE_LANES)
        source = _floats(context, builder, sig.args[0].dtype, source_data, source_start)
        product = builder.fmul(source, broadcast(builder, n))
        other = builder.fmul(emit.load(a_data, a_start), emit.load(b_data, b_start))
        emit.store(builder.fsub(product, other), out_data, out_start)
        return context.get_dummy_value()

    return signature, generate


def _floats(context: Any, builder: Any, dtype: Any, data: Any, start: Any) -> Any:
    """Load one group of lanes as float64."""
    emit = Emitter(context, builder, dtype, SOLVE_LANES)
    value = emit.load(data, start)
    if isinstance(dtype, types.Float):
        return value
    convert = builder.sitofp if dtype.signed else builder.uitofp
    return convert(value, ir.VectorType(ir.DoubleType(), SOLVE_LANES))


@intrinsic
def subtract_products(  # type: ignore[no-untyped-def]
    typing_context, out, out_start, out_stride, a, a_start, a_row, a_step, b, b_start, b_step, n, count
):
    """Subtract dot products from ``count <= SOLVE_ROWS`` rows, one group of pixels wide, strictly in order.

    For r in 0..count-1 and k = 0, 1, ..., n-1: ``out[out_start + r * out_stride + lane] -=
    a[a_start + r * a_row + k * a_step + lane] * b[b_start + k * b_step + lane]``.
    """
    i64 = types.int64
    signature = types.void(out, i64, i64, a, i64, i64, i64, b, i64, i64, i64, i64)

    def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        out_data, a_data, b_data = (array_data(context, builder, sig.args[k], args[k]) for k in (0, 3, 7))
        _, out_start, out_stride, _, a_start, a_row, a_step, _, b_start, b_step, n, count = args
        emit = Emitter(context, builder, types.float64, SOLVE_LANES)

        def rows(count: int) -> None:
            slots = [builder.add(out_start, builder.mul(out_stride, INDEX(r))) for r in range(count)]
            starts = [builder.add(a_start, builder.mul(a_row, INDEX(r))) for r in range(count)]

            def step(k: Any, values: list[Any]) -> list[Any]:
                y = emit.load(b_data, builder.add(b_start, builder.mul(k, b_step)))
                shift = builder.mul(k, a_step)
                return [
                    builder.fsub(value, builder.fmul(emit.load(a_data, builder.add(start, shift)), y))
                    for start, value in zip(starts, values, strict=True)
                ]

            rests = emit.counted_loop(n, [emit.load(out_data, slot) for slot in slots], step)
            for rest, slot in zip(rests, slots, strict=True):
                emit.store(rest, out_data, slot)

        dispatch(builder, count, SOLVE_ROWS, rows)
        return context.get_dummy_value()

    return signature, generate
