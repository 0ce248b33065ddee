"""Change only the face in a photograph of any size.

The face is warped into the frame, a mapping computes its change there, and the change is warped back and added at the
photograph's own resolution. A mask, 1 on the face and falling smoothly to 0 around it, weights the change; where it
is 0, every pixel keeps its value.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image
from scipy import ndimage

from mrdist.datasets._warping import GRID, Floats, frame_side, resample
from mrdist.values import unit_of

_NODES = np.linspace(0, 1, math.isqrt(len(GRID)))
#: Nodes along a side of the face's box at which the way back into the frame is computed.
_BOX_NODES = 129
#: Rows of the photograph that are changed at a time.
_STRIP = 256
#: Beyond the face, in sides of the frame: where the mask ends; and the seam that it keeps from the frame's edges.
_MARGIN, _EDGE = 0.08, 0.04
#: Rec. 601, as pillow's gray.
_LUMINANCE = np.array([0.299, 0.587, 0.114])


def crop_face(photograph: npt.NDArray[np.uint8], positions: Floats, size: int) -> npt.NDArray[np.uint8]:
    """Fill the frame from a photograph, as an ingest does.

    Parameters
    ----------
    photograph : uint8 array of shape (y, x, channel)
    positions : array of shape (n, 2)
        Where the nodes of `mrdist.datasets._warping.GRID` lie in it: (x, y) in pixels, pixel centres at integers.
    size : int
        Side of the frame in pixels.

    Returns
    -------
    uint8 array of shape (size, size, channel)
    """
    # A smaller copy of a huge photograph is enough and saves gigabytes: four of its pixels to one of the frame.
    shrink = int(frame_side(positions) / (4 * size))
    if shrink > 1:
        flat = photograph[..., 0] if photograph.shape[2] == 1 else photograph
        small = np.asarray(Image.fromarray(flat).reduce(shrink))
        photograph = small.reshape(*small.shape[:2], -1)
        positions = (positions + 0.5) / shrink - 0.5
    filled = resample(photograph, positions, size)
    return np.clip(np.rint(filled), 0, 255).astype(np.uint8)


def feathered(face: npt.NDArray[np.bool_], margin: float = _MARGIN) -> Floats:
    """Return the mask of a face: 1 on it, falling to 0 at a margin around it and at the edges of the frame.

    Parameters
    ----------
    face : bool array of shape (y, x)
        The face's hull.
    margin : float, optional
        In sides of the frame.

    Returns
    -------
    float64 array of shape (y, x)

    Examples
    --------
    >>> face = np.zeros((50, 50), dtype=bool)
    >>> face[20:30, 20:30] = True
    >>> feathered(face)[25, [0, 15, 17, 19, 25]].round(2)
    array([0.  , 0.  , 0.16, 0.84, 1.  ])
    """
    size = len(face)
    away = ndimage.distance_transform_edt(~face) / (margin * size)
    edge = np.minimum(np.arange(size), np.arange(size)[::-1]) / (_EDGE * size)
    return _smooth_step(1 - away) * _smooth_step(edge)[:, np.newaxis] * _smooth_step(edge)


def _smooth_step(values: Floats) -> Floats:
    values = np.clip(values, 0, 1)
    return values**2 * (3 - 2 * values)


def to_luminance(image: npt.NDArray[np.floating]) -> Floats:
    """Return an image of one or three channels in gray, shape (y, x)."""
    return np.asarray(image[..., 0] if image.shape[2] == 1 else image @ _LUMINANCE, dtype=np.float64)


def retouch(
    pixels: npt.NDArray[np.generic], n_colors: int, change: npt.NDArray[np.floating], mask: Floats, positions: Floats
) -> npt.NDArray[np.generic]:
    """Add a change of the frame to a photograph.

    A gray change is added to all channels of a colour photograph alike: its luminance changes and its chroma
    does not. A gray photograph takes the luminance of a colour change.

    Parameters
    ----------
    pixels : uint8 or uint16 array of shape (y, x, channel)
        The photograph.
    n_colors : int
        The first 1 or 3 channels change; a last one of alpha never does.
    change : array of shape (size, size, 1 or 3)
        1 = from black to white.
    mask : array of shape (size, size)
        Weight of the change, 0..1.
    positions : array of shape (n, 2)
        As for `crop_face`.

    Returns
    -------
    ndarray
        Shape and dtype of ``pixels``, a copy.
    """
    white = unit_of(pixels.dtype)
    size = len(mask)
    if n_colors == 1:
        change = to_luminance(change)[..., np.newaxis]
    masked = np.asarray(change * mask[..., np.newaxis], dtype=np.float64)
    blur = size / frame_side(positions)
    if blur > 1:  # the frame's pixels are finer than the photograph's
        masked = ndimage.gaussian_filter(masked, (blur / 2, blur / 2, 0))
    parts = [ndimage.spline_filter(part) for part in np.moveaxis(masked, -1, 0)]
    changed = pixels.copy()
    for place in _places(positions, pixels.shape[:2], size):
        arrives = ndimage.map_coordinates(mask, place.coordinates, order=1, mode="constant") > 0
        there = changed[place.rows, place.columns]
        for channel in range(n_colors):
            if channel < len(parts):
                added = ndimage.map_coordinates(parts[channel], place.coordinates, prefilter=False, mode="nearest")
            values = np.rint(there[..., channel].astype(np.float64) + white * added).clip(0, white)
            there[..., channel] = np.where(arrives, values, there[..., channel])
    return changed


@dataclass(frozen=True)
class _Place:
    """Some rows of the face's box in a photograph, and where their pixels lie in the frame."""

    rows: slice
    columns: slice
    #: (y, x) in pixels of the frame, shape (2, rows, columns).
    coordinates: Floats


def _places(positions: Floats, shape: tuple[int, ...], size: int) -> Iterator[_Place]:
    """Go through the pixels of a photograph that the frame may cover, strip by strip."""
    low = np.maximum(np.floor(positions.min(axis=0)).astype(int), 0)
    high = np.minimum(np.ceil(positions.max(axis=0)).astype(int) + 1, shape[1::-1])
    if (low >= high).any():
        return
    from scipy.interpolate import RectBivariateSpline  # slow to import, and photographs that are aligned need none

    axes = [np.linspace(first, last - 1, _BOX_NODES) for first, last in zip(low, high, strict=True)]
    back = into_frame(np.stack(np.meshgrid(*axes), axis=-1).reshape(-1, 2), positions) * size - 0.5
    splines = [RectBivariateSpline(axes[1], axes[0], back[:, axis].reshape(_BOX_NODES, _BOX_NODES)) for axis in (1, 0)]
    columns = slice(int(low[0]), int(high[0]))
    for top in range(int(low[1]), int(high[1]), _STRIP):
        rows = slice(top, min(top + _STRIP, int(high[1])))
        y, x = np.arange(rows.start, rows.stop), np.arange(columns.start, columns.stop)
        yield _Place(rows, columns, np.stack([spline(y, x) for spline in splines]))


def into_frame(points: Floats, positions: Floats) -> Floats:
    """Find the points of the frame that a warp brings to points of the photograph, by Newton's method.

    Beyond the frame the warp continues as the affine map that is nearest to it.
    """
    from scipy.interpolate import RectBivariateSpline

    side = len(_NODES)
    warp = [RectBivariateSpline(_NODES, _NODES, positions[:, axis].reshape(side, side)) for axis in (0, 1)]
    affine, *_ = np.linalg.lstsq(np.column_stack([GRID, np.ones(len(GRID))]), positions, rcond=None)
    linear = affine[:2].T
    solution = np.linalg.solve(linear, (points - affine[2]).T).T
    for _ in range(20):
        inside = np.clip(solution, 0, 1)
        here = (
            np.stack([part.ev(inside[:, 1], inside[:, 0]) for part in warp], axis=-1) + (solution - inside) @ linear.T
        )
        jacobian = np.stack(
            [
                np.stack([part.ev(inside[:, 1], inside[:, 0], **{along: 1}) for along in ("dy", "dx")], axis=-1)
                for part in warp
            ],
            axis=-2,
        )
        jacobian[(solution != inside).any(axis=1)] = linear
        step = np.linalg.solve(jacobian, (points - here)[..., np.newaxis])[..., 0]
        solution = solution + np.clip(step, -0.1, 0.1)
        if np.abs(step).max() < 1e-6:
            break
    return solution
