"""From where a face is seen: how it is foreshortened, and which of it is turned away."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from mrdist._kernels.warping import local_maps, spread

Floats = npt.NDArray[np.floating[Any]]

_PENALTY = 0.002  # of local maps, in squared radii: points on a line say nothing of what lies across
_FACING = 0.25  # share of its size in the frame from which on a piece of skin counts as seen


@dataclass(frozen=True)
class View:
    """How the surroundings of points look in a photograph, and how they do in the mean of the training.

    Attributes
    ----------
    maps
        Linear map of the mean's surroundings of every point to the photograph's, shape (n, 2, 2).
    seen
        Which points face the camera, shape (n,). Skin that is turned away is foreshortened to nothing.
    """

    maps: npt.NDArray[np.float64]
    seen: npt.NDArray[np.bool_]

    @classmethod
    def of(cls, points: Floats, reference: Floats, radius: float) -> View:
        """Compare points of a face with those of the mean source, both (x, y) in the frame, shape (n, 2).

        Examples
        --------
        A face that is seen at half its width:

        >>> face = np.array([[x, y] for x in range(0, 50, 10) for y in range(0, 50, 10)], dtype=float)
        >>> view = View.of(face * (0.5, 1), face, radius=25)
        >>> view.foreshortened(np.full((25, 2), 10.0))[12].round()
        array([ 5., 10.])
        """
        maps = local_maps(np.ascontiguousarray(reference), points, radius, _PENALTY * radius * radius)
        seen: npt.NDArray[np.bool_] = maps[:, 0, 0] * maps[:, 1, 1] - maps[:, 0, 1] * maps[:, 1, 0] > _FACING
        return cls(maps, seen)

    def foreshortened(self, movements: Floats) -> npt.NDArray[np.float64]:
        """Return how movements of the points, shape (n, 2), look from there."""
        x, y = movements[:, :1], movements[:, 1:]
        moved: npt.NDArray[np.float64] = x * self.maps[..., 0] + y * self.maps[..., 1]
        return moved

    def seen_around(self, points: Floats, size: tuple[int, int], radius: float) -> npt.NDArray[np.float32]:
        """Return which share of the points around every pixel of a frame is seen, shape (y, x)."""
        if self.seen.all():
            return np.ones(size, dtype=np.float32)
        sums = np.empty((2, *size))
        spread(points, np.stack([self.seen, np.ones(len(points))], axis=1), radius, 1.0, sums)
        share: npt.NDArray[np.float64] = np.divide(sums[0], sums[1], out=np.zeros(size), where=sums[1] > 0)
        return share.astype(np.float32)
