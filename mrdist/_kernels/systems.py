"""Batches of ``SOLVE_LANES`` neighbouring pixels in one row: their systems and errors from sufficient statistics."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from mrdist._kernels.lanes import jit
from mrdist._kernels.lanes_strict import SOLVE_LANES, aligned, centre_lanes, copy_lanes, subtract_products

Array = npt.NDArray[Any]

EXACT = 94906265  # the largest whose square is at most 2^53


@jit
def assemble(
    lag: Array, sums: Array, lookup: Array, n_rows: int, unit: int, alpha: Array, y: int, x: int, system: Array
) -> None:
    """Fill the lower triangles of ``X' X + alpha I`` in the integers' units; alpha has the shape (lane,)."""
    n_taps = len(sums)
    window_height, window_width = lag.shape[1:]
    row = system.shape[1] * SOLVE_LANES
    scale = np.float64(unit)
    for a in range(n_taps):
        for b in range(a + 1):
            start = (lookup[a, b, 0] * window_height + y + lookup[a, b, 1]) * window_width + x + lookup[a, b, 2]
            copy_lanes(lag, start, system, a * row + b * SOLVE_LANES)
        for k in range(SOLVE_LANES):
            system[a, a, k] += scale * scale * alpha[k]
            system[n_taps, a, k] = scale * sums[a, k]
    for k in range(SOLVE_LANES):
        system[n_taps, n_taps, k] = scale * scale * np.float64(n_rows) + scale * scale * alpha[k]


@jit
def assemble_target(cross: Array, target: Array, unit: int, y: int, x: int, system: Array, which: int) -> None:
    """Fill row ``which`` of the systems with ``X' t``, of taps and intercept, in the integers' units."""
    n_taps, height, width = cross.shape
    row = system.shape[1] * SOLVE_LANES
    for a in range(n_taps):
        copy_lanes(cross, (a * height + y) * width + x, system, which * row + a * SOLVE_LANES)
    for k in range(SOLVE_LANES):
        system[which, n_taps, k] = np.float64(unit) * target[0, k]


@jit
def assemble_centred(
    lag: Array, source_sum: Array, sums: Array, lookup: Array, taps: Array, n_rows: int, unit: int, y: int, x: int,
    gram: Array,
) -> None:  # fmt: skip
    """Fill the lower triangles of ``n`` times the centred ``X' X``: integers, rounded once."""
    window_height, window_width = lag.shape[1:]
    row = gram.shape[1] * SOLVE_LANES
    n = np.float64(n_rows)
    exact = n_rows * unit <= EXACT
    for a in range(len(taps)):
        for b in range(a + 1):
            row_b, column_b = y + lookup[a, b, 1], x + lookup[a, b, 2]
            start = (lookup[a, b, 0] * window_height + row_b) * window_width + column_b
            if exact:
                centre_lanes(
                    lag, start, n, sums, a * SOLVE_LANES, sums, b * SOLVE_LANES, gram, a * row + b * SOLVE_LANES
                )
            else:
                products = lag[lookup[a, b, 0], row_b]
                sums_a, sums_b = source_sum[y + taps[a, 0]], source_sum[y + taps[b, 0]]
                for k in range(SOLVE_LANES):
                    gram[a, b, k] = centred(
                        n_rows, products[column_b + k], sums_a[x + taps[a, 1] + k], sums_b[x + taps[b, 1] + k]
                    )


@jit
def load_lent(gram: Array, y: int, x: int, system: Array) -> None:
    """Fill the lower triangles of systems from a map of each entry, row by row of the triangle."""
    height, width = gram.shape[1:]
    row = system.shape[1] * SOLVE_LANES
    a = b = 0
    for entry in range(len(gram)):
        copy_lanes(gram, (entry * height + y) * width + x, system, a * row + b * SOLVE_LANES)
        a, b = (a + 1, 0) if b == a else (a, b + 1)


@jit
def load_lent_products(
    products: Array, gram: Array, centre: int, prior: float, y: int, x: int, system: Array, which: int
) -> None:
    """Fill row ``which`` of systems from a map of each tap, less what the prior of the pixel's own weight explains."""
    n_taps, height, width = products.shape
    lent = aligned((1, SOLVE_LANES))
    for a in range(n_taps):
        copy_lanes(products, (a * height + y) * width + x, system, (which * system.shape[1] + a) * SOLVE_LANES)
        if prior != 0.0:
            i, j = max(a, centre), min(a, centre)
            copy_lanes(gram, ((i * (i + 1) // 2 + j) * height + y) * width + x, lent, 0)
            for k in range(SOLVE_LANES):
                system[which, a, k] -= prior * lent[0, k]


@jit
def load_sums(
    cross: Array, source_sum: Array, target_sum: Array, target_square: Array, taps: Array, n_rows: int, unit: int,
    y: int, x: int, sums: Array, products: Array, target: Array,
) -> None:  # fmt: skip
    """Fill sums of sources and their centred products with the target, by tap, and the target's sum and square.

    Centred means ``n`` times the centred product: an integer, rounded once.
    """
    n_taps, height, width = cross.shape
    window_width = source_sum.shape[1]
    n = np.float64(n_rows)
    exact = n_rows * unit <= EXACT
    copy_lanes(target_sum, y * width + x, target, 0)
    if exact:
        centre_lanes(target_square, y * width + x, n, target, 0, target, 0, target, SOLVE_LANES)
    else:
        for k in range(SOLVE_LANES):
            total = target_sum[y, x + k]
            target[1, k] = centred(n_rows, target_square[y, x + k], total, total)
    for a in range(n_taps):
        row, column = y + taps[a, 0], x + taps[a, 1]
        copy_lanes(source_sum, row * window_width + column, sums, a * SOLVE_LANES)
        if exact:
            centre_lanes(
                cross, (a * height + y) * width + x, n, sums, a * SOLVE_LANES, target, 0, products, a * SOLVE_LANES
            )
        else:
            for k in range(SOLVE_LANES):
                products[a, k] = centred(n_rows, cross[a, y, x + k], source_sum[row, column + k], target_sum[y, x + k])


@jit
def training_error(
    sums: Array, products: Array, target: Array, n_rows: int, unit: int, alpha: Array, penalize_intercept: bool,
    weights: Array, which: int, intercept: Array, work: Array, sse: Array,
) -> None:  # fmt: skip
    """Sum of squared errors from the normal equations, in O(n_taps).

    At the solution ``sum r = alpha b`` (or 0) and ``sum x_j r = alpha w_j`` for the residuals r, so the centred sum
    ``sum (t - mean t) r - sum_j w_j sum (x_j - mean x_j) r`` needs no Gram entry.

    Parameters
    ----------
    sums, products, target
        From `load_sums`.
    alpha
        Penalty, shape (lane,).
    weights
        Shape (tap or more, penalty, lane).
    which
        Index of ``alpha`` among the penalties.
    intercept
        Shape (lane,).
    work
        Work space, shape (tap + 3, lane).
    sse
        Where the sums go, shape (lane,).
    """
    n_taps = len(sums)
    n = np.float64(n_rows)
    scale = np.float64(unit)
    residual, form, shrinkage = n_taps, n_taps + 1, n_taps + 2  # rows of the work space, after one for every tap
    for k in range(SOLVE_LANES):
        work[residual, k] = target[0, k]
        work[form, k] = target[1, k]
        work[shrinkage, k] = 0.0
    for a in range(n_taps):
        for k in range(SOLVE_LANES):
            pull = intercept[k] if penalize_intercept else 0.0
            work[a, k] = weights[a, which, k] - sums[a, k] / (n * scale) * pull
    lanes, step = SOLVE_LANES, weights.shape[1] * SOLVE_LANES
    subtract_products(work, residual * lanes, 0, weights, which * lanes, 0, step, sums, 0, lanes, n_taps, 1)
    subtract_products(work, form * lanes, 0, weights, which * lanes, 0, step, products, 0, lanes, n_taps, 1)
    subtract_products(work, shrinkage * lanes, 0, weights, which * lanes, 0, step, work, 0, lanes, n_taps, 1)
    for k in range(SOLVE_LANES):
        rest = work[residual, k] / scale - n * intercept[k]
        error = work[form, k] / (n * scale * scale) + alpha[k] * work[shrinkage, k] + rest * rest / n
        sse[k] = max(error, 0.0)


@jit
def centred(n: int, product: int, sum_a: int, sum_b: int) -> float:
    """``n product - sum_a sum_b`` rounded once: exact in 128 bits, since 64 overflow for float images.

    ``sum_a, sum_b, product >= 0``.
    """
    high_1, low_1 = _wide_product(np.uint64(n), np.uint64(product))
    high_2, low_2 = _wide_product(np.uint64(sum_a), np.uint64(sum_b))
    negative = high_1 < high_2 or (high_1 == high_2 and low_1 < low_2)
    if negative:
        high_1, low_1, high_2, low_2 = high_2, low_2, high_1, low_1
    borrow = np.uint64(1) if low_1 < low_2 else np.uint64(0)
    high = high_1 - high_2 - borrow
    low = low_1 - low_2
    scale = 1.0
    while high > np.uint64(0):  # bits shifted out are kept in the last bit, so that the single rounding is correct
        low = (high << np.uint64(63)) | (low >> np.uint64(1)) | (low & np.uint64(1))
        high >>= np.uint64(1)
        scale *= 2.0
    value = np.float64(low) * scale
    return -value if negative else value


@jit
def _wide_product(a: np.uint64, b: np.uint64) -> tuple[np.uint64, np.uint64]:
    """High and low 64 bits of a product of two unsigned 64-bit integers."""
    mask = np.uint64(0xFFFFFFFF)
    shift = np.uint64(32)
    a1, a0 = a >> shift, a & mask
    b1, b0 = b >> shift, b & mask
    low = a0 * b0
    middle = a1 * b0 + (low >> shift)
    other = a0 * b1 + (middle & mask)
    return a1 * b1 + (middle >> shift) + (other >> shift), (other << shift) | (low & mask)
