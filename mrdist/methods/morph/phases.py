"""Train shape and appearance: pairs are warped to one shape, and a masked regression learns what changes there."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import asdict, replace
from math import prod
from typing import Any

import numpy as np
import numpy.typing as npt

from mrdist._kernels.warping import to_integers
from mrdist.errors import DataError
from mrdist.execution import peak_memory
from mrdist.geometry import Block, Shape
from mrdist.methods.lesson import Lesson
from mrdist.methods.masked.phases import masked_work
from mrdist.methods.training import Trained, TrainingWork
from mrdist.methods.whole.phases import read_rows
from mrdist.moments import unit_of
from mrdist.morphing.landmark_sums import ShapeSums, is_open
from mrdist.morphing.morph import canonical_warps
from mrdist.morphing.mouths import MouthRegion, MouthSums, light_of
from mrdist.morphing.shapes import Shapes
from mrdist.planning import BASE_MEMORY, Cut, Plan
from mrdist.running.phases import Phase
from mrdist.running.tasks import Place, RunOptions, Task
from mrdist.storage import Images, redact
from mrdist.storage.images.writer import chunk_shape
from mrdist.storage.weights.cross_validation import SearchOutput
from mrdist.storage.weights.masked import MorphTraining, TrainOutput
from mrdist.storage.weights.morph import Warping, read_back_warped, warped_dtype
from mrdist.storage.weights.morph_reader import landmarks_of

_SLAB = 4096  # pairs whose landmarks are summed at a time
_TOGETHER = 16  # images whose warps are made at a time: most of the work serves them all
_LIBRARIES = 56 << 20  # of SciPy, that no other method loads: measured

Points = npt.NDArray[np.float32]


class MorphWork(TrainingWork[TrainOutput | SearchOutput]):
    """A training of the method ``morph``; options are those of masked regression, but for its prior.

    The work of the regression on warped pairs is that of masked regression.
    """

    _regression: Any  # whose description and sizes are set here

    def __init__(self, lesson: Lesson, run: RunOptions, **options: Any) -> None:
        source, target = _landmarks(lesson)
        there = _marked(source) & _marked(target)
        if not there.any():
            raise DataError(
                f"none of the {len(there)} pairs of {redact(lesson.images.url)} has landmarks on both faces; ingest "
                "photographs that show them, with --align landmarks."
            )
        super().__init__(replace(lesson, rows=lesson.rows[there]), run)
        self._points = np.ascontiguousarray(np.stack([source[there], target[there]]), dtype="<f4")
        self._regression = masked_work(self.lesson, run, prior="identity", **options)
        self.counted = self._regression.counted
        images = self.lesson.images
        self.training = self._regression.training = MorphTraining(
            **asdict(self._regression.training),
            landmarks=hashlib.sha256(self._points.tobytes()).hexdigest(),
            scheme=str(images.landmark_scheme),
            n_points=source.shape[1],
        )
        dtype = warped_dtype(images.dtype)
        chunks = chunk_shape(self.n_images, images.shape, images.n_channels, dtype.itemsize)
        self._regression.workload = replace(
            self._regression.workload,
            itemsize=dtype.itemsize,
            chunks=chunks,
            n_stored=self.n_images,
            libraries=_LIBRARIES,
        )

    def plan(self, block: Shape | None) -> Plan:
        """Cut the work into blocks."""
        plan: Plan = self._regression.plan(block)
        images, warped = self.lesson.images, self._regression.workload
        pixels, run = prod(images.shape) * images.n_channels, warped.chunks[0]
        # a run of images as they are and as they are warped, what is decoded at once, and an image in floats
        warping = BASE_MEMORY + _LIBRARIES + run * pixels * (2 * images.dtype.itemsize + warped.itemsize) + 40 * pixels
        return replace(
            plan,
            peak_memory=max(plan.peak_memory, warping),
            bytes_read=plan.bytes_read + self._bytes_to_warp,
            bytes_written=plan.bytes_written + 2 * self.n_images * pixels * warped.itemsize,
        )

    @property
    def _bytes_to_warp(self) -> int:
        images = self.lesson.images
        read = images.n_read(self.lesson.rows)
        return 2 * read * prod(images.shape) * images.n_channels * images.dtype.itemsize

    def begin(self, cut: Cut) -> TrainOutput | SearchOutput | None:
        """Begin or resume the weights store."""
        output: TrainOutput | SearchOutput | None = self._regression.begin(cut)
        return output

    @property
    def prepare(self) -> Callable[[], None] | None:
        """What compiles the kernels."""
        prepare: Callable[[], None] | None = self._regression.prepare
        return prepare

    def phases(self, output: TrainOutput | SearchOutput, cut: Cut) -> Iterator[Phase]:
        """Yield the warping of the pairs, which begins with their shapes, and what the regression on them does."""
        warping = Warping.open(self.run.output.url, self.run.output.options)
        shapes = warping.shapes
        if shapes is None:
            shapes = self._shapes()
            warping.write_shapes(shapes)
        run = warping.begin(self.lesson.images, self.lesson.rows, MouthRegion.of(shapes))
        frame, starts = Block(0, 0, *self.lesson.images.shape), range(0, self.n_images, run)
        bytes_read = self._bytes_to_warp / len(starts)
        yield Phase(
            "warping",
            _warp_run,
            self.tasks([frame] * len(starts), run),
            warping.done,
            read_back_warped,
            bytes_read=lambda _: bytes_read,
        )
        warping.finish()
        warped = Place(warping.images_url, self.run.output.options)
        for phase in self._regression.phases(output, cut):
            yield replace(phase, tasks=[replace(task, source=warped) for task in phase.tasks])

    def finish(self, output: Any) -> Trained:
        """Complete the weights store."""
        warping = Warping.open(self.run.output.url, self.run.output.options)
        shapes = warping.shapes
        assert shapes is not None
        warping.settle(MouthRegion.of(shapes))
        trained: Trained = self._regression.finish(output)
        return trained

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
    warping = Warping.open(task.output.url, task.output.options)
    images = Images.open(task.source.url, task.source.options)
    training, shapes = warping.training, warping.shapes
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
        control = [
            own[shapes.control] if label == training.source else shapes.registered(before, own)
            for own, before in zip(points[label], points[training.source], strict=True)
        ]
        for first in range(0, len(pixels), _TOGETHER):
            part = slice(first, first + _TOGETHER)
            for image, warp, into in zip(
                pixels[part], canonical_warps(shapes, control[part]), warped[part], strict=True
            ):
                made = warp.apply(image)
                to_integers(made.reshape(-1), unit_of(dtype) / white, unit_of(dtype), into.reshape(-1))
        pairs[label] = warped
    sums = None
    if region is not None:
        opened = is_open(points[training.target], training.lips)
        mouths = pairs[training.target][opened][:, *region.window.slices]
        lights = [light_of(image, shapes) for image in pairs[training.source][opened]]
        bright = np.array(lights, dtype=dtype).reshape(-1, images.n_channels)
        sums = MouthSums.zeros(region, images.n_channels).update(mouths, region, bright)
    warping.write(task.index, start, pairs, sums)
    return peak_memory()


def _rows(images: Images, training: MorphTraining) -> npt.NDArray[np.int64]:
    """Return the rows trained on: those of the split that have landmarks."""
    rows = images.rows((training.source, training.target), training.split)
    columns = [images.column(label) for label in (training.source, training.target)]
    source, target = (landmarks_of(images)[rows, column] for column in columns)
    return rows[_marked(source) & _marked(target)]


def _marked(points: Points) -> npt.NDArray[np.bool_]:
    """Return which images have all landmarks."""
    return np.asarray(np.isfinite(points).all(axis=(1, 2)))
