"""Landmarks from JSON, which every detector writes in its own form.

Points are read as ``[x, y]``, ``[x, y, z]`` or ``{"x": ..., "y": ...}`` in a list by itself or under one of `KEYS`,
however deep it is nested. Also read are eyes and mouth under their names, as MTCNN, RetinaFace and face_recognition
write them, and menpo's ``.ljson`` of versions 1 to 3, where y comes before x. The most confident of several faces is
taken, or the first if none has a confidence.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from mrdist.errors import LandmarkError
from mrdist.storage.access.files import File

Points = npt.NDArray[np.float64]

logger = logging.getLogger("mrdist")

#: Keys of points or faces; MediaPipe, dlib, InsightFace and TensorFlow.js have their own.
KEYS = (
    *("landmarks", "points", "parts", "landmark", "keypoints", "kps"),
    *("face_landmarks", "faceLandmarks", "multi_face_landmarks", "multiFaceLandmarks", "faces"),
)
_CONFIDENCES = ("confidence", "det_score", "score", "probability", "detection_confidence")
_SIZES = (("width", "height"), ("image_width", "image_height"), ("imageWidth", "imageHeight"))


class _Face(NamedTuple):
    confidence: float | None
    points: Sequence[Any]


def read_json(text: str, file: File, size: Callable[[], tuple[int, int]] | None) -> Points:
    """Return the points of a JSON file as they stand there, (x, y); see `mrdist.datasets.landmark_files`."""
    try:
        content = json.loads(text)
        faces = _faces(content)
    except (ValueError, RecursionError) as error:
        raise LandmarkError(f"Landmark file {file} is not JSON: {error}.") from error
    if size is not None:
        _check_size(content, size(), file)
    if isinstance(content, dict) and content.get("version") in (1, 2, 3) and {"labels", "groups"} & set(content):
        return _to_array(_menpo_points(content), file)[:, ::-1]
    if not faces:
        raise LandmarkError(
            f"Landmark file {file} must be a list of points or an object with one under {', '.join(KEYS)}."
        )
    return _to_array(faces[most_confident([face.confidence for face in faces], file)].points, file)


def most_confident(confidences: Sequence[float | None], file: File) -> int:
    """Return which of several faces is taken, and say so."""
    known = [-1.0 if confidence is None or not np.isfinite(confidence) else confidence for confidence in confidences]
    best = known.index(max(known))
    if len(known) > 1:
        why = "the first is taken" if known[best] < 0 else f"the most confident ({known[best]:g}) is taken"
        logger.warning("Landmark file %s holds %d faces; %s.", file, len(known), why)
    return best


def two_numbers(values: Iterable[Any], file: File, where: str) -> list[float]:
    """Return x and y, or raise LandmarkError."""
    try:
        numbers = [float(value) for value in values]
    except (TypeError, ValueError):
        numbers = []
    if len(numbers) != 2 or not np.isfinite(numbers).all():
        raise LandmarkError(f"Landmark file {file} needs two finite numbers, x and y, {where}.")
    return numbers


def _to_array(points: Sequence[Any], file: File) -> Points:
    rows = [two_numbers(_xy(item), file, f"as point {number}") for number, item in enumerate(points)]
    return np.array(rows, dtype=np.float64).reshape(-1, 2)


def _xy(item: Any) -> Sequence[Any]:
    if isinstance(item, dict):
        return item.get("x"), item.get("y")
    return item[:2] if _is_point(item) else ()


def _is_point(item: Any) -> bool:
    if isinstance(item, dict):
        return "x" in item or "y" in item
    return isinstance(item, list) and len(item) in (2, 3) and not any(isinstance(part, list | dict) for part in item)


def _faces(value: Any, confidence: float | None = None) -> list[_Face]:
    """Return all faces in a value, whatever lies around them."""
    if isinstance(value, list):
        if any(_is_point(item) for item in value):
            return [_Face(confidence, value)]
        return [face for item in value for face in _faces(item, confidence)]
    if not isinstance(value, dict):
        return []
    confidence = next((value[key] for key in _CONFIDENCES if isinstance(value.get(key), int | float)), confidence)
    named = _named_points(value)
    if named:
        return [_Face(confidence, named)]
    inner = [value[key] for key in KEYS if value.get(key)]
    if inner:
        return _faces(inner[0], confidence)
    # faces under names of their own, as RetinaFace has them
    return [face for item in value.values() if isinstance(item, dict) for face in _faces(item, confidence)]


def _named_points(parts: Mapping[str, Any]) -> list[list[float]]:
    """Return pupils, nose and corners of the mouth, as far as they are there, from parts with names."""
    try:
        left, right = (_mean(parts[name]) for name in ("left_eye", "right_eye"))
        nose = [_mean(parts[name]) for name in ("nose", "nose_tip") if name in parts][:1]
        if "mouth_left" in parts and "mouth_right" in parts:
            corners = [_mean(parts[name]) for name in ("mouth_left", "mouth_right")]
        elif "top_lip" in parts and "bottom_lip" in parts:
            lips = sorted(map(list, map(_xy, (*parts["top_lip"], *parts["bottom_lip"]))))
            corners = [lips[0], lips[-1]]
        else:
            corners = []
    except (KeyError, TypeError, ValueError, IndexError):
        return []
    return [left, right, *(nose if corners else []), *corners]


def _mean(part: Any) -> list[float]:
    """Return the mean of the points of a part, or the point that it is."""
    points = [part] if _is_point(part) else part
    x, y = np.mean([[float(number) for number in _xy(item)] for item in points], axis=0)
    return [float(x), float(y)]


def _menpo_points(content: Mapping[str, Any]) -> Sequence[Any]:
    """Return the points of menpo's LJSON, (y, x)."""
    try:
        if content["version"] == 1:
            return [point["point"] for group in content["groups"] for point in group["landmarks"]]
        group = content if content["version"] == 2 else next(iter(content["groups"].values()))
        points: Sequence[Any] = group["landmarks"]["points"]
    except (KeyError, TypeError, AttributeError, StopIteration):
        return []
    return points


def _check_size(content: Any, size: tuple[int, int], file: File) -> None:
    if not isinstance(content, dict):
        return
    for names in _SIZES:
        written = tuple(content.get(name) for name in names)
        if all(isinstance(side, int) for side in written) and written != size:
            raise LandmarkError(
                f"Landmark file {file} is for a photograph of {written[0]} x {written[1]} pixels and lies beside one "
                f"of {size[0]} x {size[1]}: bring both to one size."
            )
