"""Ridge regressions of a block of pixels for many penalties at once: weights, and errors on held-out images.

One tridiagonalisation of a pixel's system serves every penalty (`mrdist._kernels.tridiagonal`), and errors on held-out
images need only their sufficient statistics: cross-validation reads no image twice, and the weights that it tries never
leave the processor's cache.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from mrdist._kernels.lanes import jit
from mrdist._kernels.lanes_strict import SOLVE_LANES, aligned, copy_lanes
from mrdist._kernels.systems import assemble_centred, load_lent_products, load_sums, training_error
from mrdist._kernels.tridiagonal import solve_batch, squared_error, workspace
from mrdist.errors import ParameterError
from mrdist.geometry import Block
from mrdist.moments import SufficientStatistics
from mrdist.pooling import Pool, crop
from mrdist.remaining import equal_rows, systems_at
from mrdist.solvers import (
    Prior,
    Solution,
    batchable,
    check_alpha,
    not_positive_definite,
    prior_weight,
    systems_of,
    unit_ratio,
)

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Errors:
    """Errors of a block of output pixels on images that the weights were not trained on.

    Attributes
    ----------
    sse
        Sum of squared errors, float64, shape (alpha, plane, y, x); 1 = white.
    sst
        Sum of squared deviations of the target from its mean over the same images, float64, shape (plane, y, x);
        exactly 0 where the target is constant.
    """

    sse: npt.NDArray[np.float64]
    sst: npt.NDArray[np.float64]


def solve_path(
    statistics: SufficientStatistics, alphas: Sequence[float], *, penalize_intercept: bool = True
) -> Solution:
    """Solve the ridge regression of every pixel of a block for many penalties.

    The weights equal those of `mrdist.solvers.solve` up to rounding, for about the work of one more solve, whatever the
    number of penalties. The weights of one penalty do not depend on the others.

    Parameters
    ----------
    statistics
        Sums over the training images.
    alphas
        Ridge penalties for images in 0..1, not scaled by their number.
    penalize_intercept
        As for `mrdist.solvers.solve`.

    Returns
    -------
    Solution
        The arrays of `mrdist.solvers.solve`, where ``coef``, ``intercept`` and ``sse`` have a leading axis of
        penalties.

    Raises
    ------
    ParameterError
        If there is no penalty, one is not positive and finite, or there are no images.
    SolveError
        If a system is not positive definite in float64 (the penalty is too small), naming pixel and penalty.

    Examples
    --------
    >>> from mrdist.geometry import Block, ReceptiveField
    >>> from mrdist.moments import padded_window
    >>> images = np.random.default_rng(0).integers(0, 256, (9, 4, 5, 1), dtype=np.uint8)
    >>> statistics = SufficientStatistics.zeros(ReceptiveField(3), (4, 5), n_groups=1, unit=255)
    >>> statistics = statistics.update(padded_window(images, Block(-1, -1, 5, 6)), images)
    >>> solve_path(statistics, [0.1, 1, 10]).coef.shape
    (3, 1, 9, 4, 5)
    """
    penalties = _checked(statistics, alphas)
    if statistics.left_out is not None:
        raise ParameterError("a path has the same rows for all pixels, but some leave rows out; solve each penalty.")
    width = statistics.shape[1]
    wide = batchable(statistics)
    sums, lookup, taps = systems_of(wide)
    block = wide.target_sum.shape
    coef = np.empty((len(penalties), block[0], len(taps), *wide.shape))
    intercept, sse = (np.empty((len(penalties), *block)) for _ in range(2))
    sst = np.empty(block)
    failed = _solve_path(
        sums,
        lookup,
        taps,
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
    _check_solved(failed, penalties)
    solution = Solution(*(np.ascontiguousarray(part[..., :width]) for part in (coef, intercept, sse, sst)))
    return solution.scaled(unit_ratio(statistics))


def validation_errors(
    training: SufficientStatistics,
    validation: SufficientStatistics,
    alphas: Sequence[float],
    *,
    penalize_intercept: bool = True,
    pool: Pool | None = None,
    prior: Prior = "zero",
) -> Errors:
    """Return the errors on some images of weights trained on others, for many penalties.

    The weights are those of `solve_path`, of a few pixels at a time. With M the centred second moments of sources
    and target over the validation images and u = (w, -1), the sum of squared errors is ``u' M u + n e^2``, e the mean
    residual. M is centred as integers, so that an exact fit has an error of about 1e-13 of the target's deviations.

    Parameters
    ----------
    training
        Sums over the training images.
    validation
        Sums over the validation images, of the same field and block; of the block of ``pool`` if there is one.
    alphas
        Ridge penalties for images in 0..1, not scaled by their number.
    penalize_intercept, pool, prior
        As for `mrdist.solvers.solve`.

    Returns
    -------
    Errors
        On the validation images.

    Raises
    ------
    ParameterError
        If there is no penalty, one is not positive and finite, there are no images, or field, block or units differ.
    SolveError
        If a system is not positive definite in float64 (the penalty is too small), naming pixel and penalty.

    Examples
    --------
    >>> from mrdist.geometry import Block, ReceptiveField
    >>> from mrdist.moments import padded_window
    >>> def statistics_of(images):
    ...     empty = SufficientStatistics.zeros(ReceptiveField(3), (4, 5), n_groups=1, unit=255)
    ...     return empty.update(padded_window(images, Block(-1, -1, 5, 6)), images)
    >>> images = np.random.default_rng(0).integers(0, 256, (90, 4, 5, 1), dtype=np.uint8)
    >>> held_out = statistics_of(images[:20])
    >>> errors = validation_errors(statistics_of(images).subtract(held_out), held_out, [0.1, 1, 10])
    >>> errors.sse.mean(axis=(1, 2, 3)) / errors.sst.mean() < [0.01, 0.1, 0.9]
    array([ True,  True,  True])
    """
    own = training if pool is None else crop(training, pool.block)
    own.check_combines(validation)
    penalties = _checked(training, alphas)
    _checked(validation, alphas)
    pool = Pool.alone(training) if pool is None and prior != "zero" else pool
    square = unit_ratio(training) ** 2
    if pool is None:
        maps = _validate_part(own, validation, penalties, penalize_intercept)
        _validate_remaining(own, validation, penalties, penalize_intercept, *maps)
        return Errors(*(part * square for part in maps))
    n_planes, n_taps = len(training.target_sum), training.n_inputs * training.field.n_offsets
    sse, sst = (np.empty((*lead, n_planes, *validation.shape)) for lead in ((len(penalties),), ()))
    for tile in pool.tiles(n_taps):
        lent = (*pool.systems(training, tile), prior_weight(training, prior))
        inside = tile.within(pool.block)
        held_out = crop(validation, Block(inside[0].start, inside[1].start, inside[0].stop, inside[1].stop))
        parts = _validate_part(crop(training, tile), held_out, penalties, penalize_intercept, inside, lent)
        for whole, part in zip((sse, sst), parts, strict=True):
            whole[..., *inside] = part
    return Errors(sse * square, sst * square)


def _validate_part(
    training: SufficientStatistics,
    validation: SufficientStatistics,
    alphas: npt.NDArray[np.float64],
    penalize_intercept: bool,
    inside: tuple[slice, slice] = (slice(0, None), slice(0, None)),
    lent: tuple[Array, Array, float] | None = None,
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Return the errors of a part of a block in the units of `Errors`, see `mrdist.solvers.solve`."""
    width = training.shape[1]
    wide, others = batchable(training), batchable(validation)
    numbers = wide.n_rows, others.n_rows, wide.unit
    sse, sst, failed = _validate_systems(
        systems_of(wide), systems_of(others)[0], numbers, alphas, penalize_intercept, width, lent
    )
    penalty, y, x = failed
    _check_solved((penalty, y + inside[0].start, x + inside[1].start), alphas)
    return np.ascontiguousarray(sse[..., :width]), np.ascontiguousarray(sst[..., :width])


def _validate_remaining(
    training: SufficientStatistics,
    validation: SufficientStatistics,
    alphas: npt.NDArray[np.float64],
    penalize_intercept: bool,
    sse: npt.NDArray[np.float64],
    sst: npt.NDArray[np.float64],
) -> None:
    """Take the errors of pixels that leave rows out again, from the rows that remain; 0 where none are left."""
    for (n_rows, n_held_out), chosen in equal_rows(training, validation):
        assert training.left_out is not None
        y, x = training.left_out.pixels[chosen].T
        if not n_rows or not n_held_out:
            sse[..., y, x] = sst[..., y, x] = 0
            continue
        numbers, width = (n_rows, n_held_out, training.unit), len(chosen)
        systems, others = systems_at(training, chosen), systems_at(validation, chosen)[0]
        *maps, (penalty, _, one) = _validate_systems(systems, others, numbers, alphas, penalize_intercept, width)
        _check_solved((penalty, int(y[one]), int(x[one])), alphas)
        for whole, part in zip((sse, sst), maps, strict=True):
            whole[..., y, x] = part[..., 0, :width]


def _validate_systems(
    systems: tuple[tuple[Array, Array, Array, Array, Array], Array, Array],
    validation: tuple[Array, Array, Array, Array, Array],
    numbers: tuple[int, int, int],
    alphas: npt.NDArray[np.float64],
    penalize_intercept: bool,
    width: int,
    lent: tuple[Array, Array, float] | None = None,
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64], tuple[int, int, int]]:
    """Return errors with columns for all lanes of a batch, and what failed, see `_validate`.

    ``numbers`` are those of the training rows and of the rows held out, and the unit.
    """
    sums, lookup, taps = systems
    block = sums[3].shape
    sse, sst = np.empty((len(alphas), *block)), np.empty(block)
    lanes = min(width, SOLVE_LANES)
    failed = _validate(sums, validation, lookup, taps, *numbers, alphas, penalize_intercept, lanes, sse, sst, lent)
    return sse, sst, failed


def _checked(statistics: SufficientStatistics, alphas: Sequence[float]) -> npt.NDArray[np.float64]:
    if len(alphas) == 0:
        raise ParameterError("alphas is empty; give at least one penalty.")
    if statistics.n_rows == 0:
        raise ParameterError("the statistics hold no images; add some first.")
    return np.array([check_alpha(alpha) for alpha in alphas])


def _check_solved(failed: tuple[int, int, int], alphas: npt.NDArray[np.float64]) -> None:
    penalty, y, x = failed
    if penalty >= 0:
        raise not_positive_definite(y, x, alphas[penalty])


@jit
def _solve_path(
    training: tuple[Array, Array, Array, Array, Array], lookup: Array, taps: Array,
    n_rows: int, unit: int, alphas: Array, penalize_intercept: bool, lanes: int,
    coef: Array, intercept: Array, sse: Array, sst: Array,
) -> tuple[int, int, int]:  # fmt: skip
    """Fill the results; return penalty, row and column of a system that is not positive definite, or -1s."""
    lag, cross, source_sum, target_sum, target_square = training
    n_alphas, n_planes, n_taps, height, width = coef.shape
    n_targets = n_planes // len(lag)
    space = workspace(n_taps, n_alphas)
    sums, products, target = aligned((n_taps, SOLVE_LANES)), aligned((n_taps, SOLVE_LANES)), aligned((2, SOLVE_LANES))
    weights, b = aligned((n_taps, n_alphas, SOLVE_LANES)), aligned((n_alphas, SOLVE_LANES))
    work, error, alpha = aligned((n_taps + 3, SOLVE_LANES)), aligned((1, SOLVE_LANES)), aligned((SOLVE_LANES,))
    for plane in range(n_planes):
        group = plane // n_targets
        for y in range(height):
            for x0 in range(0, width, SOLVE_LANES):
                x = min(x0, width - SOLVE_LANES)  # a ragged last batch overlaps the one before
                load_sums(
                    cross[plane], source_sum[group], target_sum[plane], target_square[plane], taps, n_rows, unit,
                    y, x, sums, products, target,
                )  # fmt: skip
                penalty, lane = solve_batch(
                    lag[group], source_sum[group], sums, products, target[0], lookup, taps, n_rows, unit, alphas,
                    penalize_intercept, y, x, lanes, space, weights, b, None,
                )  # fmt: skip
                if penalty >= 0:
                    return penalty, y, x + lane
                for q in range(n_alphas):
                    alpha[:] = alphas[q]
                    training_error(
                        sums, products, target, n_rows, unit, alpha, penalize_intercept, weights, q, b[q], work,
                        error[0],
                    )  # fmt: skip
                    entry = q * n_planes + plane
                    for a in range(n_taps):
                        at = (a * n_alphas + q) * SOLVE_LANES
                        copy_lanes(weights, at, coef, ((entry * n_taps + a) * height + y) * width + x)
                    copy_lanes(b, q * SOLVE_LANES, intercept, (entry * height + y) * width + x)
                    copy_lanes(error, 0, sse, (entry * height + y) * width + x)
                scale = np.float64(unit)
                for k in range(SOLVE_LANES):
                    sst[plane, y, x + k] = target[1, k] / (np.float64(n_rows) * scale * scale)
    return -1, -1, -1


@jit
def _validate(
    training: tuple[Array, Array, Array, Array, Array], validation: tuple[Array, Array, Array, Array, Array],
    lookup: Array, taps: Array, n_rows: int, n_held_out: int, unit: int, alphas: Array, penalize_intercept: bool,
    lanes: int, sse: Array, sst: Array, lent: tuple[Array, Array, float] | None,
) -> tuple[int, int, int]:  # fmt: skip
    """Fill the results; return penalty, row and column of a system that is not positive definite, or -1s.

    ``lent`` are systems from `mrdist.pooling.Pool.systems` and the weight of the prior, or None; Numba compiles the
    function for each of them.
    """
    lag, cross, source_sum, target_sum, target_square = training
    lag_out, cross_out, source_out, target_out, square_out = validation
    n_alphas, n_planes, height, width = sse.shape
    n_taps, n_targets = len(taps), n_planes // len(lag)
    space = workspace(n_taps, n_alphas)
    system = aligned((n_taps + 1, n_taps + 1, SOLVE_LANES))
    sums, products, target = aligned((n_taps, SOLVE_LANES)), aligned((n_taps, SOLVE_LANES)), aligned((2, SOLVE_LANES))
    weights, b = aligned((n_taps + 1, n_alphas, SOLVE_LANES)), aligned((n_alphas, SOLVE_LANES))
    weights[n_taps] = -1.0
    work, error = aligned((2, n_alphas, SOLVE_LANES)), aligned((n_alphas, SOLVE_LANES))
    rest = aligned((1, n_taps, SOLVE_LANES))
    for plane in range(n_planes):
        group = plane // n_targets
        n_offsets = n_taps // n_targets
        centre = plane % n_targets * n_offsets + n_offsets // 2
        for y in range(height):
            for x0 in range(0, width, SOLVE_LANES):
                x = min(x0, width - SOLVE_LANES)  # a ragged last batch overlaps the one before
                load_sums(
                    cross[plane], source_sum[group], target_sum[plane], target_square[plane], taps, n_rows, unit,
                    y, x, sums, products, target,
                )  # fmt: skip
                if lent is None:
                    penalty, lane = solve_batch(
                        lag[group], source_sum[group], sums, products, target[0], lookup, taps, n_rows, unit, alphas,
                        penalize_intercept, y, x, lanes, space, weights, b, None,
                    )  # fmt: skip
                else:
                    gram, prior = lent[0][group], lent[2]
                    load_lent_products(lent[1][plane], gram, centre, prior, y, x, rest, 0)
                    products[:] = rest[0]
                    for k in range(SOLVE_LANES):
                        target[0, k] -= prior * sums[centre, k]
                    penalty, lane = solve_batch(
                        lag[group], source_sum[group], sums, products, target[0], lookup, taps, n_rows, unit, alphas,
                        penalize_intercept, y, x, lanes, space, weights, b, gram,
                    )  # fmt: skip
                    weights[centre] += prior
                if penalty >= 0:
                    return penalty, y, x + lane
                load_sums(
                    cross_out[plane], source_out[group], target_out[plane], square_out[plane], taps, n_held_out, unit,
                    y, x, sums, products, target,
                )  # fmt: skip
                assemble_centred(lag_out[group], source_out[group], sums, lookup, taps, n_held_out, unit, y, x, system)
                system[n_taps, :n_taps] = products
                system[n_taps, n_taps] = target[1]
                squared_error(system, target[0], sums, n_held_out, unit, weights, b, work, error)
                for q in range(n_alphas):
                    copy_lanes(error, q * SOLVE_LANES, sse, ((q * n_planes + plane) * height + y) * width + x)
                scale = np.float64(unit)
                for k in range(SOLVE_LANES):
                    sst[plane, y, x + k] = target[1, k] / (np.float64(n_held_out) * scale * scale)
    return -1, -1, -1
