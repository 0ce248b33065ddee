"""Train shape and appearance: pairs are warped to one shape, and a masked regression learns what changes there."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import asdict, replace
from math import prod
from typing import Any

import numpy as np
import numpy.typing as npt

from mrdist.errors import DataError
from mrdist.execution import peak_memory
from mrdist.geometry import Block, Shape
from mrdist.methods.lesson import Lesson
from mrdist.methods.masked.plan import describe_training, plan_blocks, workload_of
from mrdist.methods.masked.solving import solve_block, warm_up_for
from mrdist.methods.masked.sums import sum_images
from mrdist.methods.training import TrainingWork
from mrdist.methods.whole.phases import read_rows
from mrdist.moments import unit_of
from mrdist.morphing.landmark_sums import ShapeSums, is_open
from mrdist.morphing.morph import to_canonical
from mrdist.morphing.mouths import MouthRegion, MouthSums
from mrdist.morphing.shapes import Shapes
from mrdist.planning import BASE_MEMORY, Cut, Plan, block_bytes
from mrdist.running.phases import Phase
from mrdist.running.tasks import Place, RunOptions, Task
from mrdist.storage import Images, redact
from mrdist.storage.images.writer import chunk_shape
from mrdist.storage.weights.morph import (
    MorphOutput,
    MorphTraining,
    read_back_warped,
    warped_dtype,
)
from mrdist.storage.weights.morph_reader import landmarks_of

_SLAB = 4096  # pairs whose landmarks are summed at a time

Points = npt.NDArray[np.float32]


class MorphWork(TrainingWork[MorphOutput]):
    """A training of the method ``morph``; options are those of `describe_training`."""

    def __init__(self, lesson: Lesson, run: RunOptions, **options: Any) -> None:
        source, target = _landmarks(lesson)
        there = _marked(source) & _marked(target)
        if not there.any():
            raise DataError(
                f"none of the {len(there)} pairs of {redact(lesson.images.url)} has landmarks on both faces; ingest "
                "photographs that show them, with --align landmarks."
            )
        super().__init__(replace(lesson, rows=lesson.rows[there]), run)
        described = describe_training(self.lesson, prior="identity", **options)
        points = np.ascontiguousarray(np.stack([source[there], target[there]]), dtype="<f4")
        self.training = MorphTraining(
            **asdict(described),
            landmarks=hashlib.sha256(points.tobytes()).hexdigest(),
            scheme=str(lesson.images.landmark_scheme),
            n_points=source.shape[1],
        )
        images = self.lesson.images
        self._points = points
        dtype = warped_dtype(images.dtype)
        chunks = chunk_shape(self.n_images, images.shape, images.n_channels, dtype.itemsize)
        self.workload = replace(
            workload_of(images, self.training, self.training.field, self.training.pool),
            itemsize=dtype.itemsize,
            chunks=chunks,
            n_stored=self.n_images,
        )

    def plan(self, block: Shape | None) -> Plan:
        """Cut the work into blocks."""
        plan = plan_blocks(self.run, self.workload, block)
        images, run = self.lesson.images, self.workload.chunks[0]
        pixels = prod(images.shape) * images.n_channels
        # a run of images as they are and as they are warped, what is decoded at once, and an image in floats
        warping = BASE_MEMORY + run * pixels * (2 * images.dtype.itemsize + self.workload.itemsize) + 40 * pixels
        return replace(
            plan, peak_memory=max(plan.peak_memory, warping), bytes_read=plan.bytes_read + self._bytes_to_warp
        )

    @property
    def _bytes_to_warp(self) -> int:
        images = self.lesson.images
        read = images.n_read(self.lesson.rows)
        return 2 * read * prod(images.shape) * images.n_channels * images.dtype.itemsize

    def begin(self, cut: Cut) -> MorphOutput | None:
        """Begin or resume the weights store."""
        return MorphOutput.begin(
            self.run.output.url, self.training, self.training.arrays, cut.block, **self.run.opening
        )

    @property
    def prepare(self) -> Callable[[], None]:
        """What compiles the kernels."""
        return warm_up_for(self.training)

    def phases(self, output: MorphOutput, cut: Cut) -> Iterator[Phase]:
        """Yield the warping of the pairs, which begins with their shapes, and the regression on them."""
        assert isinstance(cut, Plan)
        options, shapes = self.run.output.options, output.shapes
        if shapes is None:
            shapes = self._shapes()
            output.write_shapes(shapes)
        region = MouthRegion.of(shapes)
        run = output.begin_warping(self.lesson.images, self.lesson.rows, region, options)
        frame, starts = Block(0, 0, *self.lesson.images.shape), range(0, self.n_images, run)
        bytes_read = self._bytes_to_warp / len(starts)
        yield Phase(
            "warping",
            _warp_run,
            self.tasks([frame] * len(starts), run),
            output.warped,
            read_back_warped,
            bytes_read=lambda _: bytes_read,
        )
        output.finish_warping(region, options)
        warped = Place(output.warped_url, options)
        yield Phase(
            "training",
            _train_block,
            [replace(task, source=warped) for task in self.blocks(cut, cut.slab)],
            output.progress.done,
            bytes_read=lambda task: block_bytes(self.workload, task.block, task.slab),
        )

    def _shapes(self) -> Shapes:
        lips, (source, target) = self.training.lips, self._points
        sums = ShapeSums.zeros(self.training.n_points)
        for start in range(0, self.n_images, _SLAB):
            part = slice(start, start + _SLAB)
            sums = sums.update(source[part], target[part], lips)
        return Shapes.fit(sums, self.training.shape, lips)


def _landmarks(lesson: Lesson) -> tuple[Points, Points]:
    """Return the landmarks of a lesson's pairs, shape (image, point, 2)."""
    points = landmarks_of(lesson.images)
    source, target = (points[lesson.rows, lesson.images.column(label)] for label in (lesson.source, lesson.target))
    return source, target


def _warp_run(task: Task) -> int:
    """Warp a run of pairs; return the process's peak of resident bytes."""
    output = MorphOutput.open(task.output.url, task.output.options)
    images = Images.open(task.source.url, task.source.options)
    training, shapes = output.training, output.shapes
    assert shapes is not None
    region = MouthRegion.of(shapes)
    lesson = Lesson(
        training.method, images, _rows(images, training), training.source, training.target, training.split,
        training.color, training.dtype,
    )  # fmt: skip
    start = task.index * task.slab
    lesson = replace(lesson, rows=lesson.rows[start : start + task.slab])
    points = dict(zip((training.source, training.target), _landmarks(lesson), strict=True))
    dtype = warped_dtype(images.dtype)
    white = 1 if images.dtype.kind == "f" else unit_of(images.dtype)
    pairs = {}
    for label in points:
        pixels = read_rows(images, label, lesson.rows, task.block)
        warped = np.empty(pixels.shape, dtype=dtype)
        for image, own, before, into in zip(pixels, points[label], points[training.source], warped, strict=True):
            control = own[shapes.control] if label == training.source else shapes.registered(before, own)
            into[...] = _rounded(to_canonical(shapes, image, control), white, dtype)
        pairs[label] = warped
    sums = None
    if region is not None:
        opened = is_open(points[training.target], training.lips)
        mouths = pairs[training.target][opened][:, *region.window.slices]
        sums = MouthSums.zeros(region, images.n_channels).update(mouths, region)
    output.write_warped(task.index, start, pairs, sums, task.output.options)
    return peak_memory()


def _rounded(values: npt.NDArray[np.float32], white: float, dtype: np.dtype[Any]) -> npt.NDArray[Any]:
    unit = unit_of(dtype)
    scaled = values if white == unit else values * np.float32(unit / white)
    rounded: npt.NDArray[Any] = np.rint(np.clip(scaled, 0, unit)).astype(dtype)
    return rounded


def _rows(images: Images, training: MorphTraining) -> npt.NDArray[np.int64]:
    """Return the rows trained on: those of the split that have landmarks."""
    rows = images.rows((training.source, training.target), training.split)
    columns = [images.column(label) for label in (training.source, training.target)]
    source, target = (landmarks_of(images)[rows, column] for column in columns)
    return rows[_marked(source) & _marked(target)]


def _marked(points: Points) -> npt.NDArray[np.bool_]:
    """Return which images have all landmarks."""
    return np.asarray(np.isfinite(points).all(axis=(1, 2)))


def _train_block(task: Task) -> int:
    """Do one block from reading to writing; return the process's peak of resident bytes."""
    output = MorphOutput.open(task.output.url, task.output.options)
    images = Images.open(task.source.url, task.source.options)
    training = output.training
    statistics = sum_images(
        images,
        (training.source, training.target),
        np.arange(images.n_images),
        training.field,
        training.lenders(task.block),
        n_groups=training.n_groups,
        slab=task.slab,
    )
    output.write_block(task.index, task.block, solve_block(statistics, training, task))
    return peak_memory()
