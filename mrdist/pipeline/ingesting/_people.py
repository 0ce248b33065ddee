"""The alignment part of an ingest: the task that stages one person's photographs."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt

from mrdist.datasets._warping import GRID
from mrdist.datasets.alignment import MARKED, MEASURES, AlignedTake, align_take
from mrdist.datasets.changes import noting
from mrdist.datasets.depth import resize, stretch, to_depth
from mrdist.datasets.marks import landmarks_of, scheme_of_size, without_pupils
from mrdist.datasets.photographs import Color, Normalize, Take, read_pixels
from mrdist.errors import DataError, PhotographError
from mrdist.geometry import Shape
from mrdist.pipeline.ingesting._faces import BY_LANDMARKS, Marked, without_faceless
from mrdist.pipeline.ingesting._reference import Reference
from mrdist.storage import NODES, Alignment, Landmarks, Staging


@dataclass(frozen=True)
class Person:
    """One person's photographs, to be aligned and staged."""

    staging: Staging
    row: int
    take: Take
    labels: tuple[str, ...]
    reference: Reference | None
    shape: Shape
    depth: str
    color: Color
    normalize: Normalize
    align: str
    strict: bool
    marked: Marked = field(default_factory=Marked)


@dataclass(frozen=True)
class PersonReport:
    """How the photographs of one person were aligned.

    Attributes
    ----------
    quality
        Measures per label that was staged.
    warps
        Per label that was staged, (y, x) in the photograph of `NODES` x `NODES` nodes of the frame.
    sizes
        Height and width of the photograph, per label that was staged.
    left_out
        What was left out -> reason.
    changes
        What was changed on reading, one of `mrdist.datasets.changes.CHANGES` -> photographs.
    points
        Points on the face, (x, y) in pixels of the image, per label that was staged and has any.
    confidence
        How sure these are.
    """

    quality: dict[str, dict[str, float]]
    warps: dict[str, npt.NDArray[np.float32]]
    sizes: dict[str, tuple[int, int]]
    left_out: dict[str, str]
    changes: dict[str, set[str]] = field(default_factory=dict)
    points: dict[str, npt.NDArray[np.float32]] = field(default_factory=dict)
    confidence: dict[str, float] = field(default_factory=dict)


def warm_up() -> None:
    """Do nothing: a worker that calls it imports this module, and with it all that the alignment needs."""


def align_person(task: Person) -> PersonReport:
    """Stage what can be used; a photograph that fails is noted, and the person's others are kept."""
    with noting() as changes:
        return replace(_align_person(task), changes=changes)


def _align_person(task: Person) -> PersonReport:
    take = without_faceless(task.take, task.marked)
    left_out: dict[str, str] = dict(task.marked.left_out)
    while take.photographs:
        try:
            aligned = _align(task, take)
        except DataError as error:
            if task.strict:
                raise
            broken = _first_unreadable(take)
            if broken is None:
                left_out[f"person {take.name}"] = str(error)
                break
            left_out[str(take.photographs[broken])] = str(error)
            take = replace(
                take,
                photographs={label: path for label, path in take.photographs.items() if label != broken},
                landmarks={label: path for label, path in take.landmarks.items() if label != broken},
            )
        else:
            for label, image in aligned.images.items():
                stored = stretch(image) if task.normalize == "minmax" else image
                task.staging.write(task.labels.index(label), task.row, stored)
            warps = {label: _nodes(positions) for label, positions in aligned.positions.items()}
            points, confidence = _marks_in_frame(task, take, aligned)
            return PersonReport(aligned.quality, warps, aligned.sizes, left_out, points=points, confidence=confidence)
    return PersonReport({}, {}, {}, left_out)


def _marks_in_frame(
    task: Person, take: Take, aligned: AlignedTake
) -> tuple[dict[str, npt.NDArray[np.float32]], dict[str, float]]:
    """Return the points of a person's photographs in pixels of the images, and how sure they are."""
    points, confidence = {}, {}
    for label in aligned.images if task.align == BY_LANDMARKS else ():
        marks = task.marked.marks.get(label)
        if marks is not None:
            where, confidence[label] = marks.points, marks.confidence
        elif not task.marked.marks and label in take.landmarks:
            where, confidence[label] = without_pupils(landmarks_of(take, label, {})), 1.0
        else:
            continue
        from mrdist.datasets.retouching import into_frame  # slow to import, and only landmarks need it

        points[label] = (into_frame(where, aligned.positions[label]) * task.shape[::-1] - 0.5).astype(np.float32)
    return points, confidence


def gather_landmarks(reports: Sequence[PersonReport], labels: Sequence[str], n_points: int | None) -> Landmarks | None:
    """Collect the points of the images of a store, those of the template that most have; None if there are none."""
    counts = [len(points) for report in reports for points in report.points.values()]
    if n_points is None and counts:
        n_points = max(sorted(set(counts)), key=counts.count)
    if n_points is None:
        return None
    points = np.full((len(reports), len(labels), n_points, 2), np.nan, dtype=np.float32)
    confidence = np.zeros(points.shape[:2], dtype=np.float32)
    for row, report in enumerate(reports):
        for label, where in report.points.items():
            if len(where) == n_points:
                points[row, labels.index(label)] = where
                confidence[row, labels.index(label)] = report.confidence[label]
    return Landmarks(points, confidence, scheme_of_size(n_points))


def gather(reports: Sequence[PersonReport], takes: Sequence[Take], labels: Sequence[str]) -> Alignment:
    """Collect where the images of a store come from, one row per take and one column per label."""
    taken = {measure for report in reports for numbers in report.quality.values() for measure in numbers}
    measures = (*MEASURES, *(measure for measure in MARKED if measure in taken)) if taken else ()
    size = np.zeros((len(reports), len(labels), 2), dtype=np.int32)
    warp = np.full((*size.shape[:2], NODES, NODES, 2), np.nan, dtype=np.float32)
    quality = np.full((*size.shape[:2], len(measures)), np.nan, dtype=np.float32)
    photograph = [[""] * len(labels) for _ in reports]
    for row, (report, take) in enumerate(zip(reports, takes, strict=True)):
        for column, label in enumerate(labels):
            if label in report.quality:
                photograph[row][column] = os.fspath(take.photographs[label]).removeprefix(f"{take.root}/")
                size[row, column], warp[row, column] = report.sizes[label], report.warps[label]
                quality[row, column] = [report.quality[label].get(measure, np.nan) for measure in measures]
    return Alignment(photograph, size, warp, measures, quality)


def _nodes(positions: npt.NDArray[np.float64]) -> npt.NDArray[np.float32]:
    """Keep only some nodes of a warp, evenly spaced, (y, x)."""
    side = math.isqrt(len(positions))
    step = (side - 1) // (NODES - 1)
    return positions.reshape(side, side, 2)[::step, ::step, ::-1].astype(np.float32)


def _align(task: Person, take: Take) -> AlignedTake:
    if task.reference is not None:
        return align_take(
            take,
            task.reference.points,
            size=task.shape[0],
            color=task.color,
            method=task.align,  # type: ignore[arg-type]
            faces=task.reference.faces,
            marks=task.marked.marks,
            mean_marks=task.reference.marks,
        )
    photographs = {label: read_pixels(path, task.color) for label, path in take.photographs.items()}
    sizes = {label: photograph.shape[:2] for label, photograph in photographs.items()}
    return AlignedTake(
        subject=take.subject,
        images={label: to_depth(resize(each, task.shape), task.depth) for label, each in photographs.items()},
        quality={label: {} for label in photographs},
        positions={label: GRID * [width, height] - 0.5 for label, (height, width) in sizes.items()},
        sizes=sizes,
    )


def _first_unreadable(take: Take) -> str | None:
    for label, path in take.photographs.items():
        try:
            read_pixels(path, "gray")
        except PhotographError:
            return label
    return None
