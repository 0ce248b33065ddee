"""Train with hyperparameters chosen by cross-validation, from one pass over the images.

Every fold's sums are taken while the images are read once. Those of a training fold are the total less the fold held
out, exactly; errors on the latter need its sums only (`mrdist.paths`). One choice for all pixels is a barrier: the
first phase leaves the total and sums of errors in the store in the making, the second solves from the total.
"""

from __future__ import annotations

import hashlib
import logging
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import reduce
from itertools import product
from typing import Any

import numpy as np
import numpy.typing as npt

from mrdist.errors import ParameterError, SolveError
from mrdist.execution import peak_memory
from mrdist.geometry import ReceptiveField, Shape, block_grid, common_field
from mrdist.moments import SufficientStatistics, unit_of
from mrdist.paths import sum_tiles, validation_errors
from mrdist.pipeline._blocks import open_blocks, run_pass, solve_block, warm_up
from mrdist.pipeline._methods import Job, Lesson
from mrdist.pipeline._options import as_list
from mrdist.pipeline._resume import BlockTask, find_damaged
from mrdist.pipeline._sums import sum_folds
from mrdist.pipeline._train_plan import describe_training, plan_job, workload_of
from mrdist.pipeline.train import TrainReport, TrainTask, already_trained
from mrdist.planning import Plan, SearchSizes, Workload, block_bytes
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
from mrdist.storage import Images, Training
from mrdist.storage.cross_validation import Search, SearchOutput, remove_scratch, search_output
from mrdist.storage.outputs import chunk_side
from mrdist.storage.reading_back import read_back_search
from mrdist.storage.weights import TrainOutput

logger = logging.getLogger("mrdist")

_SEARCH = "cross-validation"  # the first of two phases

RULES = ("min", "1se", "pixel")
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


def describe_search(lesson: Lesson, grid: Grid, *, penalize_intercept: bool) -> tuple[Training, Search, Workload]:
    """Check the options; describe what will be trained, what is tried, and what decides the cost of both."""
    rule = "min" if grid.rule is None else grid.rule
    if rule not in RULES:
        raise ParameterError(f"rule must be one of {', '.join(RULES)}, got {rule!r}.")
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


def plan_search(
    job: Job,
    *,
    penalize_intercept: bool,
    receptive_field: int | Sequence[int] = 1,
    dilation: int | Sequence[int] = 1,
    **search: Any,
) -> tuple[Training, Search, Workload, Plan]:
    """Check the options, which are those of a `Grid`, and cut the work into blocks."""
    grid = Grid(receptive_field, dilation, **search)
    training, tried, workload = describe_search(job.lesson, grid, penalize_intercept=penalize_intercept)
    return training, tried, workload, plan_job(job, workload, job.block)


def train_by_cross_validation(job: Job, **options: Any) -> TrainReport:
    """Train with the best candidate of a grid, see `mrdist.train`; options are those of `plan_search`."""
    lesson, images = job.lesson, job.lesson.images
    training, search, workload, plan = plan_search(job, **options)
    output = search_output(
        job.url,
        training,
        search,
        unit=unit_of(images.dtype),
        block=plan.block,
        overwrite=job.overwrite,
        storage_options=job.storage_options,
    )
    if output is None:
        return already_trained(job.url, plan.n_blocks, job.storage_options, job.lesson.face_frame)
    if output.progress.block != plan.block:  # resumed: the blocks are those of the first run
        plan = plan_job(job, workload, output.progress.block)
    if plan.advice is not None:
        logger.warning(plan.advice)
    tasks = [
        TrainTask(job.url, job.storage_options, images.url, images.storage_options, index, block, plan.slab)
        for index, block in enumerate(block_grid(images.shape, plan.block))
    ]
    shown: dict[str, Any] = {"n_images": training.n_images, "progress": job.progress}
    with open_blocks(
        workers=job.workers,
        scheduler=job.scheduler,
        n_tasks=len(tasks),
        max_memory=job.max_memory,
        prepare=_warm_up,
    ) as executor:
        started = time.perf_counter() - executor.prepare_seconds
        if isinstance(output, SearchOutput):
            resumed: dict[str, Any] = {"done": output.progress.done, "read": read_back_search}
            searched = run_pass(executor, _search_block, tasks, plan, phase=_SEARCH, **resumed, **shown)
            folds = assign_folds(images.subject[lesson.rows], search.folds, search.seed)
            output = conclude(output, np.bincount(folds))
        else:
            left = [task for task, done in zip(tasks, output.progress.done, strict=True) if not done]
            lost = find_damaged(executor, left, progress=job.progress, read=read_back_search)
            searched = run_pass(executor, _search_block, lost, plan, phase=_SEARCH, **shown)
        search_seconds = time.perf_counter() - started
        solved = run_pass(executor, _solve_block, tasks, plan, phase="solving", done=output.progress.done, **shown)
    remove_scratch(job.url, job.storage_options)
    scores = output.finish(lesson.provenance, lesson.face_frame)
    run_seconds = time.perf_counter() - started
    return TrainReport(
        url=job.url,
        already_complete=False,
        start_seconds=executor.start_seconds,
        run_seconds=run_seconds,
        prepare_seconds=executor.prepare_seconds,
        bytes_read=sum(block_bytes(workload, task.block, plan.slab) for task in searched.tasks),
        blocks=plan.n_blocks,
        blocks_run=len(solved.tasks),
        peak_memory_bytes=max(searched.peak_memory_bytes, solved.peak_memory_bytes),
        scores=scores,
        cross_validation={
            "chosen": output.chosen,
            "blocks_run": {"search": len(searched.tasks), "solve": len(solved.tasks)},
            "seconds": {"search": search_seconds, "solve": run_seconds - search_seconds},
        },
    )


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
    task: BlockTask,
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
        As `mrdist.storage.cross_validation.SearchOutput.write_block` takes them.
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
    task: BlockTask,
) -> Errors:
    try:
        return validation_errors(training, held_out, alphas, penalize_intercept=penalize_intercept).sse
    except SolveError as error:
        raise SolveError(f"in block {task.index} ({task.block}), {error}") from error


def search_block(output: SearchOutput, folds: list[SufficientStatistics], n_images: Any, task: BlockTask) -> None:
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


def _search_block(task: TrainTask) -> int:
    """Do a block's first phase from reading to writing; return the process's peak of resident bytes."""
    output = SearchOutput.open(task.weights_url, task.weights_options)
    images = Images.open(task.images_url, task.images_options)
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


def _solve_block(task: TrainTask) -> int:
    """Do a block's second phase; return the process's peak of resident bytes."""
    output = TrainOutput.open(task.weights_url, task.weights_options)
    search = SearchOutput.open(task.weights_url, task.weights_options)
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
