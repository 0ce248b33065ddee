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
from mrdist.geometry import ReceptiveField, Shape, check_pool, common_field
from mrdist.methods.lesson import Lesson
from mrdist.methods.masked.plan import describe_training, plan_blocks, workload_of
from mrdist.methods.masked.solving import is_lent, solve_block, warm_up, warm_up_lent
from mrdist.methods.masked.sums import sum_folds
from mrdist.methods.options import as_list
from mrdist.methods.training import Trained, TrainingWork
from mrdist.moments import SufficientStatistics, unit_of
from mrdist.paths import sum_tiles, validation_errors
from mrdist.planning import Cut, Plan, SearchSizes, Workload, block_bytes
from mrdist.pooling import Pool, crop
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
from mrdist.solvers import Prior
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
    receptive_field, dilation, pool
        Every field that two of them make is tried with every pool.
    alphas, folds, rule, seed
        As in `mrdist.train`.
    """

    receptive_field: int | Sequence[int]
    dilation: int | Sequence[int]
    pool: int | Sequence[int] = 0
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

    @property
    def pools(self) -> list[int]:
        """The pools to try, each once."""
        return list(dict.fromkeys(map(check_pool, as_list(self.pool))))


def describe_search(
    lesson: Lesson, grid: Grid, *, penalize_intercept: bool, prior: Prior = "zero"
) -> tuple[MaskedTraining, Search, Workload]:
    """Check the options; describe what will be trained, what is tried, and what decides the cost of both."""
    rule = "min" if grid.rule is None else grid.rule
    images = lesson.images
    fields, pools = grid.fields(images.shape), grid.pools
    models = list(product(fields, pools))
    alphas = check_alphas(DEFAULT_ALPHAS if grid.alphas is None else grid.alphas)
    field = common_field(fields)
    training = describe_training(
        lesson,
        alpha=alphas[0],
        penalize_intercept=penalize_intercept,
        receptive_field=field.size,
        dilation=field.dilation,
        pool=max(pools),
        prior=prior,
    )
    subject = images.subject[lesson.rows]
    n_folds, seed = default_folds(subject) if grid.folds is None else grid.folds, grid.seed or 0
    assign_folds(subject, n_folds, seed)
    search = Search(
        receptive_field=tuple(field.size for field, _ in models),
        dilation=tuple(field.dilation for field, _ in models),
        pool=tuple(pool for _, pool in models) if any(pools) else (),
        alphas=alphas,
        folds=n_folds,
        seed=seed,
        rule=rule,
        subjects=hashlib.sha256("\n".join(subject).encode()).hexdigest(),
    )
    sizes = SearchSizes(tuple(fields), len(alphas), n_folds, per_pixel=rule == "pixel", pools=tuple(pools))
    return training, search, replace(workload_of(images, training, field, max(pools)), search=sizes)


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
    errors = output.errors() / values
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
) -> tuple[Errors, npt.NDArray[np.uint16] | None]:
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
    errors, best
        As `mrdist.storage.weights.cross_validation.SearchOutput.write_block` takes them.
    """
    per_pixel = search.rule == "pixel"
    errors, best = [], []
    for field, radius in search.models:
        needed = task.block.lenders(radius, training.shape)
        part, block = needed.seen_from(training.lenders(task.block)), task.block.seen_from(needed)
        pool = Pool.of(task.block, radius, training.shape, needed) if radius else None
        whole = crop(total, part).restrict(field)
        maps = []
        columns = []
        for fold in folds:
            held_out = crop(fold, part).restrict(field)
            sse = _errors(whole.subtract(held_out), crop(held_out, block), search.alphas, pool, training, task)
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
    errors, best = validate(
        folds,
        total,
        output.search,
        task,
        training=training,
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
        training.lenders(task.block),
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
    summed = search.training.lenders(task.block)
    solution = solve_block(statistics, training, task, summed=summed, alpha=alphas)
    output.write_block(task.index, task.block, solution, alphas)
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
