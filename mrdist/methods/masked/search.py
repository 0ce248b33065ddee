"""Train with hyperparameters chosen by cross-validation, from one pass over the images.

Every fold's sums are taken while the images are read once. Those of a training fold are the total less the fold held
out, exactly; errors on the latter need its sums only (`mrdist.paths`). One choice for all pixels is a barrier: the
first phase leaves the total and sums of errors in the store in the making, the second solves from the total.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import reduce
from itertools import product
from typing import Any

import numpy as np
import numpy.typing as npt

from mrdist.errors import ParameterError, SolveError
from mrdist.execution import peak_memory
from mrdist.geometry import ReceptiveField, Shape, common_field
from mrdist.methods.lesson import Lesson
from mrdist.methods.masked.plan import describe_training, plan_blocks, workload_of
from mrdist.methods.masked.solving import solve_block, warm_up
from mrdist.methods.masked.sums import sum_folds
from mrdist.methods.options import as_list
from mrdist.methods.training import Trained, TrainingWork
from mrdist.moments import SufficientStatistics, unit_of
from mrdist.paths import sum_tiles, validation_errors
from mrdist.planning import Cut, Plan, SearchSizes, Workload, block_bytes
from mrdist.running.phases import Phase
from mrdist.running.tasks import RunOptions, Task
from mrdist.selection import (
    DEFAULT_ALPHAS,
    Choice,
    assign_folds,
    check_alphas,
    choose,
    default_folds,
    mean_error,
    standard_error,
)
from mrdist.storage import Images, MaskedTraining
from mrdist.storage.reading_back import read_back_search
from mrdist.storage.weights.cross_validation import Search, SearchOutput, search_output
from mrdist.storage.weights.masked import TrainOutput
from mrdist.storage.weights.output import chunk_side

logger = logging.getLogger("mrdist")

Errors = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Grid:
    """The candidates to try; what is not given has a default.

    Attributes
    ----------
    receptive_field, dilation
        Every pair of them is a field to try.
    alphas, folds, rule, seed
        As in `mrdist.train`.
    """

    receptive_field: int | Sequence[int]
    dilation: int | Sequence[int]
    alphas: Sequence[float] | None = None
    folds: int | None = None
    rule: str | None = None
    seed: int | None = None

    def fields(self, shape: Shape) -> list[ReceptiveField]:
        """Return the fields to try, each once.

        Raises
        ------
        ParameterError
            If there is none, or one is invalid or wider than images of ``shape``.
        """
        fields = []
        for size, dilation in product(as_list(self.receptive_field), as_list(self.dilation)):
            field = ReceptiveField(size, 1 if size == 1 else dilation)
            field.check_fits(shape)
            if field not in fields:
                fields.append(field)
        if not fields:
            raise ParameterError("receptive_field and dilation must name at least one field to try, got none.")
        return fields


def describe_search(lesson: Lesson, grid: Grid, *, penalize_intercept: bool) -> tuple[MaskedTraining, Search, Workload]:
    """Check the options; describe what will be trained, what is tried, and what decides the cost of both."""
    rule = "min" if grid.rule is None else grid.rule
    images = lesson.images
    fields = grid.fields(images.shape)
    alphas = check_alphas(DEFAULT_ALPHAS if grid.alphas is None else grid.alphas)
    field = common_field(fields)
    training = describe_training(
        lesson,
        alpha=alphas[0],
        penalize_intercept=penalize_intercept,
        receptive_field=field.size,
        dilation=field.dilation,
    )
    subject = images.subject[lesson.rows]
    n_folds, seed = default_folds(subject) if grid.folds is None else grid.folds, grid.seed or 0
    assign_folds(subject, n_folds, seed)
    search = Search(
        receptive_field=tuple(field.size for field in fields),
        dilation=tuple(field.dilation for field in fields),
        alphas=alphas,
        folds=n_folds,
        seed=seed,
        rule=rule,
        subjects=hashlib.sha256("\n".join(subject).encode()).hexdigest(),
    )
    sizes = SearchSizes(tuple(fields), len(alphas), n_folds, per_pixel=rule == "pixel")
    return training, search, replace(workload_of(images, training, field), search=sizes)


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
        **search: Any,
    ) -> None:
        super().__init__(lesson, run)
        grid = Grid(receptive_field, dilation, **search)
        self.training, self.search, self.workload = describe_search(lesson, grid, penalize_intercept=penalize_intercept)

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
        return _warm_up

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
    errors = output.errors() / values
    table = errors[:, : len(search.alphas)]
    sizes = [field.n_offsets for field in search.fields]
    choice = choose(table, rule="1se" if search.rule == "1se" else "min", size=sizes)
    edge = choice.edge
    if search.rule == "pixel":
        choice = choose(errors[:, len(search.alphas) :])
    field = search.fields[choice.model]
    alpha = None if search.rule == "pixel" else search.alphas[choice.alpha]
    chosen = {
        "receptive_field": field.size,
        "dilation": field.dilation,
        "alpha": alpha,
        "mse": choice.error,
        "se": choice.standard_error,
        "edge": edge,
    }
    logger.info(_sentence(search, choice, field, alpha))
    if edge is not None:
        extreme, other = (search.alphas[0], "smaller") if edge == "lower" else (search.alphas[-1], "larger")
        logger.warning(
            "the least error lies at alpha %g, the %s edge of the grid, and a %s one may be better; extend --alphas.",
            extreme,
            edge,
            other,
        )
    return output.conclude(table, standard_error(table), n_images, chosen)


def _sentence(search: Search, choice: Choice, field: ReceptiveField, alpha: float | None) -> str:
    dilated = f" with dilation {field.dilation}" if field.dilation > 1 else ""
    penalty = "an alpha of its own for every pixel" if alpha is None else f"alpha {alpha:g}"
    return (
        f"chosen: receptive field {field.size}{dilated} and {penalty}, MSE {choice.error:.3g} +- "
        f"{choice.standard_error:.1g} over {search.folds} folds"
    )


def validate(
    folds: Sequence[SufficientStatistics],
    total: SufficientStatistics,
    search: Search,
    task: Task,
    *,
    penalize_intercept: bool,
    n_images: npt.NDArray[np.int64],
    side: int,
) -> tuple[Errors, npt.NDArray[np.uint16] | None]:
    """Hold out every fold in turn and sum the errors of all candidates on it.

    Parameters
    ----------
    folds, total
        Sums over the images of every fold, and over all.
    search
        What is tried.
    task
        The block, for error messages.
    penalize_intercept
        As for `mrdist.solvers.solve`.
    n_images
        Of every fold.
    side
        Of a tile in pixels.

    Returns
    -------
    errors, best
        As `mrdist.storage.weights.cross_validation.SearchOutput.write_block` takes them.
    """
    per_pixel = search.rule == "pixel"
    errors, best = [], []
    for field in search.fields:
        whole = total.restrict(field)
        maps = []
        columns = []
        for fold in folds:
            held_out = fold.restrict(field)
            sse = _errors(whole.subtract(held_out), held_out, search.alphas, penalize_intercept, task)
            columns.append(sum_tiles(sse, side))
            if per_pixel:
                maps.append(sse)
        tiles = np.stack(columns, axis=-1)  # (alpha, tile y, tile x, fold)
        if per_pixel:
            own = _best(maps, n_images, total.n_groups)
            of_plane = np.repeat(own, total.n_inputs, axis=0)[np.newaxis]
            chosen = [sum_tiles(np.take_along_axis(sse, of_plane, axis=0), side) for sse in maps]
            tiles = np.concatenate([tiles, np.stack(chosen, axis=-1)])
            best.append(own.astype(np.uint16))
        errors.append(tiles)
    return np.stack(errors).transpose(2, 3, 0, 1, 4), np.stack(best) if per_pixel else None


def _best(maps: Sequence[Errors], n_images: npt.NDArray[np.int64], n_groups: int) -> npt.NDArray[np.int64]:
    """Return which penalty every pixel does best with, shape (group, y, x), from a map (alpha, plane, y, x) a fold."""
    mse = np.stack([sse / n for sse, n in zip(maps, n_images.tolist(), strict=True)], axis=-1)
    of_planes = mean_error(mse)
    n_alphas, _, *shape = of_planes.shape
    together = mean_error(np.moveaxis(of_planes.reshape(n_alphas, n_groups, -1, *shape), 2, -1))
    return np.asarray(together.argmin(axis=0))


def _errors(
    training: SufficientStatistics,
    held_out: SufficientStatistics,
    alphas: Sequence[float],
    penalize_intercept: bool,
    task: Task,
) -> Errors:
    try:
        return validation_errors(training, held_out, alphas, penalize_intercept=penalize_intercept).sse
    except SolveError as error:
        raise SolveError(f"in block {task.index} ({task.block}), {error}") from error


def search_block(output: SearchOutput, folds: list[SufficientStatistics], n_images: Any, task: Task) -> None:
    """Try all candidates on a block's folds, and store the errors."""
    training = output.training
    total = merged(folds)
    errors, best = validate(
        folds,
        total,
        output.search,
        task,
        penalize_intercept=training.penalize_intercept,
        n_images=n_images,
        side=chunk_side(training.shape),
    )
    folds.clear()  # writing takes memory too
    output.write_block(task.index, task.block, total, errors, best)


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
    folds = sum_folds(
        images,
        labels,
        rows,
        fold,
        training.field,
        task.block,
        n_groups=training.n_groups,
        n_inputs=training.n_inputs,
        slab=task.slab,
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
    alpha = alphas if training.alpha is None else training.alpha
    assert alpha is not None
    solution = solve_block(statistics, alpha, task, penalize_intercept=training.penalize_intercept)
    output.write_block(task.index, task.block, solution, alphas)
    return peak_memory()


def _warm_up() -> None:
    """Compile the kernels once and leave them on disk for the workers."""
    warm_up()
    pixel = np.zeros((2, 1, 1, 1), dtype=np.uint8)
    statistics = SufficientStatistics.zeros(ReceptiveField(1), (1, 1), n_groups=1, unit=255).update(pixel, pixel)
    sum_tiles(validation_errors(statistics, statistics, [1.0]).sse, 1)
