"""The mean target: a baseline that every mapping must beat."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from mrdist.moments import to_integers

Array = npt.NDArray[Any]

_PART_BYTES = 1 << 20  # of integers that are squared at a time


@dataclass(frozen=True)
class TargetSums:
    """Exact sums over targets, from which mean and deviations follow.

    Attributes
    ----------
    total, square
        Sums of pixels and of their squares in integer units, int64, shape (group, y, x).
    n_rows
        Number of terms in each.
    unit
        Integer that stands for 1.0.
    """

    total: npt.NDArray[np.int64]
    square: npt.NDArray[np.int64]
    n_rows: int
    unit: int

    @classmethod
    def zeros(cls, shape: tuple[int, int], n_groups: int, unit: int) -> TargetSums:
        """Return the sums over nothing."""
        nothing = np.zeros((n_groups, *shape), dtype=np.int64)
        return cls(nothing, nothing, 0, unit)

    def update(self, targets: Array) -> TargetSums:
        """Return the sums with more images of shape (image, y, x, channel) in them.

        Examples
        --------
        >>> sums = TargetSums.zeros((1, 1), 1, 255).update(np.array([[[[0, 255]]]], dtype=np.uint8))
        >>> sums.mean, sums.deviations
        (array([[[0.5]]]), array([[[0.5]]]))
        """
        return self.add(to_integers(targets))

    def add(self, targets: Array) -> TargetSums:
        """Return the sums with more images in them that are integers in this unit already."""
        values = np.moveaxis(targets, 3, 1)
        n_at_once = max(1, _PART_BYTES // (8 * math.prod(values.shape[1:])))
        total, square = self.total.copy(), self.square.copy()
        for start in range(0, len(values), n_at_once):
            part = values[start : start + n_at_once].astype(np.int64)
            if len(total) == 1:
                part = part.reshape(-1, 1, *part.shape[2:])
            total += part.sum(axis=0)
            square += np.square(part, out=part).sum(axis=0)
        return TargetSums(total, square, self.n_rows + len(values) * values.shape[1] // len(total), self.unit)

    @property
    def mean(self) -> npt.NDArray[np.float64]:
        """Mean target, 1 = white, shape (group, y, x)."""
        return self.total / (self.n_rows * self.unit)

    @property
    def deviations(self) -> npt.NDArray[np.float64]:
        """Sum of squared deviations from the mean, 0 exactly where a target is constant."""
        # about the mean rounded down, so that the integers stay small
        middle = self.total // self.n_rows
        rest = self.total - self.n_rows * middle
        about = self.square - middle * (self.total + rest)
        return np.asarray((about - np.square(rest) / self.n_rows) / self.unit**2)
