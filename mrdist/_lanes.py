"""Vector primitives: pixels in the lanes of the processor's vector registers.

A few inner loops carry all of mrdist's arithmetic. Written as plain loops they leave the accumulators in memory;
as numba intrinsics they keep a dozen of them in registers.

`add_products` and `add_sums` may fuse multiply and add: they only see integers whose sums are exact, so neither the
order nor the fusing can change a bit. The strict ones are in `mrdist._lanes_strict`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar, cast

import llvmlite.binding as llvm
import llvmlite.ir as ir
import numba
from numba import types
from numba.extending import intrinsic

Function = TypeVar("Function", bound=Callable[..., Any])

_WIDE = bool(llvm.get_host_cpu_features().get("avx512f", False))
_X86 = llvm.get_process_triple().startswith("x86")
VECTOR_BYTES = 64 if _WIDE else 32 if _X86 else 16
"""Bytes of one group of lanes: a vector register (AVX-512, AVX2, NEON)."""
_SUMS = 12 if _X86 and not _WIDE else 28  # of 16 or 32 registers, with room for what is multiplied
MAX_COUNT = 7
"""Lags of one column that `add_products` sums at a time."""
ROWS = (0, *(min(8, max(1, _SUMS // count)) for count in range(1, MAX_COUNT + 1)))
"""Rows of pixels that it sums at a time, by the number of lags."""

_INDEX = ir.IntType(64)


def jit(function: Function) -> Function:
    """Compile strictly (no fastmath), without the GIL, once per machine (cached on disk)."""
    return cast(Function, numba.njit(nogil=True, cache=True, error_model="numpy")(function))


class _Emitter:
    """A few words of LLVM: pointers into arrays and unaligned vector loads and stores."""

    def __init__(self, context: Any, builder: Any, dtype: Any, lanes: int | None = None) -> None:
        self.builder = builder
        self.align = dtype.bitwidth // 8
        self.vector = ir.VectorType(context.get_data_type(dtype), lanes or VECTOR_BYTES // self.align)

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
        i = builder.phi(_INDEX)
        i.add_incoming(_INDEX(0), before)
        carried = []
        for value in initial:
            phi = builder.phi(value.type)
            phi.add_incoming(value, before)
            carried.append(phi)
        builder.cbranch(builder.icmp_signed("<", i, count), body, end)
        builder.position_at_end(body)
        for phi, value in zip(carried, step(i, carried), strict=True):
            phi.add_incoming(value, builder.block)
        i.add_incoming(builder.add(i, _INDEX(1)), builder.block)
        builder.branch(head)
        builder.position_at_end(end)
        return carried


def _array_data(context: Any, builder: Any, array_type: Any, array: Any) -> Any:
    return context.make_array(array_type)(context, builder, array).data


@intrinsic
def convert(typing_context, source, source_start, out, out_start, n):  # type: ignore[no-untyped-def]
    """Copy ``n`` integers from ``source[source_start:]`` to the floating-point ``out[out_start:]``.

    A plain loop: the compiler finds the vectors, which it does not behind the views and checks of array slices.
    """
    signature = types.void(source, types.int64, out, types.int64, types.int64)

    def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        source_data, out_data = (_array_data(context, builder, sig.args[k], args[k]) for k in (0, 2))
        _, source_start, _, out_start, n = args
        emit = _Emitter(context, builder, sig.args[2].dtype)
        cast = builder.sitofp if sig.args[0].dtype.signed else builder.uitofp

        def step(i: Any, _: list[Any]) -> list[Any]:
            value = builder.load(builder.gep(source_data, [builder.add(source_start, i)]))
            builder.store(cast(value, emit.vector.element), builder.gep(out_data, [builder.add(out_start, i)]))
            return []

        emit.counted_loop(n, [], step)
        return context.get_dummy_value()

    return signature, generate


@intrinsic
def add_products(  # type: ignore[no-untyped-def]
    typing_context,
    a, a_start, a_stride, a_step,
    b, b_start, b_stride, b_step,
    n, rows, count,
    out, out_start, out_step, out_stride,
):  # fmt: skip
    """Add the products of ``n`` images at ``count`` neighbouring lags to the sums of ``rows`` rows of pixels.

    For r in 0..rows-1 and k in 0..count-1: ``out[out_start + r * out_step + k * out_stride + lane] +=
    sum_i a[a_start + i * a_stride + r * a_step + lane] * b[b_start + i * b_stride + (r + k) * b_step + lane]``.
    One load of b serves up to ``rows`` products: loads, not products, are what limits the loop. ``rows`` is
    one of ``ROWS`` and at most ``ROWS[count]``, and 1 <= count <= MAX_COUNT.
    """
    i64 = types.int64
    signature = types.void(a, i64, i64, i64, b, i64, i64, i64, i64, i64, i64, out, i64, i64, i64)

    def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        a_data, b_data, out_data = (_array_data(context, builder, sig.args[k], args[k]) for k in (0, 4, 11))
        (
            _,
            a_start,
            a_stride,
            a_step,
            _,
            b_start,
            b_stride,
            b_step,
            n,
            rows,
            count,
            _,
            out_start,
            out_step,
            out_stride,
        ) = args
        emit = _Emitter(context, builder, sig.args[0].dtype)
        done = builder.append_basic_block("lanes.done")
        shapes = [(k, r) for k in range(1, MAX_COUNT + 1) for r in sorted(set(ROWS[1:])) if r <= ROWS[k]]
        choose = builder.switch(builder.add(builder.mul(count, _INDEX(64)), rows), done)
        for n_lags, n_rows in shapes:
            block = builder.append_basic_block(f"lanes.{n_lags}x{n_rows}")
            choose.add_case(_INDEX(64 * n_lags + n_rows), block)
            builder.position_at_end(block)
            a_rows = [builder.add(a_start, builder.mul(a_step, _INDEX(r))) for r in range(n_rows)]
            b_rows = [builder.add(b_start, builder.mul(b_step, _INDEX(r))) for r in range(n_rows + n_lags - 1)]
            slots = [
                builder.add(
                    builder.add(out_start, builder.mul(out_step, _INDEX(r))), builder.mul(out_stride, _INDEX(k))
                )
                for r in range(n_rows)
                for k in range(n_lags)
            ]

            def step(
                i: Any,
                values: list[Any],
                a_rows: list[Any] = a_rows,
                b_rows: list[Any] = b_rows,
                n_lags: int = n_lags,
            ) -> list[Any]:
                a_shift, b_shift = builder.mul(i, a_stride), builder.mul(i, b_stride)
                x = [emit.load(a_data, builder.add(a_shift, row)) for row in a_rows]
                y = [emit.load(b_data, builder.add(b_shift, row)) for row in b_rows]
                return [
                    builder.fadd(
                        builder.fmul(x[slot // n_lags], y[slot // n_lags + slot % n_lags], flags=("contract",)),
                        value,
                        flags=("contract",),
                    )
                    for slot, value in enumerate(values)
                ]

            totals = emit.counted_loop(n, [emit.load(out_data, slot) for slot in slots], step)
            for total, slot in zip(totals, slots, strict=True):
                emit.store(total, out_data, slot)
            builder.branch(done)
        builder.position_at_end(done)
        return context.get_dummy_value()

    return signature, generate


@intrinsic
def add_sums(  # type: ignore[no-untyped-def]
    typing_context, x, x_start, x_stride, t, t_start, t_stride, n, out, out_start, out_stride
):
    """Add the sums of x, t and t^2 over ``n`` images, one group of lanes wide.

    ``out[out_start + k * out_stride + lane]`` gets ``sum_i x[x_start + i * x_stride + lane]`` for k = 0, and those of
    t and t^2 for k = 1 and 2.
    """
    i64 = types.int64
    signature = types.void(x, i64, i64, t, i64, i64, i64, out, i64, i64)

    def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        x_data, t_data, out_data = (_array_data(context, builder, sig.args[k], args[k]) for k in (0, 3, 7))
        _, x_start, x_stride, _, t_start, t_stride, n, _, out_start, out_stride = args
        emit = _Emitter(context, builder, sig.args[0].dtype)
        slots = [builder.add(out_start, builder.mul(out_stride, _INDEX(k))) for k in range(3)]

        def step(i: Any, values: list[Any]) -> list[Any]:
            source = emit.load(x_data, builder.add(x_start, builder.mul(i, x_stride)))
            target = emit.load(t_data, builder.add(t_start, builder.mul(i, t_stride)))
            square = builder.fmul(target, target, flags=("contract",))
            return [
                builder.fadd(term, value, flags=("contract",))
                for term, value in zip((source, target, square), values, strict=True)
            ]

        totals = emit.counted_loop(n, [emit.load(out_data, slot) for slot in slots], step)
        for total, slot in zip(totals, slots, strict=True):
            emit.store(total, out_data, slot)
        return context.get_dummy_value()

    return signature, generate
