"""Train l1 and l0: every output pixel on the whole input image, or on a window around it."""

from __future__ import annotations

import time
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from mrdist.baselines.held_out import held_out_errors, lasso_candidates, omp_candidates
from mrdist.baselines.lasso import TOLERANCE
from mrdist.baselines.omp import check_pursuit, default_nonzeros
from mrdist.baselines.sparse import (
    TILE_SIDE,
    Solver,
    check_window,
    fit_block,
    lasso_solver,
    omp_solver,
    window_of,
)
from mrdist.errors import DataError
from mrdist.execution import peak_memory
from mrdist.geometry import Block, block_grid
from mrdist.moments import to_integers, unit_of
from mrdist.pipeline._blocks import BlockRun, run_blocks
from mrdist.pipeline._methods import Job
from mrdist.pipeline._options import check_fixed, check_numbers, check_unsearched
from mrdist.pipeline._search import Parameter, check_search, settle
from mrdist.pipeline._sparse_plan import plan_sparse, sample_rows, search_bytes
from mrdist.pipeline.train import TrainReport, TrainTask, already_trained
from mrdist.planning import Cut, Plan
from mrdist.selection import assign_folds, check_alphas
from mrdist.solvers import check_alpha
from mrdist.storage import Images, StorageOptions, redact
from mrdist.storage.sparse_weights import SparseOutput, SparseTraining, sparse_output

LASSO_ALPHAS = (0.0001, 0.0003, 0.001, 0.003, 0.01, 0.03)
"""Penalties of l1 to try by default."""
OMP_NUMBERS = (1, 2, 3, 5, 8, 13, 21)
"""Numbers of weights of l0 to try by default, as far as the people suffice."""
_MANY_CHUNKS = 16  # of the matrix: with fewer, starting workers takes longer than laying them out


@dataclass(frozen=True)
class _ChunkTask:
    """A chunk of the matrix to lay out; its block has no meaning."""

    weights_url: str
    weights_options: StorageOptions = field(repr=False)
    index: int
    block: Block

    @property
    def outputs(self) -> list[tuple[str, StorageOptions]]:
        """Where it is written."""
        return [(self.weights_url, self.weights_options)]


def train_lasso(job: Job, **options: Any) -> TrainReport:
    """Train the method ``l1``, see `mrdist.baselines.estimators.LassoRegression`; options are those of `plan_lasso`."""
    return _train(job, *plan_lasso(job, **options))


def train_omp(job: Job, **options: Any) -> TrainReport:
    """Train the method ``l0``, see `mrdist.baselines.estimators.PursuitRegression`; options are those of `plan_omp`."""
    return _train(job, *plan_omp(job, **options))


def plan_lasso(
    job: Job, *, alpha: float | Literal["cv"], window: int | None, max_iterations: int, **search: Any
) -> tuple[SparseTraining, Plan]:
    """Check the options and cut the work into blocks."""
    if alpha == "cv":
        alphas = search.pop("alphas")
        grid = check_alphas(LASSO_ALPHAS if alphas is None else alphas)
        search = {"alphas": list(grid), **check_search(job.lesson, **search)}
        return _plan(job, window, alpha=alpha, max_iterations=max_iterations, **search)
    check_fixed(receptive_field=1, dilation=1, **search)
    return _plan(job, window, alpha=check_alpha(alpha), max_iterations=max_iterations)


def plan_omp(
    job: Job,
    *,
    nonzeros: int | Sequence[int] | Literal["cv"] | None,
    tolerance: float,
    window: int | None,
    **search: Any,
) -> tuple[SparseTraining, Plan]:
    """Check the options and cut the work into blocks."""
    lesson = job.lesson
    shape = lesson.images.shape
    check_window(window, shape)
    n_images = len(lesson.rows)
    if nonzeros is None or isinstance(nonzeros, int):
        check_unsearched("--nonzeros cv (nonzeros='cv')", **search)
        search = {}
    else:
        search = check_search(lesson, **search)
        folds = assign_folds(lesson.images.subject[lesson.rows], search["folds"], search["seed"])
        n_images -= int(np.bincount(folds).max())  # the largest fold leaves the fewest to train on
    n_rows = n_images * (lesson.images.n_channels if lesson.color == "shared" else 1)
    n_columns = shape[0] * shape[1] if window is None else min(window**2, shape[0] * shape[1])
    if nonzeros is None:
        nonzeros = default_nonzeros(n_rows, n_columns)
    elif nonzeros == "cv":
        nonzeros = [number for number in OMP_NUMBERS if number <= min(n_rows - 1, n_columns)] or [1]
    if not isinstance(nonzeros, int):
        nonzeros = check_numbers(nonzeros)
    for number in [nonzeros] if isinstance(nonzeros, int) else nonzeros:
        check_pursuit(number, tolerance, n_rows, n_columns)
    return _plan(job, window, nonzeros=nonzeros, tolerance=tolerance, **search)


def _plan(job: Job, window: int | None, **options: Any) -> tuple[SparseTraining, Plan]:
    images = job.lesson.images
    check_window(window, images.shape)
    training = SparseTraining(**job.lesson.describe(), window=window, **options)
    limits = {"max_memory": job.max_memory, "n_slots": job.n_slots}
    return training, plan_sparse(images, training, block=job.block, **limits)


def _train(job: Job, training: SparseTraining, cut: Cut) -> TrainReport:
    images = job.lesson.images
    output = sparse_output(job.url, training, cut.block, overwrite=job.overwrite, storage_options=job.storage_options)
    if output is None:
        return already_trained(job.url, cut.n_blocks, job.storage_options, job.lesson.face_frame)
    if output.progress.block != cut.block:  # resumed: the blocks are those of the first run
        cut = plan_sparse(images, training, max_memory=job.max_memory, n_slots=1, block=output.progress.block)
    done = output.progress.done
    tasks = [
        TrainTask(job.url, job.storage_options, images.url, images.storage_options, index, block, images.chunks[0])
        for index, block in enumerate(block_grid(images.shape, cut.block))
    ]
    began = time.perf_counter()
    if not done.all() and job.workers != 0:
        _warm_up()
    warm_seconds = time.perf_counter() - began
    search = _search(job, output, cut)
    run = run_blocks(
        _train_block,
        tasks,
        cut,
        n_images=training.n_images,
        workers=job.workers,
        scheduler=job.scheduler,
        max_memory=job.max_memory,
        progress=job.progress,
        done=done,
    )
    started = time.perf_counter()
    _lay_out(job, output, cut)
    searched = search_bytes(images, training)
    unsolved = output.n_unsolved()
    if unsolved:
        warnings.warn(
            f"{unsolved} of {training.n_groups * training.n_pixels} pixels did not converge within "
            f"{training.max_iterations} iterations and keep their last weights; raise --max-iterations.",
            stacklevel=4,
        )
    scores = output.finish(job.lesson.provenance, job.lesson.face_frame, unsolved=unsolved)
    return TrainReport(
        url=job.url,
        already_complete=False,
        start_seconds=search.start_seconds + run.start_seconds,
        run_seconds=warm_seconds + search.run_seconds + run.run_seconds + time.perf_counter() - started,
        prepare_seconds=warm_seconds + search.prepare_seconds + run.prepare_seconds,
        bytes_read=searched * (len(search.tasks) > 0) + (cut.bytes_read - searched) * len(run.tasks) // cut.n_blocks,
        blocks=cut.n_blocks,
        blocks_run=len(run.tasks),
        peak_memory_bytes=max(search.peak_memory_bytes, run.peak_memory_bytes),
        scores=scores,
        cross_validation=None if output.chosen is None else {"chosen": output.chosen},
    )


def _warm_up() -> None:
    """Compile the kernels once and leave them on disk for the workers."""
    pixels = np.eye(TILE_SIDE, dtype=np.uint8).reshape(TILE_SIDE, TILE_SIDE, 1, 1)
    for solver in (lasso_solver(0.001, TOLERANCE, 10), omp_solver(1, 0.0)):
        fit_block(pixels, pixels, Block(0, 0, TILE_SIDE, 1), (TILE_SIDE, 1), 255, solver, window=None, color="shared")


def _search(job: Job, output: SparseOutput, cut: Cut) -> BlockRun:
    """Choose alpha or the number of weights by cross-validation, unless an earlier run did."""
    training, images = output.training, job.lesson.images
    if training.folds is None or output.chosen is not None:
        return BlockRun(0.0, 0.0, 0)
    started = time.perf_counter()
    parameter: Parameter = "alpha" if training.alphas is not None else "nonzeros"
    candidates = _candidates(training)
    rows = sample_rows(training.shape)
    known = output.begin_search(len(rows), len(candidates))
    tasks = [
        TrainTask(job.url, job.storage_options, images.url, images.storage_options, index, row[0], images.chunks[0])
        for index, row in enumerate(rows)
        if np.isnan(known[index]).any()
    ]
    run = run_blocks(
        _search_row,
        tasks,
        replace(cut, n_blocks=len(rows)),
        n_images=training.n_images,
        workers=job.workers,
        scheduler=job.scheduler,
        max_memory=job.max_memory,
        progress=job.progress,
        phase="cross-validation",
    )
    errors = output.begin_search(len(rows), len(candidates)).sum(axis=0)
    folds = assign_folds(images.subject[job.lesson.rows], training.folds, training.seed or 0)
    n_images = np.bincount(folds)
    mse = errors / (n_images * sum(map(len, rows)) * training.n_channels)
    settle(output, parameter, candidates, mse, n_images, rule=training.rule)
    return replace(run, run_seconds=time.perf_counter() - started - run.start_seconds)


def _candidates(training: SparseTraining) -> Sequence[float]:
    candidates = training.nonzeros if training.alphas is None else training.alphas
    assert isinstance(candidates, Sequence)
    return candidates


def _search_row(task: TrainTask) -> int:
    """Do a row of the pixels of a cross-validation; return the process's peak of resident bytes."""
    output = SparseOutput.open(task.weights_url, task.weights_options)
    images = Images.open(task.images_url, task.images_options)
    training = output.training
    candidates = _candidates(training)
    assert training.folds is not None
    subject = images.subject[images.rows((training.source, training.target), training.split)]
    path = (
        lasso_candidates(candidates, training.max_iterations or 0)
        if training.alphas is not None
        else omp_candidates([int(number) for number in candidates], training.tolerance or 0.0)
    )
    pixels = sample_rows(training.shape)[task.index]
    total = np.zeros((len(candidates), training.folds))
    # without a window all pixels see the same inputs, and are solved together
    for together in [pixels] if training.window is None else [[pixel] for pixel in pixels]:
        seen = _read(images, training, training.source, window_of(together[0], training.window, training.shape))
        wanted = [_read(images, training, training.target, pixel) for pixel in together]
        total += held_out_errors(
            _flat(seen),
            _flat(np.concatenate(wanted, axis=2)),
            assign_folds(subject, training.folds, training.seed or 0),
            unit_of(images.dtype),
            path,
            n_candidates=len(candidates),
            color=training.color,
        )
    output.write_errors(task.index, total)
    return peak_memory()


def _flat(images: npt.NDArray[np.generic]) -> npt.NDArray[np.generic]:
    """Return images of shape (image, y, x, channel) as (image, pixel, channel)."""
    return images.reshape(len(images), -1, images.shape[3])


def _lay_out(job: Job, output: SparseOutput, cut: Cut) -> None:
    """Write the matrix from the rows that the blocks stored."""
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
        phase="writing",
    )


def _write_chunk(task: _ChunkTask) -> int:
    SparseOutput.open(task.weights_url, task.weights_options).write_chunk(task.index)
    return peak_memory()


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
        assert isinstance(training.alpha, float)
        assert training.max_iterations is not None
        return lasso_solver(training.alpha, TOLERANCE, training.max_iterations)
    assert isinstance(training.nonzeros, int)
    assert training.tolerance is not None
    return omp_solver(training.nonzeros, training.tolerance)


def _read(images: Images, training: SparseTraining, label: str, block: Block) -> npt.NDArray[np.generic]:
    """Return the pixels in a block of all images that are trained on, as integers."""
    reader = images.reader()
    rows = images.rows((training.source, training.target), training.split)
    pixels = np.concatenate(
        [reader.read(label, start, stop, block)[chosen] for start, stop, chosen in images.slabs(rows, images.chunks[0])]
    )
    try:
        return to_integers(pixels, label)
    except DataError as error:
        raise DataError(f"in {redact(images.url)}, {block}: {error}") from error
