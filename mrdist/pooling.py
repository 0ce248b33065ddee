"""Pooled sums: neighbouring pixels lend each other what they have learnt.

A pixel's weights need not be estimated from its own values alone, since those of its neighbours are nearly the same.
With sums pooled over P pixels, the weights of pixel p minimise

    sum_q K(q - p) |t_q - mean t_q - (X_q - mean X_q) w|^2 / sum_q K(q - p)  +  n (b - mean (t_p - X_p w))^2
    +  alpha (|w|^2 + b^2)

over the pixels q of the image, with ``K(dy, dx) = C(2 R, R + dy) C(2 R, R + dx)`` and R = 2 P^2: binomial coefficients,
of a standard deviation of P pixels along each axis. X_q are the n images in the receptive field of q, t_q their
targets. Each pixel has means of its own, so that the intercept b is the pixel's own; a free one has no penalty. With P
= 0 this is the ridge regression of `mrdist.solvers`. Pixels outside the image lend nothing, a column that a neighbour
lacks at the border is zero there, and the weight of a tap of p outside the image is 0.

Equal bits for all blocks: a centred sum ``n S - s s'`` is an integer, and rounded once to float64. Their weighed sums
exceed 64-bit integers (with 1000 images of bytes and P = 2 they need 69 bits), so these are floats, too, added in one
order: the same bits, wherever the blocks end.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from itertools import pairwise
from math import comb
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from mrdist._kernels.lanes_strict import SOLVE_LANES
from mrdist._kernels.pooling import pool_gram, pool_products
from mrdist.geometry import POOLED_COLUMNS, Block, ReceptiveField, Shape, pool_radius, pooled_rows
from mrdist.moments import SufficientStatistics

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Pool:
    """Output pixels among sums, with the neighbours that lend them theirs.

    Attributes
    ----------
    radius
        Of the kernel, R.
    block
        The output pixels, in rows and columns of the sums' block.
    image
        The image, likewise.
    """

    radius: int
    block: Block
    image: Block

    @classmethod
    def of(cls, block: Block, pool: int, shape: Shape, summed: Block) -> Self:
        """Return the pool of a block, of P pixels, whose sums reach over ``summed``, which holds its lenders.

        Examples
        --------
        >>> Pool.of(Block(0, 16, 16, 32), 2, (64, 64), summed=Block(0, 8, 24, 40)).block
        Block(y0=0, x0=8, y1=16, x1=24)
        """
        return cls(pool_radius(pool), block.seen_from(summed), Block(0, 0, *shape).seen_from(summed))

    @classmethod
    def alone(cls, statistics: SufficientStatistics) -> Self:
        """Return the pool of all pixels where no neighbour lends anything."""
        block = Block(0, 0, *statistics.shape)
        return cls(0, block, block.grown(statistics.field.halo))

    @cached_property
    def kernel(self) -> npt.NDArray[np.float64]:
        """Weights along one axis, which add up to 1.

        Examples
        --------
        >>> Pool(1, Block(0, 0, 4, 4), Block(0, 0, 4, 4)).kernel
        array([0.25, 0.5 , 0.25])
        """
        radius = self.radius
        return np.array([comb(2 * radius, k) / 4**radius for k in range(2 * radius + 1)])

    def tiles(self, n_unknowns: int) -> list[Block]:
        """Cut the output pixels into rectangles whose systems are pooled at a time: apart along the image's border.

        Where all neighbours are in the image, taps share their work.
        """
        y0, x0, y1, x1 = _corners(self.block)
        top, left, bottom, right = _corners(self.image)
        margin = max(self.radius, SOLVE_LANES)
        rows = _cuts(y0, y1, top + self.radius, bottom - self.radius, pooled_rows(n_unknowns))
        columns = _cuts(x0, x1, left + margin, right - margin, POOLED_COLUMNS)
        return [Block(y, x, y_end, x_end) for y, y_end in pairwise(rows) for x, x_end in pairwise(columns)]

    def systems(self, statistics: SufficientStatistics, tile: Block) -> tuple[Array, Array]:
        """Return the systems of a tile's pixels, from the sums of all that lend to them.

        Returns
        -------
        gram
            Lower triangles of ``n X' X``, centred, row by row, shape (group, entry, y, x).
        products
            ``n X' t``, centred, shape (plane, tap, y, x). Both have columns for all lanes of a batch.
        """
        field, n_inputs, n_groups = statistics.field, statistics.n_inputs, statistics.n_groups
        maps, entries = _tables(field, n_inputs)
        window_height, window_width = statistics.source_sum.shape[1:]
        lag = statistics.lag.reshape(n_groups, -1, window_height, window_width)
        source_sum = statistics.source_sum.reshape(n_groups, -1, window_width)
        offsets = np.tile(field.offsets, (n_inputs, 1))
        taps = offsets + field.halo
        taps[:, 0] += np.repeat(np.arange(n_inputs), field.n_offsets) * window_height
        cross = statistics.cross.reshape(len(statistics.target_sum), len(taps), *statistics.shape)
        height, width = tile.shape
        columns = max(width, SOLVE_LANES)
        gram = np.zeros((n_groups, len(entries), height, columns))
        products = np.zeros((len(cross), len(taps), height, columns))
        place = _corners(tile), _corners(self.image)
        numbers = statistics.n_rows, statistics.unit
        for group in range(n_groups):
            pool_gram(
                lag[group], source_sum[group], maps, entries, *numbers, field.halo, self.kernel, *place, gram[group]
            )
        for plane, target_sum in enumerate(statistics.target_sum):
            group = plane // (len(cross) // n_groups)
            pool_products(
                cross[plane],
                source_sum[group],
                target_sum,
                taps,
                offsets,
                *numbers,
                self.kernel,
                *place,
                products[plane],
            )
        return gram, products


def crop(statistics: SufficientStatistics, part: Block) -> SufficientStatistics:
    """Return the statistics of a part of their block, in its rows and columns; the sums are views.

    Examples
    --------
    >>> statistics = SufficientStatistics.zeros(ReceptiveField(3), (4, 4), n_groups=1, unit=255)
    >>> crop(statistics, Block(1, 0, 4, 2)).shape
    (3, 2)
    """
    pixels = (..., *part.slices)
    reach = statistics.field.reach
    window = (..., *Block(part.y0, part.x0, part.y1 + reach, part.x1 + reach).slices)
    return replace(
        statistics,
        lag=statistics.lag[window],
        cross=statistics.cross[pixels],
        source_sum=statistics.source_sum[window],
        target_sum=statistics.target_sum[pixels],
        target_square=statistics.target_square[pixels],
        left_out=None if statistics.left_out is None else statistics.left_out.crop(part),
    )


def _cuts(start: int, stop: int, low: int, high: int, most: int) -> list[int]:
    """Cut a range at ``low`` and ``high``, and into parts that are no longer than ``most``."""
    ends = sorted({start, stop, *(cut for cut in (low, high) if start < cut < stop)})
    return [*(cut for one, other in pairwise(ends) for cut in range(one, other, most)), stop]


def _corners(block: Block) -> tuple[int, int, int, int]:
    return block.y0, block.x0, block.y1, block.x1


@lru_cache(maxsize=8)
def _tables(field: ReceptiveField, n_inputs: int) -> tuple[Array, Array]:
    """Return which entries of a Gram matrix come from which lag map.

    Returns
    -------
    maps
        Number of a map among those of its group, its two planes, its lag, and the first of its entries; a last row ends
        the entries. Shape (map + 1, 6).
    entries
        Number of an entry of the lower triangle, row by row, and row and column in the window of the tap that comes
        first; ordered by map, row and column. Shape (entry, 3).
    """
    lookup = field.pair_lookup(n_inputs)
    a, b = np.tril_indices(len(lookup))
    number, y, x = lookup[a, b].T
    order = np.lexsort((x, y, number))
    entries = np.stack([np.arange(len(a)), y, x], axis=1)[order]
    used, start = np.unique(number[order], return_index=True)
    pair, lag = divmod(used, field.n_lags)
    maps = np.column_stack([used, *divmod(pair, n_inputs), field.lags[lag], start])
    return np.vstack([maps, [0, 0, 0, 0, 0, len(entries)]]), entries
