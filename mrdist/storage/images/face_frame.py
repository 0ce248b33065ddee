"""What a mapping keeps of the faces it was trained on, so that it can be applied to other photographs."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import zarr

from mrdist.storage.access.arrays import ArraySpec, lay_out
from mrdist.storage.access.tables import table_values
from mrdist.storage.access.urls import store_errors
from mrdist.storage.images.reader import Images

DIMENSIONS = {
    "face_mask": ("y", "x"),
    "reference_points": ("point", "xy"),
    "mean_face": ("y", "x", "channel"),
    "mean_landmarks": ("landmark", "xy"),
}
"""Names of the arrays of a frame, and of their axes."""
_TABLES = {"reference_points", "mean_landmarks"}


@dataclass(frozen=True)
class FaceFrame:
    """Where faces lie in the images of a store, kept with the sums and weights that are made of them.

    Attributes
    ----------
    face_mask
        Which pixels are face, shape (y, x).
    reference_points
        (x, y) of the reference's landmarks in sides of the frame, shape (point, 2), or None.
    mean_face
        Of the source label, 1 = white, shape (y, x, channel), or None.
    mean_landmarks
        Mean of the points on the faces of the source label's training images, (x, y) in sides of the frame, shape
        (point, 2), or None where the images have none.
    """

    face_mask: npt.NDArray[np.bool_]
    reference_points: npt.NDArray[np.float64] | None
    mean_face: npt.NDArray[np.float32] | None
    mean_landmarks: npt.NDArray[np.float64] | None = None

    @classmethod
    def of_images(cls, images: Images, source: str) -> FaceFrame:
        """Return the frame of an images store, for one of its labels."""
        group = images._group
        with store_errors(images.url):
            points = table_values(group, "reference_points")
            means = group.get("mean_face")
            mean = np.asarray(means[images.column(source)]) if isinstance(means, zarr.Array) else None
        seen = mean is not None and np.isfinite(mean).all()
        return cls(images.face_mask, points, mean if seen else None, _mean_landmarks(images, source))

    @classmethod
    def read(cls, url: str, group: zarr.Group) -> FaceFrame | None:
        """Read what `write` has left in another store, None if there is nothing."""
        with store_errors(url):
            if "face_mask" not in group:
                return None
            return cls(*(table_values(group, name) for name in DIMENSIONS))  # type: ignore[arg-type]

    def write(self, group: zarr.Group) -> None:
        """Write it into a store, in place of what an interrupted run may have left."""
        arrays = []
        for name, dimensions in DIMENSIONS.items():
            values = getattr(self, name)
            if values is not None:
                array = ArraySpec.holding(name, values, *dimensions)
                arrays.append(array if name in _TABLES else replace(array, is_table=False))
        lay_out(group, arrays, overwrite=True)


def _mean_landmarks(images: Images, source: str) -> npt.NDArray[np.float64] | None:
    if images.landmarks is None:
        return None
    points = images.landmarks[images.split == "train", images.column(source)].astype(np.float64)
    points = points[np.isfinite(points).all(axis=(1, 2))]
    height, width = images.shape
    return np.asarray((points.mean(axis=0) + 0.5) / [width, height]) if len(points) else None
