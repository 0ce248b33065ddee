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

import llvmlite.binding as llvm
import llvmlite.ir as ir
from numba import types
from numba.core import codegen, config
from numba.extending import intrinsic

from mrdist._lanes import INDEX, Emitter, array_data

# numba compiles for these features rather than for the host's when the user names them
_FEATURES = set((config.CPU_FEATURES or codegen.get_host_cpu_features()).split(","))
if config.CPU_FEATURES is not None:
    _FEATURES = set(config.CPU_FEATURES.split(","))
_X86 = llvm.get_process_triple().startswith("x86")
_WIDE = "+avx512bw" in _FEATURES
_VNNI = "+avx512vnni" in _FEATURES if _WIDE else "+avxvnni" in _FEATURES
VECTOR_BYTES = 64 if _WIDE else 32 if "+avx2" in _FEATURES else 16
"""Bytes of one vector register, which are one group of lanes."""
MAX_COUNT = 4 if _X86 and not _WIDE else 7
"""Lags of one column that `add_products` sums at a time."""
# Of 16 or 32 registers two are left for constants and what is in passing.
ROWS = (0, *(min(8, (14 if _X86 and not _WIDE else 30) // (count + 1)) for count in range(1, MAX_COUNT + 1)))
"""Rows of pixels that it sums at a time, by the number of lags."""

_BYTE, _HALF, _WORD = ir.IntType(8), ir.IntType(16), ir.IntType(32)


class _Bytes(Emitter):
    """Sums in int32 lanes of products of four bytes."""

    one = 0x01010101

    def first(self, vector: Any) -> list[Any]:
        """Return the parts of the unsigned factor."""
        builder = self.builder
        vector = builder.xor(vector, self.constant(0x80808080))
        if _VNNI:
            return [vector]
        halves = builder.bitcast(vector, self.halves)
        return [
            builder.zext(part, self.products)
            for part in (builder.and_(halves, self.constant(0xFF, self.halves)), builder.lshr(halves, self.constant(8, self.halves)))
        ]

    def second(self, vector: Any) -> list[Any]:
        """Return the parts of the signed factor."""
        if _VNNI:
            return [vector]
        builder = self.builder
        halves = builder.bitcast(vector, self.halves)
        eight = self.constant(8, self.halves)
        return [
            builder.sext(builder.ashr(part, eight), self.products) for part in (builder.shl(halves, eight), halves)
        ]

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
                _indices(2 * k + parity for k in range(self.lanes)),
            )
            for parity in (0, 1)
        )
        return builder.add(total, builder.add(even, odd))

    def integers(self, total: Any, element: Any) -> Any:
        target = ir.VectorType(element, self.lanes)
        return total if element.width == 32 else self.builder.zext(total, target)

    @property
    def halves(self) -> Any:
        return ir.VectorType(_HALF, 2 * self.lanes)

    @property
    def products(self) -> Any:
        return ir.VectorType(_WORD, 2 * self.lanes)


class _Numbers(Emitter):
    """Sums in float64 lanes of products of one number."""

    one = 1

    def first(self, vector: Any) -> list[Any]:
        return [vector]

    second = first

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

    For r in 0..rows-1 and k in 0..count-1: ``out[out_start + r * out_step + k * out_stride + lane] +=
    base[base_start + r * base_step + lane] + sum_i a[a_start + i * a_stride + r * a_step + lane] . b[b_start + i * b_stride +
    (r + k) * b_step + lane]``, where the dot is the product of a's unsigned and b's signed items.
    One load of b serves up to ``rows`` products: loads, not products, are what limits the loop. ``rows`` is
    one of ``ROWS`` and at most ``ROWS[count]``, and 1 <= count <= MAX_COUNT.
    """
    i64 = types.int64
    signature = types.void(a, i64, i64, i64, b, i64, i64, i64, i64, i64, i64, base, i64, i64, out, i64, i64, i64)

    def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        a_data, b_data, base_data, out_data = (array_data(context, builder, sig.args[k], args[k]) for k in (0, 4, 11, 14))
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
                x = [emit.first(emit.load(a_data, builder.add(a_shift, row))) for row in a_rows]
                y = [emit.second(emit.load(b_data, builder.add(b_shift, row))) for row in b_rows]
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
def add_sums(typing_context, x, x_start, x_stride, n, n_vectors, sums, squares):  # type: ignore[no-untyped-def]
    """Sum the unsigned items of x, and their products with the signed ones, over ``n`` groups of items.

    For lane in ``n_vectors`` vectors: ``sums[lane] = sum_i x[x_start + i * x_stride + lane] . 1`` and ``squares[lane] =
    sum_i x[x_start + i * x_stride + lane] . x[x_start + i * x_stride + lane]``.
    """
    i64 = types.int64
    signature = types.void(x, i64, i64, i64, i64, sums, squares)

    def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        x_data, sums_data, squares_data = (array_data(context, builder, sig.args[k], args[k]) for k in (0, 5, 6))
        _, x_start, x_stride, n, n_vectors, _, _ = args
        emit = _emitter(context, builder, sig.args[0].dtype)
        one = emit.second(emit.constant(emit.one))

        def column(k: Any, _: list[Any]) -> list[Any]:
            lane = builder.mul(k, INDEX(emit.lanes))
            start = builder.add(x_start, lane)

            def step(i: Any, totals: list[Any]) -> list[Any]:
                x = emit.load(x_data, builder.add(start, builder.mul(i, x_stride)))
                total, square = totals
                for a, b, unit in zip(emit.first(x), emit.second(x), one, strict=True):
                    total, square = emit.multiply_add(a, unit, total), emit.multiply_add(a, b, square)
                return [total, square]

            total, square = emit.counted_loop(n, [emit.constant(0)] * 2, step)
            emit.store(total, sums_data, lane)
            emit.store(square, squares_data, lane)
            return []

        emit.counted_loop(n_vectors, [], column)
        return context.get_dummy_value()

    return signature, generate


@intrinsic
def interleave(  # type: ignore[no-untyped-def]
    typing_context, images, starts, n_present, zeros, n_channels, shared, n, tile, tile_start, tile_step
):
    """Pack ``n`` pixels of four images of bytes into lanes, ``n_channels`` groups of lanes, and return whether it did.

    Byte k of lane ``tile[tile_start + group * tile_step + pixel]`` is item 4 group + k of the images' channels where
    these are ``shared``, and channel ``group`` of image k otherwise. ``starts`` says where in the bytes of ``images``
    each of the first ``n_present`` images has its first pixel, the others are ``zeros``.
    """
    i64 = types.int64
    signature = types.boolean(images, starts, i64, zeros, i64, types.boolean, i64, tile, i64, i64)

    def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        if sig.args[0].dtype != types.uint8:
            return context.get_constant(types.boolean, False)
        images_data, zeros_data, tile_data = (array_data(context, builder, sig.args[k], args[k]) for k in (0, 3, 7))
        _, starts, n_present, _, n_channels, shared, n, _, tile_start, tile_step = args
        emit = _Bytes(context, builder, types.int32, VECTOR_BYTES // 4)
        lanes = emit.lanes
        images_data = builder.bitcast(images_data, _BYTE.as_pointer())
        tile_data = builder.bitcast(tile_data, _WORD.as_pointer())
        pointers = [
            builder.select(
                builder.icmp_signed("<", INDEX(k), n_present),
                builder.gep(images_data, [builder.extract_value(starts, k)]),
                zeros_data,
            )
            for k in range(4)
        ]
        entry = builder.block
        done = builder.append_basic_block("lanes.done")
        key = builder.add(builder.mul(n_channels, INDEX(2)), builder.zext(shared, INDEX))
        key = builder.select(builder.icmp_signed("<", n, INDEX(lanes)), INDEX(0), key)
        choose = builder.switch(key, done)
        ends = []
        for channels, is_shared in ((1, True), (1, False), (3, True), (3, False)):
            block = builder.append_basic_block(f"lanes.pack{channels}")
            choose.add_case(INDEX(2 * channels + is_shared), block)
            builder.position_at_end(block)
            items = [[divmod(4 * m + k, channels) if is_shared else (k, m) for k in range(4)] for m in range(channels)]
            last = builder.sub(n, INDEX(lanes))

            def step(i: Any, _: list[Any], channels: int = channels, items: Any = items, last: Any = last) -> list[Any]:
                pixel = builder.mul(i, INDEX(lanes))
                # the last vector ends with the last pixel, and so repeats some of those before
                pixel = builder.select(builder.icmp_signed("<", pixel, last), pixel, last)
                byte = builder.mul(pixel, INDEX(channels))
                read = ir.VectorType(_BYTE, lanes * channels)
                loaded = []
                for pointer in pointers:
                    place = builder.bitcast(builder.gep(pointer, [byte]), read.as_pointer())
                    loaded.append(builder.load(place, align=1))
                for m, group in enumerate(items):
                    # bytes of the first two images and of the last two, at their final places; 0 stands for any
                    pairs = [
                        builder.shuffle_vector(
                            loaded[2 * pair],
                            loaded[2 * pair + 1],
                            _indices(
                                (image % 2 * lanes + pixel) * channels + channel if image // 2 == pair else 0
                                for pixel in range(lanes)
                                for image, channel in group
                            ),
                        )
                        for pair in (0, 1)
                    ]
                    packed = builder.shuffle_vector(
                        *pairs,
                        _indices(4 * (image // 2 * lanes + j) + k for j in range(lanes) for k, (image, _) in enumerate(group)),
                    )
                    packed = builder.xor(builder.bitcast(packed, emit.vector), emit.constant(0x80808080))
                    emit.store(packed, tile_data, builder.add(emit.at(tile_start, tile_step, m), pixel))
                return []

            emit.counted_loop(builder.sdiv(builder.add(n, INDEX(lanes - 1)), INDEX(lanes)), [], step)
            ends.append(builder.block)
            builder.branch(done)
        builder.position_at_end(done)
        packed = builder.phi(ir.IntType(1))
        packed.add_incoming(ir.Constant(ir.IntType(1), 0), entry)
        for end in ends:
            packed.add_incoming(ir.Constant(ir.IntType(1), 1), end)
        return packed

    return signature, generate


def _indices(values: Iterable[int]) -> Any:
    listed = list(values)
    return ir.Constant(ir.VectorType(_WORD, len(listed)), listed)
