"""Exact integer dot products: the items of a regression four to a lane, or one.

Bytes are summed four at a time. A lane of 32 bits holds one pixel of four *items* (images, or channels of images that
share their weights), as signed bytes x - 128. One factor of a product is made unsigned again, and
``sum x y = sum x (y - 128) + 128 sum x``: the sums start at the last term. Processors with VNNI have one instruction
for this; elsewhere bytes are widened to 16 bits, in a form that LLVM compiles to the multiply-add instruction of SSE2,
AVX2 or AVX-512 where there is one. Numbers of more bits take a float64 lane each, whose sums are exact up to 2^53.
Every way of summing gives the same integers.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import llvmlite.ir as ir
from numba import types
from numba.extending import intrinsic

from mrdist._kernels.lanes import FEATURES, INDEX, VECTOR_BYTES, WIDE, X86, Emitter, array_data

_VNNI = "+avx512vnni" in FEATURES if WIDE else "+avxvnni" in FEATURES
MAX_COUNT = 4 if X86 and not WIDE else 7
"""Lags of one column that `add_products` sums at a time."""
# Of 16 or 32 registers two are left for constants and what is in passing.
ROWS = (0, *(min(8, (14 if X86 and not WIDE else 30) // (count + 1)) for count in range(1, MAX_COUNT + 1)))
"""Rows of pixels that it sums at a time, by the number of lags."""

WORD = ir.IntType(32)


def indices(values: Iterable[int]) -> Any:
    """Return the mask of a shuffle."""
    mask = list(values)
    return ir.Constant(ir.VectorType(WORD, len(mask)), mask)


class _Bytes(Emitter):
    """Sums in int32 lanes of products of four bytes."""

    one = 0x01010101

    def unsigned(self, vector: Any) -> list[Any]:
        """Return the parts of the unsigned factor."""
        builder = self.builder
        vector = builder.xor(vector, self.constant(0x80808080))
        if _VNNI:
            return [vector]
        halves = builder.bitcast(vector, self.halves)
        return [
            builder.zext(part, self.products)
            for part in (
                builder.and_(halves, self.constant(0xFF, self.halves)),
                builder.lshr(halves, self.constant(8, self.halves)),
            )
        ]

    def signed(self, vector: Any) -> list[Any]:
        """Return the parts of the signed factor."""
        if _VNNI:
            return [vector]
        builder = self.builder
        halves = builder.bitcast(vector, self.halves)
        eight = self.constant(8, self.halves)
        return [builder.sext(builder.ashr(part, eight), self.products) for part in (builder.shl(halves, eight), halves)]

    def multiply_add(self, a: Any, b: Any, total: Any) -> Any:
        builder = self.builder
        if _VNNI:
            name = f"llvm.x86.avx512.vpdpbusd.{8 * VECTOR_BYTES}"
            dot = builder.module.declare_intrinsic(name, (), ir.FunctionType(self.vector, [self.vector] * 3))
            return builder.call(dot, [total, a, b])
        products = builder.mul(a, b)
        even, odd = (
            builder.shuffle_vector(
                products,
                ir.Constant(self.products, ir.Undefined),
                indices(2 * k + parity for k in range(self.lanes)),
            )
            for parity in (0, 1)
        )
        return builder.add(total, builder.add(even, odd))

    def integers(self, total: Any, element: Any) -> Any:
        target = ir.VectorType(element, self.lanes)
        return total if element.width == 32 else self.builder.zext(total, target)

    @property
    def halves(self) -> Any:
        return ir.VectorType(ir.IntType(16), 2 * self.lanes)

    @property
    def products(self) -> Any:
        return ir.VectorType(WORD, 2 * self.lanes)


class _Numbers(Emitter):
    """Sums in float64 lanes of products of one number."""

    one = 1

    def unsigned(self, vector: Any) -> list[Any]:
        return [vector]

    signed = unsigned

    def multiply_add(self, a: Any, b: Any, total: Any) -> Any:
        return self.builder.fadd(self.builder.fmul(a, b, flags=("contract",)), total, flags=("contract",))

    def integers(self, total: Any, element: Any) -> Any:
        wide = self.builder.fptosi(total, ir.VectorType(ir.IntType(64), self.lanes))
        return wide if element.width == 64 else self.builder.trunc(wide, ir.VectorType(element, self.lanes))


def _emitter(context: Any, builder: Any, dtype: Any) -> Any:
    kind = _Bytes if dtype == types.int32 else _Numbers
    return kind(context, builder, dtype, 8 * VECTOR_BYTES // dtype.bitwidth)


@intrinsic
def add_products(  # type: ignore[no-untyped-def]
    typing_context,
    a, a_start, a_stride, a_step,
    b, b_start, b_stride, b_step,
    n, rows, count,
    base, base_start, base_step,
    out, out_start, out_step, out_stride,
):  # fmt: skip
    """Add the products of ``n`` groups of items at ``count`` neighbouring lags to the sums of ``rows`` rows of pixels.

    For r in 0..rows-1 and k in 0..count-1: ``out[out_start + r * out_step + k * out_stride + lane] += base[base_start +
    r * base_step + lane] + sum_i a[a_start + i * a_stride + r * a_step + lane] . b[b_start + i * b_stride + (r + k) *
    b_step + lane]``, where the dot multiplies the unsigned items of a and the signed ones of b.
    One load of b serves up to ``rows`` products: loads, not products, are what limits the loop. ``rows`` is
    one of ``ROWS`` and at most ``ROWS[count]``, and 1 <= count <= MAX_COUNT.
    """
    i64 = types.int64
    signature = types.void(a, i64, i64, i64, b, i64, i64, i64, i64, i64, i64, base, i64, i64, out, i64, i64, i64)

    def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        a_data, b_data, base_data, out_data = (
            array_data(context, builder, sig.args[k], args[k]) for k in (0, 4, 11, 14)
        )
        _, a_start, a_stride, a_step, _, b_start, b_stride, b_step, n, rows, count = args[:11]
        base_start, base_step = args[12:14]
        out_start, out_step, out_stride = args[15:]
        dtype = sig.args[0].dtype
        emit = _emitter(context, builder, dtype)
        sums = Emitter(context, builder, sig.args[14].dtype, emit.lanes)
        done = builder.append_basic_block("lanes.done")
        shapes = [(k, r) for k in range(1, MAX_COUNT + 1) for r in sorted(set(ROWS[1:])) if r <= ROWS[k]]
        choose = builder.switch(builder.add(builder.mul(count, INDEX(64)), rows), done)
        for n_lags, n_rows in shapes:
            block = builder.append_basic_block(f"lanes.{n_lags}x{n_rows}")
            choose.add_case(INDEX(64 * n_lags + n_rows), block)
            builder.position_at_end(block)
            a_rows = [emit.at(a_start, a_step, r) for r in range(n_rows)]
            b_rows = [emit.at(b_start, b_step, r) for r in range(n_rows + n_lags - 1)]
            slots = [(r, k) for k in range(n_lags) for r in range(n_rows)]

            def step(
                i: Any,
                totals: list[Any],
                a_rows: list[Any] = a_rows,
                b_rows: list[Any] = b_rows,
                slots: list[tuple[int, int]] = slots,
            ) -> list[Any]:
                a_shift, b_shift = builder.mul(i, a_stride), builder.mul(i, b_stride)
                x = [emit.unsigned(emit.load(a_data, builder.add(a_shift, row))) for row in a_rows]
                y = [emit.signed(emit.load(b_data, builder.add(b_shift, row))) for row in b_rows]
                for part in range(len(x[0])):
                    totals = [
                        emit.multiply_add(x[r][part], y[r + k][part], total)
                        for (r, k), total in zip(slots, totals, strict=True)
                    ]
                return totals

            starts = [emit.load(base_data, emit.at(base_start, base_step, r)) for r in range(n_rows)]
            totals = emit.counted_loop(n, [starts[r] for r, _ in slots], step)
            for total, (r, k) in zip(totals, slots, strict=True):
                slot = emit.at(emit.at(out_start, out_step, r), out_stride, k)
                so_far = sums.load(out_data, slot)
                sums.store(builder.add(so_far, emit.integers(total, sums.vector.element)), out_data, slot)
            builder.branch(done)
        builder.position_at_end(done)
        return context.get_dummy_value()

    return signature, generate


@intrinsic
def add_sums(typing_context, x, x_start, x_stride, n, n_columns, sums, squares, start):  # type: ignore[no-untyped-def]
    """Sum the items of ``n`` groups, and the products of the unsigned and the signed ones.

    For every lane of the vectors that hold ``n_columns``: ``sums[start + lane] = sum_i x[x_start + i * x_stride + lane]
    . 1`` and ``squares[start + lane] = sum_i x[x_start + i * x_stride + lane] . x[x_start + i * x_stride + lane]``.
    """
    i64 = types.int64
    signature = types.void(x, i64, i64, i64, i64, sums, squares, i64)

    def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        x_data, sums_data, squares_data = (array_data(context, builder, sig.args[k], args[k]) for k in (0, 5, 6))
        _, x_start, x_stride, n, n_columns, _, _, start = args
        emit = _emitter(context, builder, sig.args[0].dtype)
        one = emit.signed(emit.constant(emit.one))

        def column(k: Any, _: list[Any]) -> list[Any]:
            lane = builder.mul(k, INDEX(emit.lanes))
            first = builder.add(x_start, lane)

            def step(i: Any, totals: list[Any]) -> list[Any]:
                x = emit.load(x_data, builder.add(first, builder.mul(i, x_stride)))
                total, square = totals
                for a, b, unit in zip(emit.unsigned(x), emit.signed(x), one, strict=True):
                    total, square = emit.multiply_add(a, unit, total), emit.multiply_add(a, b, square)
                return [total, square]

            total, square = emit.counted_loop(n, [emit.constant(0)] * 2, step)
            emit.store(total, sums_data, builder.add(start, lane))
            emit.store(square, squares_data, builder.add(start, lane))
            return []

        n_vectors = builder.sdiv(builder.add(n_columns, INDEX(emit.lanes - 1)), INDEX(emit.lanes))
        emit.counted_loop(n_vectors, [], column)
        return context.get_dummy_value()

    return signature, generate
