"""Train a regression on whole images, out of core: inner products block by block, a barrier, weights block by block."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields, replace
from typing import Any

import numpy as np
import numpy.typing as npt
from threadpoolctl import threadpool_limits

from mrdist.baselines.dual import (
    Array,
    Dual,
    Matrix,
    Spectrum,
    check_components,
    check_gamma,
    check_pixels,
    default_components,
    default_gamma,
    gaussian,
    gram_unit,
    held_out_errors,
    inner_products,
    integers_of,
    rows_of,
)
from mrdist.baselines.mean import TargetSums
from mrdist.errors import DataError
from mrdist.execution import peak_memory
from mrdist.geometry import Block, Shape, block_grid
from mrdist.methods.lesson import Lesson
from mrdist.methods.options import check_fixed
from mrdist.methods.searching import check_search, settle
from mrdist.methods.training import TrainingWork
from mrdist.methods.whole.plan import GlobalSizes, plan_global
from mrdist.planning import Cut, Plan
from mrdist.running.phases import Phase
from mrdist.running.tasks import RunOptions, Task
from mrdist.selection import DEFAULT_ALPHAS, assign_folds, check_alphas
from mrdist.solvers import check_alpha
from mrdist.storage import Images, redact
from mrdist.storage.making.reading_back import read_back_sums
from mrdist.storage.weights.output import chunk_side
from mrdist.storage.weights.whole import GlobalOutput, GlobalTraining, global_output

GRIDS = {
    "l2": (*DEFAULT_ALPHAS, 100.0, 300.0, 1000.0, 3000.0),
    "kernel": tuple(alpha / 1000 for alpha in DEFAULT_ALPHAS),
}
"""Penalties to try by default: inner products of images are thousands, entries of a Gaussian kernel at most 1."""


def describe_global(
    lesson: Lesson,
    *,
    alpha: float | str | None = None,
    penalize_intercept: bool | None = None,
    gamma: float | None = None,
    components: int | None = None,
    **search: Any,
) -> GlobalTraining:
    """Check the options that a method has and describe the training."""
    if alpha == "cv":
        alphas = search.pop("alphas")
        grid = check_alphas(GRIDS[lesson.method] if alphas is None else alphas)
        search = {"alphas": list(grid), **check_search(lesson, **search)}
    else:
        check_fixed(receptive_field=1, dilation=1, **search)
        alpha = None if alpha is None else check_alpha(float(alpha))
    training = GlobalTraining(
        **lesson.describe(),
        **search,
        alpha=alpha,
        penalize_intercept=penalize_intercept,
        gamma=check_gamma(gamma),
        components=components,
    )
    if lesson.method == "pca":
        components = default_components(training.n_rows) if components is None else components
        training = replace(training, components=check_components(components, training.n_rows))
    check_pixels(training.height * training.width, gram_unit(lesson.images.dtype))
    return training


class WholeWork(TrainingWork[GlobalOutput]):
    """A training of ``l2``, ``kernel`` or ``pca``; options are those of `describe_global`."""

    def __init__(self, lesson: Lesson, run: RunOptions, **options: Any) -> None:
        super().__init__(lesson, run)
        self.training = describe_global(lesson, **options)
        labels = 2 + (self.training.components is not None) + (self.training.alphas is not None)
        self.sizes = GlobalSizes.of(lesson.images, lesson.images.n_read(lesson.rows), self.training, labels)

    def plan(self, block: Shape | None) -> Plan:
        """Cut the work into blocks."""
        return plan_global(self.sizes, max_memory=self.run.max_memory, n_slots=self.run.n_slots, block=block)

    def begin(self, cut: Cut) -> GlobalOutput | None:
        """Begin or resume the weights store."""
        return global_output(
            self.run.output.url,
            self.training,
            cut.block,
            self.lesson.images.dtype,
            overwrite=self.run.overwrite,
            storage_options=self.run.output.options,
        )

    def prepare(self) -> None:
        """Load LAPACK, so that the first block does not include that time."""
        Spectrum.of(np.eye(2), penalize_intercept=True)

    def phases(self, output: GlobalOutput, cut: Cut) -> Iterator[Phase]:
        """Yield the sums of inner products, which end with a decomposition, and the weights."""
        lesson, images = self.lesson, self.lesson.images
        tasks = self.blocks(cut, images.chunks[0])
        of_label = cut.bytes_read / (self.sizes.labels * cut.n_blocks)
        output.begin_sums([lesson.source] if self.training.alphas is None else [lesson.source, lesson.target])
        yield Phase("summing", _sum_block, tasks, output.summed, read_back_sums, lambda _: of_label)
        if output.operators is None:
            _solve(output, images, lesson.rows)
        bytes_read = (self.sizes.labels - 1) * of_label
        yield Phase("training", _train_block, tasks, output.progress.done, bytes_read=lambda _: bytes_read)


def read_rows(images: Images, label: str, rows: npt.NDArray[np.int64], block: Block) -> Array:
    """Return some images in a block, shape (image, y, x, channel), reading a run of chunks at a time."""
    reader = images.reader()
    pixels = np.empty((len(rows), *block.shape, images.n_channels), dtype=images.dtype)
    done = 0
    for start, stop, chosen in images.slabs(rows, images.chunks[0]):
        pixels[done : done + len(chosen)] = reader.read(label, start, stop, block)[chosen]
        done += len(chosen)
    return pixels


def _integers(images: Images, label: str, block: Block, pixels: Array) -> Array:
    try:
        return integers_of(pixels, label)
    except DataError as error:
        raise DataError(f"in {redact(images.url)}, {block}: {error}") from error


def _sum_block(task: Task) -> int:
    """Store the inner products of a block's source pixels, and the pixels themselves if predictions need them."""
    output, images = _open(task)
    training = output.training
    pixels = read_rows(images, training.source, _rows(images, training), task.block)
    if training.components is None:
        output.write_basis(task.block, pixels)
    with threadpool_limits(1):  # a process has one processor
        rows = rows_of(_integers(images, training.source, task.block, pixels), training.n_groups)
        grams = {training.source: inner_products(rows)}
        if training.alphas is not None:
            pixels = read_rows(images, training.target, _rows(images, training), task.block)
            rows = rows_of(_integers(images, training.target, task.block, pixels), training.n_groups)
            grams[training.target] = inner_products(rows)
        output.write_sums(task.index, grams)
    return peak_memory()


def _solve(output: GlobalOutput, images: Images, rows: npt.NDArray[np.int64]) -> None:
    """Between the passes: one eigendecomposition a group, from which all weights follow."""
    training, unit = output.training, gram_unit(images.dtype)
    grams = output.total_sums(training.source) / unit**2
    norms = np.diagonal(grams, axis1=1, axis2=2)
    attributes: dict[str, Any] = {}
    kept: dict[str, Matrix] = {}
    if training.method == "kernel":
        gamma = default_gamma(grams) if training.gamma is None else training.gamma
        attributes["gamma"], kept["norms"] = gamma, norms
        grams = np.stack([gaussian(gram, own, own, gamma) for gram, own in zip(grams, norms, strict=True)])
    alpha = training.alpha
    if training.alphas is not None:
        alpha = choose_alpha(output, grams, unit, images.subject[rows])
    duals = [_dual(training, gram, alpha) for gram in grams]
    operators = {field.name: np.stack([getattr(dual, field.name) for dual in duals]) for field in fields(Dual)}
    if training.components is None:
        kept["rotation"] = operators["rotation"]
    output.write_operators(attributes, kept, **operators)


def choose_alpha(output: GlobalOutput, kernels: Matrix, unit: int, subject: npt.NDArray[np.str_]) -> float:
    """Choose the penalty of all pixels by cross-validation and store the table of errors.

    Errors follow from the inner products alone, see `mrdist.baselines.dual.held_out_errors`. The kernel is that of all
    images, as is the gamma of its default.
    """
    training = output.training
    assert training.alphas is not None
    assert training.folds is not None
    assert training.seed is not None
    alphas = tuple(training.alphas)
    targets = output.total_sums(training.target) / unit**2
    folds = assign_folds(subject.tolist(), training.folds, training.seed)
    fold = np.repeat(folds, training.n_rows // training.n_images)
    with threadpool_limits(1):
        sse = sum(
            held_out_errors(kernel, target, fold, alphas, penalize_intercept=bool(training.penalize_intercept))
            for kernel, target in zip(kernels, targets, strict=True)
        )
    n_images = np.bincount(folds)
    mse = np.asarray(sse) / (n_images * (training.height * training.width * training.n_channels))
    return float(settle(output, "alpha", alphas, mse, n_images, rule=training.rule))


def _dual(training: GlobalTraining, kernel: Matrix, alpha: float | str | None) -> Dual:
    if training.components is not None:
        return Spectrum.of(kernel, penalize_intercept=False).components(training.components)
    assert training.penalize_intercept is not None
    assert isinstance(alpha, float)
    return Spectrum.of(kernel, penalize_intercept=training.penalize_intercept).ridge(alpha)


def _train_block(task: Task) -> int:
    """Do one block's weights from reading to writing; return the process's peak of resident bytes.

    It is cut into tiles that depend on the image alone, so that BLAS gets the same calls for any blocks.
    """
    output, images = _open(task)
    training, unit = output.training, gram_unit(images.dtype)
    operators = output.operators
    assert operators is not None
    names = [field.name for field in fields(Dual)]
    duals = [Dual(**{name: operators[name][group] for name in names}) for group in range(training.n_groups)]
    rows = _rows(images, training)
    target = _integers(images, training.target, task.block, read_rows(images, training.target, rows, task.block))
    source = None
    if training.components is not None:
        source = integers_of(read_rows(images, training.source, rows, task.block))
    side = chunk_side(training.shape)
    for strip in block_grid(task.block.shape, (side, task.block.shape[1])):
        maps = _maps(training, strip)
        with threadpool_limits(1):
            for tile in block_grid(strip.shape, (side, side)):
                place = Block(strip.y0, tile.x0, strip.y1, tile.x1)
                values = rows_of(target[:, *place.slices], training.n_groups)
                sums = TargetSums.zeros(place.shape, training.n_groups, unit).add(target[:, *place.slices])
                for group, dual in enumerate(duals):
                    coef, intercept, errors = dual.solve(values[group], unit)
                    deviations = sums.deviations[group]
                    parts = {
                        "coef": coef,
                        "intercept": intercept,
                        "train_sse": np.maximum(errors + dual.deviation * deviations.ravel(), 0),
                        "train_sst": deviations,
                    }
                    if source is not None:
                        pixels = rows_of(source[:, *place.slices], training.n_groups)[group]
                        parts["basis"] = dual.rotation.T @ (pixels / unit)
                    for name, part in parts.items():
                        into = maps[name][group, ..., tile.x0 : tile.x1]
                        into[...] = part.reshape(into.shape)
        output.write_weights(
            Block(
                task.block.y0 + strip.y0,
                task.block.x0 + strip.x0,
                task.block.y0 + strip.y1,
                task.block.x0 + strip.x1,
            ),
            maps,
        )
    output.progress.mark(task.index)
    return peak_memory()


def _maps(training: GlobalTraining, strip: Block) -> dict[str, Array]:
    """Return empty arrays for the results of a strip of a block, with the group first and the pixels last."""
    dtype, lead = training.dtype, training.n_groups
    maps = {
        "coef": np.empty((lead, training.n_components, *strip.shape), dtype),
        "intercept": np.empty((lead, *strip.shape), dtype),
        "train_sse": np.empty((lead, *strip.shape)),
        "train_sst": np.empty((lead, *strip.shape)),
    }
    if training.components is not None:
        maps["basis"] = np.empty_like(maps["coef"])
    return maps


def _open(task: Task) -> tuple[GlobalOutput, Images]:
    return (
        GlobalOutput.open(task.output.url, task.output.options),
        Images.open(task.source.url, task.source.options),
    )


def _rows(images: Images, training: GlobalTraining) -> npt.NDArray[np.int64]:
    return images.rows((training.source, training.target), training.split)
