"""Ridge regressions of a block of pixels, solved from their sufficient statistics.

Every pixel solves ``(X' X + alpha I) w = X' t`` (Khan et al., IJCV 128, 2020, eq. 6), X the images restricted to
the receptive field with a last column of ones. The system is set up in the integers' units: the column of ones
is ``unit``, ``unit^2 alpha`` is added to the diagonal, and weights and intercept come out unscaled.

Bits do not depend on the block, the processor or the neighbours: pixels lie in the fastest axis of a batch, and
each pixel sees one fixed sequence of +, -, x, / and square roots, in float64, without fastmath, BLAS or LAPACK.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from mrdist._kernels.cholesky import factorise, substitute
from mrdist._kernels.lanes import jit
from mrdist._kernels.lanes_strict import SOLVE_LANES, aligned, copy_lanes, subtract_products
from mrdist._kernels.lent_systems import solve_lent
from mrdist._kernels.systems import (
    assemble,
    assemble_centred,
    assemble_target,
    load_sums,
    training_error,
)
from mrdist.errors import ParameterError, SolveError
from mrdist.moments import Color, SufficientStatistics
from mrdist.pooling import Pool, crop
from mrdist.remaining import equal_rows, systems_at

Array = npt.NDArray[Any]
Prior = Literal["zero", "identity"]
PRIORS: tuple[Prior, ...] = ("zero", "identity")


@dataclass(frozen=True)
class Solution:
    """Weights of a block of output pixels and how well they fit the images they were trained on.

    Attributes
    ----------
    coef
        Weights, float64, shape (plane, tap, y, x), planes as in `mrdist.SufficientStatistics`; the taps are the
        offsets, for joint colour those of every input channel in turn.
    intercept
        float64, shape (plane, y, x); 1 = white.
    sse
        Sum of squared training errors, float64, shape (plane, y, x); 1 = white.
    sst
        Sum of squared deviations of the target from its mean, float64, shape (plane, y, x).
    """

    coef: npt.NDArray[np.float64]
    intercept: npt.NDArray[np.float64]
    sse: npt.NDArray[np.float64]
    sst: npt.NDArray[np.float64]

    def scaled(self, factor: float) -> Solution:
        """Return the solution for targets of ``factor`` times the values."""
        if factor == 1:
            return self
        return Solution(self.coef * factor, self.intercept * factor, self.sse * factor**2, self.sst * factor**2)

    def as_stored(self, color: Color) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
        """Return coef and intercept in the shapes of `mrdist.MaskedRegression`."""
        if color == "shared":
            return self.coef[0], self.intercept[0]
        n_planes, _, *shape = self.coef.shape
        return self.coef.reshape(n_planes, n_planes, -1, *shape) if color == "joint" else self.coef, self.intercept


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
    number = np.asarray(alpha)
    if number.ndim or number.dtype.kind not in "iuf" or not 0 < number < np.inf:
        raise ParameterError(
            f"alpha must be a positive, finite number, got {alpha}; "
            "for an almost unpenalised fit use a small one such as 1e-6."
        )
    return float(alpha)


def solve(
    statistics: SufficientStatistics,
    alpha: float | npt.NDArray[np.float64],
    *,
    penalize_intercept: bool = True,
    pool: Pool | None = None,
    prior: Prior = "zero",
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
    pool
        The output pixels to solve, with the sums that their neighbours lend them, see `mrdist.pooling`; by default all,
        each from its own.
    prior
        What weights are shrunk to: ``"zero"``, or ``"identity"``: 1 of the pixel itself, 0 of all others. The penalty
        of the identity is ``alpha |w - w0|^2``.

    Returns
    -------
    Solution
        Weights of taps outside the image are exactly 0. A pixel that leaves out all rows has weights of 0, and an
        intercept of NaN.

    Raises
    ------
    ParameterError
        If ``alpha`` is not positive and finite.
    SolveError
        If a system is not positive definite in float64 (``alpha`` is too small), naming the pixel.
    """
    for extreme in (np.min(alpha), np.max(alpha)) if isinstance(alpha, np.ndarray) else (alpha,):
        check_alpha(extreme)
    pool = Pool.alone(statistics) if pool is None and prior != "zero" else pool
    shape = statistics.shape if pool is None else pool.block.shape
    penalties = np.full((statistics.n_groups, *shape), alpha, dtype=np.float64)
    if pool is None:
        solved = _solve_part(statistics, penalties, penalize_intercept)
        _solve_remaining(statistics, penalties, penalize_intercept, *solved)
        return Solution(*solved).scaled(unit_ratio(statistics))
    n_planes, n_taps = len(statistics.target_sum), statistics.n_inputs * statistics.field.n_offsets
    solution = Solution(np.empty((n_planes, n_taps, *shape)), *(np.empty((n_planes, *shape)) for _ in range(3)))
    for tile in pool.tiles(n_taps):
        lent = (*pool.systems(statistics, tile), prior_weight(statistics, prior))
        inside = tile.within(pool.block)
        parts = _solve_part(crop(statistics, tile), penalties, penalize_intercept, inside, lent)
        for whole, part in zip(vars(solution).values(), parts, strict=True):
            whole[..., *inside] = part
    return solution.scaled(unit_ratio(statistics))


def _solve_part(
    statistics: SufficientStatistics,
    alpha: npt.NDArray[np.float64],
    penalize_intercept: bool,
    inside: tuple[slice, slice] = (slice(0, None), slice(0, None)),
    lent: tuple[Array, Array, float] | None = None,
) -> tuple[npt.NDArray[np.float64], ...]:
    """Solve a part of a block, whose place among the penalties is ``inside``; return the arrays of a `Solution`.

    ``lent`` are systems from `Pool.systems` and the weight of the prior, if they are not the pixels' own.
    """
    width = statistics.shape[1]
    wide = batchable(statistics)
    numbers = wide.n_rows, wide.unit
    results, failed = _solve_systems(systems_of(wide), numbers, alpha[:, *inside], penalize_intercept, lent)
    if failed is not None:
        group, y, x = failed
        place = y + inside[0].start, x + inside[1].start
        raise not_positive_definite(*place, float(alpha[:, *inside][group, y, x]))
    return tuple(np.ascontiguousarray(part[..., :width]) for part in results)


def _solve_remaining(
    statistics: SufficientStatistics, alpha: npt.NDArray[np.float64], penalize_intercept: bool, *results: Array
) -> None:
    """Solve the pixels that leave rows out again, from the rows that remain, into the arrays of a `Solution`."""
    for (n_rows,), chosen in equal_rows(statistics):
        assert statistics.left_out is not None
        y, x = statistics.left_out.pixels[chosen].T
        if not n_rows:
            for whole, nothing in zip(results, (0.0, np.nan, 0.0, 0.0), strict=True):
                whole[..., y, x] = nothing
            continue
        numbers = n_rows, statistics.unit
        systems, penalties = systems_at(statistics, chosen), alpha[:, np.newaxis, y, x]
        parts, failed = _solve_systems(systems, numbers, penalties, penalize_intercept)
        if failed is not None:
            group, _, one = failed
            raise not_positive_definite(int(y[one]), int(x[one]), float(penalties[group, 0, one]))
        for whole, part in zip(results, parts, strict=True):
            whole[..., y, x] = part[..., 0, : len(chosen)]


def _solve_systems(
    systems: tuple[tuple[Array, Array, Array, Array, Array], Array, Array],
    numbers: tuple[int, int],
    alpha: npt.NDArray[np.float64],
    penalize_intercept: bool,
    lent: tuple[Array, Array, float] | None = None,
) -> tuple[tuple[npt.NDArray[np.float64], ...], tuple[int, int, int] | None]:
    """Solve systems as the kernels require them, of ``numbers`` rows and unit.

    Returns
    -------
    results
        The arrays of a `Solution`, with columns for all lanes of a batch.
    failed
        Group, row and column of a system that is not positive definite.
    """
    sums, lookup, taps = systems
    n_planes, height, columns = sums[3].shape
    width = alpha.shape[2]
    # the kernel requires C order, which np.pad keeps only where it is
    penalties = np.ascontiguousarray(np.pad(alpha, [(0, 0), (0, 0), (0, columns - width)], mode="edge"))
    coef = np.empty((n_planes, len(taps), height, columns))
    intercept, sse, sst = (np.empty((n_planes, height, columns)) for _ in range(3))
    results = (coef, intercept, sse, sst)
    how = (*numbers, penalties, penalize_intercept, min(width, SOLVE_LANES))
    failed: int
    if lent is None:
        failed = _solve(sums, lookup, taps, *how, *results)
    else:
        failed = solve_lent(sums, lookup, taps, *how, *results, *lent)
    if failed < 0:
        return results, None
    group, y, x = map(int, np.unravel_index(failed, penalties.shape))
    return results, (group, y, x)


def prior_weight(statistics: SufficientStatistics, prior: Prior) -> float:
    """Return the weight of a pixel itself to which weights are shrunk, as the kernels count: 0, or the identity's."""
    return 1 / unit_ratio(statistics) if prior == "identity" else 0.0


def unit_ratio(statistics: SufficientStatistics) -> float:
    """Return the targets' unit as a share of the sources': the kernels treat both as integers of the sources' unit."""
    unit, target_unit = statistics.units
    return unit / target_unit


def not_positive_definite(y: int, x: int, alpha: float) -> SolveError:
    """Return the error of a pixel of the block whose system cannot be solved."""
    return SolveError(
        f"the system of the pixel at row {y}, column {x} of the block is not positive definite with "
        f"alpha {alpha:g}; use a larger alpha."
    )


def batchable(statistics: SufficientStatistics) -> SufficientStatistics:
    """Return statistics as the kernels require them: in C order, with a column for every lane of a batch.

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


def systems_of(wide: SufficientStatistics) -> tuple[tuple[Array, Array, Array, Array, Array], Array, Array]:
    """Return statistics from `batchable` as arguments of the kernels: one system per group, of one or several targets.

    Returns
    -------
    sums
        ``lag`` (group, map, window y, window x), ``cross`` (plane, tap, y, x), ``source_sum`` (group, window y, window
        x) with the planes of a group one below the other, and ``target_sum`` and ``target_square`` (plane, y, x).
    lookup
        Where the Gram entries lie among the maps of a group, see `mrdist.ReceptiveField.pair_lookup`.
    taps
        Rows and columns of the taps in ``source_sum``, from the first output pixel's window, shape (tap, 2).
    """
    field, n_groups, n_inputs = wide.field, wide.n_groups, wide.n_inputs
    height, width = wide.source_sum.shape[1:]
    plane = np.repeat(np.arange(n_inputs), field.n_offsets) * height
    taps = np.tile(field.offsets + field.halo, (n_inputs, 1)) + np.stack([plane, 0 * plane], axis=1)
    sums = (
        wide.lag.reshape(n_groups, -1, height, width),
        wide.cross.reshape(len(wide.target_sum), len(taps), *wide.shape),
        wide.source_sum.reshape(n_groups, -1, width),
        wide.target_sum,
        wide.target_square,
    )
    return sums, field.pair_lookup(n_inputs), taps


@jit
def _solve(
    statistics: tuple[Array, Array, Array, Array, Array],
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
    lag, cross, source_sum, target_sum, target_square = statistics
    n_planes, n_taps, height, width = coef.shape
    n_targets = n_planes // len(lag)
    unknowns = n_taps + 1 if penalize_intercept else n_taps
    system = aligned((unknowns + n_targets, unknowns, SOLVE_LANES))
    sums = aligned((n_taps, SOLVE_LANES))
    products = aligned((n_targets, n_taps, SOLVE_LANES))
    target = aligned((n_targets, 2, SOLVE_LANES))
    work = aligned((n_taps + 3, SOLVE_LANES))
    b = aligned((1, SOLVE_LANES))
    error = aligned((1, SOLVE_LANES))
    alpha = aligned((SOLVE_LANES,))
    n, scale = np.float64(n_rows), np.float64(unit)
    for group in range(len(lag)):
        for y in range(height):
            for x0 in range(0, width, SOLVE_LANES):
                # A ragged last batch overlaps the one before: equal pixels, equal operations, equal bits.
                x = min(x0, width - SOLVE_LANES)
                for t in range(n_targets):
                    plane = group * n_targets + t
                    load_sums(
                        cross[plane], source_sum[group], target_sum[plane], target_square[plane], taps, n_rows, unit,
                        y, x, sums, products[t], target[t],
                    )  # fmt: skip
                copy_lanes(alphas, (group * height + y) * width + x, alpha, 0)
                if penalize_intercept:
                    assemble(lag[group], sums, lookup, n_rows, unit, alpha, y, x, system)
                    for t in range(n_targets):
                        assemble_target(cross[group * n_targets + t], target[t], unit, y, x, system, unknowns + t)
                else:
                    assemble_centred(lag[group], source_sum[group], sums, lookup, taps, n_rows, unit, y, x, system)
                    for a in range(n_taps):
                        for k in range(SOLVE_LANES):
                            system[a, a, k] += scale * scale * alpha[k] * n
                        for t in range(n_targets):
                            system[n_taps + t, a] = products[t, a]
                bad = factorise(system, lanes)
                if bad >= 0:
                    return int((group * height + y) * width + x + bad)
                for t in range(n_targets):
                    substitute(system, unknowns + t)
                    weights = system[unknowns + t].reshape(unknowns, 1, SOLVE_LANES)
                    if penalize_intercept:
                        b[0] = weights[n_taps, 0]
                    else:
                        b[0] = target[t, 0]
                        subtract_products(b, 0, 0, weights, 0, 0, SOLVE_LANES, sums, 0, SOLVE_LANES, n_taps, 1)
                        for k in range(SOLVE_LANES):
                            b[0, k] /= n * scale
                    training_error(
                        sums, products[t], target[t], n_rows, unit, alpha, penalize_intercept, weights, 0, b[0], work,
                        error[0],
                    )  # fmt: skip
                    plane = group * n_targets + t
                    for a in range(n_taps):
                        copy_lanes(weights, a * SOLVE_LANES, coef, ((plane * n_taps + a) * height + y) * width + x)
                    at = (plane * height + y) * width + x
                    copy_lanes(b, 0, intercept, at)
                    copy_lanes(error, 0, sse, at)
                    for k in range(SOLVE_LANES):
                        sst[plane, y, x + k] = target[t, 1, k] / (n * scale * scale)
    return -1
