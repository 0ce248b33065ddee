"""Vector primitives of synthesis: pixels of a row in the lanes of the processor's vector registers.

Strict: one product, one rounding, one sum, one rounding, in the order of the taps.
An output pixel has the same bits on every processor, whatever lane, group of lanes or set of planes it falls into.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import llvmlite.ir as ir
from numba import types
from numba.extending import intrinsic

from mrdist._kernels.lanes import INDEX, VECTOR_BYTES, array_data, cases

MAX_PLANES = 4
"""Planes whose sums one pass of `weigh` keeps in registers: one load of a weight serves them all."""
GROUPS = 2 if VECTOR_BYTES == 32 else 4  # of 16 or 32 registers
"""Groups of lanes that a pass takes where the row has so many left: one turn of the loop over taps serves them all."""

_COLORS = (1, 3)  # channels for which the step is a compile-time constant, so that the compiler can vectorise


def _loop(
    builder: Any, count: Any, initial: Sequence[Any], step: Callable[[Any, Sequence[Any]], Sequence[Any]]
) -> list[Any]:
    """Run ``step(i, values)`` for i in 0..count-1, at least once, with ``values`` carried in registers."""
    before, body, end = builder.block, builder.append_basic_block("body"), builder.append_basic_block("end")
    builder.branch(body)
    builder.position_at_end(body)
    i, *carried = phis = [builder.phi(value.type) for value in (INDEX(0), *initial)]
    values = list(step(i, carried))
    following = builder.add(i, INDEX(1))
    for phi, first, value in zip(phis, (INDEX(0), *initial), (following, *values), strict=True):
        phi.add_incoming(first, before)
        phi.add_incoming(value, builder.block)
    builder.cbranch(builder.icmp_signed("<", following, count), body, end)
    builder.position_at_end(end)
    return values


@intrinsic
def split_channels(  # type: ignore[no-untyped-def]
    typing_context, pixels, start, n, n_channels, high, low, planes, plane_start, plane_stride
):
    """Write the channels of ``n > 0`` pixels to one plane each, as shares of white.

    ``planes[plane_start + c * plane_stride + k]`` gets ``v * high + v * low`` of the integer ``v = pixels[start +
    k * n_channels + c]``, rounded after each operation; a float stays what it is.
    """
    i64 = types.int64
    signature = types.void(pixels, i64, i64, i64, planes.dtype, planes.dtype, planes, i64, i64)

    def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        data, planes_data = (array_data(context, builder, sig.args[k], args[k]) for k in (0, 6))
        _, start, n, n_channels, high, low, _, plane_start, plane_stride = args
        source, target = sig.args[0].dtype, sig.args[6].dtype

        def split(n_channels: Any) -> None:
            def pixel(k: Any, _: Sequence[Any]) -> list[Any]:
                first = builder.add(start, builder.mul(k, n_channels))

                def channel(c: Any, _: Sequence[Any]) -> list[Any]:
                    value = builder.load(builder.gep(data, [builder.add(first, c)]))
                    value = context.cast(builder, value, source, target)
                    if isinstance(source, types.Integer):
                        value = builder.fadd(builder.fmul(value, high), builder.fmul(value, low))
                    place = builder.add(builder.add(plane_start, builder.mul(c, plane_stride)), k)
                    builder.store(value, builder.gep(planes_data, [place]))
                    return []

                return _loop(builder, n_channels, [], channel)

            _loop(builder, n, [], pixel)

        cases(builder, n_channels, _COLORS, lambda n: split(INDEX(n)), lambda: split(n_channels))
        return context.get_dummy_value()

    return signature, generate


@intrinsic
def merge_channels(  # type: ignore[no-untyped-def]
    typing_context, planes, plane_start, plane_stride, pixels, start, n, n_channels
):
    """Copy ``n > 0`` pixels of one plane a channel to where the channels of a pixel lie side by side."""
    i64 = types.int64
    signature = types.void(planes, i64, i64, pixels, i64, i64, i64)

    def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        planes_data, data = (array_data(context, builder, sig.args[k], args[k]) for k in (0, 3))
        _, plane_start, plane_stride, _, start, n, n_channels = args

        def merge(n_channels: Any) -> None:
            def pixel(k: Any, _: Sequence[Any]) -> list[Any]:
                first = builder.add(start, builder.mul(k, n_channels))

                def channel(c: Any, _: Sequence[Any]) -> list[Any]:
                    place = builder.add(builder.add(plane_start, builder.mul(c, plane_stride)), k)
                    value = builder.load(builder.gep(planes_data, [place]))
                    builder.store(value, builder.gep(data, [builder.add(first, c)]))
                    return []

                return _loop(builder, n_channels, [], channel)

            _loop(builder, n, [], pixel)

        cases(builder, n_channels, _COLORS, lambda n: merge(INDEX(n)), lambda: merge(n_channels))
        return context.get_dummy_value()

    return signature, generate


@intrinsic
def weigh(  # type: ignore[no-untyped-def]
    typing_context,
    coef, coef_start, coef_stride,
    intercept, intercept_start,
    lines, line_start, line_stride, row_step, column_step,
    size, count, groups,
    out, out_start, out_stride,
):  # fmt: skip
    """Write 1 or ``GROUPS`` groups of lanes of ``count <= MAX_PLANES`` planes that share their weights.

    For p in 0..count-1: ``out[out_start + p * out_stride + lane] = intercept[intercept_start + lane] +
    sum_ij coef[coef_start + (size * i + j) * coef_stride + lane] *
    lines[line_start + p * line_stride + i * row_step + j * column_step + lane]``, added in the order of i and j.
    """
    i64 = types.int64
    integers = (i64, i64, i64, i64, i64, i64, i64)
    signature = types.void(coef, i64, i64, intercept, i64, lines, *integers, out, i64, i64)

    def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        coef_data, intercept_data, lines_data, out_data = (
            array_data(context, builder, sig.args[k], args[k]) for k in (0, 3, 5, 13)
        )
        _, coef_start, coef_stride, _, intercept_start, _, line_start, line_stride, row_step, column_step = args[:10]
        size, count, groups, _, out_start, out_stride = args[10:]
        align = sig.args[0].dtype.bitwidth // 8
        lanes = VECTOR_BYTES // align
        vector = ir.VectorType(context.get_data_type(sig.args[0].dtype), lanes)

        def at(data: Any, index: Any, group: int) -> Any:
            pointer = builder.gep(data, [builder.add(index, INDEX(group * lanes))])
            return builder.bitcast(pointer, vector.as_pointer())

        def load(data: Any, index: Any, group: int) -> Any:
            return builder.load(at(data, index, group), align=align)

        def pass_over(case: int) -> None:
            slots = [(p, group) for p in range(case // 8) for group in range(case % 8)]

            def row(i: Any, sums: Sequence[Any]) -> list[Any]:
                first = builder.add(coef_start, builder.mul(builder.mul(i, size), coef_stride))
                line = builder.add(line_start, builder.mul(i, row_step))

                def tap(j: Any, sums: Sequence[Any]) -> list[Any]:
                    place = builder.add(first, builder.mul(j, coef_stride))
                    weights = [load(coef_data, place, group) for group in range(case % 8)]
                    place = builder.add(line, builder.mul(j, column_step))
                    places = [builder.add(place, builder.mul(line_stride, INDEX(p))) for p in range(case // 8)]
                    return [
                        builder.fadd(total, builder.fmul(weights[group], load(lines_data, places[p], group)))
                        for (p, group), total in zip(slots, sums, strict=True)
                    ]

                return _loop(builder, size, sums, tap)

            first = [load(intercept_data, intercept_start, group) for _, group in slots]
            for (p, group), total in zip(slots, _loop(builder, size, first, row), strict=True):
                place = builder.add(out_start, builder.mul(out_stride, INDEX(p)))
                builder.store(total, at(out_data, place, group), align=align)

        passes = [8 * planes + groups for planes in range(1, MAX_PLANES + 1) for groups in (1, GROUPS)]
        cases(builder, builder.add(builder.mul(count, INDEX(8)), groups), passes, pass_over)
        return context.get_dummy_value()

    return signature, generate
