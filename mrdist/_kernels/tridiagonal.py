"""Ridge regressions of a batch of pixels for many penalties from one tridiagonalisation.

The free intercept is projected out first: the system is ``n`` times the centred ``X' X``, whose entries are
integers. With ``Q' M Q = T`` tridiagonal (Householder: Golub & Van Loan, Matrix Computations, 4th ed., section
8.3.1), ``M + s I`` becomes ``T + s I`` for every shift s, and O(m) operations solve it (section 4.3.6).

A penalised intercept adds a matrix of rank one, ``alpha / (n + alpha)`` times the outer product of the sums of the
sources (Sherman & Morrison; section 2.1.4), so that the same T serves it. This is more precise than the tridiagonal
form of a matrix with the column of ones: rounding errors are relative to the norm, and the brightness of the images
outweighs their differences.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from mrdist._kernels.lanes import jit
from mrdist._kernels.lanes_strict import SOLVE_LANES, SOLVE_ROWS, aligned, subtract_products
from mrdist._kernels.lanes_tridiagonal import (
    SHIFTS,
    SWEEP_ROWS,
    eliminate,
    reflect_column,
    substitute,
    subtract_projections,
    update_and_multiply,
)
from mrdist._kernels.systems import assemble_centred, load_lent

Array = npt.NDArray[Any]
_EPSILON = float(np.finfo(np.float64).eps)


@jit
def tridiagonalise(
    a: Array, reflectors: Array, w: Array, p: Array, diagonal: Array, beside: Array, rhs: Array
) -> None:  # fmt: skip
    """Reduce symmetric matrices of m rows to tridiagonal ones and apply the reflections to right-hand sides.

    Parameters
    ----------
    a
        Lower triangles, destroyed, of m rows of matrix and a row for every right-hand side, which ride along as if
        they were rows of a larger matrix; shape (size, size, lane), zeros in the columns from m on.
    reflectors
        Where the vector u of reflection ``I - u u'``, k = 0..m-2, is left in row k + 1 from its entry k + 1 on;
        shape (size, size, lane), zeros in row 0 and in the columns from m on.
    w, p
        Work space, shape (size, lane).
    diagonal, beside
        Where the diagonals of T go, shape (m, lane); ``beside`` ends in a row of zeros.
    rhs
        Where ``Q' b`` goes, shape (right-hand side, m, lane).
    """
    size, m = a.shape[0], diagonal.shape[0]
    row = size * SOLVE_LANES
    w[:] = 0.0
    for k in range(m):
        # The update v w' + w v' of the step before is still due: one sweep does it and multiplies by this step's u.
        v = reflectors[k]
        here, below = k * SOLVE_LANES, (k + 1) * SOLVE_LANES
        for lane in range(SOLVE_LANES):
            update = v[k, lane] * w[k, lane]
            diagonal[k, lane] = a[k, k, lane] - update - update
        for i in range(m, size):
            for lane in range(SOLVE_LANES):
                rhs[i - m, k, lane] = a[i, k, lane] - w[i, lane] * v[k, lane]
        if k == m - 1:
            beside[k] = 0.0
            break
        u_start = (k + 1) * row + below
        reflect_column(
            a, k * row + here, row, reflectors, k * row + here, w, here, reflectors, u_start, beside, here, m - k - 1
        )
        i = k + 1
        rows = (size - i - 1) % SWEEP_ROWS + 1
        while i < size:
            update_and_multiply(
                a, i * row + below, row, reflectors, k * row + below, w, below, reflectors, u_start, p, below,
                i - k - 1, rows,
            )  # fmt: skip
            i += rows
            rows = SWEEP_ROWS
        subtract_projections(p, below, 0, SOLVE_LANES, reflectors, u_start, m - k - 1, 0.5, 1)
        w, p = p, w


@jit
def solve_shifted(
    diagonal: Array, beside: Array, rhs: Array, target: Array, n_rows: int, unit: int, alphas: Array,
    penalize_intercept: bool, lanes: int, work: Array, rows: Array, weights: Array, intercept: Array,
) -> tuple[int, int]:  # fmt: skip
    """Solve the tridiagonal systems of all penalties; return penalty and lane of a failure, or (-1, -1).

    With g and h the solutions for the products with the target and for the sums of the sources s, the intercept b
    is ``(sum t - s'g) / (unit (n + alpha (1 + s'h)))`` and the weights are ``g + alpha unit b h``; for a free
    intercept these two alphas are 0.

    Parameters
    ----------
    diagonal, beside
        T, shape (m, lane), with a last row of zeros beside.
    rhs
        ``Q'`` times products with the target and sums of the sources, shape (2, m, lane).
    target
        Sums of the targets, shape (lane,).
    lanes
        Lanes that hold pixels of the image.
    work
        Shape (2, m, alpha, lane).
    rows
        Work space, shape (4, alpha, lane).
    weights
        Where ``Q'`` times the weights goes, shape (m or more, alpha, lane).
    intercept
        Shape (alpha, lane).
    """
    m = diagonal.shape[0]
    n_alphas = len(alphas)
    n, scale = np.float64(n_rows), np.float64(unit)
    inverse, h = work[0], work[1]
    shifts, smallest, s_g, s_h = rows[0], rows[1], rows[2], rows[3]
    for q in range(n_alphas):
        shifts[q] = scale * scale * alphas[q] * n
    step, second = n_alphas * SOLVE_LANES, m * SOLVE_LANES
    for q in range(0, n_alphas, SHIFTS):
        first, count = q * SOLVE_LANES, min(SHIFTS, n_alphas - q)
        eliminate(diagonal, beside, rhs, second, shifts, inverse, weights, h, smallest, first, step, m, count)
        substitute(beside, rhs, second, inverse, weights, h, s_g, s_h, first, step, m, count)
    for k in range(lanes):
        largest = 0.0
        for i in range(m):
            largest = max(largest, diagonal[i, k])
        for q in range(n_alphas):
            # A value that should be 0 comes out as a rounding error of the largest, of either sign.
            if not smallest[q, k] > (largest + shifts[q, k]) * (m * _EPSILON):
                return q, k
    for q in range(n_alphas):
        pull = alphas[q] if penalize_intercept else 0.0
        for k in range(SOLVE_LANES):
            intercept[q, k] = (target[k] - s_g[q, k]) / (scale * (n + pull * (1.0 + s_h[q, k])))
            shifts[q, k] = pull * scale * intercept[q, k]
    for i in range(m):
        for q in range(n_alphas):
            for k in range(SOLVE_LANES):
                weights[i, q, k] += shifts[q, k] * h[i, q, k]
    return -1, -1


@jit
def transform_back(reflectors: Array, m: int, weights: Array) -> None:
    """Multiply the first m entries of vectors of shape (entry, alpha, lane) by Q."""
    n_alphas = weights.shape[1]
    row, step = reflectors.shape[1] * SOLVE_LANES, n_alphas * SOLVE_LANES
    for k in range(m - 1, 0, -1):
        for q in range(0, n_alphas, SOLVE_ROWS):
            subtract_projections(
                weights, k * step + q * SOLVE_LANES, SOLVE_LANES, step, reflectors, k * row + k * SOLVE_LANES,
                m - k, 1.0, min(SOLVE_ROWS, n_alphas - q),
            )  # fmt: skip


@jit
def workspace(n_taps: int, n_alphas: int) -> tuple[Array, Array, Array, Array, Array, Array, Array]:
    """Return the work space of `solve_batch`, all zeros."""
    size = n_taps + 2
    return (
        aligned((size, size, SOLVE_LANES)),
        aligned((size, size, SOLVE_LANES)),
        aligned((2, size, SOLVE_LANES)),
        aligned((2, n_taps, SOLVE_LANES)),
        aligned((2, n_taps, SOLVE_LANES)),
        aligned((2, n_taps, n_alphas, SOLVE_LANES)),
        aligned((4, n_alphas, SOLVE_LANES)),
    )


@jit
def solve_batch(
    lag: Array, source_sum: Array, sums: Array, products: Array, target: Array, lookup: Array, taps: Array,
    n_rows: int, unit: int, alphas: Array, penalize_intercept: bool, y: int, x: int, lanes: int,
    space: tuple[Array, Array, Array, Array, Array, Array, Array], weights: Array, intercept: Array,
    gram: Array | None,
) -> tuple[int, int]:  # fmt: skip
    """Fill weights (tap or more, alpha, lane) and intercepts (alpha, lane) of the pixels from (y, x) on.

    ``gram`` holds systems that neighbours have a part in, or None; Numba compiles the function for each of them.

    Return penalty and lane of a system that is not positive definite, or (-1, -1).
    """
    system, reflectors, vectors, tridiagonal, rhs, work, rows = space
    m = len(taps)
    if gram is None:
        assemble_centred(lag, source_sum, sums, lookup, taps, n_rows, unit, y, x, system)
    else:
        load_lent(gram, y, x, system)
    for i in range(m):
        for k in range(SOLVE_LANES):
            system[m, i, k] = products[i, k]
            system[m + 1, i, k] = sums[i, k]
    tridiagonalise(system, reflectors, vectors[0], vectors[1], tridiagonal[0], tridiagonal[1], rhs)
    failed = solve_shifted(
        tridiagonal[0], tridiagonal[1], rhs, target, n_rows, unit, alphas, penalize_intercept, lanes, work, rows,
        weights, intercept,
    )  # fmt: skip
    if failed[0] >= 0:
        return failed
    transform_back(reflectors, m, weights)
    for i in range(m):
        for k in range(SOLVE_LANES):
            dark = sums[i, k] == 0.0
            if gram is not None:
                dark = dark and gram[i * (i + 3) // 2, y, x + k] == 0.0
            if dark:  # a tap that never saw light: the reflections left rounding errors there
                for q in range(len(alphas)):
                    weights[i, q, k] = 0.0
    return -1, -1


@jit
def squared_error(
    system: Array, target: Array, sums: Array, n_rows: int, unit: int, weights: Array, intercept: Array,
    work: Array, sse: Array,
) -> None:  # fmt: skip
    """Sum of squared errors of weights for all penalties, on images they need not be fitted to.

    Parameters
    ----------
    system
        Lower triangle of ``n`` times the centred ``[X t]' [X t]``, shape (m + 1, m + 1, lane) or more.
    target
        Sums of the target, shape (lane,).
    sums
        Those of the sources, shape (m, lane).
    weights
        Shape (m + 1, alpha, lane), -1 for the target.
    intercept
        Shape (alpha, lane).
    work
        Work space, shape (2, alpha, lane).
    sse
        Where the sums go, shape (alpha, lane).
    """
    m, n_alphas = len(sums), len(intercept)
    row, step = system.shape[1] * SOLVE_LANES, n_alphas * SOLVE_LANES
    n, scale = np.float64(n_rows), np.float64(unit)
    residual, rest = work[0], work[1]
    for q in range(n_alphas):
        residual[q] = target
        sse[q] = 0.0
    for q in range(0, n_alphas, SOLVE_ROWS):
        first, count = q * SOLVE_LANES, min(SOLVE_ROWS, n_alphas - q)
        subtract_products(
            residual, first, SOLVE_LANES, weights, first, SOLVE_LANES, step, sums, 0, SOLVE_LANES, m, count
        )
    for a in range(m + 1):
        rest[:] = 0.0
        for q in range(0, n_alphas, SOLVE_ROWS):
            first, count = q * SOLVE_LANES, min(SOLVE_ROWS, n_alphas - q)
            subtract_products(
                rest, first, SOLVE_LANES, weights, first, SOLVE_LANES, step, system, a * row, SOLVE_LANES, a, count
            )
        for q in range(n_alphas):
            for k in range(SOLVE_LANES):
                w = weights[a, q, k]
                sse[q, k] += w * (w * system[a, a, k] - 2.0 * rest[q, k])
    for q in range(n_alphas):
        for k in range(SOLVE_LANES):
            offset = residual[q, k] / scale - n * intercept[q, k]
            sse[q, k] = max(sse[q, k] / (n * scale * scale) + offset * offset / n, 0.0)
