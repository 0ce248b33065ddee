"""The alignment part of an ingest: the task that stages one person's photographs."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt

from mrdist.datasets._warping import GRID
from mrdist.datasets.alignment import MEASURES, AlignedTake, align_take
from mrdist.datasets.changes import noting
from mrdist.datasets.depth import resize, stretch, to_depth
from mrdist.datasets.photographs import Color, Normalize, Take, read_pixels
from mrdist.errors import DataError, PhotographError
from mrdist.geometry import Shape
from mrdist.pipeline.ingesting._reference import Reference
from mrdist.storage import NODES, Alignment, Staging


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
    """

    quality: dict[str, dict[str, float]]
    warps: dict[str, npt.NDArray[np.float32]]
    sizes: dict[str, tuple[int, int]]
    left_out: dict[str, str]
    changes: dict[str, set[str]] = field(default_factory=dict)


def warm_up() -> None:
    """Do nothing: a worker that calls it imports this module, and with it all that the alignment needs."""


def align_person(task: Person) -> PersonReport:
    """Stage what can be used; a photograph that fails is noted, and the person's others are kept."""
    with noting() as changes:
        return replace(_align_person(task), changes=changes)


def _align_person(task: Person) -> PersonReport:
    take = task.take
    left_out: dict[str, str] = {}
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
            return PersonReport(aligned.quality, warps, aligned.sizes, left_out)
    return PersonReport({}, {}, {}, left_out)


def gather(reports: Sequence[PersonReport], takes: Sequence[Take], labels: Sequence[str]) -> Alignment:
    """Collect where the images of a store come from, one row per take and one column per label."""
    measures = MEASURES if any(numbers for report in reports for numbers in report.quality.values()) else ()
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
