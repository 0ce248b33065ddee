"""Sums over the landmarks of pairs of faces: exact, and taken in any order."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.floating[Any]]
Integers = npt.NDArray[np.int64]

UNITS = 256
"""Landmarks are rounded to this share of a pixel, so that their sums are exact."""
OPEN = 0.06
"""Share of its width by which an open mouth is open."""


@dataclass(frozen=True)
class Lips:
    """Landmarks of the inner lips.

    Attributes
    ----------
    ring
        Around the opening, in order.
    left, right
        Corners of the mouth.
    upper, lower
        Middle of either lip.
    """

    ring: tuple[int, ...]
    left: int
    right: int
    upper: int
    lower: int


LIPS = {
    "mediapipe-478": Lips(
        (78, 191, 80, 81, 82, 13, 312, 311, 310, 415, 308, 324, 318, 402, 317, 14, 87, 178, 88, 95), 78, 308, 13, 14
    ),
    "synthetic-61": Lips(tuple(range(12)), left=0, right=6, upper=3, lower=9),
}
"""The inner lips by the name of a scheme of landmarks."""


@dataclass(frozen=True)
class ShapeSums:
    """Exact sums over pairs of faces, over all and over those whose target opens the mouth.

    Attributes
    ----------
    n
        Pairs, and those with an open mouth; shape (2,) as the first axis of what follows.
    source, moved
        Of coordinates in the source, and of how they move, shape (2, 2 points), in units of 1/256 pixel.
    opening, opening_squares
        Of the openings, shape (2,).
    moved_opening, moved_moved
        Of products of movements with openings, shape (2 points,), and with each other, shape (2 points, 2 points), over
        all pairs.
    """

    n: Integers
    source: Integers
    moved: Integers
    opening: Integers
    opening_squares: Integers
    moved_opening: Integers
    moved_moved: Integers

    @classmethod
    def zeros(cls, n_points: int) -> ShapeSums:
        """Return the sums over no pairs."""
        size = 2 * n_points
        shapes = [(2,), (2, size), (2, size), (2,), (2,), (size,), (size, size)]
        return cls(*(np.zeros(shape, dtype=np.int64) for shape in shapes))

    def update(self, source: Floats, target: Floats, lips: Lips | None = None) -> ShapeSums:
        """Return the sums with those of further pairs.

        Parameters
        ----------
        source, target
            (x, y) in pixels, shape (image, point, 2).
        lips
            Where the lips are among the points; without them every mouth counts as closed.
        """
        before, after = (
            np.rint(points * UNITS).astype(np.int64).reshape(len(points), -1) for points in (source, target)
        )
        movement = after - before
        opening = np.rint(openings(target, lips) * UNITS).astype(np.int64)
        wide = np.stack([np.ones(len(source), dtype=np.int64), is_open(target, lips).astype(np.int64)])
        # floats up to 2**53 are exact integers, in whatever order they are added
        floats = movement.astype(np.float64)
        added = (
            wide.sum(axis=1),
            wide @ before,
            wide @ movement,
            wide @ opening,
            wide @ (opening * opening),
            opening @ movement,
            (floats.T @ floats).astype(np.int64),
        )
        return ShapeSums(*(own + new for own, new in zip(self._arrays, added, strict=True)))

    def merge(self, other: ShapeSums) -> ShapeSums:
        """Return the sums over both."""
        return ShapeSums(*(a + b for a, b in zip(self._arrays, other._arrays, strict=True)))

    @property
    def _arrays(self) -> list[Integers]:
        return [getattr(self, each.name) for each in fields(self)]


def openings(points: Floats, lips: Lips | None) -> npt.NDArray[np.float64]:
    """Return the distance between the lips in pixels, of points of shape (image, point, 2); zeros without lips."""
    if lips is None:
        return np.zeros(len(points))
    return _distance(points, lips.upper, lips.lower)


def is_open(points: Floats, lips: Lips | None) -> npt.NDArray[np.bool_]:
    """Return whether mouths are open."""
    if lips is None:
        return np.zeros(len(points), dtype=bool)
    opened: npt.NDArray[np.bool_] = openings(points, lips) > OPEN * _distance(points, lips.left, lips.right)
    return opened


def _distance(points: Floats, a: int, b: int) -> npt.NDArray[np.float64]:
    x, y = np.moveaxis(points[:, a].astype(np.float64) - points[:, b], -1, 0)
    distance: npt.NDArray[np.float64] = np.sqrt(x * x + y * y)
    return distance
