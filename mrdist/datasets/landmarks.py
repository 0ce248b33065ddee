"""What the points of landmark templates mean, and WebMorph's template files."""

from __future__ import annotations

import os
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from mrdist.errors import LandmarkError
from mrdist.storage.access.files import File

Points = npt.NDArray[np.float64]

#: The pupils: first the one on the left of the image (the person's right eye), then the other one.
PUPILS = [0, 1]
#: Where the reference's pupils lie, (x, y) in sides of the frame.
FRAME_PUPILS = np.array([[0.32, 0.40], [0.68, 0.40]])
#: Where these and the corners of the mouth lie in the frame, of people of the Face Research Lab London Set on average.
FRAME_CORNERS = np.array([[0.32, 0.40], [0.68, 0.40], [0.36, 0.79], [0.64, 0.79]])
#: Number of points in the template of the Face Research Lab London Set.
N_POINTS = 189
#: Its lips' outer and inner contours; 87 and 93 are the corners.
MOUTH = list(range(87, 109))
#: Its face's own outline: hairline, where the ears begin, jaw and chin. Other points lie on the ears
#: (115-124), around the hair (145-157) and on the neck (183, 184).
OUTLINE = [*range(134, 145), *range(109, 115), *range(125, 134)]

#: Points of the file whose mean is a pupil, the left one of the image first, in templates that do not begin with them.
EYES: dict[int, tuple[Sequence[int], Sequence[int]]] = {
    68: (range(36, 42), range(42, 48)),
    83: ((63,), (81,)),
    468: ((33, 133, 159, 145), (362, 263, 386, 374)),
    478: ((468,), (473,)),
}
#: Mouth and outline by number of points, pupils included; the outline of iBUG, MediaPipe and Face++'s 83 and 106 points
#: is jaw and brows (and the forehead, where it is there).
_MOUTHS: dict[int, Sequence[int]] = {
    5: (3, 4),
    4: (2, 3),
    3: (2,),
    24: range(17, 23),
    70: range(50, 70),
    85: tuple(2 + number for number in (29, 0, 3, 26, 72, 42, 45, 1, 82, 46, 52, 14, 9, 10, 39, 12, 2, 75)),
    106: range(86, 106),
    189: MOUTH,
    470: (63, 293, 2, 19, 15, 16, 80, 310),
    480: (63, 293, 2, 19, 15, 16, 80, 310),
}
_OVAL_OF_MEDIAPIPE = tuple(
    2 + number
    for number in (
        *(10, 338, 297, 332, 284, 251, 389, 356, 454, 323, 361, 288, 397, 365, 379, 378, 400, 377, 152),
        *(148, 176, 149, 150, 136, 172, 58, 132, 93, 234, 127, 162, 21, 54, 103, 67, 109),
    )
)
_OUTLINES: dict[int, Sequence[int]] = {
    70: range(2, 29),
    85: tuple(
        2 + number
        for number in (
            *(24, 23, 22, 21, 20, 19, 18, 53, 13, 6, 60, 65, 31, 76, 36, 30, 27, 28, 73),
            *(32, 62, 68, 80, 48, 16, 64, 15, 69, 66),
        )
    ),
    106: range(2, 53),
    189: OUTLINE,
    470: _OVAL_OF_MEDIAPIPE,
    480: _OVAL_OF_MEDIAPIPE,
}
#: Points of MediaPipe's that no expression moves much: bridge of the nose, corners of the eyes, forehead and temples.
_STILL_OF_MEDIAPIPE = tuple(
    2 + number
    for number in (
        *(
            168,
            6,
            197,
            195,
            5,
            122,
            351,
            133,
            362,
            33,
            263,
            10,
            109,
            338,
            67,
            297,
            103,
            332,
            54,
            284,
            21,
            251,
            162,
            389,
        ),
        *(127, 356, 151, 9, 8, 108, 337, 69, 299, 104, 333, 68, 298),
    )
)
#: Where the middle of a mouth may lie when the pupils are at `FRAME_PUPILS`. A head that is turned has its pupils
#: nearer to each other, so that this is wide; x and y in the wrong order put the mouth above the eyes.
_MOUTH_RANGE = (-0.5, 1.5), (0.55, 1.6)
#: Where mouth and face lie in the frame, centre and half axes, for templates that do not tell.
_MOUTH_OVAL = (0.5, 0.80), (0.15, 0.06)
_FACE_OVAL = (0.5, 0.54), (0.40, 0.50)


def middle_of_mouth(points: Points) -> Points | None:
    """Return the mean of a template's points on the mouth, shape (1, 2), or None if it has none."""
    mouth = _MOUTHS.get(len(points))
    return None if mouth is None else points[list(mouth)].mean(axis=0, keepdims=True)


def mouth_of(points: Points) -> Points:
    """Return points around the mouth, by the template or, where it has too few, by the pupils.

    Examples
    --------
    >>> mouth_of(FRAME_PUPILS).mean(axis=0).round(6).tolist()
    [0.5, 0.8]
    """
    mouth = _MOUTHS.get(len(points), ())
    if len(mouth) > 2:
        return points[list(mouth)]
    around = _oval(points, *_MOUTH_OVAL)
    middle = middle_of_mouth(points)
    return around if middle is None else around - around.mean(axis=0) + middle


def outline_of(points: Points) -> Points:
    """Return points on the face's own outline, by the template or by the pupils."""
    outline = _OUTLINES.get(len(points))
    return _oval(points, *_FACE_OVAL) if outline is None else points[list(outline)]


def still_of(points: Points) -> list[int]:
    """Return which points of a template an expression moves least: in most templates those that are not on the mouth.

    Examples
    --------
    >>> still_of(np.zeros((5, 2)))
    [0, 1, 2]
    """
    if len(points) in (470, 480):
        return list(_STILL_OF_MEDIAPIPE)
    mouth = set(_MOUTHS.get(len(points), ()))
    return [number for number in range(len(points)) if number not in mouth]


def is_face(points: Points) -> bool:
    """Tell whether pupils and mouth are placed like those of a face, as far as the template has them.

    They are not if the points are another template's of the same number, or if y comes before x.

    Examples
    --------
    >>> face = np.array([[30.0, 40.0], [60.0, 40.0], [45.0, 72.0]])
    >>> is_face(face), is_face(face[:, ::-1])
    (True, False)
    """
    mouth = middle_of_mouth(points)
    if mouth is None:
        return True
    left, right = points[PUPILS]
    if np.array_equal(left, right):
        return False
    x, y = _between(points[PUPILS], FRAME_PUPILS, mouth)[0]
    (x_least, x_most), (y_least, y_most) = _MOUTH_RANGE
    return bool(x_least <= x <= x_most and y_least <= y <= y_most)


def lies_in(points: Points, size: tuple[int, int]) -> bool:
    """Tell whether pupils and mouth lie in a photograph of this width and height, and the pupils apart.

    Other points may lie outside: detectors carry a face on where the photograph ends.

    Examples
    --------
    >>> face = np.array([[30.0, 40.0], [60.0, 40.0], [45.0, 72.0]])
    >>> lies_in(face, (90, 90)), lies_in(face, (90, 70))
    (True, False)
    """
    pupils, mouth = points[PUPILS], middle_of_mouth(points)
    telling = pupils if mouth is None else np.concatenate([pupils, mouth])
    return bool((telling >= 0).all() and (telling <= np.array(size) - 1).all() and np.ptp(pupils, axis=0).max() >= 2)


def _oval(points: Points, centre: tuple[float, float], half: tuple[float, float]) -> Points:
    """Return an oval of the frame, moved by the similarity that brings the frame's pupils to the points'."""
    angle = np.linspace(0, 2 * np.pi, 24, endpoint=False)
    oval = np.array(centre) + np.stack([np.cos(angle), np.sin(angle)], axis=-1) * half
    return _between(FRAME_PUPILS, points[PUPILS], oval)


def _between(pair: Points, other: Points, points: Points) -> Points:
    """Move points by the similarity that brings a pair of points to another pair."""
    # (x, y) as complex numbers: a similarity is a factor and a shift
    first, second, moving = (each[:, 0] + 1j * each[:, 1] for each in (pair, other, points))
    moved = second[0] + (second[1] - second[0]) / (first[1] - first[0]) * (moving - first[0])
    return np.stack([moved.real, moved.imag], axis=-1)


def read_tem(path: str | os.PathLike[str]) -> npt.NDArray[np.float64]:
    """Read the points of a WebMorph template file.

    The file holds a line with the number of points, a line "x y" for each, and then the lines that connect
    them, which are not read.

    Parameters
    ----------
    path : path-like
        A ``.tem`` file.

    Returns
    -------
    float64 array of shape (n, 2)
        (x, y) in pixels of the photograph; points 0 and 1 are the pupils.

    Raises
    ------
    LandmarkError
        The file is missing or empty, its count is not a positive number, points are missing, or a point is
        not two finite numbers.
    """
    path = File.of(path)
    try:
        lines = path.read_bytes().decode("utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise LandmarkError(f"Landmark file {path} cannot be read: {error}.") from error
    if not lines or not lines[0].strip().isdigit() or int(lines[0]) < 1:
        first = lines[0][:40] if lines else ""
        raise LandmarkError(f"Landmark file {path} must begin with the number of points, not with {first!r}.")
    count = int(lines[0])
    rows = lines[1 : count + 1]
    if len(rows) < count:
        raise LandmarkError(f"Landmark file {path} declares {count} points but holds {len(rows)}.")
    points = np.empty((count, 2))
    for index, row in enumerate(rows):
        try:
            points[index] = [float(number) for number in row.split()]
        except ValueError:
            points[index] = np.nan
        if not np.isfinite(points[index]).all() or len(row.split()) != 2:
            raise LandmarkError(
                f"Landmark file {path} has {row[:40]!r} as point {index} (line {index + 2}): "
                "give two finite numbers, x and y."
            )
    return points
