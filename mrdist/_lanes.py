"""Vector primitives: pixels in the lanes of the processor's vector registers.

A few inner loops carry all of mrdist's arithmetic. Written as plain loops they leave the accumulators in memory;
as numba intrinsics they keep dozens of them in registers. Here are the words that these are written in, and the
solver's inner loop; `mrdist._dot_products` has those of the sums over images.

`subtract_products` is strict: one product, one rounding, one difference, one rounding, in the order of the index,
the same bits on every processor.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar, cast

import llvmlite.ir as ir
import numba
from numba import types
from numba.extending import intrinsic

Function = TypeVar("Function", bound=Callable[..., Any])

SOLVE_LANES = 8
"""Pixels in one group of float64 lanes of the solver."""
SOLVE_ROWS = 8
"""Matrix rows that one pass of `subtract_products` keeps in registers."""

INDEX = ir.IntType(64)


def jit(function: Function) -> Function:
    """Compile strictly (no fastmath), without the GIL, once per machine (cached on disk)."""
    return cast(Function, numba.njit(nogil=True, cache=True, error_model="numpy")(function))


class Emitter:
    """A few words of LLVM: pointers into arrays and unaligned vector loads and stores."""

    def __init__(self, context: Any, builder: Any, dtype: Any, lanes: int) -> None:
        self.builder = builder
        self.lanes = lanes
        self.align = dtype.bitwidth // 8
        self.vector = ir.VectorType(context.get_data_type(dtype), lanes)

    def at(self, start: Any, step: Any, k: int) -> Any:
        return self.builder.add(start, self.builder.mul(step, INDEX(k)))

    def constant(self, value: int, vector: Any = None) -> Any:
        vector = vector or self.vector
        return ir.Constant(vector, [value] * vector.count)

    def load(self, data: Any, index: Any) -> Any:
        pointer = self.builder.bitcast(self.builder.gep(data, [index]), self.vector.as_pointer())
        return self.builder.load(pointer, align=self.align)

    def store(self, value: Any, data: Any, index: Any) -> None:
        pointer = self.builder.bitcast(self.builder.gep(data, [index]), self.vector.as_pointer())
        self.builder.store(value, pointer, align=self.align)

    def counted_loop(
        self, count: Any, initial: Sequence[Any], step: Callable[[Any, list[Any]], list[Any]]
    ) -> list[Any]:
        """Run ``step(i, values)`` for i in 0..count-1 with ``values`` carried in registers."""
        builder = self.builder
        before = builder.block
        head = builder.append_basic_block("lanes.head")
        body = builder.append_basic_block("lanes.body")
        end = builder.append_basic_block("lanes.end")
        builder.branch(head)
        builder.position_at_end(head)
        i = builder.phi(INDEX)
        i.add_incoming(INDEX(0), before)
        carried = []
        for value in initial:
            phi = builder.phi(value.type)
            phi.add_incoming(value, before)
            carried.append(phi)
        builder.cbranch(builder.icmp_signed("<", i, count), body, end)
        builder.position_at_end(body)
        for phi, value in zip(carried, step(i, carried), strict=True):
            phi.add_incoming(value, builder.block)
        i.add_incoming(builder.add(i, INDEX(1)), builder.block)
        builder.branch(head)
        builder.position_at_end(end)
        return carried


def array_data(context: Any, builder: Any, array_type: Any, array: Any) -> Any:
    return context.make_array(array_type)(context, builder, array).data


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
        done = builder.append_basic_block("lanes.done")
        choose = builder.switch(count, done)
        for rows in range(1, SOLVE_ROWS + 1):
            block = builder.append_basic_block(f"lanes.rows{rows}")
            choose.add_case(INDEX(rows), block)
            builder.position_at_end(block)
            slots = [builder.add(out_start, builder.mul(out_stride, INDEX(r))) for r in range(rows)]
            starts = [builder.add(a_start, builder.mul(a_row, INDEX(r))) for r in range(rows)]

            def step(k: Any, values: list[Any], starts: list[Any] = starts) -> list[Any]:
                y = emit.load(b_data, builder.add(b_start, builder.mul(k, b_step)))
                shift = builder.mul(k, a_step)
                return [
                    builder.fsub(value, builder.fmul(emit.load(a_data, builder.add(start, shift)), y))
                    for start, value in zip(starts, values, strict=True)
                ]

            rests = emit.counted_loop(n, [emit.load(out_data, slot) for slot in slots], step)
            for rest, slot in zip(rests, slots, strict=True):
                emit.store(rest, out_data, slot)
            builder.branch(done)
        builder.position_at_end(done)
        return context.get_dummy_value()

    return signature, generate
