"""Receptive fields and blocks of output pixels: integers only, no images."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import gcd
from typing import Any

import numpy as np
import numpy.typing as npt

from mrdist.arguments import plain, plain_fields, shown
from mrdist.errors import ParameterError

Shape = tuple[int, int]

_REACH = 2**31  # pixels, more than any image has on a side: offsets and their differences are 64-bit integers


MAX_POOL = 8
"""Largest standard deviation over which sums are pooled, in pixels."""
POOLED_COLUMNS = 128
"""Of a tile, whose systems are pooled at a time."""
REMAINING_BYTES = 4 << 20
"""Of the systems of pixels that leave rows out, solved at a time."""
_POOLED_ROWS = 32
_VALUE_BYTES = 8 << 20
_POOLED_BYTES = 16 << 20  # of a tile, unless one row has more


@dataclass(frozen=True)
class ReceptiveField:
    """The square, possibly dilated window of input pixels that one output pixel sees.

    Parameters
    ----------
    size
        Odd side ``r`` of the window in taps.
    dilation
        Distance between neighbouring taps in pixels.

    Raises
    ------
    ParameterError
        If ``size`` is not odd and positive, ``dilation`` is not positive, or the field is wider than any image.

    Examples
    --------
    >>> field = ReceptiveField(3, dilation=2)
    >>> field.halo, field.n_offsets, field.n_lags
    (2, 9, 13)
    >>> field.offsets[0]
    array([-2, -2])
    """

    size: int = 3
    dilation: int = 1

    def __post_init__(self) -> None:
        plain_fields(self)
        if self.size < 1 or self.size % 2 == 0:
            raise ParameterError(
                f"receptive_field must be odd and at least 1 so that it has a centre, got {self.size}; "
                f"use {max(1, self.size - 1)} or {max(1, self.size + 1)}."
            )
        if self.dilation < 1:
            raise ParameterError(f"dilation must be at least 1, got {self.dilation}.")
        if self.reach > _REACH:
            raise ParameterError(
                f"a receptive field of {self.size} taps at dilation {self.dilation} is {self.reach} pixels wide, more "
                f"than {_REACH}; use a smaller receptive_field or dilation."
            )

    @property
    def halo(self) -> int:
        """Pixels that the field reaches beyond its centre, on each side."""
        return self.size // 2 * self.dilation

    @property
    def reach(self) -> int:
        """Largest distance between two taps along one axis, in pixels."""
        return 2 * self.halo

    @property
    def n_offsets(self) -> int:
        """Number of taps, ``r^2``."""
        return self.size**2

    @property
    def n_lags(self) -> int:
        """Number of lag maps that hold every Gram entry once, ``((2r - 1)^2 + 1) / 2``."""
        return ((2 * self.size - 1) ** 2 + 1) // 2

    @cached_property
    def offsets(self) -> npt.NDArray[np.int64]:
        """Taps ``(dy, dx)`` relative to the centre in raster order, shape (n_offsets, 2)."""
        side = np.arange(-(self.size // 2), self.size // 2 + 1) * self.dilation
        return np.stack(np.meshgrid(side, side, indexing="ij"), axis=-1).reshape(-1, 2)

    @cached_property
    def lags(self) -> npt.NDArray[np.int64]:
        """Differences ``(dy, dx) >= (0, 0)`` of two taps in lexicographic order, shape (n_lags, 2)."""
        side = np.arange(-(self.size - 1), self.size) * self.dilation
        pairs = np.stack(np.meshgrid(side, side, indexing="ij"), axis=-1).reshape(-1, 2)
        return pairs[len(pairs) // 2 :]

    @cached_property
    def gram_lookup(self) -> npt.NDArray[np.int64]:
        """Where the Gram entry of taps ``a >= b`` lies, shape (n_offsets, n_offsets, 3).

        The entry of output pixel ``p`` is lag map ``[..., 0]`` at ``p + (y, x)`` with ``(y, x) = [..., 1:]``
        counted from the corner of the window, that is, from ``p - (halo, halo)``.
        """
        lookup = np.zeros((self.n_offsets, self.n_offsets, 3), dtype=np.int64)
        first = {(int(dy), int(dx)): k for k, (dy, dx) in enumerate(self.lags)}
        for a in range(self.n_offsets):
            for b in range(a + 1):
                # taps are in raster order, so a >= b makes the difference a lag >= (0, 0)
                dy, dx = self.offsets[a] - self.offsets[b]
                lookup[a, b] = (first[int(dy), int(dx)], *(self.offsets[b] + self.halo))
        return lookup

    def pair_lookup(self, n_inputs: int) -> npt.NDArray[np.int64]:
        """Where the Gram entries lie of taps in several channels, shape (n_inputs n_offsets, n_inputs n_offsets, 3).

        As `gram_lookup`, for taps in channel-major order, where the lag maps of channel k times channel m are the
        ``n_lags`` ones from ``(k n_inputs + m) n_lags`` on.

        Examples
        --------
        >>> ReceptiveField(3).pair_lookup(2)[9, 8].tolist()  # first tap of the second channel, last one of the first
        [38, 0, 0]
        """
        n = self.n_offsets
        a, b = (axis.ravel() for axis in np.indices((n_inputs * n, n_inputs * n)))
        (channel_a, tap_a), (channel_b, tap_b) = divmod(a, n), divmod(b, n)
        later, earlier = np.maximum(tap_a, tap_b), np.minimum(tap_a, tap_b)
        first = np.where(tap_a >= tap_b, channel_b, channel_a)  # the earlier tap's channel is the first factor
        pair = first * n_inputs + channel_a + channel_b - first
        lookup = self.gram_lookup[later, earlier] + np.stack([pair * self.n_lags, 0 * pair, 0 * pair], axis=1)
        return lookup.reshape(n_inputs * n, n_inputs * n, 3)

    def contains(self, other: ReceptiveField) -> bool:
        """Whether every tap of ``other`` is a tap of this field: then this field's statistics serve ``other``, too.

        Examples
        --------
        >>> ReceptiveField(5).contains(ReceptiveField(3, dilation=2))
        True
        >>> ReceptiveField(5, dilation=2).contains(ReceptiveField(3))
        False
        """
        return other.halo <= self.halo and (other.size == 1 or other.dilation % self.dilation == 0)

    def check_contains(self, other: ReceptiveField) -> None:
        """Raise ParameterError if a tap of ``other`` is not a tap of this field."""
        if not self.contains(other):
            raise ParameterError(
                f"receptive_field {other.size} with dilation {other.dilation} has taps that receptive_field "
                f"{self.size} with dilation {self.dilation} lacks; choose one that reaches at most {self.halo} pixels "
                f"from its centre, with a dilation that is a multiple of {self.dilation}."
            )

    def offsets_of(self, other: ReceptiveField) -> npt.NDArray[np.int64]:
        """Return the indices of a contained field's taps among this one's `offsets`, shape (other.n_offsets,)."""
        raster = other.offsets // self.dilation + self.size // 2
        return raster @ (self.size, 1)

    def lags_of(self, other: ReceptiveField) -> npt.NDArray[np.int64]:
        """Return the indices of a contained field's lags among this one's `lags`, shape (other.n_lags,)."""
        return other.lags // self.dilation @ (2 * self.size - 1, 1)

    def in_bounds(self, shape: Shape) -> npt.NDArray[np.bool_]:
        """Which taps lie inside the image.

        Parameters
        ----------
        shape
            Image height and width in pixels.

        Returns
        -------
        ndarray
            Boolean array of shape (n_offsets, y, x).
        """
        y = np.arange(shape[0]) + self.offsets[:, :1]
        x = np.arange(shape[1]) + self.offsets[:, 1:]
        inside_y = (y >= 0) & (y < shape[0])
        inside_x = (x >= 0) & (x < shape[1])
        return inside_y[:, :, None] & inside_x[:, None, :]

    def readers_of(self, where: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
        """Return the output pixels that read any of the input pixels ``where``.

        Parameters
        ----------
        where
            Shape (..., y + 2 halo, x + 2 halo): a window around the output pixels.

        Returns
        -------
        ndarray of bool
            Shape (..., y, x).

        Examples
        --------
        >>> ReceptiveField(3).readers_of(np.eye(4, 5, dtype=bool)).astype(int)
        array([[1, 1, 1],
               [1, 1, 1]])
        """
        height, width = where.shape[-2] - self.reach, where.shape[-1] - self.reach
        readers = np.zeros((*where.shape[:-2], height, width), dtype=bool)
        for y, x in self.offsets + self.halo:
            readers |= where[..., y : y + height, x : x + width]
        return readers

    def check_fits(self, shape: Shape) -> None:
        """Raise ParameterError if the field is wider than an image of ``shape``."""
        if self.reach + 1 > min(shape):
            raise ParameterError(
                f"receptive_field {self.size} with dilation {self.dilation} spans {self.reach + 1} pixels, "
                f"more than the image's shorter side of {min(shape)}; choose a smaller field."
            )


def common_field(fields: Sequence[ReceptiveField]) -> ReceptiveField:
    """Return the smallest field that contains the taps of all ``fields``: its statistics serve each of them.

    Examples
    --------
    >>> common_field([ReceptiveField(3), ReceptiveField(7), ReceptiveField(3, dilation=3)])
    ReceptiveField(size=7, dilation=1)
    >>> common_field([ReceptiveField(3, dilation=2), ReceptiveField(3, dilation=3)])
    ReceptiveField(size=7, dilation=1)
    """
    halo = max(field.halo for field in fields)
    dilation = gcd(*(field.dilation for field in fields if field.size > 1)) or 1
    return ReceptiveField(2 * (halo // dilation) + 1, dilation)


def check_pool(pool: Any) -> int:
    """Return the standard deviation, in pixels, over which neighbours lend each other their sums, see `mrdist.pooling`.

    Raises
    ------
    ParameterError
        If it is not a whole number of 0 to `MAX_POOL`.

    Examples
    --------
    >>> check_pool(2)
    2
    """
    deviation = plain(pool)
    if isinstance(deviation, bool) or not isinstance(deviation, int):
        raise ParameterError(f"pool must be a whole number, got {shown(pool)}.")
    if not 0 <= deviation <= MAX_POOL:
        raise ParameterError(
            f"pool must be from 0, which turns it off, to {MAX_POOL} pixels of standard deviation, got {deviation}; 2 "
            "suits photographs of faces of 128 pixels."
        )
    return deviation


def pool_radius(pool: int) -> int:
    """Return how far the neighbours are, at most, whose sums are pooled with a standard deviation of ``pool`` pixels.

    Examples
    --------
    >>> [pool_radius(pool) for pool in (0, 1, 2, 4)]
    [0, 2, 8, 32]
    """
    return 2 * pool**2


def pooled_rows(n_unknowns: int) -> int:
    """Return the rows of a tile whose systems are pooled at a time."""
    return max(1, min(_POOLED_ROWS, _POOLED_BYTES // _pooled_row(n_unknowns)))


def images_at_a_time(n_images: int, run: int, image_bytes: int) -> int:
    """Return how many images' values are held while they become pixels: whole chunks, up to 8 MiB, at least one.

    Parameters
    ----------
    n_images, run
        Images that are asked for, and those of a chunk.
    image_bytes
        Bytes of the values of an image, with the copies that are made of them.

    Examples
    --------
    >>> images_at_a_time(1000, 16, 1 << 17), images_at_a_time(1000, 100, 1 << 20), images_at_a_time(10, 100, 1 << 20)
    (64, 100, 10)
    """
    return min(n_images, run * max(1, _VALUE_BYTES // max(run * image_bytes, 1)))


def pooled_bytes(n_unknowns: int) -> int:
    """Return the bytes of a tile, of its systems and of what they are made of.

    Examples
    --------
    >>> pooled_bytes(9), pooled_bytes(147)
    (3538944, 22579200)
    """
    return 2 * pooled_rows(n_unknowns) * _pooled_row(n_unknowns)


def _pooled_row(n_unknowns: int) -> int:
    return 8 * n_unknowns * (n_unknowns + 3) // 2 * POOLED_COLUMNS


@dataclass(frozen=True, order=True)
class Block:
    """A rectangle of output pixels, ``y0 <= y < y1`` and ``x0 <= x < x1``: the unit of work."""

    y0: int
    x0: int
    y1: int
    x1: int

    @property
    def shape(self) -> Shape:
        """Height and width in pixels."""
        return self.y1 - self.y0, self.x1 - self.x0

    @property
    def slices(self) -> tuple[slice, slice]:
        """Slices along y and x."""
        return slice(self.y0, self.y1), slice(self.x0, self.x1)

    def grown(self, halo: int) -> Block:
        """Return the block with ``halo`` pixels more on every side, beyond the image if need be."""
        return Block(self.y0 - halo, self.x0 - halo, self.y1 + halo, self.x1 + halo)

    def clipped(self, shape: Shape) -> Block:
        """Return the part inside an image of ``shape``."""
        return Block(max(self.y0, 0), max(self.x0, 0), min(self.y1, shape[0]), min(self.x1, shape[1]))

    def common(self, other: Block) -> Block:
        """Return the pixels that lie in both blocks, an empty one if there are none."""
        y0, x0 = max(self.y0, other.y0), max(self.x0, other.x0)
        return Block(y0, x0, max(y0, min(self.y1, other.y1)), max(x0, min(self.x1, other.x1)))

    def seen_from(self, other: Block) -> Block:
        """Return the block in the rows and columns of another."""
        return Block(self.y0 - other.y0, self.x0 - other.x0, self.y1 - other.y0, self.x1 - other.x0)

    def lenders(self, pool: int, shape: Shape) -> Block:
        """Return the pixels of an image of ``shape`` that lend this block their sums, see `mrdist.pooling`.

        Examples
        --------
        >>> Block(0, 16, 16, 32).lenders(2, (64, 64))
        Block(y0=0, x0=8, y1=24, x1=40)
        """
        return self.grown(pool_radius(pool)).clipped(shape)

    def within(self, other: Block) -> tuple[slice, slice]:
        """Return the slices that cut this block out of an array over ``other``, which holds it."""
        return (
            slice(self.y0 - other.y0, self.y1 - other.y0),
            slice(self.x0 - other.x0, self.x1 - other.x0),
        )

    def __str__(self) -> str:
        return f"rows {self.y0}:{self.y1}, columns {self.x0}:{self.x1}"


def block_grid(shape: Shape, block: Shape) -> list[Block]:
    """Cut an image into blocks, smaller ones at the lower and right edge.

    Parameters
    ----------
    shape
        Image height and width in pixels.
    block
        Height and width of a whole block in pixels.

    Returns
    -------
    list of Block
        In raster order; every pixel lies in exactly one.

    Examples
    --------
    >>> [b.shape for b in block_grid((5, 4), (3, 4))]
    [(3, 4), (2, 4)]
    """
    return list(_blocks(shape, block))


def _blocks(shape: Shape, block: Shape) -> Iterator[Block]:
    for y in range(0, shape[0], block[0]):
        for x in range(0, shape[1], block[1]):
            yield Block(y, x, y + block[0], x + block[1]).clipped(shape)
