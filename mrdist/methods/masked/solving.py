"""The solve of a block, and what a worker loads for it."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from mrdist.errors import ExecutionError, SolveError
from mrdist.geometry import ReceptiveField
from mrdist.moments import SufficientStatistics
from mrdist.running.tasks import Task
from mrdist.solvers import Solution, solve


def warm_up() -> None:
    """Compile the kernels once and leave them on disk for the workers."""
    pixel = np.zeros((1, 1, 1, 1), dtype=np.uint8)
    statistics = SufficientStatistics.zeros(ReceptiveField(1), (1, 1), n_groups=1, unit=255)
    try:
        solve(statistics.update(pixel, pixel), 1.0)
    except OSError as error:
        raise ExecutionError(
            f"cannot write the compiled kernels to disk ({error.strerror or error}); free some space, or set the "
            "environment variable NUMBA_CACHE_DIR to another folder."
        ) from error


def solve_block(
    statistics: SufficientStatistics,
    alpha: float | npt.NDArray[np.float64],
    task: Task,
    *,
    penalize_intercept: bool,
) -> Solution:
    """Solve a block; an error names it."""
    try:
        return solve(statistics, alpha, penalize_intercept=penalize_intercept)
    except SolveError as error:
        raise SolveError(f"in block {task.index} ({task.block}), {error}") from error
