"""Ridge regressions of a block of pixels, solved from their sufficient statistics.

Every pixel solves ``(X' X + alpha I) w = X' t`` (Khan et al., IJCV 128, 2020, eq. 6), X the images restricted to
the receptive field with a last column of ones. The system is set up in the integers' units: the column of ones
is ``unit``, ``unit^2 alpha`` is added to the diagonal, and weights and intercept come out unscaled.

Bits do not depend on the block, the processor or the neighbours: pixels lie in the fastest axis of a batch, and
each pixel sees one fixed sequence of +, -, x, / and square roots, in float64, without fastmath, BLAS or LAPACK.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from mrdist._kernels.lanes import jit
from mrdist._kernels.lanes_strict import SOLVE_LANES, SOLVE_ROWS, aligned, copy_lanes, subtract_products
from mrdist._kernels.systems import assemble, assemble_centred, load_sums, training_error
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


def solve(
    statistics: SufficientStatistics, alpha: float | npt.NDArray[np.float64], *, penalize_intercept: bool = True
) -> Solution:
    """Solve the ridge regression of every pixel of a block.

    Parameters
    ----------
    statistics
        Sums over the training images.
    alpha
        Ridge penalty for images in 0..1, not scaled by their number; one for all pixels, or an array of shape
        (group, y, x). A pixel's weights depend on its own only.
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
    width = statistics.shape[1]
    for extreme in (np.min(alpha), np.max(alpha)) if isinstance(alpha, np.ndarray) else (alpha,):
        check_alpha(extreme)
    penalties = np.full((statistics.n_groups, *statistics.shape), alpha, dtype=np.float64)
    wide = batchable(statistics)
    groups, (height, columns) = wide.n_groups, wide.shape
    penalties = np.pad(penalties, [(0, 0), (0, 0), (0, columns - width)], mode="edge")
    coef = np.empty((groups, wide.field.n_offsets, height, columns))
    intercept, sse, sst = (np.empty((groups, height, columns)) for _ in range(3))
    failed: int = _solve(
        wide.lag,
        wide.cross,
        wide.source_sum,
        wide.target_sum,
        wide.target_square,
        wide.field.gram_lookup,
        wide.field.offsets + wide.field.halo,
        wide.n_rows,
        wide.unit,
        penalties,
        penalize_intercept,
        min(width, SOLVE_LANES),
        coef,
        intercept,
        sse,
        sst,
    )
    if failed >= 0:
        group, y, x = np.unravel_index(failed, penalties.shape)
        raise not_positive_definite(int(y), int(x), float(penalties[group, y, x]))
    return Solution(*(np.ascontiguousarray(part[..., :width]) for part in (coef, intercept, sse, sst)))


def not_positive_definite(y: int, x: int, alpha: float) -> SolveError:
    """Return the error of a pixel of the block whose system cannot be solved."""
    return SolveError(
        f"the system of the pixel at row {y}, column {x} of the block is not positive definite with "
        f"alpha {alpha:g}; use a larger alpha."
    )


def batchable(statistics: SufficientStatistics) -> SufficientStatistics:
    """Return statistics as the kernels count on them: in C order, with a column for every lane of a batch.

    The columns that a narrow block lacks are added on the right: pixels whose results mean nothing.
    """
    missing = max(0, SOLVE_LANES - statistics.shape[1])

    def prepared(sums: Array) -> Array:
        return np.pad(sums, [(0, 0)] * (sums.ndim - 1) + [(0, missing)]) if missing else np.ascontiguousarray(sums)

    return replace(
        statistics,
        lag=prepared(statistics.lag),
        cross=prepared(statistics.cross),
        source_sum=prepared(statistics.source_sum),
        target_sum=prepared(statistics.target_sum),
        target_square=prepared(statistics.target_square),
    )


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
    alphas: Array,
    penalize_intercept: bool,
    lanes: int,
    coef: Array,
    intercept: Array,
    sse: Array,
    sst: Array,
) -> int:
    """Solve groups of pixels; return the flat index of a pixel whose system is not positive definite, or -1."""
    n_groups, n_taps, height, width = coef.shape
    unknowns = n_taps + 1 if penalize_intercept else n_taps
    system = aligned((unknowns + 1, unknowns, SOLVE_LANES))
    sums = aligned((n_taps, SOLVE_LANES))
    products = aligned((n_taps, SOLVE_LANES))
    target = aligned((2, SOLVE_LANES))
    work = aligned((n_taps + 3, SOLVE_LANES))
    b = aligned((1, SOLVE_LANES))
    error = aligned((1, SOLVE_LANES))
    alpha = aligned((SOLVE_LANES,))
    n, scale = np.float64(n_rows), np.float64(unit)
    for group in range(n_groups):
        for y in range(height):
            for x0 in range(0, width, SOLVE_LANES):
                # A ragged last batch overlaps the one before: equal pixels, equal operations, equal bits.
                x = min(x0, width - SOLVE_LANES)
                load_sums(
                    cross[group], source_sum[group], target_sum[group], target_square[group], taps, n_rows, unit,
                    y, x, sums, products, target,
                )  # fmt: skip
                copy_lanes(alphas, (group * height + y) * width + x, alpha, 0)
                if penalize_intercept:
                    assemble(lag[group], sums, cross[group], target, lookup, n_rows, unit, alpha, y, x, system)
                else:
                    assemble_centred(lag[group], source_sum[group], sums, lookup, taps, n_rows, unit, y, x, system)
                    for a in range(n_taps):
                        for k in range(SOLVE_LANES):
                            system[n_taps, a, k] = products[a, k]
                            system[a, a, k] += scale * scale * alpha[k] * n
                bad = _factorise(system, lanes)
                if bad >= 0:
                    return int((group * height + y) * width + x + bad)
                _substitute(system)
                weights = system[unknowns].reshape(unknowns, 1, SOLVE_LANES)
                if penalize_intercept:
                    b[0] = weights[n_taps, 0]
                else:
                    b[0] = target[0]
                    subtract_products(b, 0, 0, weights, 0, 0, SOLVE_LANES, sums, 0, SOLVE_LANES, n_taps, 1)
                    for k in range(SOLVE_LANES):
                        b[0, k] /= n * scale
                training_error(
                    sums, products, target, n_rows, unit, alpha, penalize_intercept, weights, 0, b[0], work, error[0]
                )
                for a in range(n_taps):
                    copy_lanes(weights, a * SOLVE_LANES, coef, ((group * n_taps + a) * height + y) * width + x)
                at = (group * height + y) * width + x
                copy_lanes(b, 0, intercept, at)
                copy_lanes(error, 0, sse, at)
                for k in range(SOLVE_LANES):
                    sst[group, y, x + k] = target[1, k] / (n * scale * scale)
    return -1


@jit
def _factorise(system: Array, lanes: int) -> int:
    """Replace lower triangles by Cholesky factors; return a lane that is not positive definite, or -1.

    Column by column, every entry the system's entry minus products in ascending order of the column, times the
    reciprocal of the pivot. The diagonal is left holding these reciprocals. The right-hand side, a last row, meets
    the same operations, which are those of the forward substitution.
    """
    m = system.shape[1]
    row = m * SOLVE_LANES
    # A pivot that should be 0 comes out as a rounding error of its diagonal entry, of either sign.
    floor = np.empty((m, SOLVE_LANES))
    for j in range(m):
        for k in range(SOLVE_LANES):
            floor[j, k] = system[j, j, k] * (m * _EPSILON)
    for j in range(m):
        for i in range(j, m + 1, SOLVE_ROWS):
            start = i * row + j * SOLVE_LANES
            rows = min(SOLVE_ROWS, m + 1 - i)
            subtract_products(
                system, start, row, system, i * row, row, SOLVE_LANES, system, j * row, SOLVE_LANES, j, rows
            )
        for k in range(lanes):
            if not system[j, j, k] > floor[j, k]:
                return k
        for k in range(SOLVE_LANES):
            system[j, j, k] = 1.0 / np.sqrt(system[j, j, k])
        for i in range(j + 1, m + 1):
            for k in range(SOLVE_LANES):
                system[i, j, k] *= system[j, j, k]
    return -1


@jit
def _substitute(system: Array) -> None:
    """Replace the last row by the solutions, with the transposes of the factors."""
    m = system.shape[1]
    row = m * SOLVE_LANES
    for i in range(m - 1, -1, -1):
        below = i + 1
        subtract_products(
            system, m * row + i * SOLVE_LANES, 0, system, below * row + i * SOLVE_LANES, 0, row,
            system, m * row + below * SOLVE_LANES, SOLVE_LANES, m - below, 1,
        )  # fmt: skip
        for k in range(SOLVE_LANES):
            system[m, i, k] *= system[i, i, k]
