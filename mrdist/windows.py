"""Windows of pixels as the chunks lie that were decoded: nothing is copied before the sums are taken."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from mrdist.geometry import Block, Shape

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class ChunkedWindow:
    """A window of the pixels of some images that lie chunk by chunk, in columns of chunks side by side.

    Attributes
    ----------
    chunks
        Shape (slot, row of chunks, image, y, x, channel). The slots are a ring: column k of chunks is in slot
        ``first_slot + k`` modulo the length of the axis.
    above
        The rows of pixels above the first row of chunks, shape (column of chunks, image, y, x, channel).
    first_slot
        That of the first column of chunks.
    origin
        Row and column of the pixels at which the window begins, counted from the first ones of the first chunk.
    inside
        What lies in the chunks and above them, in rows and columns of the window; pixels beyond it are zeros. It may
        begin before the window does.

    Examples
    --------
    >>> chunks, above = np.full((1, 1, 3, 8, 8, 1), 7), np.full((1, 3, 1, 8, 1), 5)
    >>> window = ChunkedWindow(chunks, above, 0, (-1, 4), Block(0, 1, 3, 3))
    >>> window.dense(np.array([2]), (3, 3))[0, :, :, 0]
    array([[0, 5, 5],
           [0, 7, 7],
           [0, 7, 7]])
    """

    chunks: Array
    above: Array
    first_slot: int
    origin: tuple[int, int]
    inside: Block

    @classmethod
    def of(cls, pixels: Array) -> ChunkedWindow:
        """Return the window of an array of shape (image, y, x, channel), which is one chunk."""
        chunks = np.ascontiguousarray(pixels)[None, None]
        return cls(chunks, chunks[0, :, :, :0], 0, (0, 0), Block(0, 0, *pixels.shape[1:3]))

    def of_type(self, dtype: np.dtype[Any]) -> tuple[Array, Array, int, tuple[int, int], tuple[int, int, int, int]]:
        """Return what the kernels take for a window: its integers in C order and as another type."""
        chunks, above = (np.ascontiguousarray(pixels, dtype=dtype) for pixels in (self.chunks, self.above))
        inside = self.inside
        return chunks, above, self.first_slot, self.origin, (inside.y0, inside.x0, inside.y1, inside.x1)

    def dense(self, chosen: npt.NDArray[np.int64], shape: Shape) -> Array:
        """Return the window of some of the images in one array of shape (image, y, x, channel)."""
        n_slots, _, _, height, width, n_channels = self.chunks.shape
        pixels = np.zeros((len(chosen), *shape, n_channels), dtype=self.chunks.dtype)
        (y, x), inside = self.origin, self.inside.clipped(shape)
        for column, left, columns in parts_of(x + inside.x0, x + inside.x1, width):
            to = slice(left - x, left - x + columns.stop - columns.start)
            n_above = min(max(0, -y - inside.y0), inside.y1 - inside.y0)
            begin = self.above.shape[2] + y + inside.y0
            kept = self.above[column, chosen, begin : begin + n_above] if n_above else pixels[:, :0]
            pixels[:, inside.y0 : inside.y0 + n_above, to] = kept[:, :, columns] if n_above else 0
            for row, top, rows in parts_of(max(0, y + inside.y0), y + inside.y1, height):
                chunk = self.chunks[(self.first_slot + column) % n_slots, row]
                pixels[:, top - y : top - y + rows.stop - rows.start, to] = chunk[chosen, rows, columns]
        return pixels


def parts_of(start: int, stop: int, length: int) -> Iterator[tuple[int, int, slice]]:
    """Cut ``start..stop-1`` between chunks of a length: which chunk, the first number, and where all are in the chunk.

    Examples
    --------
    >>> list(parts_of(3, 9, 8))
    [(0, 3, slice(3, 8, None)), (1, 8, slice(0, 1, None))]
    """
    for first, end in pairwise([start, *range((start // length + 1) * length, stop, length), stop]):
        if first < end:
            yield first // length, first, slice(first % length, first % length + end - first)
