"""Train with hyperparameters chosen by cross-validation, from one pass over the images.

Every fold's sums are taken while the images are read once. Those of a training fold are the total less the fold held
out, exactly; errors on the latter need its sums only (`mrdist.paths`). One choice for all pixels is a barrier: the
first phase leaves the total and sums of errors in the store in the making, the second solves from the total.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import reduce
from typing import Any

import numpy as np
import numpy.typing as npt

from mrdist.errors import SolveError
from mrdist.execution import peak_memory
from mrdist.geometry import ReceptiveField, Shape
from mrdist.methods.lesson import Lesson
from mrdist.methods.masked.grid import Grid, describe_search
from mrdist.methods.masked.plan import plan_blocks
from mrdist.methods.masked.solving import is_lent, solve_block, warm_up, warm_up_lent
from mrdist.methods.masked.sums import sum_folds
from mrdist.methods.training import Trained, TrainingWork
from mrdist.moments import SufficientStatistics, unit_of
from mrdist.parts import parts, portion
from mrdist.paths import validation_errors
from mrdist.planning import Cut, Plan, block_bytes
from mrdist.pooling import Pool, crop
from mrdist.remaining import rows_left
from mrdist.running.phases import Phase
from mrdist.running.tasks import RunOptions, Task
from mrdist.selection import (
    Choice,
    assign_folds,
    choose,
    mean_error,
    standard_error,
    sum_tiles,
)
from mrdist.solvers import Prior
from mrdist.storage import Images, MaskedTraining
from mrdist.storage.reading_back import read_back_search
from mrdist.storage.weights.cross_validation import SearchOutput, search_output
from mrdist.storage.weights.masked import TrainOutput
from mrdist.storage.weights.output import chunk_side
from mrdist.storage.weights.search import Search

logger = logging.getLogger("mrdist")

Errors = npt.NDArray[np.float64]


class SearchWork(TrainingWork[SearchOutput | TrainOutput]):
    """A training whose field and penalty are chosen by cross-validation; options are those of a `Grid`."""

    counted = "solving"

    def __init__(
        self,
        lesson: Lesson,
        run: RunOptions,
        *,
        penalize_intercept: bool,
        receptive_field: int | Sequence[int],
        dilation: int | Sequence[int],
        pool: int | Sequence[int],
        prior: Prior,
        **search: Any,
    ) -> None:
        super().__init__(lesson, run)
        grid = Grid(receptive_field, dilation, pool, **search)
        self.training, self.search, self.workload = describe_search(
            lesson, grid, penalize_intercept=penalize_intercept, prior=prior
        )

    def plan(self, block: Shape | None) -> Plan:
        """Cut the work into blocks."""
        return plan_blocks(self.run, self.workload, block)

    def begin(self, cut: Cut) -> SearchOutput | TrainOutput | None:
        """Begin the weights store, or resume it in the phase where it is."""
        return search_output(
            self.run.output.url,
            self.training,
            self.search,
            unit=unit_of(self.lesson.images.dtype),
            block=cut.block,
            **self.run.opening,
        )

    @property
    def prepare(self) -> Callable[[], None]:
        """What compiles the kernels."""
        return _warm_up_lent if is_lent(self.training) else _warm_up

    def phases(self, output: SearchOutput | TrainOutput, cut: Cut) -> Iterator[Phase]:
        """Yield the search, which ends with a choice, and the solve.

        A search that has made its choice is read back where the solve still needs its sums.
        """
        assert isinstance(cut, Plan)
        tasks = self.blocks(cut, cut.slab)
        searching = isinstance(output, SearchOutput)
        done = output.progress.done
        needed = tasks if searching else [task for task, solved in zip(tasks, done, strict=True) if not solved]
        yield Phase(
            "cross-validation",
            _search_block,
            needed,
            done if searching else [True] * len(needed),
            read_back_search,
            bytes_read=lambda task: block_bytes(self.workload, task.block, task.slab),
        )
        if isinstance(output, SearchOutput):
            subject = self.lesson.images.subject[self.lesson.rows]
            folds = assign_folds(subject, self.search.folds, self.search.seed)
            output = conclude(output, np.bincount(folds))
        yield Phase("solving", _solve_block, tasks, output.progress.done)

    def finish(self, output: Any) -> Trained:  # noqa: ARG002 (which may be that of the search)
        """Complete the weights store."""
        return self.complete(TrainOutput.open(self.run.output.url, self.run.output.options))


def conclude(output: SearchOutput, n_images: npt.NDArray[np.int64]) -> TrainOutput:
    """Choose from the errors of all blocks, log the choice, and return the output for the weights.

    Parameters
    ----------
    output
        A search whose blocks are done.
    n_images
        Images of every fold.
    """
    search, training = output.search, output.training
    values = n_images * (training.height * training.width * training.n_channels)
    errors = output.errors() / (values if (counts := output.counts()) is None else counts)
    table = errors[:, : len(search.alphas)]
    order = sorted({(field.n_offsets, -pool) for field, pool in search.models})  # the simplest first
    sizes = [order.index((field.n_offsets, -pool)) for field, pool in search.models]
    choice = choose(table, rule="1se" if search.rule == "1se" else "min", size=sizes)
    edge = choice.edge
    if search.rule == "pixel":
        choice = choose(errors[:, len(search.alphas) :])
    field, pool = search.models[choice.model]
    alpha = None if search.rule == "pixel" else search.alphas[choice.alpha]
    chosen = {
        "receptive_field": field.size,
        "dilation": field.dilation,
        **({"pool": pool} if search.pool else {}),
        "alpha": alpha,
        "mse": choice.error,
        "se": choice.standard_error,
        "edge": edge,
    }
    logger.info(_sentence(search, choice, field, pool, alpha))
    if edge is not None:
        extreme, other = (search.alphas[0], "smaller") if edge == "lower" else (search.alphas[-1], "larger")
        logger.warning(
            "the least error lies at alpha %g, the %s edge of the grid, and a %s one may be better; extend --alphas.",
            extreme,
            edge,
            other,
        )
    return output.conclude(table, standard_error(table), n_images, chosen)


def _sentence(search: Search, choice: Choice, field: ReceptiveField, pool: int, alpha: float | None) -> str:
    dilated = f" with dilation {field.dilation}" if field.dilation > 1 else ""
    pooled = f", pool {pool}" if search.pool else ""
    penalty = "an alpha of its own for every pixel" if alpha is None else f"alpha {alpha:g}"
    return (
        f"chosen: receptive field {field.size}{dilated}{pooled} and {penalty}, MSE {choice.error:.3g} +- "
        f"{choice.standard_error:.1g} over {search.folds} folds"
    )


def validate(
    folds: Sequence[SufficientStatistics],
    total: SufficientStatistics,
    search: Search,
    task: Task,
    *,
    training: MaskedTraining,
    n_images: npt.NDArray[np.int64],
    side: int,
) -> tuple[Errors, npt.NDArray[np.uint16] | None, npt.NDArray[np.int64] | None]:
    """Hold out every fold in turn and sum the errors of all candidates on it.

    Parameters
    ----------
    folds, total
        Sums over the images of every fold, and over all, of the block and of all pixels that lend to it.
    search
        What is tried.
    task
        The block.
    training
        The training to come.
    n_images
        Of every fold.
    side
        Of a tile in pixels.

    Returns
    -------
    errors, best, counts
        As `mrdist.storage.weights.cross_validation.SearchOutput.write_block` takes them.
    """
    per_pixel = search.rule == "pixel"
    errors, best, counted = [], [], []
    for field, reach in parts(search.models):
        needed = task.block.lenders(reach, training.shape)
        part, block = needed.seen_from(training.lenders(task.block)), task.block.seen_from(needed)
        pool = Pool.of(task.block, reach, training.shape, needed) if reach else None
        whole = crop(total, part).restrict(field)
        maps = []
        columns = []
        counts = []
        for fold in parts(folds):
            held_out = crop(fold, part).restrict(field)
            rest = whole.subtract(held_out)
            sse = _errors(rest, crop(held_out, block), search.alphas, pool, training, task)
            columns.append(sum_tiles(sse, side))
            if training.drops_rows:
                counts.append(_rows_scored(rest, held_out))
            if per_pixel:
                maps.append(sse)
        if training.drops_rows:
            n_planes = len(total.target_sum)
            counted.append(np.stack([n_planes * sum_tiles(n[np.newaxis], side) for n in counts], axis=-1))
        tiles = np.stack(columns, axis=-1)  # (alpha, tile y, tile x, fold)
        if per_pixel:
            own = _best(maps, [np.maximum(n, 1) for n in counts] or n_images.tolist(), total.n_groups)
            of_plane = np.repeat(own, total.n_inputs, axis=0)[np.newaxis]
            chosen = [sum_tiles(np.take_along_axis(sse, of_plane, axis=0), side) for sse in maps]
            tiles = np.concatenate([tiles, np.stack(chosen, axis=-1)])
            best.append(own.astype(np.uint16))
        errors.append(tiles)
    return (
        np.stack(errors).transpose(2, 3, 0, 1, 4),
        np.stack(best) if per_pixel else None,
        np.stack(counted).transpose(1, 2, 0, 3).astype(np.int64) if counted else None,
    )


def _rows_scored(training: SufficientStatistics, held_out: SufficientStatistics) -> npt.NDArray[np.float64]:
    """Return how many rows every pixel is tried on, shape (y, x): none where it has none to learn from."""
    learnt, tried = (
        np.full(each.shape, each.n_rows) if (n_rows := rows_left(each)) is None else n_rows
        for each in (training, held_out)
    )
    return np.where(learnt > 0, tried, 0).astype(np.float64)


def _best(maps: Sequence[Errors], numbers: Sequence[Any], n_groups: int) -> npt.NDArray[np.int64]:
    """Return which penalty every pixel does best with, shape (group, y, x), from a map (alpha, plane, y, x) a fold.

    ``numbers`` are those of the images, or of the rows of every pixel, of each fold.
    """
    mse = np.stack([sse / n for sse, n in zip(maps, numbers, strict=True)], axis=-1)
    of_planes = mean_error(mse)
    n_alphas, _, *shape = of_planes.shape
    together = mean_error(np.moveaxis(of_planes.reshape(n_alphas, n_groups, -1, *shape), 2, -1))
    return np.asarray(together.argmin(axis=0))


def _errors(
    training: SufficientStatistics,
    held_out: SufficientStatistics,
    alphas: Sequence[float],
    pool: Pool | None,
    how: MaskedTraining,
    task: Task,
) -> Errors:
    try:
        return validation_errors(
            training, held_out, alphas, penalize_intercept=how.penalize_intercept, pool=pool, prior=how.prior
        ).sse
    except SolveError as error:
        raise SolveError(f"in block {task.index} ({task.block}), {error}") from error


def search_block(output: SearchOutput, folds: list[SufficientStatistics], n_images: Any, task: Task) -> None:
    """Try all candidates on a block's folds, and store the errors."""
    training = output.training
    total = merged(folds)
    errors, best, counts = validate(
        folds,
        total,
        output.search,
        task,
        training=training,
        n_images=n_images,
        side=chunk_side(training.shape),
    )
    folds.clear()  # writing takes memory too
    output.write_block(task.index, task.block, total, errors, best, counts)


def merged(parts: Iterable[SufficientStatistics]) -> SufficientStatistics:
    """Return the sums over the images of all parts."""
    return reduce(SufficientStatistics.merge, parts)


def _search_block(task: Task) -> int:
    """Do a block's first phase from reading to writing; return the process's peak of resident bytes."""
    output = SearchOutput.open(task.output.url, task.output.options)
    images = Images.open(task.source.url, task.source.options)
    training, search = output.training, output.search
    labels = training.source, training.target
    rows = images.rows(labels, training.split)
    fold = assign_folds(images.subject[rows], search.folds, search.seed)
    with portion(0.5):
        folds = sum_folds(
            images,
            labels,
            rows,
            fold,
            training.field,
            training.lenders(task.block),
            n_groups=training.n_groups,
            n_inputs=training.n_inputs,
            slab=task.slab,
            smaller=[field for field, _ in search.models],
        )
    search_block(output, folds, np.bincount(fold), task)
    return peak_memory()


def _solve_block(task: Task) -> int:
    """Do a block's second phase; return the process's peak of resident bytes."""
    output = TrainOutput.open(task.output.url, task.output.options)
    search = SearchOutput.open(task.output.url, task.output.options)
    training = output.training
    statistics = search.read_total(task.index, task.block).restrict(training.field)
    alphas = search.read_alpha(training, task.block) if training.alpha is None else None
    summed = search.training.lenders(task.block)
    solution = solve_block(statistics, training, task, summed=summed, alpha=alphas)
    output.write_block(task.index, task.block, solution, alphas, rows_left(statistics))
    return peak_memory()


def _warm_up() -> None:
    """Compile the kernels once and leave them on disk for the workers."""
    warm_up()
    _try_errors("zero")


def _warm_up_lent() -> None:
    """Compile the kernels of pools and priors, too."""
    warm_up_lent()
    _try_errors("zero", "identity")


def _try_errors(*priors: Prior) -> None:
    pixel = np.zeros((2, 1, 1, 1), dtype=np.uint8)
    statistics = SufficientStatistics.zeros(ReceptiveField(1), (1, 1), n_groups=1, unit=255).update(pixel, pixel)
    for prior in priors:
        sum_tiles(validation_errors(statistics, statistics, [1.0], prior=prior).sse, 1)
