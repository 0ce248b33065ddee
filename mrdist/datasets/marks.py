"""Points that were found on the photographs of a person, and the landmark files that go before them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from mrdist.datasets.detection import N_POINTS, SCHEME, with_pupils
from mrdist.datasets.landmark_files import read_landmarks
from mrdist.datasets.landmarks import mouth_of, still_of
from mrdist.datasets.photographs import Take, photograph_size

Floats = npt.NDArray[np.float64]

__all__ = [
    "N_POINTS",
    "SCHEME",
    "Marks",
    "anchor_label",
    "anchor_of",
    "landmarks_of",
    "scheme_of",
    "scheme_of_size",
    "still_pairs",
    "with_pupils",
    "without_pupils",
]

#: Label of the photograph that others are moved to, where there is a choice.
_CALM = "neutral"


@dataclass(frozen=True)
class Marks:
    """Points that were found on the face of a photograph.

    Attributes
    ----------
    points : array of shape (478, 2)
        See `mrdist.datasets.detection.Face`.
    confidence : float
        How sure they are, 0..1.
    """

    points: Floats
    confidence: float


def anchor_of(take: Take, marks: Mapping[str, Marks]) -> str | None:
    """Return the label of a take's photograph that the others are moved to; None if no points of any are known.

    It is the first one with a landmark file, or else the neutral one or the first on which points were found.
    """
    by_hand = [label for label in take.photographs if label in take.landmarks]
    seen = [label for label in take.photographs if label in marks]
    return by_hand[0] if by_hand else anchor_label(seen) if seen else None


def anchor_label(labels: Sequence[str]) -> str:
    """Return the label of these that others are moved to: the neutral one, or the first."""
    return _CALM if _CALM in labels else labels[0]


def landmarks_of(take: Take, label: str, marks: Mapping[str, Marks]) -> Floats:
    """Return the landmarks of a photograph, pupils first: those of its file, or else those that were found."""
    if label in take.landmarks:
        return read_landmarks(take.landmarks[label], lambda: photograph_size(take.photographs[label]))
    return with_pupils(marks[label].points)


def still_pairs(
    take: Take, marks: Mapping[str, Marks], anchor: str, label: str
) -> tuple[Floats, Floats, Floats] | None:
    """Return points of an anchor and of another photograph that an expression leaves alone, and the other's mouth.

    None if the two have no points in common.
    """
    if anchor in marks and label in marks:
        one, other = (with_pupils(marks[each].points) for each in (anchor, label))
    elif anchor in take.landmarks and label in take.landmarks:
        one, other = (landmarks_of(take, each, marks) for each in (anchor, label))
    else:
        return None
    if len(one) != len(other):
        return None
    still = still_of(one)
    return one[still], other[still], mouth_of(other)


def scheme_of(landmarks: Floats) -> str:
    """Return the name of the points of a template, pupils first.

    Examples
    --------
    >>> scheme_of(np.zeros((480, 2))), scheme_of(np.zeros((189, 2)))
    ('mediapipe-478', 'points-189')
    """
    return scheme_of_size(len(without_pupils(landmarks)))


def scheme_of_size(n_points: int) -> str:
    """Return the name of so many points, MediaPipe's without the pupils before them."""
    return SCHEME if n_points == N_POINTS else f"points-{n_points}"


def without_pupils(landmarks: Floats) -> Floats:
    """Return the points of a template as its scheme has them: MediaPipe's own do not begin with the pupils."""
    return landmarks[2:] if len(landmarks) == N_POINTS + 2 else landmarks
