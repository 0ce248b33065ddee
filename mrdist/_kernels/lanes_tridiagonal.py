"""Strict vector primitives of the tridiagonal form: reflections, and shifted systems eliminated and solved."""

from __future__ import annotations

from typing import Any

import llvmlite.ir as ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from mrdist._kernels.lanes import INDEX, Emitter, array_data
from mrdist._kernels.lanes_strict import SOLVE_LANES, SOLVE_ROWS, broadcast, dispatch

SWEEP_ROWS = 2
"""Matrix rows that one pass of `update_and_multiply` keeps in registers, with four vectors each."""
SHIFTS = 2
"""Shifts that one pass of `eliminate` or `substitute` serves: while one divides, the other multiplies."""


@intrinsic
def subtract_projections(  # type: ignore[no-untyped-def]
    typing_context, y, y_start, y_row, y_step, u, u_start, n, share, count
):
    """Replace ``count <= SOLVE_ROWS`` vectors y by ``y - share (u'y) u``.

    That is a reflection for ``share = 1`` and ``u'u = 2``. Entry k in 0..n-1 of vector r lies at
    ``y_start + r * y_row + k * y_step``, that of u at ``u_start + k * SOLVE_LANES``.
    """
    i64 = types.int64
    signature = types.void(y, i64, i64, i64, u, i64, i64, types.float64, i64)

    def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        y_data, u_data = (array_data(context, builder, sig.args[k], args[k]) for k in (0, 4))
        _, y_start, y_row, y_step, _, u_start, n, share, count = args
        emit = Emitter(context, builder, types.float64, SOLVE_LANES)
        shares = broadcast(builder, share)

        def rows(count: int) -> None:
            starts = [builder.add(y_start, builder.mul(y_row, INDEX(r))) for r in range(count)]

            def slots(k: Any) -> tuple[Any, list[Any]]:
                shift = builder.mul(k, y_step)
                return (
                    emit.load(u_data, builder.add(u_start, builder.mul(k, INDEX(SOLVE_LANES)))),
                    [builder.add(start, shift) for start in starts],
                )

            def add(k: Any, values: list[Any]) -> list[Any]:
                entry, at = slots(k)
                return [
                    builder.fadd(value, builder.fmul(emit.load(y_data, slot), entry))
                    for value, slot in zip(values, at, strict=True)
                ]

            def subtract(k: Any, _: list[Any]) -> list[Any]:
                entry, at = slots(k)
                for factor, slot in zip(factors, at, strict=True):
                    emit.store(builder.fsub(emit.load(y_data, slot), builder.fmul(factor, entry)), y_data, slot)
                return []

            zero = ir.Constant(emit.vector, [0.0] * SOLVE_LANES)
            factors = [builder.fmul(shares, dot) for dot in emit.counted_loop(n, [zero] * count, add)]
            emit.counted_loop(n, [], subtract)

        dispatch(builder, count, SOLVE_ROWS, rows)
        return context.get_dummy_value()

    return signature, generate


@intrinsic
def reflect_column(  # type: ignore[no-untyped-def]
    typing_context, a, a_start, a_step, v, v_start, w, w_start, u, u_start, norm, norm_start, n
):
    """Bring a column of ``A - v w' - w v'`` up to date and find the reflection of it onto its first entry.

    With ``x_i = a[a_start + (i + 1) * a_step] - v_{i+1} w_0 - w_{i+1} v_0`` for i in 0..n-1, v_i and w_i at
    ``v_start + i * SOLVE_LANES`` and so on: u, of length n with ``u'u = 2``, gets the vector of
    ``(I - u u') x = (s, 0, ..., 0)``, and norm gets s. Where x = 0, so is u.
    """
    i64 = types.int64
    signature = types.void(a, i64, i64, v, i64, w, i64, u, i64, norm, i64, i64)

    def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        a_data, v_data, w_data, u_data, norm_data = (
            array_data(context, builder, sig.args[k], args[k]) for k in (0, 3, 5, 7, 9)
        )
        _, a_start, a_step, _, v_start, _, w_start, _, u_start, _, norm_start, n = args
        emit = Emitter(context, builder, types.float64, SOLVE_LANES)
        v_0, w_0 = emit.load(v_data, v_start), emit.load(w_data, w_start)
        zero, one, minus_one = (ir.Constant(emit.vector, [value] * SOLVE_LANES) for value in (0.0, 1.0, -1.0))
        sqrt, absolute = (
            cgutils.get_or_insert_function(
                builder.module, ir.FunctionType(emit.vector, [emit.vector]), f"llvm.{name}.v{SOLVE_LANES}f64"
            )
            for name in ("sqrt", "fabs")
        )

        def at(start: Any, i: Any) -> Any:
            return builder.add(start, builder.mul(i, INDEX(SOLVE_LANES)))

        def update(i: Any, values: list[Any]) -> list[Any]:
            below = builder.add(i, INDEX(1))
            entry = emit.load(a_data, builder.add(a_start, builder.mul(below, a_step)))
            entry = builder.fsub(entry, builder.fmul(emit.load(v_data, at(v_start, below)), w_0))
            entry = builder.fsub(entry, builder.fmul(emit.load(w_data, at(w_start, below)), v_0))
            emit.store(entry, u_data, at(u_start, i))
            return [builder.fadd(values[0], builder.fmul(entry, entry))]

        (squares,) = emit.counted_loop(n, [zero], update)
        length = builder.call(sqrt, [squares])
        first = emit.load(u_data, u_start)
        size = builder.call(absolute, [first])
        sign = builder.select(builder.fcmp_ordered("<", first, zero), minus_one, one)
        emit.store(builder.fadd(first, builder.fmul(sign, length)), u_data, u_start)
        emit.store(builder.fmul(builder.fmul(minus_one, sign), length), norm_data, norm_start)
        half = builder.fmul(length, builder.fadd(length, size))
        scale = builder.fdiv(one, builder.call(sqrt, [half]))
        scale = builder.select(builder.fcmp_ordered(">", half, zero), scale, zero)

        def rescale(i: Any, _: list[Any]) -> list[Any]:
            emit.store(builder.fmul(emit.load(u_data, at(u_start, i)), scale), u_data, at(u_start, i))
            return []

        emit.counted_loop(n, [], rescale)
        return context.get_dummy_value()

    return signature, generate


@intrinsic
def update_and_multiply(  # type: ignore[no-untyped-def]
    typing_context, a, a_start, a_row, v, v_start, w, w_start, u, u_start, p, p_start, n, count
):
    """Replace ``count <= SWEEP_ROWS`` rows of a lower triangle A by ``A - v w' - w v'`` and add their part of A u to p.

    The rows begin at flat index ``a_start``, have ``n`` entries left of the block's own triangle and reach to the
    diagonal. The vectors begin with the entry of the first column; entries of p of the rows themselves are set,
    those to the left are added to: rows are to come from top to bottom.
    """
    i64 = types.int64
    signature = types.void(a, i64, i64, v, i64, w, i64, u, i64, p, i64, i64, i64)

    def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        a_data, v_data, w_data, u_data, p_data = (
            array_data(context, builder, sig.args[k], args[k]) for k in (0, 3, 5, 7, 9)
        )
        _, a_start, a_row, _, v_start, _, w_start, _, u_start, _, p_start, n, count = args
        emit = Emitter(context, builder, types.float64, SOLVE_LANES)
        zero = ir.Constant(emit.vector, [0.0] * SOLVE_LANES)
        width = INDEX(SOLVE_LANES)

        def rows(count: int) -> None:
            starts = [builder.add(a_start, builder.mul(a_row, INDEX(r))) for r in range(count)]
            shifts = [builder.mul(builder.add(n, INDEX(r)), width) for r in range(count)]
            v_row, w_row, u_row = (
                [emit.load(data, builder.add(start, shift)) for shift in shifts]
                for data, start in ((v_data, v_start), (w_data, w_start), (u_data, u_start))
            )

            def updated(r: int, shift: Any, v_j: Any, w_j: Any) -> Any:
                slot = builder.add(starts[r], shift)
                entry = builder.fsub(emit.load(a_data, slot), builder.fmul(v_row[r], w_j))
                entry = builder.fsub(entry, builder.fmul(w_row[r], v_j))
                emit.store(entry, a_data, slot)
                return entry

            def step(j: Any, sums: list[Any]) -> list[Any]:
                shift = builder.mul(j, width)
                v_j, w_j, u_j = (
                    emit.load(data, builder.add(start, shift))
                    for data, start in ((v_data, v_start), (w_data, w_start), (u_data, u_start))
                )
                slot = builder.add(p_start, shift)
                above, sums = emit.load(p_data, slot), list(sums)
                for r in range(count):
                    entry = updated(r, shift, v_j, w_j)
                    above = builder.fadd(above, builder.fmul(entry, u_row[r]))
                    sums[r] = builder.fadd(sums[r], builder.fmul(entry, u_j))
                emit.store(above, p_data, slot)
                return sums

            sums = emit.counted_loop(n, [zero] * count, step)
            for r in range(count):
                for c in range(r + 1):
                    entry = updated(r, shifts[c], v_row[c], w_row[c])
                    sums[r] = builder.fadd(sums[r], builder.fmul(entry, u_row[c]))
                    if c < r:
                        sums[c] = builder.fadd(sums[c], builder.fmul(entry, u_row[r]))
            for total, shift in zip(sums, shifts, strict=True):
                emit.store(total, p_data, builder.add(p_start, shift))

        dispatch(builder, count, SWEEP_ROWS, rows)
        return context.get_dummy_value()

    return signature, generate


@intrinsic
def eliminate(  # type: ignore[no-untyped-def]
    typing_context, diagonal, beside, rhs, rhs_start, shifts, inverse, g, h, smallest, first, step, m, count
):
    """Factorise ``T + shift I = L D L'`` for ``count <= SHIFTS`` shifts and multiply two right-hand sides by ``L^-1``.

    The diagonals of T begin at 0, row i at ``i * SOLVE_LANES``, and so do those of the first right-hand side, the
    second at ``rhs_start``. Of shift r, at ``shifts[first + r * SOLVE_LANES + lane]``, row i of the inverse of D and of
    both results g and h goes to ``first + r * SOLVE_LANES + i * step``, and the smallest of D to
    ``first + r * SOLVE_LANES``.
    """
    i64 = types.int64
    signature = types.void(diagonal, beside, rhs, i64, shifts, inverse, g, h, smallest, i64, i64, i64, i64)

    def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        diagonal, beside, rhs, shifts, inverse, g, h, smallest = (
            array_data(context, builder, sig.args[k], args[k]) for k in (0, 1, 2, 4, 5, 6, 7, 8)
        )
        rhs_start = args[3]
        first, step, m, count = args[9:]
        emit = Emitter(context, builder, types.float64, SOLVE_LANES)
        one = ir.Constant(emit.vector, [1.0] * SOLVE_LANES)

        def rows(count: int) -> None:
            starts = [builder.add(first, INDEX(r * SOLVE_LANES)) for r in range(count)]
            shift = [emit.load(shifts, start) for start in starts]

            def put(values: list[Any], i: Any) -> list[Any]:
                """Store pivot and results of every shift and return what the next row needs."""
                carried = []
                for r, start in enumerate(starts):
                    pivot, g_i, h_i, low = values[4 * r : 4 * r + 4]
                    slot = builder.add(start, builder.mul(i, step))
                    reciprocal = builder.fdiv(one, pivot)
                    for value, array in ((reciprocal, inverse), (g_i, g), (h_i, h)):
                        emit.store(value, array, slot)
                    low = builder.select(builder.fcmp_ordered("<", pivot, low), pivot, low)
                    carried += [reciprocal, g_i, h_i, low]
                return carried

            def row(i: Any) -> tuple[Any, Any, Any]:
                at = builder.mul(i, INDEX(SOLVE_LANES))
                return emit.load(diagonal, at), emit.load(rhs, at), emit.load(rhs, builder.add(rhs_start, at))

            def next_row(above: Any, carried: list[Any]) -> list[Any]:
                i = builder.add(above, INDEX(1))
                entry, g_0, h_0 = row(i)
                off = emit.load(beside, builder.mul(above, INDEX(SOLVE_LANES)))
                values = []
                for r in range(count):
                    reciprocal, g_above, h_above, low = carried[4 * r : 4 * r + 4]
                    ratio = builder.fmul(off, reciprocal)
                    values += [
                        builder.fsub(builder.fadd(entry, shift[r]), builder.fmul(ratio, off)),
                        builder.fsub(g_0, builder.fmul(ratio, g_above)),
                        builder.fsub(h_0, builder.fmul(ratio, h_above)),
                        low,
                    ]
                return put(values, i)

            entry, g_0, h_0 = row(INDEX(0))
            pivots = [builder.fadd(entry, s) for s in shift]
            initial = put([value for pivot in pivots for value in (pivot, g_0, h_0, pivot)], INDEX(0))
            carried = emit.counted_loop(builder.sub(m, INDEX(1)), initial, next_row)
            for r, start in enumerate(starts):
                emit.store(carried[4 * r + 3], smallest, start)

        dispatch(builder, count, SHIFTS, rows)
        return context.get_dummy_value()

    return signature, generate


@intrinsic
def substitute(  # type: ignore[no-untyped-def]
    typing_context, beside, s, s_start, inverse, g, h, s_g, s_h, first, step, m, count
):
    """Finish what `eliminate` began: replace g and h by solutions, and write the dot products s'g and s'h.

    The vector s begins at ``s_start``; its products go where `eliminate` writes the smallest of D.
    """
    i64 = types.int64
    signature = types.void(beside, s, i64, inverse, g, h, s_g, s_h, i64, i64, i64, i64)

    def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        beside, s, inverse, g, h, s_g, s_h = (
            array_data(context, builder, sig.args[k], args[k]) for k in (0, 1, 3, 4, 5, 6, 7)
        )
        s_start = args[2]
        first, step, m, count = args[8:]
        emit = Emitter(context, builder, types.float64, SOLVE_LANES)
        zero = ir.Constant(emit.vector, [0.0] * SOLVE_LANES)
        last = builder.sub(m, INDEX(1))

        def rows(count: int) -> None:
            starts = [builder.add(first, INDEX(r * SOLVE_LANES)) for r in range(count)]

            def row_above(k: Any, carried: list[Any]) -> list[Any]:
                i = builder.sub(last, k)
                at = builder.mul(i, INDEX(SOLVE_LANES))
                # beside the last row is 0
                off, factor = emit.load(beside, at), emit.load(s, builder.add(s_start, at))
                values = []
                for r, start in enumerate(starts):
                    slot = builder.add(start, builder.mul(i, step))
                    reciprocal = emit.load(inverse, slot)
                    for part, array in enumerate((g, h)):
                        below, dot = carried[4 * r + 2 * part : 4 * r + 2 * part + 2]
                        rest = builder.fsub(emit.load(array, slot), builder.fmul(off, below))
                        value = builder.fmul(rest, reciprocal)
                        emit.store(value, array, slot)
                        values += [value, builder.fadd(dot, builder.fmul(factor, value))]
                return values

            carried = emit.counted_loop(m, [zero] * (4 * count), row_above)
            for r, start in enumerate(starts):
                emit.store(carried[4 * r + 1], s_g, start)
                emit.store(carried[4 * r + 3], s_h, start)

        dispatch(builder, count, SHIFTS, rows)
        return context.get_dummy_value()

    return signature, generate
