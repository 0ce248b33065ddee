"""Vector primitives of warps: the channels of the four pixels of a row in the lanes of vector registers.

Strict: one product, one rounding, one sum, one rounding, in the order of the pixels, on every processor.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce
from typing import Any

import llvmlite.ir as ir
from numba import types
from numba.extending import intrinsic

from mrdist._kernels.lanes import INDEX, array_data, cases

MOST_CHANNELS = 4
"""Up to so many channels `interpolate` takes: colours, and how much they cover."""


@intrinsic
def interpolate(  # type: ignore[no-untyped-def]
    typing_context, pixels, start, row, n_channels, down0, down1, down2, down3, across0, across1, across2, across3,
    out, place,
):  # fmt: skip
    """Write a weighted mean of four by four pixels, which have 1 to 4 channels.

    ``out[place + c]`` gets ``sum_j across_j sum_i down_i pixels[start + i * row + j * n_channels + c]``. Of 3 channels
    four numbers more are read in every row.
    """
    i64, f64 = types.int64, types.float64
    signature = types.void(pixels, i64, i64, i64, *[f64] * 8, out, i64)

    def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        data, out_data = (array_data(context, builder, sig.args[k], args[k]) for k in (0, 12))
        _, start, row, n_channels, *weights = args[:12]
        source, target = sig.args[0].dtype, sig.args[12].dtype
        stored, double = context.get_data_type(source), ir.DoubleType()

        def mean(values: Sequence[Any], weights: Sequence[Any], lanes: int) -> Any:
            products = []
            for value, weight in zip(values, weights, strict=True):
                one = builder.insert_element(ir.VectorType(double, lanes)(ir.Undefined), weight, INDEX(0))
                same = builder.shuffle_vector(one, one, ir.VectorType(ir.IntType(32), lanes)([0] * lanes))
                products.append(builder.fmul(same, value))
            return reduce(builder.fadd, products)

        def of(channels: int) -> None:
            taps = 16 if channels == 3 else 4 * channels  # whole registers, of which the last lanes are not used

            def load(i: int) -> Any:
                first = builder.gep(data, [builder.add(start, builder.mul(row, INDEX(i)))])
                vector = ir.VectorType(stored, taps)
                loaded = builder.load(builder.bitcast(first, vector.as_pointer()), align=source.bitwidth // 8)
                if isinstance(source, types.Integer):
                    return builder.uitofp(loaded, ir.VectorType(double, taps))
                return loaded if stored == double else builder.fpext(loaded, ir.VectorType(double, taps))

            columns = mean([load(i) for i in range(4)], weights[:4], taps)
            shift = [list(range(j * channels, (j + 1) * channels)) for j in range(4)]
            picks = [ir.VectorType(ir.IntType(32), channels)(each) for each in shift]
            pixel = mean([builder.shuffle_vector(columns, columns, pick) for pick in picks], weights[4:], channels)
            for c in range(channels):
                value = builder.extract_element(pixel, INDEX(c))
                value = context.cast(builder, value, types.float64, target)
                builder.store(value, builder.gep(out_data, [builder.add(args[13], INDEX(c))]))

        cases(builder, n_channels, range(1, MOST_CHANNELS + 1), of)
        return context.get_dummy_value()

    return signature, generate
