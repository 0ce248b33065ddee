"""The search for faces in the photographs of an ingest, before they are aligned by what was found."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal, get_args

import numpy as np

from mrdist.datasets.changes import noting
from mrdist.datasets.detection import REMEDY, Face, find_faces, is_installed, model_path
from mrdist.datasets.landmark_files import read_landmarks
from mrdist.datasets.marks import SCHEME, Marks, scheme_of, without_pupils
from mrdist.datasets.photographs import Take, photograph_size, read_photograph
from mrdist.errors import AlignmentError, DataError, PhotographError
from mrdist.execution import Executor
from mrdist.running.driving import run_tasks, tracked

logger = logging.getLogger("mrdist")

#: The alignment that finds points on every photograph and keeps them.
BY_LANDMARKS = "landmarks"
Several = Literal["one", "largest"]
SEVERAL: tuple[str, ...] = get_args(Several)
#: A face of less than this share of the largest one's size is somebody in the background.
_BACKGROUND = 0.5


@dataclass(frozen=True)
class Marked:
    """Points that were found on the photographs of a take.

    Attributes
    ----------
    marks
        Label -> points.
    left_out
        Photograph -> why it cannot be used.
    """

    marks: Mapping[str, Marks] = field(default_factory=dict)
    left_out: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class _Search:
    take: Take
    several: Several
    model: str | None
    strict: bool


def needs_detector(takes: Sequence[Take]) -> bool:
    """Tell whether any photograph has no landmark file."""
    return any(label not in take.landmarks for take in takes for label in take.photographs)


def alignment_of(takes: Sequence[Take], align: str, is_open: bool, is_fresh: bool, model: str | None) -> str:
    """Return how an ingest aligns, and say it where a detector that is not installed would do better.

    Parameters
    ----------
    takes
        The people.
    align
        As it was asked for, or the default.
    is_open
        Nothing was asked for. Points are then found where there are no others and a detector is installed.
    is_fresh
        The faces are not aligned to those of a store or a file.
    model
        A landmark model, if one is given.

    Raises
    ------
    ParameterError
        If points are asked for, a photograph has none and no detector is installed.
    """
    by_hand = sum(bool(take.landmarks) for take in takes)
    if align == BY_LANDMARKS:
        if needs_detector(takes):
            model_path(model)
        return align
    if align == "none" or by_hand == len(takes):
        return align
    if is_installed(model):
        return BY_LANDMARKS if is_open and not by_hand else align
    if by_hand or not is_fresh:
        logger.warning(
            "%d of %d people have no landmark file and are located by their likeness to a mean face; --align landmarks "
            "finds faces, after %s.",
            len(takes) - by_hand,
            len(takes),
            REMEDY,
        )
    return align


def find_marks(
    executor: Executor,
    takes: Sequence[Take],
    *,
    several: Several,
    model: str | None,
    strict: bool,
    show: bool | None,
) -> list[Marked]:
    """Find the faces of all photographs; none where every photograph has a landmark file.

    Raises
    ------
    ParameterError
        If no detector is installed and a photograph has no landmark file.
    DataError
        With ``strict``, if a photograph shows no face or several.
    """
    if not needs_detector(takes):
        return [Marked() for _ in takes]
    model_path(model)
    marked: dict[int, Marked] = {}
    searches = list(enumerate(_Search(take, several, model, strict) for take in takes))
    with tracked(len(takes), 0, "person", show=show, phase="finding faces") as advance:
        for (row, _), found in run_tasks(
            executor, _search, searches, name="find", describe=lambda item: f"person {item[1].take.name}"
        ):
            marked[row] = found
            advance(1, "")
    return [marked[row] for row in range(len(takes))]


def without_faceless(take: Take, marked: Marked) -> Take:
    """Return a take without the photographs that cannot be used."""
    kept = {label: path for label, path in take.photographs.items() if os.fspath(path) not in marked.left_out}
    return replace(take, photographs=kept)


def _search(item: tuple[int, _Search]) -> Marked:
    _, search = item
    take = search.take
    marks: dict[str, Marks] = {}
    left_out: dict[str, str] = {}
    for label, path in take.photographs.items():
        try:
            marks[label] = _marks_of(search, label)
        except PhotographError:
            continue  # reported when it is aligned
        except DataError as error:
            if label in take.landmarks:
                continue  # the file places it; only the points are missing
            if search.strict:
                raise
            left_out[os.fspath(path)] = str(error)
    return Marked(marks, left_out)


def _marks_of(search: _Search, label: str) -> Marks:
    path, by_hand = search.take.photographs[label], search.take.landmarks.get(label)
    if by_hand is not None:
        landmarks = read_landmarks(by_hand, lambda: photograph_size(path))
        if scheme_of(landmarks) == SCHEME:
            return Marks(without_pupils(landmarks), 1.0)
    with noting():  # told when it is aligned
        photograph = read_photograph(path, "rgb")
    face = only_face(find_faces(photograph, model=search.model), f"Photograph {path}", search.several, by_hand is None)
    return Marks(face.points.astype(np.float32).astype(np.float64), face.confidence)


def only_face(faces: Sequence[Face], what: str, several: Several, alone: bool = True) -> Face:
    """Return the face that a photograph is of.

    Raises
    ------
    AlignmentError
        If there is none, or, unless the largest is asked for or the photograph has landmarks, more than one that is
        not small.
    """
    if not faces:
        raise AlignmentError(f"{what} shows no face; put a landmark file of the same name beside it.")
    large = [face for face in faces if face.pupil_distance >= _BACKGROUND * faces[0].pupil_distance]
    if len(large) > 1 and several == "one" and alone:
        raise AlignmentError(
            f"{what} shows {len(large)} faces of similar size; take the largest with --faces largest, or put a "
            "landmark file of the same name beside it."
        )
    return faces[0]
