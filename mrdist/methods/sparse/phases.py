"""Train l1 and l0: every output pixel on the whole input image, or on a window around it."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
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
from mrdist.geometry import Block, Shape
from mrdist.methods.lesson import Lesson
from mrdist.methods.options import check_fixed, check_numbers, check_unsearched
from mrdist.methods.searching import Parameter, check_search, settle
from mrdist.methods.sparse.plan import plan_sparse, sample_rows, search_bytes
from mrdist.methods.training import Trained, TrainingWork
from mrdist.moments import to_integers, unit_of
from mrdist.parts import parts
from mrdist.planning import Cut, Plan
from mrdist.running.phases import Phase
from mrdist.running.tasks import RunOptions, Task
from mrdist.selection import assign_folds, check_alphas
from mrdist.solvers import check_alpha
from mrdist.storage import Images, redact
from mrdist.storage.weights.sparse import SparseOutput, SparseTraining

LASSO_ALPHAS = (0.0001, 0.0003, 0.001, 0.003, 0.01, 0.03)
"""Penalties of l1 to try by default."""
OMP_NUMBERS = (1, 2, 3, 5, 8, 13, 21)
"""Numbers of weights of l0 to try by default, as far as the people suffice."""


def lasso_work(
    lesson: Lesson,
    run: RunOptions,
    *,
    alpha: float | Literal["cv"],
    window: int | None,
    max_iterations: int,
    **search: Any,
) -> SparseWork:
    """Return the training of ``l1``, see `mrdist.baselines.estimators.LassoRegression`."""
    if alpha == "cv":
        alphas = search.pop("alphas")
        grid = check_alphas(LASSO_ALPHAS if alphas is None else alphas)
        search = {"alphas": list(grid), **check_search(lesson, **search)}
        return SparseWork(lesson, run, window, alpha=alpha, max_iterations=max_iterations, **search)
    check_fixed(receptive_field=1, dilation=1, **search)
    return SparseWork(lesson, run, window, alpha=check_alpha(alpha), max_iterations=max_iterations)


def omp_work(
    lesson: Lesson,
    run: RunOptions,
    *,
    nonzeros: int | Sequence[int] | Literal["cv"] | None,
    tolerance: float,
    window: int | None,
    **search: Any,
) -> SparseWork:
    """Return the training of ``l0``, see `mrdist.baselines.estimators.PursuitRegression`."""
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
    return SparseWork(lesson, run, window, nonzeros=nonzeros, tolerance=tolerance, **search)


class SparseWork(TrainingWork[SparseOutput]):
    """A training of ``l1`` or ``l0``; options are those of a `mrdist.storage.weights.sparse.SparseTraining`."""

    def __init__(self, lesson: Lesson, run: RunOptions, window: int | None, **options: Any) -> None:
        super().__init__(lesson, run)
        check_window(window, lesson.images.shape)
        self.training = SparseTraining(**lesson.describe(), window=window, **options)

    def plan(self, block: Shape | None) -> Plan:
        """Cut the work into blocks."""
        limits = {"max_memory": self.run.max_memory, "n_slots": self.run.n_slots}
        return plan_sparse(self.lesson.images, self.training, block=block, **limits)

    def begin(self, cut: Cut) -> SparseOutput | None:
        """Begin or resume the weights store."""
        return SparseOutput.begin(
            self.run.output.url, self.training, self.training.error_maps, cut.block, **self.run.opening
        )

    @property
    def prepare(self) -> Callable[[], None]:
        """What compiles the kernels."""
        return _warm_up_pursuit if self.training.max_iterations is None else _warm_up_lasso

    def n_tasks(self, cut: Cut) -> int:
        """Return the number of tasks of the longest phase."""
        return max(cut.n_blocks, 0 if self.training.folds is None else len(sample_rows(self.training.shape)))

    def phases(self, output: SparseOutput, cut: Cut) -> Iterator[Phase]:
        """Yield the search, if there is one, which ends with a choice; the blocks; and the chunks of the matrix."""
        training, slab = output.training, self.lesson.images.chunks[0]
        searched = search_bytes(self.lesson.images, self.training)
        if training.folds is not None and output.chosen is None:
            rows, candidates = sample_rows(training.shape), _candidates(training)
            errors = output.begin_search(len(rows), len(candidates))
            tasks = self.tasks([row[0] for row in rows], slab)
            known = np.asarray(np.isfinite(errors).all(axis=(1, 2)))
            yield Phase(
                "cross-validation", _search_row, tasks, known, read_back=None, bytes_read=lambda _: searched / len(rows)
            )
            self._settle(output, rows, candidates)
        share = (cut.bytes_read - searched) / cut.n_blocks
        yield Phase("training", _train_block, self.blocks(cut, slab), output.progress.done, bytes_read=lambda _: share)
        chunks = [Block(0, 0, 0, 0)] * output.lay_out()
        yield Phase("writing", _write_chunk, self.tasks(chunks, 0))

    def _settle(self, output: SparseOutput, rows: Sequence[Sequence[Block]], candidates: Sequence[float]) -> None:
        """Choose alpha or the number of weights by the errors of all rows."""
        training = output.training
        assert training.folds is not None
        errors = output.begin_search(len(rows), len(candidates)).sum(axis=0)
        subject = self.lesson.images.subject[self.lesson.rows]
        n_images = np.bincount(assign_folds(subject, training.folds, training.seed or 0))
        mse = errors / (n_images * sum(map(len, rows)) * training.n_channels)
        parameter: Parameter = "nonzeros" if training.alphas is None else "alpha"
        settle(output, parameter, candidates, mse, n_images, rule=training.rule)

    def finish(self, output: SparseOutput) -> Trained:
        """Complete the weights store, and warn of pixels whose weights are not exact."""
        training, unsolved = self.training, output.n_unsolved()
        if unsolved:
            warnings.warn(
                f"{unsolved} of {training.n_groups * training.n_pixels} pixels did not converge within "
                f"{training.max_iterations} iterations and keep their last weights; raise --max-iterations.",
                stacklevel=4,
            )
        return self.complete(output, unsolved=unsolved)


def _candidates(training: SparseTraining) -> Sequence[float]:
    candidates = training.nonzeros if training.alphas is None else training.alphas
    assert isinstance(candidates, Sequence)
    return candidates


def _search_row(task: Task) -> int:
    """Do a row of the pixels of a cross-validation; return the process's peak of resident bytes."""
    output = SparseOutput.open(task.output.url, task.output.options)
    images = Images.open(task.source.url, task.source.options)
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
    for together in parts([pixels] if training.window is None else [[pixel] for pixel in pixels]):
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


def _write_chunk(task: Task) -> int:
    SparseOutput.open(task.output.url, task.output.options).write_chunk(task.index)
    return peak_memory()


def _train_block(task: Task) -> int:
    """Do one block from reading to writing; return the process's peak of resident bytes."""
    output = SparseOutput.open(task.output.url, task.output.options)
    images = Images.open(task.source.url, task.source.options)
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


def _warm_up_lasso() -> None:
    """Compile the kernels once and leave them on disk for the workers."""
    _fit_a_tile(lasso_solver(0.001, TOLERANCE, 10))


def _warm_up_pursuit() -> None:
    """Compile the kernels once and leave them on disk for the workers."""
    _fit_a_tile(omp_solver(1, 0.0))


def _fit_a_tile(solver: Solver) -> None:
    pixels = np.eye(TILE_SIDE, dtype=np.uint8).reshape(TILE_SIDE, TILE_SIDE, 1, 1)
    block = Block(0, 0, TILE_SIDE, 1)
    fit_block(pixels, pixels, block, (TILE_SIDE, 1), 255, solver, window=None, color="shared")
