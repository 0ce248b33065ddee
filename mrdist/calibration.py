"""Expected time of a training: a short measurement, and the time of a plan that follows from it."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from itertools import product
from math import prod

import numpy as np
import numpy.typing as npt

from mrdist.baselines.mean import TargetSums
from mrdist.geometry import Block, block_grid, pool_radius
from mrdist.moments import SufficientStatistics, to_integers, unit_of
from mrdist.paths import validation_errors
from mrdist.planning import Plan, Workload
from mrdist.pooling import Pool, crop
from mrdist.solvers import solve


@dataclass(frozen=True)
class Rates:
    """Measured speed of one process.

    Attributes
    ----------
    decode, decode_cpu
        Seconds, and seconds of all processors together, to read and decode a byte.
    accumulate
        Seconds per pixel, image and channel.
    solve
        Seconds per pixel and regression, with the cross-validation where there is one.
    """

    decode: float
    decode_cpu: float
    accumulate: float
    solve: float


def predict_seconds(workload: Workload, plan: Plan, rates: Rates, *, n_slots: int, n_processors: int) -> float:
    """Return the time that a training takes once its workers are there.

    A block reads the next slab while it accumulates the last one, as far as there are processors for both. The time
    that every worker takes to load its libraries and kernels, about a second, is not included, nor is the start of the
    workers, see `mrdist.planning.predict_start`.

    Examples
    --------
    >>> from mrdist.geometry import ReceptiveField
    >>> from mrdist.planning import DEFAULT_MEMORY, plan_training
    >>> work = Workload((512, 512), 1, 1, (256, 64, 64, 1), 1000, 1000, ReceptiveField(3), 1, 4, 32)
    >>> plan = plan_training(work, max_memory=DEFAULT_MEMORY, n_slots=2)
    >>> rates = Rates(decode=1e-9, decode_cpu=1e-9, accumulate=1e-9, solve=1e-7)
    >>> [round(predict_seconds(work, plan, rates, n_slots=n, n_processors=2), 2) for n in (1, 2)]
    [0.62, 0.44]
    """
    pixels = workload.shape[0] * workload.shape[1]
    summed = [block.lenders(workload.pool, workload.shape) for block in block_grid(workload.shape, plan.block)]
    accumulate = rates.accumulate * sum(prod(block.shape) for block in summed) * workload.n_images * workload.n_channels
    solve = rates.solve * pixels * workload.n_groups
    rounds = -(-plan.n_blocks // n_slots)
    alone = max(rates.decode * plan.bytes_read, accumulate) + solve
    return max(alone * rounds / plan.n_blocks, (rates.decode_cpu * plan.bytes_read + accumulate + solve) / n_processors)


def measure_kernels(workload: Workload, dtype: npt.DTypeLike) -> tuple[float, float]:
    """Measure accumulating and solving on a few rows of pixels, in some 0.2 s.

    Parameters
    ----------
    workload
        Sizes of images and field.
    dtype
        Of the images.

    Returns
    -------
    accumulate, solve : float
        As in `Rates`.
    """
    block = Block(0, 0, min(workload.shape[0], 16), min(workload.shape[1], 160))
    summed = block.grown(pool_radius(workload.pool))
    shape = summed.shape
    window = (shape[0] + workload.field.reach, shape[1] + workload.field.reach)
    n_images, n_channels = min(workload.n_images, 256), workload.n_channels
    pixels = shape[0] * shape[1]
    if not workload.n_sources:  # targets alone are averaged
        target = np.zeros((n_images, *shape, n_channels), dtype=dtype)
        nothing = TargetSums.zeros(shape, workload.n_groups, unit_of(target.dtype))
        return _seconds(lambda: nothing.update(target)) / (pixels * n_images * n_channels), 0.0
    source = np.zeros((n_images, *window, n_channels), dtype=dtype)
    target = np.zeros((n_images, *shape, n_channels), dtype=dtype)
    statistics = SufficientStatistics.zeros(
        workload.field,
        shape,
        n_groups=workload.n_groups,
        n_inputs=workload.n_inputs,
        unit=unit_of(source.dtype),
    )
    accumulate = _seconds(lambda: statistics.update(to_integers(source), to_integers(target)))
    seen = statistics.update(to_integers(source), to_integers(target))
    place, image = block.seen_from(summed), summed.seen_from(summed).grown(pool_radius(workload.pool))

    def pooled(pool: int, sums: SufficientStatistics) -> tuple[SufficientStatistics, Pool | None]:
        return (sums, Pool(pool_radius(pool), place, image)) if pool else (crop(sums, place), None)

    sums, pool = pooled(workload.pool, seen)
    solving = _seconds(lambda: solve(sums, 1.0, pool=pool))
    if workload.search is not None:
        for field, tried in product(workload.search.fields, workload.search.pools):
            sums, pool = pooled(tried, seen.restrict(field))
            held_out, alphas = crop(seen.restrict(field), place), [1.0] * workload.search.n_alphas
            trying = partial(validation_errors, sums, held_out, alphas, pool=pool)
            solving += workload.search.n_folds * _seconds(trying)
    return accumulate / (pixels * n_images * n_channels), solving / (prod(block.shape) * workload.n_groups)


def _seconds(call: Callable[[], object]) -> float:
    """Return the mean time of a call over 0.1 s, after a first one that loads what it needs."""
    call()
    started, n_calls = time.perf_counter(), 0
    while time.perf_counter() < started + 0.1:
        call()
        n_calls += 1
    return (time.perf_counter() - started) / n_calls
