"""Points on the faces of an images store, found in every photograph."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from mrdist.storage.access.arrays import ArraySpec
from mrdist.storage.access.urls import StorageOptions, open_group, store_errors
from mrdist.storage.images.layout import LANDMARKS


@dataclass(frozen=True)
class Landmarks:
    """Points on the faces of all images.

    Attributes
    ----------
    points : float32 array of shape (image, label, point, 2)
        (x, y) in pixels of the image, pixel centres at integers; NaN where there is no image or nothing was found.
    confidence : float32 array of shape (image, label)
        How sure they are, 0..1: 1 for those set by hand, 0 where there are none.
    scheme : str
        Names the meaning of the points: ``mediapipe-478``, or ``points-N`` for the N points of landmark files.
    """

    points: npt.NDArray[np.float32]
    confidence: npt.NDArray[np.float32]
    scheme: str


def write_landmarks(url: str, landmarks: Landmarks, storage_options: StorageOptions = None) -> None:
    """Write the points of all images into a store that is not complete yet."""
    with store_errors(url):
        group = open_group(url, storage_options, write=True)
        for name, values in (("landmarks", landmarks.points), ("landmark_confidence", landmarks.confidence)):
            axes = dict(zip(LANDMARKS[name], values.shape, strict=True))
            chunks = (min(1024, max(len(values), 1)), *values.shape[1:])
            array = ArraySpec(name, axes, np.float32, chunks, values).create(group)
            array.attrs["scheme"] = landmarks.scheme
            if name == "landmarks":
                array.attrs["units"] = "pixels"
