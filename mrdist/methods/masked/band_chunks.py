"""The chunks of a label in a band of rows, decoded where they are summed."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from mrdist.geometry import Block, ReceptiveField
from mrdist.storage import ImageReader, Images
from mrdist.windows import ChunkedWindow, parts_of


class BandChunks:
    """The chunks of a label that the parts of bands are summed from.

    Bytes are summed where they were decoded, chunk by chunk. Other pixels, and those of chunks that are small, that
    slabs cut or that zarr has to decode, are put together: a band of them is one chunk.

    Columns of chunks are in a ring: that of a part, those to its left that its sums need as well, and those of the next
    part if it is read ahead. Of the band above, the rows are kept that lie within reach.

    Parameters
    ----------
    reader
        Of the images.
    images
        The images.
    label
        Of the pixels.
    field
        The receptive field.
    inside
        Pixels that will be asked for, inside the images.
    slab
        Images read at a time.
    cuts
        Where bands and their parts begin and end: rows, then columns.
    as_stored
        Whether chunks are summed one by one.
    ahead
        Whether a part is read while the one before is worked on.
    """

    def __init__(
        self,
        reader: ImageReader,
        images: Images,
        label: str,
        field: ReceptiveField,
        inside: Block,
        slab: int,
        cuts: tuple[Sequence[int], Sequence[int]],
        *,
        as_stored: bool,
        ahead: bool,
    ) -> None:
        self._reader, self._label, self._inside, self._as_stored = reader, label, inside, as_stored
        y_cuts, x_cuts = (
            [min(max(cut, low), high) for cut in each]
            for each, low, high in zip(cuts, (inside.y0, inside.x0), (inside.y1, inside.x1), strict=True)
        )
        self._run, self._height, self._width, _ = images.chunks
        if not as_stored:
            self._run, self._width = slab, inside.shape[1]
            self._height = max(end - start for start, end in pairwise(y_cuts))
        self._left = inside.x0 // self._width * self._width if as_stored else inside.x0
        self._n_columns = -(-(inside.x1 - self._left) // self._width)
        n_rows = max(-(-end // self._height) - start // self._height for start, end in pairwise(y_cuts))
        of_part = max(
            -(-(end - self._left) // self._width) - (start - self._left) // self._width
            for start, end in pairwise(x_cuts)
        )
        to_the_left = min(-(-2 * field.reach // self._width), self._n_columns) if len(x_cuts) > 2 else 0
        image = self._width, images.n_channels
        n_images = -(-slab // self._run) * self._run
        self._chunks = np.empty(
            (to_the_left + of_part * (1 + ahead), n_rows if as_stored else 1, n_images, self._height, *image),
            dtype=images.dtype,
        )
        self._end, n_kept = cuts[0][-1], field.reach if len(y_cuts) > 2 else 0
        self._above = np.empty((2 + ahead, self._n_columns, n_images, n_kept, *image), dtype=images.dtype)

    def expect(self, start: int, stop: int, cut: Block) -> None:
        """Have pixels of images ``start..stop-1`` fetched, those of ``cut`` that will be asked for."""
        place = cut.common(self._inside)
        if min(place.shape) > 0:
            self._reader.expect(self._label, start, stop, place)

    def read(self, start: int, stop: int, cut: Block, turn: int) -> None:
        """Read a part of images ``start..stop-1``; ``turn`` counts the bands that were begun."""
        place, top = cut.common(self._inside), self._top(cut)
        if min(place.shape) <= 0:
            return
        for column, _, columns in parts_of(place.x0 - self._left, place.x1 - self._left, self._width):
            chunks = self._chunks[(turn * self._n_columns + column) % len(self._chunks)]
            for row, _, rows in parts_of(place.y0 - top, place.y1 - top, self._height):
                if not self._as_stored:
                    self._reader.read_into(chunks[row, : stop - start, rows, columns], self._label, start, place)
                    continue
                corner = row * self._height + top, column * self._width + self._left
                whole = Block(*corner, corner[0] + self._height, corner[1] + self._width)
                for n in range(0, stop - start, self._run):
                    self._reader.read_into(chunks[row, n : n + self._run], self._label, start + n, whole)
            if cut.y1 >= self._end:
                continue
            above = self._above[(turn + 1) % len(self._above), column]  # of the next band
            first = cut.y1 - above.shape[1]
            for row, y, rows in parts_of(max(first, place.y0) - top, place.y1 - top, self._height):
                to = y + top - first
                above[:, to : to + rows.stop - rows.start] = chunks[row, :, rows]

    def _top(self, cut: Block) -> int:
        """Return the first row of pixels of the chunks of a band."""
        first = max(cut.y0, self._inside.y0)
        return first // self._height * self._height if self._as_stored else first

    def window(self, seen: Block, inside: Block, cut: Block, turn: int) -> ChunkedWindow:
        """Return the pixels from the first one of ``seen`` on, with zeros beyond ``inside`` and what is asked for.

        They are in the part that was read last, to the left of it and above.
        """
        return ChunkedWindow(
            self._chunks,
            self._above[turn % len(self._above)],
            turn * self._n_columns % len(self._chunks),
            (seen.y0 - self._top(cut), seen.x0 - self._left),
            inside.common(self._inside).seen_from(seen),
        )
