"""Train a regression on whole images, out of core: inner products block by block, a barrier, weights block by block."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import fields, replace
from functools import partial
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
from mrdist.methods.method import SEARCH
from mrdist.methods.options import check_fixed
from mrdist.methods.searching import check_search, settle
from mrdist.methods.training import TrainingWork
from mrdist.methods.whole.plan import GlobalSizes, plan_global
from mrdist.parts import parts, portion
from mrdist.planning import Cut, Plan
from mrdist.planning.cuts import round_up
from mrdist.running.phases import Phase
from mrdist.running.tasks import RunOptions, Task
from mrdist.selection import DEFAULT_ALPHAS, assign_folds, check_alphas
from mrdist.solvers import check_alpha
from mrdist.storage import Images, redact
from mrdist.storage.reading_back import read_back_sums
from mrdist.storage.weights.output import chunk_side
from mrdist.storage.weights.whole import GlobalOutput, GlobalTraining

PENALTIES = (*DEFAULT_ALPHAS, 100.0, 300.0, 1000.0, 3000.0)
"""Penalties to try by default: inner products of images are thousands."""
GAUSSIAN_PENALTIES = tuple(alpha / 1000 for alpha in DEFAULT_ALPHAS)
"""The same of a Gaussian kernel, whose entries are at most 1."""
_READING = 0.3
"""Of a block's work, until its pixels are there."""


def describe_global(lesson: Lesson, **options: Any) -> GlobalTraining:
    """Check the options that a method has, and no others, and describe the training."""
    search = {name: options.pop(name) for name in SEARCH if name in options}
    alpha = options.get("alpha")
    if alpha == "cv":
        default = GAUSSIAN_PENALTIES if "gamma" in options else PENALTIES
        alphas = search.pop("alphas")
        search = {"alphas": list(check_alphas(default if alphas is None else alphas)), **check_search(lesson, **search)}
    else:
        check_fixed(receptive_field=1, dilation=1, **search)
        options |= {} if alpha is None else {"alpha": check_alpha(float(alpha))}
    check_gamma(options.get("gamma"))
    training = GlobalTraining(**lesson.describe(), **search, **options)
    if "components" in options:
        components = default_components(training.n_rows) if training.components is None else training.components
        training = replace(training, components=check_components(components, training.n_rows))
    check_pixels(training.height * training.width, gram_unit(lesson.images.dtype))
    return training


class WholeWork(TrainingWork[GlobalOutput]):
    """A training of ``l2``, ``kernel`` or ``pca``; options are those of `describe_global`.

    Methods that solve otherwise override `summed` and `solver`.
    """

    def __init__(self, lesson: Lesson, run: RunOptions, **options: Any) -> None:
        super().__init__(lesson, run)
        self.training = describe_global(lesson, **options)
        self.is_kernel = "gamma" in options
        read = lesson.images.n_read(lesson.rows)
        self.sizes = GlobalSizes.of(lesson.images, read, self.training, len(self.summed))

    @property
    def summed(self) -> Sequence[str]:
        """Labels whose inner products are summed: the source, and the target where the solution depends on it."""
        lesson = self.lesson
        return [lesson.source] if self.training.alphas is None else [lesson.source, lesson.target]

    def solver(self, kernel: Matrix, targets: Matrix | None) -> Callable[[Any], Dual]:  # noqa: ARG002
        """Return what solves for a penalty, or for None where the method has none.

        Parameters
        ----------
        kernel
            Of the rows of the source, shape (row, row).
        targets
            Inner products of the rows of the target, images in 0..1, shape (row, row); None if they are not summed.
        """
        training = self.training
        spectrum = Spectrum.of(kernel, penalize_intercept=bool(training.penalize_intercept))
        if training.components is None:
            return spectrum.ridge
        components = training.components
        return lambda _: spectrum.components(components)

    def plan(self, block: Shape | None) -> Plan:
        """Cut the work into blocks."""
        return plan_global(self.sizes, max_memory=self.run.max_memory, n_slots=self.run.n_slots, block=block)

    def begin(self, cut: Cut) -> GlobalOutput | None:
        """Begin or resume the weights store."""
        arrays = self.training.arrays(self.lesson.images.dtype, with_norms=self.is_kernel)
        return GlobalOutput.begin(self.run.output.url, self.training, arrays, cut.block, **self.run.opening)

    @property
    def prepare(self) -> Callable[[], None]:
        """What loads LAPACK, so that the first block does not include that time."""
        return _warm_up

    def phases(self, output: GlobalOutput, cut: Cut) -> Iterator[Phase]:
        """Yield the sums of inner products, which end with a decomposition, and the weights."""
        images = self.lesson.images
        tasks = self.blocks(cut, images.chunks[0])
        of_label = cut.bytes_read / (self.sizes.labels * cut.n_blocks)
        output.begin_sums(self.summed)
        n_summed, sum_block = self.sizes.summed, partial(_sum_block, self.summed)
        yield Phase("summing", sum_block, tasks, output.summed, read_back_sums, lambda _: n_summed * of_label)
        if output.operators is None:
            self.solve(output)
        bytes_read = (self.sizes.labels - n_summed) * of_label
        yield Phase("training", _train_block, tasks, output.progress.done, bytes_read=lambda _: bytes_read)

    def solve(self, output: GlobalOutput) -> None:
        """Between the passes: one eigendecomposition a group, from which all weights follow."""
        training, unit = self.training, gram_unit(self.lesson.images.dtype)
        kernels = output.total_sums(training.source) / unit**2
        norms = np.diagonal(kernels, axis1=1, axis2=2)
        attributes: dict[str, Any] = {}
        kept: dict[str, Matrix] = {}
        if self.is_kernel:
            gamma = default_gamma(kernels) if training.gamma is None else training.gamma
            attributes["gamma"], kept["norms"] = gamma, norms
            kernels = np.stack([gaussian(each, own, own, gamma) for each, own in zip(kernels, norms, strict=True)])
        targets = output.total_sums(training.target) / unit**2 if len(self.summed) > 1 else None
        alpha = training.alpha
        if training.alphas is not None:
            assert targets is not None
            alpha = self.choose_alpha(output, kernels, targets)
        duals = [
            self.solver(kernel, None if targets is None else targets[group])(alpha)
            for group, kernel in enumerate(kernels)
        ]
        operators = {field.name: np.stack([getattr(dual, field.name) for dual in duals]) for field in fields(Dual)}
        if training.components is None:
            kept["rotation"] = operators["rotation"]
        output.write_operators(attributes, kept, **operators)

    def choose_alpha(self, output: GlobalOutput, kernels: Matrix, targets: Matrix) -> float:
        """Choose the penalty of all pixels by cross-validation and store the table of errors.

        Errors follow from the inner products alone, see `mrdist.baselines.dual.held_out_errors`. The kernel is that of
        all images, as is the gamma of its default.
        """
        training, subject = self.training, self.lesson.images.subject[self.lesson.rows]
        assert training.alphas is not None
        assert training.folds is not None
        assert training.seed is not None
        alphas = tuple(training.alphas)
        folds = assign_folds(subject.tolist(), training.folds, training.seed)
        fold = np.repeat(folds, training.n_rows // training.n_images)
        with threadpool_limits(1):
            sse = sum(
                held_out_errors(kernel, target, fold, alphas, solver=self.solver)
                for kernel, target in zip(kernels, targets, strict=True)
            )
        n_images = np.bincount(folds)
        mse = np.asarray(sse) / (n_images * (training.height * training.width * training.n_channels))
        return float(settle(output, "alpha", alphas, mse, n_images, rule=training.rule))


def read_rows(images: Images, label: str, rows: npt.NDArray[np.int64], block: Block) -> Array:
    """Return some images in a block, shape (image, y, x, channel), reading a run of chunks at a time."""
    reader = images.reader()
    pixels = np.empty((len(rows), *block.shape, images.n_channels), dtype=images.dtype)
    done = 0
    for start, stop, chosen in parts(list(images.slabs(rows, images.chunks[0]))):
        reader.read(label, start, stop, block).take(chosen, axis=0, out=pixels[done : done + len(chosen)], mode="clip")
        done += len(chosen)
    return pixels


def _integers(images: Images, label: str, block: Block, pixels: Array) -> Array:
    try:
        return integers_of(pixels, label)
    except DataError as error:
        raise DataError(f"in {redact(images.url)}, {block}: {error}") from error


def _sum_block(labels: Sequence[str], task: Task) -> int:
    """Store the inner products of a block's pixels by label, and those of the source if predictions need them."""
    output, images = _open(task)
    training = output.training
    grams = {}
    for label in parts(labels):
        with portion(_READING):
            pixels = read_rows(images, label, _rows(images, training), task.block)
        if label == training.source and training.components is None:
            output.write_basis(task.block, pixels)
        with threadpool_limits(1):  # a process has one processor
            grams[label] = inner_products(rows_of(_integers(images, label, task.block, pixels), training.n_groups))
    output.write_sums(task.index, grams)
    return peak_memory()


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
    with portion(_READING):
        target = _integers(images, training.target, task.block, read_rows(images, training.target, rows, task.block))
    source = None
    if training.components is not None:
        with portion(_READING):
            source = integers_of(read_rows(images, training.source, rows, task.block))
    side = chunk_side(training.shape)
    frame = Block(0, 0, *task.block.shape)
    small = _maps(training, frame, ("intercept", "train_sse", "train_sst"))
    large = [] if not training.n_components else ["coef"] if training.components is None else ["coef", "basis"]
    height = round_up(output.rows_at_a_time(large), side)
    room = _maps(training, Block(0, 0, min(height, frame.y1), frame.x1), large)  # one for all: no page is new to it
    for strip in parts(list(block_grid(frame.shape, (height, frame.shape[1])))):
        maps = {name: values[..., : strip.y1 - strip.y0, :] for name, values in room.items()}
        with threadpool_limits(1):
            for tile in parts(list(block_grid(strip.shape, (side, side)))):
                place = Block(strip.y0 + tile.y0, tile.x0, strip.y0 + tile.y1, tile.x1)
                values = rows_of(target[:, *place.slices], training.n_groups)
                sums = TargetSums.zeros(place.shape, training.n_groups, unit).add(target[:, *place.slices])
                for group, dual in enumerate(duals):
                    coef, intercept, errors = dual.solve(values[group], unit)
                    deviations = sums.deviations[group]
                    results = {
                        "coef": coef,
                        "intercept": intercept,
                        "train_sse": np.maximum(errors + dual.deviation * deviations.ravel(), 0),
                        "train_sst": deviations,
                    }
                    if source is not None:
                        pixels = rows_of(source[:, *place.slices], training.n_groups)[group]
                        results["basis"] = dual.rotation.T @ (pixels / unit)
                    for name, part in results.items():
                        into = (
                            maps[name][group, ..., *tile.slices] if name in maps else small[name][group, *place.slices]
                        )
                        into[...] = part.reshape(into.shape)
        y0, x0 = task.block.y0, task.block.x0
        output.write_weights(Block(y0 + strip.y0, x0 + strip.x0, y0 + strip.y1, x0 + strip.x1), maps)
    output.write_weights(task.block, small)
    output.progress.mark(task.index)
    return peak_memory()


def _maps(training: GlobalTraining, part: Block, names: Sequence[str]) -> dict[str, Array]:
    """Return empty arrays for the results of a part of a block, with the group first and the pixels last."""
    codes = dict.fromkeys(("coef", "basis"), (training.n_components,))
    dtypes = dict.fromkeys(("train_sse", "train_sst"), "float64")
    return {
        name: np.empty((training.n_groups, *codes.get(name, ()), *part.shape), dtypes.get(name, training.dtype))
        for name in names
    }


def _open(task: Task) -> tuple[GlobalOutput, Images]:
    return (
        GlobalOutput.open(task.output.url, task.output.options),
        Images.open(task.source.url, task.source.options),
    )


def _rows(images: Images, training: GlobalTraining) -> npt.NDArray[np.int64]:
    return images.rows((training.source, training.target), training.split)


def _warm_up() -> None:
    Spectrum.of(np.eye(2), penalize_intercept=True)
