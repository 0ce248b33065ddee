"""Sufficient statistics of masked regression: exact integer sums over images.

The Gram entry of two taps at an output pixel is a *lag map* at a neighbouring pixel: with
``A_d(q) = sum_n x_n(q) x_n(q + d)``, taps ``o_a`` and ``o_b`` at pixel ``p`` need ``A_d(p + o_b)`` with
``d = o_a - o_b``. Neighbouring pixels share these products, so an r x r field needs ``((2r - 1)^2 + 1) / 2`` maps
instead of ``r^2 (r^2 + 1) / 2`` sums a pixel.

Images are integers: uint8 and uint16 as they are, floats in 0..1 rounded once to multiples of 2^-22. Their products are
summed exactly, in uint32 as far as that holds them and in int64 from there, however the images were cut.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from mrdist._kernels.accumulation import accumulate
from mrdist.errors import ParameterError
from mrdist.geometry import Block, ReceptiveField, Shape
from mrdist.left_out import LeftOut
from mrdist.values import COLORS as COLORS
from mrdist.values import FIXED_POINT as FIXED_POINT
from mrdist.values import Color as Color
from mrdist.values import check_rows as check_rows
from mrdist.values import check_values as check_values
from mrdist.values import dtype_of_sums as dtype_of_sums
from mrdist.values import groups_of as groups_of
from mrdist.values import to_integers as to_integers
from mrdist.values import unit_of as unit_of
from mrdist.windows import ChunkedWindow

Array = npt.NDArray[Any]
Sums = npt.NDArray[np.uint32] | npt.NDArray[np.int64]
_SUMS = ("lag", "cross", "source_sum", "target_sum", "target_square")


def padded_window(
    images: npt.NDArray[np.generic], block: Block, origin: tuple[int, int] = (0, 0)
) -> npt.NDArray[np.generic]:
    """Cut ``block`` out of images, with zeros where it reaches beyond them.

    Parameters
    ----------
    images
        Array of shape (image, y, x, channel).
    block
        Rectangle of pixels, possibly beyond the images.
    origin
        Row and column of the images' first pixel.

    Returns
    -------
    ndarray
        C-contiguous array of shape (image, block height, block width, channel).
    """
    height, width = images.shape[1:3]
    have = Block(*origin, origin[0] + height, origin[1] + width)
    if have == block:
        return np.ascontiguousarray(images)
    window = np.zeros((images.shape[0], *block.shape, images.shape[3]), dtype=images.dtype)
    y0, x0 = max(have.y0, block.y0), max(have.x0, block.x0)
    y1, x1 = min(have.y1, block.y1), min(have.x1, block.x1)
    window[:, y0 - block.y0 : y1 - block.y0, x0 - block.x0 : x1 - block.x0] = images[
        :, y0 - have.y0 : y1 - have.y0, x0 - have.x0 : x1 - have.x0
    ]
    return window


@dataclass(frozen=True)
class SufficientStatistics:
    """Everything that training needs of the images of one block of output pixels.

    All sums are integers in units of the images (`unit_of`). The axis ``plane`` holds one entry when the channels share
    their weights (or there is one channel) and one entry a channel otherwise. The axis ``pair`` is the same, but where
    every output channel sees all input channels it holds the ordered pairs of planes, the second one fastest. A
    *window* is the block with the field's halo on every side; pixels outside the image count as zeros.

    Attributes
    ----------
    field
        The receptive field.
    unit
        Integer that stands for 1.0 in the sources.
    n_rows
        Rows of every regression: images, times channels where these share their weights.
    lag
        Lag maps ``A_d(q)``, shape (pair, lag, window y, window x), the first plane at q and the second at q + d; an
        entry is meaningful where both lie in the window.
    cross
        ``sum t(p) x(p + o)``, shape (pair, offset, y, x), the target's plane first.
    source_sum
        ``sum x(q)``, shape (plane, window y, window x).
    target_sum, target_square
        ``sum t(p)`` and ``sum t(p)^2``, shape (plane, y, x).
    target_unit
        Integer that stands for 1.0 in the targets; that of the sources by default.
    left_out
        Sums over the rows that single pixels leave out, which all the others hold, too; None if there are none.

    Examples
    --------
    >>> images = np.full((2, 4, 4, 1), 3, dtype=np.uint8)
    >>> field = ReceptiveField(3)
    >>> statistics = SufficientStatistics.zeros(field, (4, 4), n_groups=1, unit=255)
    >>> statistics = statistics.update(padded_window(images, Block(-1, -1, 5, 5)), images)
    >>> int(statistics.cross[0, 4, 0, 0]), statistics.n_rows
    (18, 2)
    """

    field: ReceptiveField
    unit: int
    n_rows: int
    lag: Sums
    cross: Sums
    source_sum: Sums
    target_sum: Sums
    target_square: Sums
    target_unit: int | None = None
    left_out: LeftOut | None = None

    @classmethod
    def zeros(
        cls,
        field: ReceptiveField,
        shape: Shape,
        *,
        n_groups: int,
        unit: int,
        n_inputs: int = 1,
        target_unit: int | None = None,
        left_out: LeftOut | None = None,
    ) -> SufficientStatistics:
        """Return the statistics of no images for a block of ``shape`` pixels, see `groups_of`."""
        window = (shape[0] + 2 * field.halo, shape[1] + 2 * field.halo)
        dtype = dtype_of_sums(0, unit)
        n_planes, n_pairs = n_groups * n_inputs, n_groups * n_inputs**2
        return cls(
            field=field,
            unit=unit,
            n_rows=0,
            lag=np.zeros((n_pairs, field.n_lags, *window), dtype=dtype),
            cross=np.zeros((n_pairs, field.n_offsets, *shape), dtype=dtype),
            source_sum=np.zeros((n_planes, *window), dtype=dtype),
            target_sum=np.zeros((n_planes, *shape), dtype=dtype),
            target_square=np.zeros((n_planes, *shape), dtype=dtype),
            target_unit=target_unit,
            left_out=left_out,
        )

    @property
    def units(self) -> tuple[int, int]:
        """Integers that stand for 1.0 in the sources and in the targets."""
        return self.unit, self.unit if self.target_unit is None else self.target_unit

    @property
    def n_inputs(self) -> int:
        """Channels that one system sees and predicts: 1, or all of them for joint colour."""
        return len(self.lag) // len(self.source_sum)

    @property
    def n_groups(self) -> int:
        """Number of independent systems a pixel."""
        return len(self.source_sum) // self.n_inputs

    @property
    def shape(self) -> Shape:
        """Height and width of the block in pixels."""
        height, width = self.cross.shape[2:]
        return height, width

    def update(
        self,
        source: npt.NDArray[np.generic] | ChunkedWindow,
        target: npt.NDArray[np.generic] | ChunkedWindow,
        chosen: npt.NDArray[np.int64] | None = None,
        part: Block | None = None,
        *,
        like: SufficientStatistics | None = None,
    ) -> SufficientStatistics:
        """Add images, in place while the integers are wide enough.

        Parameters
        ----------
        source
            Integers of shape (image, window y, window x, channel), zero outside the image, or a window of chunks.
        target
            Integers of shape (image, y, x, channel), or a window of chunks.
        chosen
            Indices of the images to add, all of them by default.
        part
            The part of the block to add to, by default all. Images may come in bands of rows, from the top, and these
            in parts of their columns, from the left: source and target then begin at the first pixel of the part in
            the window and in the block, and the source has ``reach`` rows and columns more, before the part as well in
            a window of chunks. The sums are not valid before the last part.
        like
            Statistics of the same source and another target, to which all images have been added, these as well: their
            lag maps and source sums are shared instead of being summed again.

        Returns
        -------
        SufficientStatistics
            The new sums; use these from here on.

        Raises
        ------
        DataError
            If the sums over so many rows might not fit into int64.
        """
        x, t = (each if isinstance(each, ChunkedWindow) else ChunkedWindow.of(each) for each in (source, target))
        chosen = np.arange(x.chunks.shape[2]) if chosen is None else chosen
        n_channels = x.chunks.shape[5]
        rows_per_image = n_channels if len(self.source_sum) == 1 else 1
        n_rows = check_rows(self.n_rows + len(chosen) * rows_per_image, max(self.units))
        part, reach = part or Block(0, 0, *self.shape), self.field.reach
        last_row, last_column = part.y1 == self.shape[0], part.x1 == self.shape[1]
        sums = self if like is None else replace(self, lag=like.lag, source_sum=like.source_sum)
        sums = sums._as(dtype_of_sums(n_rows, max(self.units)))
        dtype = np.promote_types(x.chunks.dtype, t.chunks.dtype)
        item, lane = (np.uint8, np.int32) if dtype == np.uint8 else (np.float64, np.float64)
        accumulate(
            x.of_type(dtype),
            t.of_type(dtype),
            (part.y0, part.x0),
            (part.shape[0] + reach * last_row, part.shape[1] + reach * last_column),
            part.shape,
            chosen,
            self.field.size,
            self.field.dilation,
            like is None,
            sums.lag,
            sums.cross,
            sums.source_sum,
            sums.target_sum,
            sums.target_square,
            np.empty(0, dtype=item),
            np.empty(0, dtype=lane),
        )
        return replace(sums, n_rows=n_rows if last_row and last_column else self.n_rows)

    def merge(self, other: SufficientStatistics) -> SufficientStatistics:
        """Return the statistics of both sets of images, as if they had been one."""
        return self._combined(other, operator.add)

    def subtract(self, other: SufficientStatistics) -> SufficientStatistics:
        """Return the statistics without the images of ``other``, exactly as if these had never been added."""
        return self._combined(other, operator.sub)

    def check_combines(self, other: SufficientStatistics) -> None:
        """Raise ParameterError if ``other`` is of another field, block, number of groups or unit."""
        mine, others = ((s.field, s.units, s.cross.shape, s.n_inputs) for s in (self, other))
        if mine != others:
            (a, b), (c, d) = self.units, other.units
            raise ParameterError(
                f"statistics of {self.field} over {self.shape} pixels in units of 1/{a} and 1/{b} cannot be combined "
                f"with those of {other.field} over {other.shape} in units of 1/{c} and 1/{d}; accumulate both alike."
            )

    def restrict(self, field: ReceptiveField) -> SufficientStatistics:
        """Return the statistics of a smaller field, those of the same images accumulated for it.

        Itself if it is the same field, else copies; entries of the lag maps without meaning may differ.

        Parameters
        ----------
        field
            A field whose taps are among this one's (`ReceptiveField.contains`).

        Raises
        ------
        ParameterError
            If a tap of ``field`` is not among this one's, or rows are left out that were not summed for ``field``.
        """
        if field == self.field:
            return self
        self.field.check_contains(field)
        margin = self.field.halo - field.halo
        height, width = self.source_sum.shape[1:]
        rows, columns = slice(margin, height - margin), slice(margin, width - margin)
        return replace(
            self,
            field=field,
            lag=self.lag[..., rows, columns].take(self.field.lags_of(field), axis=1),
            cross=self.cross.take(self.field.offsets_of(field), axis=1),
            source_sum=self.source_sum[..., rows, columns].copy(),
            target_sum=self.target_sum.copy(),
            target_square=self.target_square.copy(),
            left_out=None if self.left_out is None else self.left_out.restrict(field),
        )

    def _as(self, dtype: np.dtype[Any]) -> SufficientStatistics:
        return replace(self, **{name: getattr(self, name).astype(dtype, copy=False) for name in _SUMS})

    def _combined(self, other: SufficientStatistics, combine: Callable[[Any, Any], Any]) -> SufficientStatistics:
        self.check_combines(other)
        n_rows = check_rows(combine(self.n_rows, other.n_rows), max(self.units))
        dtype = dtype_of_sums(max(n_rows, self.n_rows), max(self.units))
        mine, others = self._as(dtype), other._as(dtype)
        sums = {name: combine(getattr(mine, name), getattr(others, name)) for name in _SUMS}
        if self.left_out is not None and other.left_out is not None:
            sums["left_out"] = combine(self.left_out, other.left_out)
        return replace(self, n_rows=n_rows, **sums)
