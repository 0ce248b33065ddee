"""Landmarks from the files that annotators and detectors write.

Whatever the file, the first two points returned are the pupils, the one on the left of the picture first:

``.tem``
    WebMorph's template: the number of points, a line "x y" for each, and lines that connect them, which are not read.
``.pts``
    iBUG's 68 points: ``version: 1``, ``n_points: 68``, and "x y" lines between braces. Pixels count from 1.
``.lm2``
    Bosphorus: the names of the landmarks, a line each, and then their "x y" lines in the same order.
``.csv``
    Columns ``x`` and ``y``, or no heading and two columns.
``.json``
    A list of ``[x, y]``, ``[x, y, z]`` or ``{"x": ..., "y": ...}``, by itself or in an object under ``landmarks``,
    ``points``, ``parts`` (dlib) or ``face_landmarks`` (MediaPipe; of several faces the first). Numbers that all lie in
    0..1 are shares of the photograph's width and height.

What a list of points without names means is told by its length: 2 points are the pupils; 3 have the middle of the
mouth after them; 4 its corners; 5 the tip of the nose and the corners; 68 are iBUG's; 468 and 478 MediaPipe's; 106 and
189 WebMorph's. Of these, iBUG's, MediaPipe's and Bosphorus' get the middles of the eyes as pupils before their own
points.
"""

from __future__ import annotations

import csv
import io
import json
import os
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import numpy.typing as npt

from mrdist.datasets.landmarks import EYES, read_tem
from mrdist.errors import LandmarkError
from mrdist.storage.files import File

Points = npt.NDArray[np.float64]

#: Numbers of points whose meaning is known, and the formats that may hold them without names.
COUNTS = (2, 3, 4, 5, 68, 106, 189, 468, 478)
#: Bosphorus' names; the last two, of the ears, are seldom there and not used.
_BOSPHORUS = (
    "outer left eyebrow",
    "middle of the left eyebrow",
    "inner left eyebrow",
    "inner right eyebrow",
    "middle of the right eyebrow",
    "outer right eyebrow",
    "outer left eye corner",
    "inner left eye corner",
    "inner right eye corner",
    "outer right eye corner",
    "nose saddle left",
    "nose saddle right",
    "left nose peak",
    "nose tip",
    "right nose peak",
    "left mouth corner",
    "upper lip outer middle",
    "right mouth corner",
    "upper lip inner middle",
    "lower lip inner middle",
    "lower lip outer middle",
    "chin middle",
)
_EARS = ("left ear lobe", "right ear lobe")


def read_landmarks(path: str | os.PathLike[str], size: Callable[[], tuple[int, int]] | None = None) -> Points:
    """Read a landmark file in any of the formats of this module.

    Parameters
    ----------
    path : path-like
        The extension tells the format.
    size : callable, optional
        Returns width and height of the photograph; called where the file holds shares of them.

    Returns
    -------
    float64 array of shape (n, 2)
        (x, y) in pixels of the photograph, pixel centres at integers; points 0 and 1 are the pupils.

    Raises
    ------
    LandmarkError
        The file is missing, of an unknown format or malformed, holds a number of points that has no known meaning, or
        has shares of the photograph's sides and no ``size`` is given.

    Examples
    --------
    >>> import tempfile, pathlib
    >>> path = pathlib.Path(tempfile.mkdtemp()) / "face.json"
    >>> _ = path.write_text('{"landmarks": [{"x": 60, "y": 40}, {"x": 30, "y": 41}]}')
    >>> read_landmarks(path).tolist()
    [[30.0, 41.0], [60.0, 40.0]]
    """
    file = File.of(path)
    if file.suffix == ".tem":
        points = read_tem(file)
    elif file.suffix in _READERS:
        try:
            text = file.read_bytes().decode("utf-8-sig")
        except (OSError, UnicodeDecodeError) as error:
            raise LandmarkError(f"Landmark file {file} cannot be read: {error}.") from error
        points = _READERS[file.suffix](text, file)
    else:
        raise LandmarkError(
            f"Landmark file {file} has the unknown extension {file.suffix!r}; {', '.join(EXTENSIONS)} are read."
        )
    if file.suffix == ".lm2":
        return points
    if len(points) not in COUNTS:
        known = ", ".join(map(str, COUNTS))
        raise LandmarkError(f"Landmark file {file} holds {len(points)} points; what {known} points mean is known.")
    if file.suffix == ".json" and (points >= 0).all() and (points <= 1).all():
        if size is None:
            raise LandmarkError(
                f"Landmark file {file} holds shares of the photograph's sides: give pixels, or the photograph with it."
            )
        points = points * size() - 0.5
    return _with_pupils(points)


def _with_pupils(points: Points) -> Points:
    """Put the pupils first, the one on the left before the other."""
    if len(points) in EYES:
        eyes = np.stack([points[list(eye)].mean(axis=0) for eye in EYES[len(points)]])
        return np.concatenate([eyes, points])
    if len(points) <= 5:  # pairs, which mirror images of a face have the other way round
        points = points.copy()
        for left in (0, *((len(points) - 2,) if len(points) >= 4 else ())):
            pair = points[left : left + 2]
            points[left : left + 2] = pair[np.argsort(pair[:, 0], kind="stable")]
    return points


def _numbers(texts: Iterable[Any], file: File, where: str) -> list[float]:
    try:
        found = [float(text) for text in texts]
    except (TypeError, ValueError):
        found = []
    if len(found) != 2 or not np.isfinite(found).all():
        raise LandmarkError(f"Landmark file {file} has no two finite numbers, x and y, {where}.")
    return found


def _read_pts(text: str, file: File) -> Points:
    head, brace, rest = text.partition("{")
    body, closed, _ = rest.partition("}")
    if not brace or not closed:
        raise LandmarkError(f"Landmark file {file} must hold its points between braces.")
    points = [_numbers(row.split(), file, f"as point {number}") for number, row in enumerate(body.strip().splitlines())]
    promised = head.partition("n_points:")[2].split()[:1]
    if promised and promised[0] != str(len(points)):
        raise LandmarkError(f"Landmark file {file} promises {promised[0]} points and holds {len(points)}.")
    return np.array(points, dtype=np.float64).reshape(-1, 2) - 1


def _read_lm2(text: str, file: File) -> Points:
    names: list[str] = []
    points: list[list[float]] = []
    for number, line in enumerate(text.splitlines(), 1):
        name = " ".join(line.lower().split())
        if name in _BOSPHORUS or name in _EARS:
            names.append(name)
        elif len(numbers := line.split()) == 2 and not any(letter.isalpha() for letter in line):
            points.append(_numbers(numbers, file, f"in line {number}"))
    if len(names) != len(points):
        raise LandmarkError(f"Landmark file {file} names {len(names)} landmarks and holds {len(points)} points.")
    found = dict(zip(names, points, strict=True))
    missing = [name for name in _BOSPHORUS if name not in found]
    if missing:
        raise LandmarkError(f"Landmark file {file} lacks {len(missing)} of Bosphorus' landmarks: {', '.join(missing)}.")
    own = np.array([found[name] for name in _BOSPHORUS])
    eyes = np.stack([own[[6, 7]].mean(axis=0), own[[8, 9]].mean(axis=0)])
    return np.concatenate([eyes[np.argsort(eyes[:, 0])], own])


def _read_csv(text: str, file: File) -> Points:
    rows = [row for row in csv.reader(io.StringIO(text)) if any(cell.strip() for cell in row)]
    columns = [0, 1]
    heading = [cell.strip().lower() for cell in rows[0]] if rows else []
    if "x" in heading and "y" in heading:
        columns, rows = [heading.index("x"), heading.index("y")], rows[1:]
    points = [
        _numbers([row[k] for k in columns if k < len(row)], file, f"as point {number}")
        for number, row in enumerate(rows)
    ]
    return np.array(points, dtype=np.float64).reshape(-1, 2)


def _read_json(text: str, file: File) -> Points:
    try:
        found = json.loads(text)
    except ValueError as error:
        raise LandmarkError(f"Landmark file {file} is no JSON: {error}.") from error
    while isinstance(found, dict):
        found = next((found[key] for key in _KEYS if key in found), None)
    if isinstance(found, list) and found and isinstance(found[0], list) and not _is_point(found[0]):
        found = found[0]
    if isinstance(found, dict):  # a face of several, with a key of its own
        found = next((found[key] for key in _KEYS if key in found), None)
    if not isinstance(found, list):
        raise LandmarkError(
            f"Landmark file {file} must be a list of points or an object with one under {', '.join(_KEYS)}."
        )
    points = [
        _numbers(
            [item.get("x"), item.get("y")] if isinstance(item, dict) else item[:2] if _is_point(item) else (),
            file,
            f"as point {number}",
        )
        for number, item in enumerate(found)
    ]
    return np.array(points, dtype=np.float64).reshape(-1, 2)


_KEYS = ("landmarks", "points", "parts", "face_landmarks")
_READERS: dict[str, Callable[[str, File], Points]] = {
    ".pts": _read_pts,
    ".lm2": _read_lm2,
    ".csv": _read_csv,
    ".json": _read_json,
}


#: What this module reads.
EXTENSIONS = (".tem", *_READERS)


def _is_point(item: Any) -> bool:
    return isinstance(item, list) and len(item) in (2, 3) and not any(isinstance(part, list | dict) for part in item)
