"""Rows of chunks of a label, decoded where they are summed."""

from __future__ import annotations

import numpy as np

from mrdist.geometry import Block
from mrdist.storage import ImageReader, Images
from mrdist.windows import ChunkedWindow

_FEWEST_PIXELS = 16  # on a side of a chunk that is summed where it lies: less is not worth the turn of a loop


def rows_of_chunks(height: int) -> int:
    """Return how many rows of pixels are read at a time: whole chunks of ``height`` rows, and not very few of them."""
    return -(-_FEWEST_PIXELS // height) * height


class ChunkRows:
    """A ring of rows of chunks of a label, of those that were read last.

    Bytes are decoded where they stay, chunk by chunk. Other pixels, and those of chunks that are small, that are cut by
    slabs or that zarr has to decode, are put together: a row of chunks is then a chunk itself.

    Parameters
    ----------
    reader
        Of the images.
    images
        The images.
    label
        Of the pixels.
    inside
        Those that will be asked for, inside the images.
    slab
        Images read at a time.
    n_rows
        How many rows of chunks are kept.

    Attributes
    ----------
    as_stored
        Whether chunks are decoded where they stay.
    """

    def __init__(self, reader: ImageReader, images: Images, label: str, inside: Block, slab: int, n_rows: int) -> None:
        self._reader, self._label, self._inside = reader, label, inside
        run, height, width, n_channels = images.chunks
        self._height = rows_of_chunks(height)
        self.as_stored = (
            images.dtype == np.uint8
            and n_channels == images.n_channels
            and reader.fetches(label)
            and height == self._height
            and width >= _FEWEST_PIXELS
            and slab >= min(run, images.n_images)
        )
        self._run = run if self.as_stored else slab
        self._x0 = inside.x0 // width * width if self.as_stored else inside.x0
        self._width = width if self.as_stored else inside.shape[1]
        n_columns = -(-(inside.x1 - self._x0) // self._width)
        n_images = -(-slab // self._run) * self._run
        self._chunks = np.empty(
            (n_rows, n_columns, n_images, self._height, self._width, images.n_channels), dtype=images.dtype
        )

    def expect(self, start: int, stop: int, cut: Block) -> None:
        """Have pixels of images ``start..stop-1`` fetched, those of ``cut`` that will be asked for."""
        place = self._asked_for(cut)
        if place is not None:
            self._reader.expect(self._label, start, stop, place)

    def read(self, start: int, stop: int, cut: Block, shift: int) -> None:
        """Read pixels of images ``start..stop-1``; row k of chunks becomes row ``k + shift``.

        A ``cut`` ends between two chunks, or with the pixels that will be asked for.
        """
        place = self._asked_for(cut)
        if place is None:
            return
        for k in range(place.y0 // self._height, -(-place.y1 // self._height)):
            chunks, above = self._chunks[(k + shift) % len(self._chunks)], k * self._height
            if not self.as_stored:
                rows = Block(max(place.y0, above), place.x0, min(place.y1, above + self._height), place.x1)
                pixels = chunks[0, : stop - start, rows.y0 - above : rows.y1 - above]
                self._reader.read_into(pixels, self._label, start, rows)
                continue
            for column in range((place.x0 - self._x0) // self._width, -(-(place.x1 - self._x0) // self._width)):
                x = self._x0 + column * self._width
                chunk = Block(above, x, above + self._height, x + self._width)
                for n in range(0, stop - start, self._run):
                    self._reader.read_into(chunks[column, n : n + self._run], self._label, start + n, chunk)

    def _asked_for(self, cut: Block) -> Block | None:
        part = cut.common(self._inside)
        return part if min(part.shape) > 0 else None

    def window(self, seen: Block, inside: Block, shift: int) -> ChunkedWindow:
        """Return the pixels from the first one of ``seen`` on, with zeros beyond ``inside`` and what is asked for."""
        origin = seen.y0 + shift * self._height, seen.x0 - self._x0
        return ChunkedWindow(self._chunks, origin, inside.common(self._inside).seen_from(seen))
