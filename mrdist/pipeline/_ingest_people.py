"""The alignment part of an ingest: the reference shape, and the task that stages one person's photographs."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
from PIL import Image

from mrdist.datasets.alignment import align_take, reference_shape
from mrdist.datasets.landmarks import read_tem
from mrdist.datasets.photographs import Color, Normalize, Take, read_photograph, stretch
from mrdist.errors import DataError, LandmarkError, PhotographError
from mrdist.storage import Staging


@dataclass(frozen=True)
class Person:
    """One person's photographs, to be aligned and staged."""

    staging: Staging
    row: int
    take: Take
    labels: tuple[str, ...]
    reference: npt.NDArray[np.float64] | None
    size: int
    color: Color
    normalize: Normalize
    align: str
    strict: bool


@dataclass(frozen=True)
class PersonReport:
    """Measures per label that was staged, and what was left out."""

    quality: dict[str, dict[str, float]]
    left_out: dict[str, str]


def training_reference(takes: list[Take], split: list[str], strict: bool) -> npt.NDArray[np.float64]:
    """Return the mean shape of the training people whose landmarks can be read."""
    shapes = []
    unreadable: LandmarkError | None = None
    for take, side in zip(takes, split, strict=True):
        if side != "train":
            continue
        for path in list(take.landmarks.values())[:1]:
            try:
                shapes.append(read_tem(path))
            except LandmarkError as error:
                if strict:
                    raise
                unreadable = unreadable or error
    if not shapes and unreadable is not None:
        raise unreadable
    counts = [len(shape) for shape in shapes]
    usual = max(set(counts), key=counts.count) if counts else 0
    return reference_shape([shape for shape in shapes if len(shape) == usual])


def align_person(task: Person) -> PersonReport:
    """Stage what can be used; a photograph that fails is noted, and the person's others are kept."""
    take = task.take
    left_out: dict[str, str] = {}
    while take.photographs:
        try:
            images, quality = _align(task, take)
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
            for label, image in images.items():
                stored = stretch(image) if task.normalize == "minmax" else image
                task.staging.write(task.labels.index(label), task.row, stored)
            return PersonReport(quality, left_out)
    return PersonReport({}, left_out)


def _align(task: Person, take: Take) -> tuple[dict[str, npt.NDArray[np.uint8]], dict[str, dict[str, float]]]:
    """Return image and measures per label."""
    if task.reference is None:
        images = {label: _resized(path, task) for label, path in take.photographs.items()}
        return images, {label: {} for label in images}
    aligned = align_take(take, task.reference, size=task.size, color=task.color, method=task.align)  # type: ignore[arg-type]
    return aligned.images, aligned.quality


def _first_unreadable(take: Take) -> str | None:
    for label, path in take.photographs.items():
        try:
            read_photograph(path, "gray")
        except PhotographError:
            return label
    return None


def _resized(path: os.PathLike[str], task: Person) -> npt.NDArray[np.uint8]:
    image = read_photograph(path, task.color)
    if image.shape[:2] == (task.size, task.size):
        return image
    picture = Image.fromarray(image if image.shape[2] == 3 else image[..., 0])
    resized = np.asarray(picture.resize((task.size, task.size), Image.Resampling.LANCZOS))
    return resized.reshape(task.size, task.size, -1)
