"""Rows that single pixels leave out: images in which the target, or a value that the field reads, is missing there.

The sums of a block are taken over all images, with zeros for what is missing, and neighbouring pixels share them
(`mrdist.moments`). The rows that a pixel leaves out are summed here, apart for every pixel, and taken off: as all sums
are integers, what remains is exactly what the other rows add up to.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from mrdist._kernels.left_out import add_left_out
from mrdist.geometry import Block, ReceptiveField, Shape

Array = npt.NDArray[Any]
SUMS = ("n_rows", "gram", "cross", "source_sum", "target_sum", "target_square")
"""The arrays of `LeftOut` that add up."""


@dataclass(frozen=True)
class LeftOut:
    """Sums over the rows that each of some pixels of a block leaves out.

    Groups, planes and taps are those of `mrdist.SufficientStatistics` and `mrdist.solvers.Solution`.

    Attributes
    ----------
    pixels
        Rows and columns in the block, in raster order, shape (pixel, 2). Some may leave nothing out.
    n_rows
        How many rows each leaves out, shape (pixel,).
    gram
        Lower triangles of ``X' X``, row by row, shape (pixel, group, entry).
    cross
        ``X' t``, shape (pixel, plane, tap).
    source_sum
        Shape (pixel, group, tap).
    target_sum, target_square
        Shape (pixel, plane).
    """

    pixels: npt.NDArray[np.int64]
    n_rows: npt.NDArray[np.int64]
    gram: npt.NDArray[np.int64]
    cross: npt.NDArray[np.int64]
    source_sum: npt.NDArray[np.int64]
    target_sum: npt.NDArray[np.int64]
    target_square: npt.NDArray[np.int64]

    @classmethod
    def zeros(
        cls, where: npt.NDArray[np.bool_], field: ReceptiveField, *, n_groups: int, n_inputs: int = 1
    ) -> LeftOut | None:
        """Return the sums of no rows for the pixels ``where``, shape (y, x); None if there are none.

        Examples
        --------
        >>> LeftOut.zeros(np.eye(4, dtype=bool), ReceptiveField(3), n_groups=1).gram.shape
        (4, 1, 45)
        """
        if not where.any():
            return None
        pixels = np.argwhere(where)
        lengths = shapes_of_sums(field, n_groups=n_groups, n_inputs=n_inputs)
        return cls(pixels, **{name: np.zeros((len(pixels), *lengths[name]), dtype=np.int64) for name in SUMS})

    def add(
        self,
        field: ReceptiveField,
        pair: tuple[Array, Array],
        lost: tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_]],
        chosen: npt.NDArray[np.int64],
        rows: tuple[int, int],
        shape: Shape,
    ) -> None:
        """Add the rows that pixels leave out of some images, in place.

        Parameters
        ----------
        field
            The receptive field.
        pair
            Source and target, as `mrdist.SufficientStatistics.update` takes them.
        lost
            Which values of both are missing, in any channel, shape (image, y, x).
        chosen, rows
            As in `mrdist.SufficientStatistics.update`.
        shape
            Of the block.
        """
        index = np.full(shape, -1, dtype=np.int64)
        index[tuple(self.pixels.T)] = np.arange(len(self.pixels))
        n_inputs = self.target_sum.shape[1] // self.source_sum.shape[1]
        add_left_out(
            *pair,
            *lost,
            chosen,
            field.offsets + field.halo,
            n_inputs,
            index[slice(*rows)],
            *(getattr(self, name) for name in SUMS),
        )

    def __add__(self, other: LeftOut) -> LeftOut:
        """Return the sums over the rows of both, of the same pixels."""
        return self._combined(other, operator.add)

    def __sub__(self, other: LeftOut) -> LeftOut:
        """Return the sums without the rows of ``other``, of the same pixels."""
        return self._combined(other, operator.sub)

    def crop(self, part: Block) -> LeftOut:
        """Return the sums of the pixels in a part of the block, in its rows and columns."""
        y, x = self.pixels.T
        inside = (y >= part.y0) & (y < part.y1) & (x >= part.x0) & (x < part.x1)
        if inside.all() and (part.y0, part.x0) == (0, 0):
            return self
        kept = {name: getattr(self, name)[inside] for name in SUMS}
        return replace(self, pixels=self.pixels[inside] - (part.y0, part.x0), **kept)

    def _combined(self, other: LeftOut, combine: Callable[[Any, Any], Any]) -> LeftOut:
        return replace(self, **{name: combine(getattr(self, name), getattr(other, name)) for name in SUMS})


def shapes_of_sums(field: ReceptiveField, *, n_groups: int, n_inputs: int) -> dict[str, tuple[int, ...]]:
    """Return the shape of each of `SUMS` of a pixel."""
    n_taps, n_planes = n_inputs * field.n_offsets, n_groups * n_inputs
    return {
        "n_rows": (),
        "gram": (n_groups, n_taps * (n_taps + 1) // 2),
        "cross": (n_planes, n_taps),
        "source_sum": (n_groups, n_taps),
        "target_sum": (n_planes,),
        "target_square": (n_planes,),
    }
