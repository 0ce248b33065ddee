"""Windows of pixels as the chunks lie that were decoded: nothing is copied before the sums are taken."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from mrdist.geometry import Block, Shape

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class ChunkedWindow:
    """A window of the pixels of some images that lie chunk by chunk.

    Attributes
    ----------
    chunks
        Shape (row of chunks, column of chunks, image, y, x, channel). The rows of chunks are a ring: that with number k
        is at ``k`` modulo the length of the axis.
    origin
        Row and column at which the window begins, counted from those of the chunks with number 0.
    inside
        What lies in the chunks, in rows and columns of the window; pixels beyond it are zeros. It may begin before the
        window does.

    Examples
    --------
    >>> window = ChunkedWindow(np.full((1, 2, 3, 8, 8, 1), 7), (-1, 4), Block(1, 0, 3, 3))
    >>> window.dense(np.array([2]), (3, 3))[0, :, :, 0]
    array([[0, 0, 0],
           [7, 7, 7],
           [7, 7, 7]])
    """

    chunks: Array
    origin: tuple[int, int]
    inside: Block

    @classmethod
    def of(cls, pixels: Array) -> ChunkedWindow:
        """Return the window of an array of shape (image, y, x, channel), which is one chunk."""
        return cls(np.ascontiguousarray(pixels)[None, None], (0, 0), Block(0, 0, *pixels.shape[1:3]))

    def of_type(self, dtype: np.dtype[Any]) -> tuple[Array, tuple[int, int], tuple[int, int, int, int]]:
        """Return what the kernels take for a window: its integers in C order and as another type."""
        inside = self.inside
        chunks = np.ascontiguousarray(self.chunks, dtype=dtype)
        return chunks, self.origin, (inside.y0, inside.x0, inside.y1, inside.x1)

    def dense(self, chosen: npt.NDArray[np.int64], shape: Shape) -> Array:
        """Return the window of some of the images in one array of shape (image, y, x, channel)."""
        n_rows, _, _, height, width, n_channels = self.chunks.shape
        pixels = np.zeros((len(chosen), *shape, n_channels), dtype=self.chunks.dtype)
        (y, x), inside = self.origin, self.inside.clipped(shape)
        for top, down, rows in _parts(y + inside.y0, y + inside.y1, height):
            for left, right, columns in _parts(x + inside.x0, x + inside.x1, width):
                chunk = self.chunks[top // height % n_rows, left // width]
                pixels[:, top - y : down - y, left - x : right - x] = chunk[chosen, rows, columns]
        return pixels


def _parts(start: int, stop: int, length: int) -> list[tuple[int, int, slice]]:
    """Cut ``start..stop-1`` between chunks of a length: first, last + 1, and where they lie in their chunk."""
    cuts = [start, *range((start // length + 1) * length, stop, length), stop]
    return [(a, b, slice(a % length, a % length + b - a)) for a, b in pairwise(cuts) if a < b]
