"""Warps that a few points control: smooth, and confined to their surroundings.

Every point of control carries a bump, Wendland's C2 function, as a thin plate would carry a point load; unlike
a plate's, its reach ends, so that hair and background stay where they are.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from mrdist._kernels.warping import depths, factorise, look_up, spread, substitute
from mrdist.errors import DataError

Floats = npt.NDArray[np.floating[Any]]
#: Affine map of a pixel to itself.
IDENTITY: npt.NDArray[np.float64] = np.array([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])
#: What is added to the diagonal of the bumps' system: lips that touch may part without a tear.
SMOOTHING = 0.01


@dataclass(frozen=True)
class Window:
    """Rows and columns of an image in pixels: from (y, x) on, height and width."""

    y: int
    x: int
    height: int
    width: int

    @property
    def slices(self) -> tuple[slice, slice]:
        """Index of the window in an array (y, x, ...)."""
        return slice(self.y, self.y + self.height), slice(self.x, self.x + self.width)


@dataclass(frozen=True)
class Warp:
    """Where the pixels of a window come from.

    Attributes
    ----------
    nodes
        Displacements (x, y) at nodes ``step`` pixels apart, shape (2, node y, node x); the first node is the window's
        first pixel.
    step
        In pixels of the window.
    window
        The pixels.
    affine
        Shape (2, 3): the pixel (x, y) shows what lies at ``affine @ (x, y, 1)`` plus its displacement.
    """

    nodes: npt.NDArray[np.float64]
    step: float
    window: Window
    affine: npt.NDArray[np.float64]

    def apply(self, image: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
        """Return the window's pixels, in the values of ``image``.

        Parameters
        ----------
        image
            Shape (y, x, channel).

        Returns
        -------
        float32 array of shape (y, x, channel)
            By cubic convolution; a pixel that comes from a pixel is that one, exactly.
        """
        height, width = self.window.height, self.window.width
        pixels = np.empty((height, width, image.shape[2]), dtype=np.float32)
        corner = self.window.y, self.window.x
        look_up(np.ascontiguousarray(image), self.nodes, self.step, self.affine, corner, (height, width), pixels)
        return pixels


class Controls:
    """Points that carry displacements to the pixels around them.

    Parameters
    ----------
    points
        (x, y) in pixels, shape (n, 2).
    radius
        How far they reach, in pixels.

    Raises
    ------
    DataError
        If a point is not finite.

    Examples
    --------
    >>> controls = Controls(np.array([[8.0, 8.0]]), radius=4)
    >>> warp = controls.warp(np.array([[1.01, 0.0]]), Window(0, 0, 17, 17), step=1)
    >>> warp.nodes[0, 8, 4:10].round(2)
    array([0.  , 0.02, 0.19, 0.63, 1.  , 0.63])
    """

    def __init__(self, points: Floats, radius: float) -> None:
        if not np.isfinite(points).all():
            raise DataError(f"{np.isnan(points).any(axis=1).sum()} of {len(points)} landmarks are not numbers.")
        self.points = np.ascontiguousarray(points, dtype=np.float64)
        self.radius = float(radius)
        self._factor = factorise(self.points, self.radius, SMOOTHING)

    def warp(
        self, displacements: Floats, window: Window, step: float, affine: npt.NDArray[np.float64] = IDENTITY
    ) -> Warp:
        """Return the warp in which the points have displacements, shape (n, 2), at least nearly."""
        (warp,) = self.warps([displacements], window, step, [affine])
        return warp

    def warps(
        self,
        displacements: Sequence[Floats],
        window: Window,
        step: float,
        affines: Sequence[npt.NDArray[np.float64]],
    ) -> list[Warp]:
        """Return what `warp` does for several displacements of the points, each with its affine map, in less time."""
        right_sides = np.concatenate(displacements, axis=1, dtype=np.float64)
        n_rows, n_columns = (max(2, int(np.ceil((side - 1) / step)) + 1) for side in (window.height, window.width))
        nodes = np.empty((right_sides.shape[1], n_rows, n_columns))
        loads = substitute(self._factor, right_sides)
        spread(self.points - (window.x, window.y), loads, self.radius, float(step), nodes)
        pairs = zip(nodes.reshape(-1, 2, n_rows, n_columns), affines, strict=True)
        return [Warp(each, float(step), window, affine) for each, affine in pairs]


def similarity(source: Floats, target: Floats) -> npt.NDArray[np.float64]:
    """Return the turn, scale and shift, shape (2, 3), that bring points nearest to others in the least squares' sense.

    Examples
    --------
    >>> square = np.array([[0.0, 0.0], [1.0, 0.0], [1.0, 1.0], [0.0, 1.0]])
    >>> similarity(square, np.array([[5.0, 5.0], [5.0, 7.0], [3.0, 7.0], [3.0, 5.0]]))
    array([[ 0., -2.,  5.],
           [ 2.,  0.,  5.]])
    """
    mean_s, mean_t = source.mean(axis=0), target.mean(axis=0)
    s, t = source - mean_s, target - mean_t
    size = (s * s).sum()
    along = (s * t).sum() / size
    across = (s[:, 0] * t[:, 1] - s[:, 1] * t[:, 0]).sum() / size
    turn = np.array([[along, -across], [across, along]])
    return np.column_stack([turn, mean_t - turn @ mean_s])


def inverse(affine: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return the affine map back.

    Examples
    --------
    >>> inverse(np.array([[2.0, 0.0, 3.0], [0.0, 2.0, 5.0]]))
    array([[ 0.5, -0. , -1.5],
           [-0. ,  0.5, -2.5]])
    """
    (a, b, x), (c, d, y) = affine
    size = a * d - b * c
    turn = np.array([[d, -b], [-c, a]]) / size
    return np.column_stack([turn, -(turn[:, 0] * x + turn[:, 1] * y)])


def moved(affine: npt.NDArray[np.float64], points: Floats) -> npt.NDArray[np.float64]:
    """Return where an affine map takes points (n, 2); the identity gives the same numbers.

    Examples
    --------
    >>> moved(IDENTITY, np.array([[0.1, 0.7]]))
    array([[0.1, 0.7]])
    """
    x, y = points[:, 0], points[:, 1]
    return np.stack([row[0] * x + row[1] * y + row[2] for row in affine], axis=-1)


def soft_polygon(corners: Floats, shape: tuple[int, int], soft: float, grown: float = 0.0) -> npt.NDArray[np.float64]:
    """Return how far pixels lie inside a polygon: 0 outside, 1 inside, linear across the border.

    Parameters
    ----------
    corners
        (x, y) in pixels, shape (n, 2), in order.
    shape
        Height and width of the result.
    soft
        Width of the border in pixels.
    grown
        By how many pixels the polygon is grown.

    Examples
    --------
    >>> soft_polygon(np.array([[1.0, 1.0], [5.0, 1.0], [5.0, 5.0], [1.0, 5.0]]), (3, 6), soft=2)[2]
    array([0. , 0.5, 1. , 1. , 1. , 0.5])
    """
    depth = np.empty(shape)
    depths(np.ascontiguousarray(corners, dtype=np.float64), depth)
    share: npt.NDArray[np.float64] = np.clip(0.5 + (depth + grown) / soft, 0, 1)
    return share
