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
from mrdist.methods.masked.solving import warm_up_lent
from mrdist.methods.training import Trained, TrainingWork
from mrdist.moments import unit_of
from mrdist.morphing.landmark_sums import ShapeSums, is_open
from mrdist.morphing.morph import canonical_warps
from mrdist.morphing.mouths import MouthRegion, MouthSums, detail, light_of
from mrdist.morphing.shapes import Shapes
from mrdist.morphing.warps import Controls, Window, soft_polygon
from mrdist.parts import parts
from mrdist.planning import BASE_MEMORY, KERNEL_MEMORY, Cut, Plan
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
_WARP_SECONDS = 2e-7  # of a pixel of an image
_LIBRARIES = KERNEL_MEMORY + (72 << 20)  # of SciPy, that no other method loads: measured

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
            seconds_alone=(plan.seconds_alone or 0.0) + _WARP_SECONDS * 2 * self.n_images * prod(images.shape),
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
    def prepare(self) -> Callable[[], None]:
        """What compiles the kernels."""
        return _warm_up

    def phases(self, output: TrainOutput | SearchOutput, cut: Cut) -> Iterator[Phase]:
        """Yield the warping of the pairs, which begins with their shapes, and what the regression on them does."""
        warping = Warping.open(self.run.output.url, self.run.output.options)
        shapes = warping.shapes
        if shapes is None:
            shapes = self._shapes()
            warping.write_shapes(shapes)
        run = warping.begin(self.lesson.images, self.lesson.rows, MouthRegion.of(shapes))
        n_tasks = 2 * len(range(0, self.n_images, run))  # a run of sources, then one of their targets
        frame = Block(0, 0, *self.lesson.images.shape)
        yield Phase(
            "warping",
            _warp_run,
            self.tasks([frame] * n_tasks, run),
            warping.done,
            read_back_warped,
            bytes_read=lambda _: self._bytes_to_warp / n_tasks,
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


def _warm_up() -> None:
    """Compile the kernels once and leave them on disk: a worker that compiles holds 100 MiB more."""
    warm_up_lent()
    window = Window(0, 0, 2, 2)
    warp = Controls(np.zeros((1, 2)), radius=1).warp(np.zeros((1, 2)), window, step=1)
    made = warp.apply(np.zeros((2, 2, 1), dtype=np.uint8)).reshape(-1)
    to_integers(made, 1.0, 1, np.empty(4, dtype=np.uint8))
    soft_polygon(np.zeros((3, 2)), (1, 1), 1.0)
    detail(np.zeros((1, 1, 1), dtype=np.int64), 1)


def _landmarks(lesson: Lesson) -> tuple[Points, Points]:
    """Return the landmarks of a lesson's pairs, shape (image, point, 2)."""
    points = landmarks_of(lesson.images)
    source, target = (points[lesson.rows, lesson.images.column(label)] for label in (lesson.source, lesson.target))
    return source, target


def _warp_run(task: Task) -> int:
    """Warp a run of the sources or of the targets; return the process's peak of resident bytes."""
    warping = Warping.open(task.output.url, task.output.options)
    images = Images.open(task.source.url, task.source.options)
    training, shapes = warping.training, warping.shapes
    assert shapes is not None
    region, label, start = MouthRegion.of(shapes), warping.label(task.index), warping.start(task.index)
    lesson = Lesson(
        training.method, images, _rows(images, training), training.source, training.target, training.split,
        training.color, training.dtype,
    )  # fmt: skip
    lesson = replace(lesson, rows=lesson.rows[start : start + task.slab])
    source, target = _landmarks(lesson)
    if label == training.source:
        control = source[:, shapes.control].astype(np.float64)
    else:
        control = np.stack([shapes.registered(*pair) for pair in zip(source, target, strict=True)])
    dtype = warped_dtype(images.dtype)
    white = 1 if images.dtype.kind == "f" else unit_of(images.dtype)
    warped = np.empty((len(control), *images.shape, images.n_channels), dtype=dtype)
    pixels = _each(images, label, lesson.rows)
    for first in parts(range(0, len(control), _TOGETHER)):
        warps = canonical_warps(shapes, list(control[first : first + _TOGETHER]))
        for warp, into in zip(warps, warped[first:], strict=False):
            made = warp.apply(next(pixels)).reshape(-1)
            to_integers(made, unit_of(dtype) / white, unit_of(dtype), into.reshape(-1))
    sums = None
    if region is not None:
        sums, opened = MouthSums.zeros(region, images.n_channels), is_open(target, training.lips)
        if label == training.target:
            sums = sums.update(warped[opened][:, *region.window.slices], region)
        elif opened.any():
            sums = sums.lit(np.stack([light_of(image, shapes) for image in warped[opened]]))
    warping.write(task.index, warped, sums)
    return peak_memory()


def _each(images: Images, label: str, rows: npt.NDArray[np.int64]) -> Iterator[npt.NDArray[Any]]:
    """Yield images of a label, reading a run of chunks at a time."""
    reader, frame = images.reader(), Block(0, 0, *images.shape)
    for start, stop, chosen in images.slabs(rows, images.chunks[0]):
        yield from map(reader.read(label, start, stop, frame).__getitem__, chosen)


def _rows(images: Images, training: MorphTraining) -> npt.NDArray[np.int64]:
    """Return the rows trained on: those of the split that have landmarks."""
    rows = images.rows((training.source, training.target), training.split)
    columns = [images.column(label) for label in (training.source, training.target)]
    source, target = (landmarks_of(images)[rows, column] for column in columns)
    return rows[_marked(source) & _marked(target)]


def _marked(points: Points) -> npt.NDArray[np.bool_]:
    """Return which images have all landmarks."""
    return np.asarray(np.isfinite(points).all(axis=(1, 2)))
