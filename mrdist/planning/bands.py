"""Bands of rows: a task reads its images in them."""

from __future__ import annotations

from functools import lru_cache
from itertools import pairwise

from mrdist.planning.cuts import round_up
from mrdist.planning.units import MIB

BAND_BYTES = 12 * MIB  # pixels of one label that a task reads at a time, unless a row of chunks is larger

PART_BYTES = 2 * MIB  # pixels of one label that are decoded before they are summed: a few chunks stay in the cache

_FEWEST_PIXELS = 16  # on a side of a chunk that is summed by itself: less is not worth the turn of a loop


def whole_chunks(chunks: tuple[int, int, int, int], n_images: int, n_channels: int, slab: int) -> bool:
    """Whether a slab consists of whole chunks that are large enough to be summed one by one.

    Parameters
    ----------
    chunks
        Their shape, (image, y, x, channel).
    n_images, n_channels
        Of the store.
    slab
        Images read at a time.
    """
    run, height, width, all_channels = chunks
    return min(height, width) >= _FEWEST_PIXELS and all_channels == n_channels and slab >= min(run, n_images)


def band_height(chunk: int, row_bytes: int, reach: int) -> int:
    """Return the number of rows of a slab that a task reads at a time: whole rows of chunks, more than the lags reach.

    Parameters
    ----------
    chunk
        Rows of a chunk.
    row_bytes
        Bytes of one row of all images of the slab.
    reach
        Of the field, in rows.
    """
    return _length(BAND_BYTES, chunk, row_bytes, reach)


def part_width(chunk: int, column_bytes: int, reach: int) -> int:
    """Return the number of columns of a band that are summed at a time, as `band_height` returns that of rows."""
    return _length(PART_BYTES, chunk, column_bytes, reach)


def _length(held: int, chunk: int, line_bytes: int, reach: int) -> int:
    return max(held // line_bytes // chunk * chunk, round_up(reach + 1, chunk))


def band_cuts(start: int, stop: int, chunk: int, height: int) -> list[int]:
    """Cut rows ``start..stop-1`` into bands of ``height`` rows or a little more, between two rows of chunks.

    And columns into parts of a width.

    Examples
    --------
    >>> band_cuts(-1, 257, 64, 64), band_cuts(63, 130, 64, 64)
    ([-1, 64, 128, 192, 257], [63, 130])
    """
    cuts = [start]
    while (cut := round_up(cuts[-1] + height, chunk)) + height // 2 < stop:
        cuts.append(cut)
    return [*cuts, stop]


@lru_cache(4096)
def most_chunks(block: int, length: int, around: int, chunk: int, step: int) -> int:
    """Return how many chunks a band or a part of it touches at most along an axis, of any block.

    Parameters
    ----------
    block
        Pixels of a block along the axis.
    length
        Of the image.
    around
        Pixels that are read before and after the block.
    chunk
        Pixels of a chunk.
    step
        Pixels of a band or part, see `band_height` and `part_width`.

    Examples
    --------
    >>> most_chunks(256, 512, 1, 64, 64), most_chunks(96, 512, 1, 64, 64)
    (2, 3)
    """
    touched = 0
    for start in range(0, length, block):
        cuts = band_cuts(start - around, min(start + block, length) + around, chunk, step)
        for first, end in pairwise(min(max(cut, 0), length) for cut in cuts):
            touched = max(touched, -(-end // chunk) - first // chunk)
    return touched
