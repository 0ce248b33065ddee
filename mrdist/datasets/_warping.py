"""Small geometry of the frame: a square of side 1, x to the right and y downwards."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
#: Points of shape (n, 2) -> points of shape (n, 2), all (x, y).
Mapping = Callable[[Floats], Floats]

GRID_SIDE = 65
_NODES = np.linspace(0, 1, GRID_SIDE)
#: Points of the frame, in raster order, at which a warp is computed; it is smooth enough to be interpolated.
GRID: Floats = np.stack(np.meshgrid(_NODES, _NODES), axis=-1).reshape(-1, 2)


def resample(image: npt.NDArray[np.uint8], positions: Floats, size: int) -> Floats:
    """Fill the frame from a photograph, in one resampling.

    Each pixel is the mean of as many samples as photograph pixels fall into it, which is what keeps
    a shrunken photograph free of aliasing. Outside the photograph its border is carried on.

    Parameters
    ----------
    image : uint8 array of shape (y, x, channel)
        The photograph.
    positions : array of shape (n, 2)
        Where `GRID` lies in the photograph: (x, y) in pixels, pixel centres at integers.
    size : int
        Side of the frame in pixels.

    Returns
    -------
    float64 array of shape (size, size, channel)
        In the photograph's gray levels.
    """
    from scipy import ndimage  # slow to import, and photographs that are aligned already need none of it
    from scipy.interpolate import RectBivariateSpline

    samples = max(1, math.ceil(frame_side(positions) / size))
    centres = (np.arange(size * samples) + 0.5) / (size * samples)
    # (coordinate, y, x), row before column, as map_coordinates wants it
    coordinates = [
        RectBivariateSpline(_NODES, _NODES, positions[:, axis].reshape(len(_NODES), -1))(centres, centres)
        for axis in (1, 0)
    ]
    filled = np.empty((size, size, image.shape[2]))
    for channel in range(image.shape[2]):
        source = image[..., channel].astype(np.float32)
        sampled = ndimage.map_coordinates(source, coordinates, order=1, mode="nearest")
        filled[..., channel] = sampled.reshape(size, samples, size, samples).mean(axis=(1, 3))
    return filled


def frame_side(positions: Floats) -> float:
    """Return the side of a warped frame in pixels, the root of its area, from the positions of `GRID`."""
    right, down = (positions[-1] - positions[0] + turn * (positions[64] - positions[-65]) for turn in (1, -1))
    return float(np.sqrt(abs(right[0] * down[1] - right[1] * down[0])) / 2)


def hull(points: Floats, size: int, margin: float = 0.0) -> npt.NDArray[np.bool_]:
    """Return the convex hull of points of the frame, grown by a margin.

    Parameters
    ----------
    points : array of shape (n, 2)
        (x, y) in sides of the frame.
    size : int
        Side of the frame in pixels.
    margin : float, optional
        In sides of the frame.

    Returns
    -------
    bool array of shape (size, size)

    Examples
    --------
    >>> corners = np.array([[0.25, 0.25], [0.75, 0.25], [0.25, 0.75], [0.75, 0.75]])
    >>> hull(corners, 4).sum(), hull(corners, 4, margin=0.25).sum()
    (np.int64(4), np.int64(12))
    """
    from scipy import ndimage
    from scipy.spatial import ConvexHull
    from skimage.draw import polygon2mask

    corners = points[ConvexHull(points).vertices] * size - 0.5
    mask: npt.NDArray[np.bool_] = polygon2mask((size, size), corners[:, ::-1])
    if margin:
        mask = ndimage.distance_transform_edt(~mask) <= margin * size
    return mask
