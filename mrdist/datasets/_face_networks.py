"""The networks of MediaPipe's face landmarker, run by LiteRT: faces in a picture, the points of a face, blendshapes.

The ``.task`` file is a zip archive of three networks (Apache License 2.0). The first looks at 128 x 128 pixels of a
picture and answers with boxes and six points on each face (BlazeFace: Bazarevsky et al. 2019, arXiv 1907.05047), the
second at 256 x 256 pixels of an upright face and answers with 478 points and whether there is a face (Kartynnik et al.
2019, arXiv 1907.06724; irises: Ablavatski et al. 2020, arXiv 2006.11341), the third turns points into 52 blendshapes.

MediaPipe's own library is not used: since version 1 it reports how it is used to its makers over the network, and its
Python interface has no switch for that.
"""

from __future__ import annotations

import os
import tempfile
import threading
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from mrdist.errors import ParameterError

Floats = npt.NDArray[np.float64]

_NETWORKS = ("face_detector.tflite", "face_landmarks_detector.tflite", "face_blendshapes.tflite")
#: Sides in pixels of what the first two networks look at.
_SEEN, _CROP = 128, 256
#: Rows and columns of the grids of places at which the first network looks for faces, and how many at each.
_GRIDS = ((16, 2), (8, 6))
#: Boxes that share this much of their union show the same face.
_SAME = 0.3
#: The crop of a face is so many times as wide as its box, or as the box around its points.
_MARGIN = 1.5
#: Outer corners of the eyes, by which a crop is turned upright.
_CORNERS = (33, 263)
#: Points that the third network looks at.
_EXPRESSIVE = (
    *(0, 1, 4, 5, 6, 7, 8, 10, 13, 14, 17, 21, 33, 37, 39, 40, 46, 52, 53, 54, 55, 58, 61, 63, 65, 66, 67, 70, 78, 80),
    *(81, 82, 84, 87, 88, 91, 93, 95, 103, 105, 107, 109, 127, 132, 133, 136, 144, 145, 146, 148, 149, 150, 152, 153),
    *(154, 155, 157, 158, 159, 160, 161, 162, 163, 168, 172, 173, 176, 178, 181, 185, 191, 195, 197, 234, 246, 249),
    *(251, 263, 267, 269, 270, 276, 282, 283, 284, 285, 288, 291, 293, 295, 296, 297, 300, 308, 310, 311, 312, 314),
    *(317, 318, 321, 323, 324, 332, 334, 336, 338, 356, 361, 362, 365, 373, 374, 375, 377, 378, 379, 380, 381, 382),
    *(384, 385, 386, 387, 388, 389, 390, 397, 398, 400, 402, 405, 409, 415, 454, 466, 468, 469, 470, 471, 472, 473),
    *(474, 475, 476, 477),
)


@dataclass(frozen=True)
class Window:
    """A square of a picture, perhaps turned and perhaps partly outside of it.

    Attributes
    ----------
    middle : float64 array of shape (2,)
        (x, y) in pixels from the picture's upper left corner.
    side : float
        In pixels.
    turn : float
        Clockwise, in radians.
    """

    middle: Floats
    side: float
    turn: float = 0.0

    def to_picture(self, points: Floats) -> Floats:
        """Move points (x, y) from sides of the window, 0..1, to pixels from the picture's upper left corner."""
        cosine, sine = np.cos(self.turn), np.sin(self.turn)
        moved: Floats = (points - 0.5) @ np.array([[cosine, sine], [-sine, cosine]]) * self.side + self.middle
        return moved

    def cut(self, picture: Image.Image, pixels: int) -> Image.Image:
        """Return what the window shows, black outside of the picture."""
        corners = self.to_picture(np.array([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0], [1.0, 1.0]]))
        low = np.clip(np.floor(corners.min(axis=0)).astype(int), 0, picture.size)
        high = np.clip(np.ceil(corners.max(axis=0)).astype(int), 0, picture.size)
        if (low >= high).any():
            return Image.new("RGB", (pixels, pixels))
        shrink = max(1, int(self.side / pixels))
        part = picture.reduce(shrink, (*low.tolist(), *high.tolist()))  # by 1: a crop
        origin, right, down, _ = corners
        columns = [(right - origin) / pixels, (down - origin) / pixels, origin - low]
        x, y = np.stack(columns, axis=1) / shrink
        return part.transform((pixels, pixels), Image.Transform.AFFINE, (*x, *y), Image.Resampling.BILINEAR)


@dataclass(frozen=True)
class Box:
    """Where a face may be.

    Attributes
    ----------
    score : float
        0..1.
    corners : float64 array of shape (2, 2)
        Upper left and lower right, (x, y) in pixels from the picture's upper left corner.
    points : float64 array of shape (6, 2)
        Eyes (the left one of the picture first), tip of the nose, mouth, ears.
    """

    score: float
    corners: Floats
    points: Floats

    @property
    def window(self) -> Window:
        """The square around the face, turned upright."""
        left, right = self.points[:2]
        across = right - left
        side = _MARGIN * float(np.ptp(self.corners, axis=0).max())
        return Window(self.corners.mean(axis=0), side, float(np.arctan2(across[1], across[0])))


class Networks:
    """The networks of a ``.task`` file; one thread at a time."""

    def __init__(self, path: str) -> None:
        try:
            with zipfile.ZipFile(path) as archive:
                contents = [archive.read(name) for name in _NETWORKS]
        except (OSError, KeyError, zipfile.BadZipFile) as error:
            raise ParameterError(
                f"landmark model {path} cannot be read as a face landmarker of MediaPipe, a .task file with "
                f"{', '.join(_NETWORKS)}: {error}."
            ) from error
        try:
            from ai_edge_litert.interpreter import Interpreter  # brings 60 MB
        except (ImportError, OSError) as error:
            raise ParameterError(
                f"the package ai-edge-litert, which finds faces, cannot be loaded: {error}."
            ) from error

        try:
            with _quiet():
                self._networks = [Interpreter(model_content=content, num_threads=1) for content in contents]
                for network in self._networks:
                    network.allocate_tensors()
        except (ValueError, RuntimeError) as error:
            raise ParameterError(f"landmark model {path} holds networks that cannot be run: {error}.") from error
        self._lock = threading.Lock()

    def _run(self, number: int, values: npt.NDArray[np.floating]) -> list[npt.NDArray[np.float32]]:
        network: Any = self._networks[number]
        with self._lock:
            network.set_tensor(network.get_input_details()[0]["index"], np.asarray(values[np.newaxis], np.float32))
            network.invoke()
            return [network.get_tensor(each["index"]) for each in network.get_output_details()]

    def boxes(self, picture: Image.Image, window: Window, least: float) -> list[Box]:
        """Look for faces in a window of a picture; those of at least this score are returned, all of them."""
        seen = window.cut(picture, _SEEN)
        numbers, scores = self._run(0, np.asarray(seen) / 127.5 - 1)
        sure = _sigmoid(scores[0, :, 0])
        chosen = np.flatnonzero(sure >= least)
        pairs = numbers[0, chosen].astype(np.float64).reshape(-1, 8, 2) / _SEEN
        places = _PLACES[chosen]
        middles, halves = pairs[:, 0] + places, pairs[:, 1] / 2
        points = pairs[:, 2:] + places[:, np.newaxis]
        boxes = []
        for score, middle, half, six in zip(sure[chosen], middles, halves, points, strict=True):
            corners = window.to_picture(np.stack([middle - half, middle + half]))
            boxes.append(Box(float(score), corners, window.to_picture(six)))
        return boxes

    def points(self, picture: Image.Image, window: Window) -> tuple[Floats, float]:
        """Return the points of the face in a window, and how sure it is that there is one, 0..1.

        The points have shape (478, 3): x and y in pixels from the picture's upper left corner, and depth, in pixels
        too, smaller nearer to the camera.
        """
        coordinates, presence, _ = self._run(1, np.asarray(window.cut(picture, _CROP)) / 255)
        crop = coordinates.astype(np.float64).reshape(-1, 3) / _CROP
        placed = np.column_stack([window.to_picture(crop[:, :2]), crop[:, 2] * window.side])
        return placed, float(_sigmoid(presence.ravel())[0])

    def blendshapes(self, points: Floats) -> npt.NDArray[np.float32]:
        """Return the 52 blendshapes of points, 0..1."""
        return self._run(2, points[list(_EXPRESSIVE), :2])[0].ravel()


def window_of(points: Floats) -> Window:
    """Return the square around the points of a face, turned upright."""
    left, right = points[list(_CORNERS), :2]
    across = right - left
    turn = float(np.arctan2(across[1], across[0]))
    upright = Window(np.zeros(2), 1.0, -turn)
    turned = upright.to_picture(points[:, :2] + 0.5)
    low, high = turned.min(axis=0), turned.max(axis=0)
    middle = Window(np.zeros(2), 1.0, turn).to_picture((low + high)[np.newaxis] / 2 + 0.5)[0]
    return Window(middle, _MARGIN * float((high - low).max()), turn)


def merged(boxes: list[Box]) -> list[Box]:
    """Return one box for each face: the mean of those that overlap, weighted by their scores, the best score first."""
    waiting = sorted(boxes, key=lambda box: -box.score)
    faces = []
    while waiting:
        first = waiting[0]
        same = [box for box in waiting if _overlap(first.corners, box.corners) > _SAME]
        waiting = [box for box in waiting if not any(box is other for other in same)]
        weights = np.array([box.score for box in same])
        corners = np.average([box.corners for box in same], axis=0, weights=weights)
        points = np.average([box.points for box in same], axis=0, weights=weights)
        faces.append(Box(first.score, corners, points))
    return faces


def _overlap(first: Floats, second: Floats) -> float:
    """Return the share of the union of two boxes that they have in common."""
    common = np.minimum(first[1], second[1]) - np.maximum(first[0], second[0])
    if (common <= 0).any():
        return 0.0
    shared = common.prod()
    return float(shared / (np.ptp(first, axis=0).prod() + np.ptp(second, axis=0).prod() - shared))


def _sigmoid(values: npt.NDArray[np.floating]) -> Floats:
    return 1 / (1 + np.exp(-np.clip(values.astype(np.float64), -80, 80)))


def _places() -> Floats:
    """Return the places that the first network answers for, (x, y) in sides of what it sees, shape (896, 2)."""
    grids = []
    for cells, count in _GRIDS:
        centres = (np.arange(cells) + 0.5) / cells
        x, y = np.meshgrid(centres, centres)
        grids.append(np.stack([x, y], axis=-1).reshape(-1, 2).repeat(count, axis=0))
    return np.concatenate(grids)


_PLACES = _places()


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep a line on how networks are run from stderr; LiteRT writes it past Python and cannot be told not to."""
    with tempfile.TemporaryFile() as written:
        try:
            stderr = os.dup(2)
        except OSError:  # closed
            yield
            return
        os.dup2(written.fileno(), 2)
        try:
            yield
        finally:
            os.dup2(stderr, 2)
            written.seek(0)
            rest = b"".join(line for line in written if not line.startswith(b"INFO: Created TensorFlow Lite"))
            with suppress(OSError):
                os.write(stderr, rest)
            os.close(stderr)


@lru_cache(maxsize=1)
def _load(path: str, modified: int, process: int) -> Networks:  # noqa: ARG001
    return Networks(path)


def load(path: str) -> Networks:
    """Return the networks of a ``.task`` file; the process keeps those that it used last."""
    try:
        modified = Path(path).stat().st_mtime_ns
    except OSError:
        modified = 0  # reading it tells what is wrong
    return _load(path, modified, os.getpid())
