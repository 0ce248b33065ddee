"""Landmarks in WebMorph's template files, and what the London template's points mean."""

from __future__ import annotations

import os

import numpy as np
import numpy.typing as npt

from mrdist.errors import LandmarkError
from mrdist.storage.files import File

#: Number of points in the template of the Face Research Lab London Set.
N_POINTS = 189
#: The pupils: first the one on the left of the image (the person's right eye), then the other one.
PUPILS = [0, 1]
#: The lips' outer and inner contours; 87 and 93 are the corners.
MOUTH = list(range(87, 109))
#: The face's own outline: hairline, where the ears begin, jaw and chin. Other points lie on the ears
#: (115-124), around the hair (145-157) and on the neck (183, 184).
OUTLINE = [*range(134, 145), *range(109, 115), *range(125, 134)]


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
        The file is missing or empty, its count is no positive number, points are missing, or a point is
        not two finite numbers.
    """
    path = File.of(path)
    try:
        lines = path.read_bytes().decode("ascii").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise LandmarkError(f"Landmark file {path} cannot be read: {error}.") from error
    if not lines or not lines[0].strip().isdigit() or int(lines[0]) < 1:
        first = lines[0][:40] if lines else ""
        raise LandmarkError(f"Landmark file {path} must begin with the number of points, not with {first!r}.")
    count = int(lines[0])
    rows = lines[1 : count + 1]
    if len(rows) < count:
        raise LandmarkError(f"Landmark file {path} promises {count} points and holds {len(rows)}.")
    points = np.empty((count, 2))
    for index, row in enumerate(rows):
        try:
            points[index] = [float(number) for number in row.split()]
        except ValueError:
            points[index] = np.nan
        if not np.isfinite(points[index]).all() or len(row.split()) != 2:
            raise LandmarkError(
                f"Landmark file {path} has {row[:40]!r} as point {index} (line {index + 2}): "
                "two finite numbers, x and y, are needed."
            )
    return points
