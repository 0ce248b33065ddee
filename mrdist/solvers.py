"""Ridge regressions of a block of pixels, solved from their sufficient statistics.

Every pixel solves ``(X' X + alpha I) w = X' t`` (Khan et al., IJCV 128, 2020, eq. 6), X the images restricted to
the receptive field with a last column of ones. The system is set up in the integers' units: the column of ones
is ``unit``, ``unit^2 alpha`` is added to the diagonal, and weights and intercept come out unscaled.

Bits do not depend on the block, the processor or the neighbours: pixels lie in the fastest axis of a batch, and
each pixel sees one fixed sequence of +, -, x, / and square roots, in float64, without fastmath, BLAS or LAPACK.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from mrdist._lanes import SOLVE_LANES, SOLVE_ROWS, jit, subtract_products
from mrdist.errors import ParameterError, SolveError
from mrdist.moments import SufficientStatistics

Array = npt.NDArray[Any]
_EPSILON = float(np.finfo(np.float64).eps)


@dataclass(frozen=True)
class Solution:
    """Weights of a block of output pixels and how well they fit the images they were trained on.

    Attributes
    ----------
    coef
        Weights, float64, shape (group, offset, y, x).
    intercept
        float64, shape (group, y, x); 1 = white.
    sse
        Sum of squared training errors, float64, shape (group, y, x); 1 = white.
    sst
        Sum of squared deviations of the target from its mean, float64, shape (group, y, x).
    """

    coef: npt.NDArray[np.float64]
    intercept: npt.NDArray[np.float64]
    sse: npt.NDArray[np.float64]
    sst: npt.NDArray[np.float64]


def check_alpha(alpha: float) -> float:
    """Return ``alpha`` as a float if it can serve as a ridge penalty.

    Raises
    ------
    ParameterError
        If it is not a positive, finite number: with ``alpha = 0`` the system of a pixel at the border, whose
        outer taps see nothing, is singular.

    Examples
    --------
    >>> check_alpha(1)
    1.0
    """
    if not (alpha > 0 and np.isfinite(alpha)):
        raise ParameterError(
            f"alpha must be a positive, finite number, got {alpha}; "
            "for an almost unpenalised fit use a small one such as 1e-6."
        )
    return float(alpha)


def solve(statistics: SufficientStatistics, alpha: float, *, penalize_intercept: bool = True) -> Solution:
    """Solve the ridge regression of every pixel of a block.

    Parameters
    ----------
    statistics
        Sums over the training images.
    alpha
        Ridge penalty for images in 0..1, not scaled by their number.
    penalize_intercept
        Penalise the intercept like any weight, as the paper does; False gives the convention of
        `sklearn.linear_model.Ridge`.

    Returns
    -------
    Solution
        Weights of taps outside the image are exactly 0.

    Raises
    ------
    ParameterError
        If ``alpha`` is not positive and finite.
    SolveError
        If a system is not positive definite in float64 (``alpha`` is too small), naming the pixel.
    """
    check_alpha(alpha)
    groups, (height, width) = statistics.n_groups, statistics.shape
    n_offsets = statistics.field.n_offsets
    coef = np.empty((groups, n_offsets, height, width))
    intercept = np.empty((groups, height, width))
    sse = np.empty((groups, height, width))
    sst = np.empty((groups, height, width))
    failed: int = _solve(
        statistics.lag,
        statistics.cross,
        statistics.source_sum,
        statistics.target_sum,
        statistics.target_square,
        statistics.field.gram_lookup,
        statistics.field.offsets + statistics.field.halo,
        statistics.n_rows,
        statistics.unit,
        alpha,
        penalize_intercept,
        coef,
        intercept,
        sse,
        sst,
    )
    if failed >= 0:
        y, x = divmod(failed, width)
        raise SolveError(
            f"the system of the pixel at row {y}, column {x} of the block is not positive definite with "
            f"alpha {alpha:g}; use a larger alpha."
        )
    return Solution(coef, intercept, sse, sst)


@jit
def _solve(
    lag: Array,
    cross: Array,
    source_sum: Array,
    target_sum: Array,
    target_square: Array,
    lookup: Array,
    taps: Array,
    n_rows: int,
    unit: int,
    alpha: float,
    penalize_intercept: bool,
    coef: Array,
    intercept: Array,
    sse: Array,
    sst: Array,
) -> int:
    """Solve groups of pixels; return the flat index of a pixel whose system is not positive definite, or -1."""
    n_groups, n_taps, height, width = coef.shape
    unknowns = n_taps + 1 if penalize_intercept else n_taps
    gram = np.ones((unknowns, unknowns, SOLVE_LANES))  # lanes beyond a narrow image stay harmless
    rhs = np.ones((unknowns, SOLVE_LANES))
    weights = np.empty((n_taps, SOLVE_LANES))
    for group in range(n_groups):
        for y in range(height):
            for x0 in range(0, width, SOLVE_LANES):
                # A ragged last batch overlaps the one before: equal pixels, equal operations, equal bits.
                lanes = min(SOLVE_LANES, width)
                x = min(x0, width - lanes)
                if penalize_intercept:
                    _assemble(
                        lag[group], cross[group], source_sum[group], target_sum[group],
                        lookup, taps, n_rows, unit, alpha, y, x, lanes, gram, rhs,
                    )  # fmt: skip
                else:
                    _assemble_centred(
                        lag[group], cross[group], source_sum[group], target_sum[group],
                        lookup, taps, n_rows, unit, alpha, y, x, lanes, gram, rhs,
                    )  # fmt: skip
                bad = _cholesky(gram, lanes)
                if bad >= 0:
                    return int(y * width + x + bad)
                _substitute(gram, rhs)
                weights[:] = rhs[:n_taps]
                for a in range(n_taps):
                    for k in range(lanes):
                        coef[group, a, y, x + k] = weights[a, k]
                for k in range(lanes):
                    if penalize_intercept:
                        b = rhs[n_taps, k]
                    else:
                        rest = np.float64(target_sum[group, y, x + k])
                        for a in range(n_taps):
                            s = source_sum[group, y + taps[a, 0], x + k + taps[a, 1]]
                            rest -= weights[a, k] * np.float64(s)
                        b = rest / (np.float64(n_rows) * np.float64(unit))
                    intercept[group, y, x + k] = b
                _training_error(
                    cross[group], source_sum[group], target_sum[group], target_square[group], taps, n_rows, unit,
                    alpha, penalize_intercept, y, x, lanes, weights, intercept[group], sse[group], sst[group],
                )  # fmt: skip
    return -1


@jit
def _assemble(
    lag: Array, cross: Array, source_sum: Array, target_sum: Array, lookup: Array, taps: Array,
    n_rows: int, unit: int, alpha: float, y: int, x: int, lanes: int, gram: Array, rhs: Array,
) -> None:  # fmt: skip
    """Fill the lower triangles of ``X' X + alpha I`` and ``X' t`` in the integers' units."""
    n_taps = len(taps)
    scale = np.float64(unit)
    penalty = scale * scale * alpha
    for a in range(n_taps):
        for b in range(a + 1):
            row = lag[lookup[a, b, 0], y + lookup[a, b, 1]]
            start = x + lookup[a, b, 2]
            for k in range(lanes):
                gram[a, b, k] = np.float64(row[start + k])
        sums = source_sum[y + taps[a, 0]]
        start = x + taps[a, 1]
        for k in range(lanes):
            gram[a, a, k] += penalty
            gram[n_taps, a, k] = scale * np.float64(sums[start + k])
            rhs[a, k] = np.float64(cross[a, y, x + k])
    for k in range(lanes):
        gram[n_taps, n_taps, k] = scale * scale * np.float64(n_rows) + penalty
        rhs[n_taps, k] = scale * np.float64(target_sum[y, x + k])


@jit
def _assemble_centred(
    lag: Array, cross: Array, source_sum: Array, target_sum: Array, lookup: Array, taps: Array,
    n_rows: int, unit: int, alpha: float, y: int, x: int, lanes: int, gram: Array, rhs: Array,
) -> None:  # fmt: skip
    """Fill ``n`` times the centred system: the intercept is free, so it is projected out first."""
    n_taps = len(taps)
    scale = np.float64(unit)
    penalty = scale * scale * alpha * np.float64(n_rows)
    for a in range(n_taps):
        sum_a = source_sum[y + taps[a, 0]]
        start_a = x + taps[a, 1]
        for b in range(a + 1):
            row = lag[lookup[a, b, 0], y + lookup[a, b, 1]]
            start = x + lookup[a, b, 2]
            sum_b = source_sum[y + taps[b, 0]]
            start_b = x + taps[b, 1]
            for k in range(lanes):
                gram[a, b, k] = _centred(n_rows, row[start + k], sum_a[start_a + k], sum_b[start_b + k])
        for k in range(lanes):
            gram[a, a, k] += penalty
            rhs[a, k] = _centred(n_rows, cross[a, y, x + k], sum_a[start_a + k], target_sum[y, x + k])


@jit
def _training_error(
    cross: Array, source_sum: Array, target_sum: Array, target_square: Array, taps: Array, n_rows: int, unit: int,
    alpha: float, penalize_intercept: bool, y: int, x: int, lanes: int,
    weights: Array, intercept: Array, sse: Array, sst: Array,
) -> None:  # fmt: skip
    """Sum of squared errors from the normal equations, in O(n_taps).

    At the solution ``sum r = alpha b`` (or 0) and ``sum x_j r = alpha w_j`` for the residuals r, so the centred sum
    ``sum (t - mean t) r - sum_j w_j sum (x_j - mean x_j) r`` needs no Gram entry.
    """
    n = np.float64(n_rows)
    scale = np.float64(unit)
    for k in range(lanes):
        b = intercept[y, x + k]
        pull = b if penalize_intercept else 0.0
        t_sum = target_sum[y, x + k]
        form = _centred(n_rows, target_square[y, x + k], t_sum, t_sum)
        sst[y, x + k] = form / (n * scale * scale)
        residual = np.float64(t_sum)
        shrinkage = 0.0
        for a in range(len(taps)):
            w = weights[a, k]
            s = source_sum[y + taps[a, 0], x + k + taps[a, 1]]
            form -= w * _centred(n_rows, cross[a, y, x + k], s, t_sum)
            residual -= w * np.float64(s)
            shrinkage += w * (w - np.float64(s) / (n * scale) * pull)
        residual = residual / scale - n * b
        error = form / (n * scale * scale) - alpha * shrinkage + residual * residual / n
        sse[y, x + k] = max(error, 0.0)


@jit
def _centred(n: int, product: int, sum_a: int, sum_b: int) -> float:
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
    while high > np.uint64(0):  # what is shifted out stays in the last bit, so that the one rounding is right
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


@jit
def _cholesky(gram: Array, lanes: int) -> int:
    """Replace lower triangles by Cholesky factors; return a lane that is not positive definite, or -1.

    Column by column, every entry the Gram entry minus products in ascending order of the column, times the
    reciprocal of the pivot. The diagonal is left holding these reciprocals.
    """
    m = gram.shape[0]
    row = m * SOLVE_LANES
    # A pivot that should be 0 comes out as a rounding error of its diagonal entry, of either sign.
    floor = np.empty((m, SOLVE_LANES))
    for j in range(m):
        for k in range(SOLVE_LANES):
            floor[j, k] = gram[j, j, k] * (m * _EPSILON)
    for j in range(m):
        for i in range(j, m, SOLVE_ROWS):
            start = i * row + j * SOLVE_LANES
            rows = min(SOLVE_ROWS, m - i)
            subtract_products(gram, start, row, gram, i * row, row, SOLVE_LANES, gram, j * row, SOLVE_LANES, j, rows)
        for k in range(lanes):
            if not gram[j, j, k] > floor[j, k]:
                return k
        for k in range(SOLVE_LANES):
            gram[j, j, k] = 1.0 / np.sqrt(gram[j, j, k])
        for i in range(j + 1, m):
            for k in range(SOLVE_LANES):
                gram[i, j, k] *= gram[j, j, k]
    return -1


@jit
def _substitute(factor: Array, rhs: Array) -> None:
    """Replace right-hand sides by solutions, first with the factor, then with its transpose."""
    m = factor.shape[0]
    row = m * SOLVE_LANES
    for i in range(m):
        subtract_products(rhs, i * SOLVE_LANES, 0, factor, i * row, 0, SOLVE_LANES, rhs, 0, SOLVE_LANES, i, 1)
        for k in range(SOLVE_LANES):
            rhs[i, k] *= factor[i, i, k]
    for i in range(m - 1, -1, -1):
        below = i + 1
        subtract_products(
            rhs, i * SOLVE_LANES, 0, factor, below * row + i * SOLVE_LANES, 0, row,
            rhs, below * SOLVE_LANES, SOLVE_LANES, m - below, 1,
        )  # fmt: skip
        for k in range(SOLVE_LANES):
            rhs[i, k] *= factor[i, i, k]
