"""The solve of a block, and what a worker loads for it."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from mrdist.errors import ExecutionError, SolveError
from mrdist.geometry import Block, ReceptiveField
from mrdist.moments import SufficientStatistics
from mrdist.pooling import Pool, crop
from mrdist.running.tasks import Task
from mrdist.solvers import Prior, Solution, solve
from mrdist.storage import MaskedTraining


def warm_up() -> None:
    """Compile the kernels once and leave them on disk for the workers."""
    _warm_up("zero")


def warm_up_lent() -> None:
    """Compile the kernels of pools and priors, too."""
    _warm_up("zero", "identity")


def warm_up_for(*trainings: MaskedTraining) -> Callable[[], None]:
    """Return what compiles the kernels of trainings."""
    return warm_up_lent if any(map(is_lent, trainings)) else warm_up


def is_lent(training: MaskedTraining) -> bool:
    """Whether the systems are not the pixels' own, or shrunk to others than zero."""
    return training.pool > 0 or training.prior != "zero"


def _warm_up(*priors: Prior) -> None:
    pixel = np.zeros((1, 1, 1, 1), dtype=np.uint8)
    statistics = SufficientStatistics.zeros(ReceptiveField(1), (1, 1), n_groups=1, unit=255).update(pixel, pixel)
    try:
        for prior in priors:
            solve(statistics, 1.0, prior=prior)
    except OSError as error:
        raise ExecutionError(
            f"cannot write the compiled kernels to disk ({error.strerror or error}); free some space, or set the "
            "environment variable NUMBA_CACHE_DIR to another folder."
        ) from error


def solve_block(
    statistics: SufficientStatistics,
    training: MaskedTraining,
    task: Task,
    *,
    summed: Block | None = None,
    alpha: npt.NDArray[np.float64] | None = None,
) -> Solution:
    """Solve a block; an error names it.

    Parameters
    ----------
    statistics
        Sums of the training's field.
    training
        What is trained.
    task
        The block.
    summed
        Pixels of the sums, by default those that the block needs.
    alpha
        Penalties, shape (group, y, x), where every pixel has its own.
    """
    summed = training.lenders(task.block) if summed is None else summed
    pool = Pool.of(task.block, training.pool, training.shape, summed) if training.pool else None
    sums = statistics if pool else crop(statistics, task.block.seen_from(summed))
    penalty = training.alpha if alpha is None else alpha
    assert penalty is not None
    try:
        return solve(sums, penalty, penalize_intercept=training.penalize_intercept, pool=pool, prior=training.prior)
    except SolveError as error:
        raise SolveError(f"in block {task.index} ({task.block}), {error}") from error
