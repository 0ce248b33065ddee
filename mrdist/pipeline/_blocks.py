"""What accumulating, solving and training share: options, the loop over blocks and the solve of one."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from importlib.metadata import version
from typing import Any

import numpy as np
import numpy.typing as npt

from mrdist.errors import ExecutionError, ParameterError, SolveError
from mrdist.events import emit
from mrdist.execution import Executor, check_choice, n_processors, open_executor, peak_memory, reach
from mrdist.geometry import ReceptiveField
from mrdist.moments import COLORS, SufficientStatistics
from mrdist.pipeline._resume import BlockTask, ReadBack, Task, tasks_left
from mrdist.pipeline._run import run_tasks, tracked
from mrdist.planning import CLIENT_MEMORY, DEFAULT_MEMORY, Cut, parse_bytes
from mrdist.solvers import Solution, solve
from mrdist.storage import StorageOptions, check_reachable, is_local
from mrdist.storage.reading_back import read_back

Array = npt.NDArray[np.generic]
logger = logging.getLogger("mrdist")

SPLITS = ("train", "val", "test", "all")
DTYPES = ("float32", "float64")


@dataclass(frozen=True)
class BlockRun:
    """How the work on some blocks went.

    Attributes
    ----------
    start_seconds, run_seconds
        Until the workers were there, and all the rest.
    prepare_seconds
        The part of ``run_seconds`` in which kernels were compiled and loaded.
    peak_memory_bytes
        Largest resident size of a worker.
    tasks
        What this run has done: what was left, and what had to be done again.
    """

    start_seconds: float
    run_seconds: float
    peak_memory_bytes: int
    tasks: Sequence[Any] = ()
    prepare_seconds: float = 0.0


def check_choices(color: str, split: str = "train", dtype: str = "float32") -> None:
    """Raise ParameterError if an option is not one of its choices."""
    for name, value, allowed in (("color", color, COLORS), ("split", split, SPLITS), ("dtype", dtype, DTYPES)):
        if value not in allowed:
            raise ParameterError(f"{name} must be one of {', '.join(allowed)}, got {value!r}.")


def check_workers(
    workers: int | None, scheduler: str | None, *urls: str, max_memory: int | str = DEFAULT_MEMORY
) -> tuple[int, int]:
    """Check, before anything is written or removed, that workers can start and can reach the stores.

    Returns
    -------
    max_memory : int
        Limit on the resident bytes of a worker process to plan for, see `mrdist.execution.reach`, less what the client
        of an object store takes.
    n_slots : int
        Tasks to plan for that run at once.

    Raises
    ------
    ParameterError
        If ``workers`` is negative or given together with ``scheduler``, or a store lies in this process's memory.
    ExecutionError
        If the scheduler cannot be used.
    """
    check_reachable(workers, *urls)
    limit, n_slots = reach(workers, scheduler, parse_bytes(max_memory))
    if not all(map(is_local, urls)):
        limit -= CLIENT_MEMORY
    return limit, n_slots_of(workers) if n_slots is None else n_slots


def n_slots_of(workers: int | None) -> int:
    """Return how many tasks run at once, as far as that is known before there is a cluster.

    Raises
    ------
    ParameterError
        If ``workers`` is negative.
    """
    check_choice(workers)
    return n_processors() if workers is None else max(workers, 1)


def output_options(url: str, options: StorageOptions, fallback: StorageOptions) -> StorageOptions:
    """Return the filesystem options of an output: the inputs' serve it unless it is local or has its own."""
    return fallback if options is None and not is_local(url) else options


def versions() -> dict[str, str]:
    """Return the versions of the packages that decide the bytes of an output."""
    return {name: version(name) for name in ("mrdist", "numba", "numpy", "zarr")}


def run_blocks(
    function: Callable[[Task], int],
    tasks: Sequence[Task],
    cut: Cut,
    *,
    n_images: int,
    workers: int | None,
    scheduler: str | None,
    max_memory: int,
    progress: bool | None,
    phase: str = "training",
    done: Sequence[bool] | npt.NDArray[np.bool_] | None = None,
) -> BlockRun:
    """Work on all blocks, or on those that an earlier run has left.

    Parameters
    ----------
    function
        Works on one block and returns the peak of resident bytes of its process.
    tasks
        All blocks, or those that are left.
    cut
        Of all blocks.
    n_images
        Images that all blocks together work on, for the rate that is shown.
    workers, scheduler, max_memory, progress
        As in `mrdist.train`.
    phase
        What the pass does, for the state that the output shows.
    done
        Which of the tasks are marked done; those are read back, and done again where they are damaged.

    Returns
    -------
    BlockRun
    """
    if not tasks:
        return BlockRun(0.0, 0.0, peak_memory())
    with open_blocks(workers=workers, scheduler=scheduler, n_tasks=len(tasks), max_memory=max_memory) as executor:
        started = time.perf_counter() - executor.prepare_seconds
        run = run_pass(executor, function, tasks, cut, n_images=n_images, progress=progress, phase=phase, done=done)
        return replace(run, run_seconds=time.perf_counter() - started, prepare_seconds=executor.prepare_seconds)


@contextmanager
def open_blocks(
    *,
    workers: int | None,
    scheduler: str | None,
    n_tasks: int,
    max_memory: int,
    prepare: Callable[[], None] | None = None,
) -> Iterator[Executor]:
    """Provide an executor for one pass over blocks or several.

    Parameters
    ----------
    workers, scheduler, max_memory
        As in `mrdist.train`.
    n_tasks
        Blocks of the longest pass.
    prepare
        Loads what the tasks need; by default the kernels of a training.
    """
    with open_executor(
        workers=workers, scheduler=scheduler, n_tasks=n_tasks, max_memory=max_memory, prepare=prepare or warm_up
    ) as executor:
        if executor.dashboard:
            logger.info("dashboard: %s", executor.dashboard)
            emit("cluster", dashboard=executor.dashboard)
        yield executor


def run_pass(
    executor: Executor,
    function: Callable[[Task], int],
    tasks: Sequence[Task],
    cut: Cut,
    *,
    n_images: int,
    progress: bool | None,
    phase: str = "training",
    done: Sequence[bool] | npt.NDArray[np.bool_] | None = None,
    read: ReadBack = read_back,
) -> BlockRun:
    """Work on blocks with an executor of `open_blocks`; parameters and result are those of `run_blocks`.

    Those that are marked done are read back by ``read``.
    """
    if done is not None:
        tasks = tasks_left(executor, tasks, done, progress=progress, read=read)
    if not tasks:
        return BlockRun(executor.start_seconds, 0.0, peak_memory())
    n_blocks, peak = cut.n_blocks, 0
    if len(tasks) < n_blocks:
        logger.info("resuming: %d of %d blocks are done", n_blocks - len(tasks), n_blocks)
    started = time.perf_counter()
    per_step = n_images / n_blocks if n_images else None
    with tracked(
        n_blocks, n_blocks - len(tasks), "block", show=progress, phase=phase, images_per_step=per_step
    ) as advance:
        finished = run_tasks(
            executor,
            function,
            tasks,
            name="block",
            describe=lambda task: f"block {task.index} ({task.block}; planned peak {cut.peak_memory >> 20} MiB)",
        )
        for number, (task, peak_of_task) in enumerate(finished, start=1):
            peak = max(peak, peak_of_task)
            rate = n_images * number / n_blocks / (time.perf_counter() - started)
            advance(1, f"{rate:.0f} images/s", task.index)
    return BlockRun(executor.start_seconds, time.perf_counter() - started, peak, tasks)


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
    task: BlockTask,
    *,
    penalize_intercept: bool,
) -> Solution:
    """Solve a block; an error names it."""
    try:
        return solve(statistics, alpha, penalize_intercept=penalize_intercept)
    except SolveError as error:
        raise SolveError(f"in block {task.index} ({task.block}), {error}") from error
