"""Train l1 and l0: every output pixel on the whole input image, or on a window around it."""

from __future__ import annotations

import logging
import time
import warnings
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from mrdist.baselines.estimators import check_iterations, check_pursuit
from mrdist.baselines.lasso import TOLERANCE
from mrdist.baselines.omp import shared_bytes
from mrdist.baselines.sparse import (
    TILE_SIDE,
    Solver,
    check_window,
    fit_block,
    lasso_solver,
    omp_solver,
    window_of,
)
from mrdist.errors import DataError, MemoryLimitError, ParameterError
from mrdist.execution import peak_memory
from mrdist.geometry import Block, Shape, block_grid
from mrdist.moments import to_integers, unit_of
from mrdist.pipeline._blocks import n_slots_of, run_blocks, versions
from mrdist.pipeline._methods import Job
from mrdist.pipeline.train import TrainReport, TrainTask, already_trained
from mrdist.planning import BASE_MEMORY, MIB, Cut
from mrdist.solvers import check_alpha
from mrdist.storage import Images, StorageOptions, redact
from mrdist.storage.methods import chunk_side
from mrdist.storage.sparse_weights import SparseOutput, SparseTraining, sparse_output

logger = logging.getLogger("mrdist")

_SIDE = 32  # of a block in pixels, where there are enough of them for all workers
_WORK = 96 * MIB  # a tile's correlations, working sets and Gram matrix
_MANY_CHUNKS = 16  # of the matrix: with fewer, starting workers takes longer than laying them out


@dataclass(frozen=True)
class _ChunkTask:
    """A chunk of the matrix to lay out; its block is of no meaning."""

    weights_url: str
    weights_options: StorageOptions
    index: int
    block: Block


def train_lasso(job: Job, **options: Any) -> TrainReport:
    """Train the method ``l1``, see `mrdist.baselines.estimators.LassoRegression`; options are those of `plan_lasso`."""
    return _train(job, *plan_lasso(job, **options))


def train_omp(job: Job, **options: Any) -> TrainReport:
    """Train the method ``l0``, see `mrdist.baselines.estimators.PursuitRegression`; options are those of `plan_omp`."""
    return _train(job, *plan_omp(job, **options))


def plan_lasso(
    job: Job, *, alpha: float | Literal["cv"], window: int | None, max_iterations: int
) -> tuple[SparseTraining, Cut]:
    """Check the options and cut the work into blocks."""
    if alpha == "cv":
        raise ParameterError("alpha must be a number for the method l1, got 'cv'; compare some on the split val.")
    check_iterations(max_iterations)
    return _plan(job, window, alpha=check_alpha(alpha), max_iterations=max_iterations)


def plan_omp(job: Job, *, nonzeros: int, tolerance: float, window: int | None) -> tuple[SparseTraining, Cut]:
    """Check the options and cut the work into blocks."""
    shape = job.lesson.images.shape
    check_window(window, shape)
    n_rows = len(job.lesson.rows) * (job.lesson.images.n_channels if job.lesson.color == "shared" else 1)
    n_columns = shape[0] * shape[1] if window is None else min(window**2, shape[0] * shape[1])
    check_pursuit(nonzeros, tolerance, n_rows, n_columns)
    return _plan(job, window, nonzeros=nonzeros, tolerance=tolerance)


def _plan(job: Job, window: int | None, **options: float) -> tuple[SparseTraining, Cut]:
    images = job.lesson.images
    check_window(window, images.shape)
    training = SparseTraining(**job.lesson.describe(), window=window, **options)  # type: ignore[arg-type]
    limits = {"max_memory": job.max_memory, "n_slots": n_slots_of(job.workers)}
    return training, plan_sparse(images, training, block=job.block, **limits)


def _train(job: Job, training: SparseTraining, cut: Cut) -> TrainReport:
    images = job.lesson.images
    output = sparse_output(job.url, training, cut.block, overwrite=job.overwrite, storage_options=job.storage_options)
    if output is None:
        return already_trained(job.url, cut.n_blocks, job.storage_options)
    if output.progress.block != cut.block:  # resumed: the grid is the one it was begun with
        cut = plan_sparse(images, training, max_memory=job.max_memory, n_slots=1, block=output.progress.block)
    done = output.progress.done
    tasks = [
        TrainTask(job.url, job.storage_options, images.url, images.storage_options, index, block, images.chunks[0])
        for index, block in enumerate(block_grid(images.shape, cut.block))
        if not done[index]
    ]
    if tasks and job.workers != 0:
        _warm_up(_solver(training))
    run = run_blocks(
        _train_block,
        tasks,
        cut,
        n_images=training.n_images,
        workers=job.workers,
        scheduler=job.scheduler,
        max_memory=job.max_memory,
        progress=job.progress,
    )
    started = time.perf_counter()
    _lay_out(job, output, cut)
    unsolved = output.n_unsolved()
    if unsolved:
        warnings.warn(
            f"{unsolved} of {training.n_groups * training.n_pixels} pixels did not converge within "
            f"{training.max_iterations} iterations and keep what they had; raise --max-iterations.",
            stacklevel=4,
        )
    provenance = {"images": redact(images.url), "versions": versions()}
    scores = output.finish(provenance, unsolved=unsolved)
    return TrainReport(
        url=job.url,
        already_complete=False,
        start_seconds=run.start_seconds,
        run_seconds=run.run_seconds + time.perf_counter() - started,
        bytes_read=cut.bytes_read * len(tasks) // cut.n_blocks,
        blocks=cut.n_blocks,
        blocks_run=len(tasks),
        peak_memory_bytes=run.peak_memory_bytes,
        scores=scores,
    )


def _warm_up(solver: Solver) -> None:
    """Compile the kernels once and leave them on disk for the workers."""
    pixels = np.eye(TILE_SIDE, dtype=np.uint8).reshape(TILE_SIDE, TILE_SIDE, 1, 1)
    fit_block(pixels, pixels, Block(0, 0, TILE_SIDE, 1), (TILE_SIDE, 1), 255, solver, window=None, color="shared")


def _lay_out(job: Job, output: SparseOutput, cut: Cut) -> None:
    """Make the matrix of the rows that the blocks have left."""
    n_chunks = output.lay_out()
    nowhere = Block(0, 0, 0, 0)
    run_blocks(
        _write_chunk,
        [_ChunkTask(job.url, job.storage_options, number, nowhere) for number in range(n_chunks)],
        replace(cut, n_blocks=n_chunks),
        n_images=0,
        workers=0 if n_chunks < _MANY_CHUNKS and job.scheduler is None else job.workers,
        scheduler=job.scheduler,
        max_memory=job.max_memory,
        progress=False,
    )


def _write_chunk(task: _ChunkTask) -> int:
    SparseOutput.open(task.weights_url, task.weights_options).write_chunk(task.index)
    return peak_memory()


def plan_sparse(
    images: Images, training: SparseTraining, *, max_memory: int, n_slots: int, block: Shape | None = None
) -> Cut:
    """Choose the blocks.

    Parameters
    ----------
    images, training
        What is trained.
    max_memory, n_slots
        Limit on the resident bytes of a worker, and the tasks that run at once.
    block
        Height and width of a block, rounded up to whole chunks of the error maps.

    Returns
    -------
    Cut

    Raises
    ------
    MemoryLimitError
        If the source images, or the windows of a block, do not fit into ``max_memory``.
    """
    unit = chunk_side(images.shape)
    sides = [max(_SIDE, unit), unit] if block is None else [0]
    for side in sides:
        height, width = (side, side) if block is None else block
        chosen = (
            min(-(-height // unit), -(-images.shape[0] // unit)) * unit,
            min(-(-width // unit), -(-images.shape[1] // unit)) * unit,
        )
        blocks = block_grid(images.shape, chosen)
        if len(blocks) >= 2 * n_slots:
            break
    needed = max(_memory(images, training, part) for part in blocks)
    if needed > max_memory:
        what = "the whole source images" if training.window is None else f"windows of {training.window} pixels"
        raise MemoryLimitError(
            f"training by {training.method} on {what} of {training.n_images} pairs of {training.height} x "
            f"{training.width} pixels needs {-(-needed // MIB)} MiB in a worker ({BASE_MEMORY // MIB} MiB of them "
            f"before any work), but max_memory is {max_memory // MIB} MiB; raise --max-memory or limit the inputs by a "
            "smaller --window."
        )
    pixels = sum(_pixels(window_of(part, training.window, images.shape)) + _pixels(part) for part in blocks)
    n_read = images.n_read(images.rows((training.source, training.target), training.split))
    return Cut(
        block=chosen,
        n_blocks=len(blocks),
        peak_memory=needed,
        bytes_read=n_read * pixels * images.n_channels * images.dtype.itemsize,
        bytes_written=training.n_groups * training.n_pixels * (training.nonzeros or training.n_images) * 8,
    )


def _memory(images: Images, training: SparseTraining, block: Block) -> int:
    inputs = window_of(block, training.window, images.shape)
    pixel = images.n_channels * images.dtype.itemsize
    # the pixels of all pairs, and a run of stored images as it is read and decoded
    held = (_pixels(inputs) + _pixels(block)) * pixel * (training.n_images + 2 * images.chunks[0])
    n_columns = _pixels(inputs)
    if training.window is not None:
        n_columns = min(n_columns, (TILE_SIDE + training.window - 1) ** 2)
    n_rows = training.n_images * (images.n_channels if training.color == "shared" else 1)
    columns = n_columns * n_rows * (8 + 8 + 4)  # centred, on the way there, and in float32
    gram = shared_bytes(n_columns, training.nonzeros) if training.nonzeros else 0
    return BASE_MEMORY + _WORK + held + columns + gram


def _pixels(block: Block) -> int:
    return block.shape[0] * block.shape[1]


def _train_block(task: TrainTask) -> int:
    """Do one block from reading to writing; return the process's peak of resident bytes."""
    output = SparseOutput.open(task.weights_url, task.weights_options)
    images = Images.open(task.images_url, task.images_options)
    training = output.training
    window = window_of(task.block, training.window, training.shape)
    solution = fit_block(
        _read(images, training, training.source, window),
        _read(images, training, training.target, task.block),
        task.block,
        training.shape,
        unit_of(images.dtype),
        _solver(training),
        window=training.window,
        color=training.color,
    )
    output.write_block(task.index, task.block, solution)
    return peak_memory()


def _solver(training: SparseTraining) -> Solver:
    if training.alpha is not None:
        assert training.max_iterations is not None
        return lasso_solver(training.alpha, TOLERANCE, training.max_iterations)
    assert training.nonzeros is not None
    assert training.tolerance is not None
    return omp_solver(training.nonzeros, training.tolerance)


def _read(images: Images, training: SparseTraining, label: str, block: Block) -> npt.NDArray[np.generic]:
    """Return the pixels in a block of all images that are trained on, as integers."""
    reader = images.reader()
    rows = images.rows((training.source, training.target), training.split)
    found = np.concatenate(
        [reader.read(label, start, stop, block)[chosen] for start, stop, chosen in images.slabs(rows, images.chunks[0])]
    )
    try:
        return to_integers(found, label)
    except DataError as error:
        raise DataError(f"in {redact(images.url)}, {block}: {error}") from error
