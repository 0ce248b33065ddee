"""Landmarks from the files that annotators and detectors write.

Whatever the file, the first two points returned are the pupils, the one on the left of the picture first:

``.tem``
    WebMorph's template: the number of points, a line "x y" for each, and lines that connect them, which are not read.
``.pts``
    iBUG's 68 points, as 300-W has them: ``version: 1``, ``n_points: 68``, and "x y" lines between braces. Pixels count
    from 1, so 1 is subtracted, as menpo does; a file that counts from 0 cannot be recognised.
``.lm2``
    Bosphorus: the names of the landmarks, a line each, and then their "x y" lines in the same order.
``.csv``
    Columns ``x`` and ``y``, or no heading and two columns; or a row of OpenFace 2 with its columns ``x_0``, ``y_0`` and
    so on. The most confident of several faces is taken.
``.json``, ``.ljson``
    See `mrdist.datasets._landmark_json`.

Numbers of a ``.csv`` or JSON file that span no more than 2 are fractions of the photograph's width and height, as
MediaPipe has them: no face is that small in pixels.

The number of points gives the meaning of a list without names: 2 points are the pupils; 3 have the middle of the
mouth after them; 4 its corners; 5 the tip of the nose and the corners; 68 are iBUG's; 468 and 478 MediaPipe's; 106 and
189 WebMorph's, which has dlib's 7 and 70 and Face++'s 83, too. Of these, iBUG's, MediaPipe's, Bosphorus' and the 83 get
pupils before their own points: the middles of the eyes' contours, or the pupils among the points.
"""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from mrdist.datasets._landmark_json import most_confident, read_json, two_numbers
from mrdist.datasets.landmarks import EYES, PUPILS, is_face, read_tem
from mrdist.errors import LandmarkError
from mrdist.storage.access.files import File

Points = npt.NDArray[np.float64]
Size = tuple[int, int]

#: Numbers of points that are supported in every format, and in WebMorph's templates alone.
COUNTS = (2, 3, 4, 5, 68, 106, 189, 468, 478)
TEMPLATES = (7, 70, 83)
#: Coordinates that span no more than this are fractions of the photograph's sides.
_SHARES = 2.0
#: Bosphorus' names.
_BOSPHORUS = (
    "outer left eyebrow",
    "middle left eyebrow",
    "inner left eyebrow",
    "inner right eyebrow",
    "middle right eyebrow",
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
#: Other spellings, and the ears, which are seldom there and not used.
_SPELLINGS = {"middle of the left eyebrow": _BOSPHORUS[1], "middle of the right eyebrow": _BOSPHORUS[4]}
_EARS = ("left ear lobe", "right ear lobe", "ear lobe left", "ear lobe right")


def read_landmarks(path: str | os.PathLike[str], size: Callable[[], Size] | None = None) -> Points:
    """Read a landmark file in any of the formats of this module.

    Parameters
    ----------
    path : path-like
        The extension gives the format.
    size : callable, optional
        Returns width and height of the photograph; called where the file holds fractions of them, or names the size
        of its photograph.

    Returns
    -------
    float64 array of shape (n, 2)
        (x, y) in pixels of the photograph, pixel centres at integers; points 0 and 1 are the pupils.

    Raises
    ------
    LandmarkError
        The file is missing, of an unknown format or malformed, holds no face or an unsupported number of points,
        belongs to a photograph of another size, has pupils and mouth where no face has them, or has fractions of the
        photograph's sides and no ``size`` is given.

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
    elif file.suffix in _JSON:
        points = read_json(_text_of(file), file, size)
    elif file.suffix in _READERS:
        points = _READERS[file.suffix](_text_of(file), file)
    else:
        raise LandmarkError(
            f"Landmark file {file} has the unknown extension {file.suffix!r}; supported are {', '.join(EXTENSIONS)}."
        )
    counts = sorted((*COUNTS, *TEMPLATES)) if file.suffix == ".tem" else COUNTS
    if file.suffix != ".lm2" and len(points) not in counts:
        known = ", ".join(map(str, counts))
        raise LandmarkError(
            f"Landmark file {file} holds {len(points)} points; supported are templates of {known} points."
        )
    if file.suffix in (".csv", *_JSON) and np.ptp(points, axis=0).max() <= _SHARES:
        if size is None:
            raise LandmarkError(
                f"Landmark file {file} holds fractions of the photograph's sides: give pixels, or the photograph, too."
            )
        points = points * size() - 0.5
    if file.suffix != ".lm2":
        points = _with_pupils(points)
    if not is_face(points):
        raise LandmarkError(
            f"Landmark file {file} holds {len(points)} points with pupils at {points[PUPILS].round(1).tolist()} and no "
            "mouth below them, so they belong to another template or have y before x; give only the pupils, x before y."
        )
    return points


def _text_of(file: File) -> str:
    try:
        return file.read_bytes().decode("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise LandmarkError(f"Landmark file {file} cannot be read: {error}.") from error


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


def _read_pts(text: str, file: File) -> Points:
    head, brace, rest = text.partition("{")
    body, closed, _ = rest.partition("}")
    if not brace or not closed:
        raise LandmarkError(f"Landmark file {file} must hold its points between braces.")
    version = head.partition("version:")[2].split()[:1]
    if version and version[0] not in ("1", "1.0"):
        raise LandmarkError(f"Landmark file {file} has version {version[0]}; only version 1 of .pts is supported.")
    rows = [row.split() for row in body.splitlines() if row.strip()]
    points = [two_numbers(row, file, f"as point {number}") for number, row in enumerate(rows)]
    promised = head.partition("n_points:")[2].split()[:1]
    if promised and promised[0] != str(len(points)):
        raise LandmarkError(f"Landmark file {file} declares {promised[0]} points but holds {len(points)}.")
    return np.array(points, dtype=np.float64).reshape(-1, 2) - 1


def _read_lm2(text: str, file: File) -> Points:
    names: list[str] = []
    points: list[list[float]] = []
    for number, line in enumerate(text.splitlines(), 1):
        name = " ".join(line.lower().split())
        name = _SPELLINGS.get(name, name)
        if name.startswith("#"):
            continue
        if name in _BOSPHORUS or name in _EARS:
            names.append(name)
        elif len(numbers := line.split()) == 2 and not any(letter.isalpha() for letter in line):
            points.append(two_numbers(numbers, file, f"in line {number}"))
    if len(names) != len(points):
        raise LandmarkError(f"Landmark file {file} names {len(names)} landmarks but holds {len(points)} points.")
    named = dict(zip(names, points, strict=True))
    missing = [name for name in _BOSPHORUS if name not in named]
    if missing:
        raise LandmarkError(f"Landmark file {file} lacks {len(missing)} of Bosphorus' landmarks: {', '.join(missing)}.")
    own = np.array([named[name] for name in _BOSPHORUS])
    eyes = np.stack([own[[6, 7]].mean(axis=0), own[[8, 9]].mean(axis=0)])
    return np.concatenate([eyes[np.argsort(eyes[:, 0])], own])


def _read_csv(text: str, file: File) -> Points:
    first = next(iter(text.strip().splitlines()), "")
    delimiter = max(",;\t", key=first.count)  # spreadsheets write all three
    rows = [row for row in csv.reader(io.StringIO(text), delimiter=delimiter) if any(cell.strip() for cell in row)]
    heading = [cell.strip() for cell in rows[0]] if rows else []
    if {"x_0", "X_0", "success", "face_id"} & set(heading):
        return _read_openface(heading, rows[1:], file)
    lower = [name.lower() for name in heading]
    columns = [0, 1]
    if "x" in lower and "y" in lower:
        columns, rows = [lower.index("x"), lower.index("y")], rows[1:]
    elif len(heading) > 2:
        raise LandmarkError(
            f"Landmark file {file} has {len(heading)} columns, none of them named x and y: name the columns."
        )
    points = [
        two_numbers([row[k] for k in columns if k < len(row)], file, f"as point {number}")
        for number, row in enumerate(rows)
    ]
    return np.array(points, dtype=np.float64).reshape(-1, 2)


def _read_openface(heading: Sequence[str], rows: Sequence[Sequence[str]], file: File) -> Points:
    """Read the most confident face of OpenFace's table; points in space are ``X_0`` there, in the picture ``x_0``."""
    count = sum(name.startswith("x_") and name[2:].isdigit() for name in heading)
    names = [(f"x_{k}", f"y_{k}") for k in range(count)]
    if not names or not {name for pair in names for name in pair} <= set(heading):
        raise LandmarkError(f"Landmark file {file} lacks the image points x_0, y_0 and so on; run OpenFace with -2Dfp.")
    ragged = next((row for row in rows if len(row) != len(heading)), None)
    if ragged is not None:
        raise LandmarkError(f"Landmark file {file} has {len(heading)} columns but a row of {len(ragged)} cells.")
    faces = [dict(zip(heading, (cell.strip() for cell in row), strict=True)) for row in rows]
    if len(frames := {face.get("frame") for face in faces}) > 1:
        raise LandmarkError(f"Landmark file {file} holds {len(frames)} frames of a video; keep that of the photograph.")
    faces = [face for face in faces if face.get("success") != "0"]
    if not faces:
        raise LandmarkError(f"Landmark file {file} holds no face: OpenFace did not find one (success is 0).")
    try:
        confidences = [float(face.get("confidence", "1")) for face in faces]
    except ValueError as error:
        raise LandmarkError(f"Landmark file {file} has a confidence that is not a number: {error}.") from error
    face = faces[most_confident(confidences, file)]
    return np.array([two_numbers([face[x], face[y]], file, f"as point {k}") for k, (x, y) in enumerate(names)])


_READERS: dict[str, Callable[[str, File], Points]] = {".pts": _read_pts, ".lm2": _read_lm2, ".csv": _read_csv}
_JSON = (".json", ".ljson")
#: What this module reads.
EXTENSIONS = (".tem", *_READERS, *_JSON)
