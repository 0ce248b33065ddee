"""Rows that single pixels leave out: images in which the target, or a value that the field reads, is missing there.

The sums of a block are taken over all images, with zeros for what is missing, and neighbouring pixels share them
(`mrdist.moments`). The rows that a pixel leaves out are summed here, apart for every pixel, and taken off: as all sums
are integers, what remains is exactly what the other rows add up to.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from math import prod
from typing import Any

import numpy as np
import numpy.typing as npt

from mrdist._kernels.left_out import add_left_out
from mrdist.errors import ParameterError
from mrdist.geometry import Block, ReceptiveField, Shape

Array = npt.NDArray[Any]
SUMS = ("n_rows", "gram", "cross", "source_sum", "target_sum", "target_square")
"""The arrays of `LeftOut` that add up, in the order of `LeftOut.table`."""


@dataclass(frozen=True)
class LeftOut:
    """Sums over the rows that each of some pixels of a block leaves out.

    Groups, planes and taps are those of `mrdist.SufficientStatistics` and `mrdist.solvers.Solution`.

    Attributes
    ----------
    field
        The receptive field.
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
    others
        The same of smaller fields, which read fewer missing values and so leave fewer rows out.
    """

    field: ReceptiveField
    pixels: npt.NDArray[np.int64]
    n_rows: npt.NDArray[np.int64]
    gram: npt.NDArray[np.int64]
    cross: npt.NDArray[np.int64]
    source_sum: npt.NDArray[np.int64]
    target_sum: npt.NDArray[np.int64]
    target_square: npt.NDArray[np.int64]
    others: tuple[LeftOut, ...] = ()

    @classmethod
    def zeros(
        cls, where: Mapping[ReceptiveField, npt.NDArray[np.bool_]], *, n_groups: int, n_inputs: int = 1
    ) -> LeftOut:
        """Return the sums of no rows.

        Parameters
        ----------
        where
            For each field, the largest first, the pixels that may leave rows out, shape (y, x).
        n_groups, n_inputs
            As in `mrdist.SufficientStatistics.zeros`.

        Examples
        --------
        >>> LeftOut.zeros({ReceptiveField(3): np.eye(4, dtype=bool)}, n_groups=1).gram.shape
        (4, 1, 45)
        """
        parts = []
        for field, mask in where.items():
            pixels = np.argwhere(mask)
            shapes = shapes_of_sums(field, n_groups=n_groups, n_inputs=n_inputs)
            sums: Any = (np.zeros((len(pixels), *shape), dtype=np.int64) for shape in shapes.values())
            parts.append(cls(field, pixels, *sums))
        return replace(parts[0], others=tuple(parts[1:]))

    @classmethod
    def of_table(
        cls, field: ReceptiveField, pixels: npt.NDArray[np.int64], table: npt.NDArray[np.int64], **how: int
    ) -> LeftOut:
        """Return the sums of a field that `table` has returned; ``how`` are ``n_groups`` and ``n_inputs``."""
        shapes = shapes_of_sums(field, **how)
        ends = np.cumsum([prod(shape) for shape in shapes.values()])
        columns = zip(shapes.values(), np.split(table, ends[:-1], axis=1), strict=True)
        sums: Any = (part.reshape(-1, *shape) for shape, part in columns)
        return cls(field, pixels, *sums)

    @property
    def table(self) -> npt.NDArray[np.int64]:
        """All sums of its own field, shape (pixel, sum)."""
        return np.concatenate([getattr(self, name).reshape(len(self.pixels), -1) for name in SUMS], axis=1)

    def add(
        self,
        pair: tuple[Array, Array],
        lost: tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_]],
        chosen: npt.NDArray[np.int64],
        part: Block,
        shape: Shape,
        window: ReceptiveField | None = None,
    ) -> None:
        """Add the rows that pixels leave out of some images, in place.

        Parameters
        ----------
        pair
            Source and target, as `mrdist.SufficientStatistics.update` takes them.
        lost
            Which values of both are missing, in any channel, shape (image, y, x).
        chosen, part
            As in `mrdist.SufficientStatistics.update`.
        shape
            Of the block.
        window
            The field for which the source's windows were read; its own by default.
        """
        window = window or self.field
        index = np.full(shape, -1, dtype=np.int64)
        index[tuple(self.pixels.T)] = np.arange(len(self.pixels))
        n_inputs = self.target_sum.shape[1] // self.source_sum.shape[1]
        add_left_out(
            *pair,
            *lost,
            chosen,
            self.field.offsets + window.halo,
            n_inputs,
            index[part.slices],
            *(getattr(self, name) for name in SUMS),
        )
        for other in self.others:
            other.add(pair, lost, chosen, part, shape, window)

    def restrict(self, field: ReceptiveField) -> LeftOut:
        """Return those of a smaller field.

        Raises
        ------
        ParameterError
            If they were not summed.
        """
        for other in self.others:
            if other.field == field:
                return other
        raise ParameterError(
            f"the sums leave out the rows of missing values that {self.field} reads, and {field} reads fewer; sum "
            "again for this field."
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
        others = tuple(other.crop(part) for other in self.others)
        return replace(self, pixels=self.pixels[inside] - (part.y0, part.x0), others=others, **kept)

    def _combined(self, other: LeftOut, combine: Callable[[Any, Any], Any]) -> LeftOut:
        sums = {name: combine(getattr(self, name), getattr(other, name)) for name in SUMS}
        pairs = zip(self.others, other.others, strict=True)
        return replace(self, others=tuple(one._combined(another, combine) for one, another in pairs), **sums)


def shapes_of_sums(field: ReceptiveField, *, n_groups: int, n_inputs: int = 1) -> dict[str, tuple[int, ...]]:
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
