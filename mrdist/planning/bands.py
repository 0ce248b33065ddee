"""Bands of rows: a task reads its images in them."""

from __future__ import annotations

from mrdist.planning.cuts import round_up
from mrdist.planning.units import MIB

BAND_BYTES = 12 * MIB  # pixels of one label that a task reads at a time, unless a row of chunks is larger

PART_BYTES = 2 * MIB  # pixels of one label that are decoded before they are summed: a few chunks stay in the cache


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
    return max(BAND_BYTES // row_bytes // chunk * chunk, round_up(reach + 1, chunk))


def part_width(chunk: int, column_bytes: int, reach: int) -> int:
    """Return the number of columns of a band that are summed at a time: whole chunks, more than the lags reach.

    Parameters
    ----------
    chunk
        Columns of a chunk.
    column_bytes
        Bytes of one column of all images of the slab.
    reach
        Of the field, in columns.
    """
    return max(PART_BYTES // column_bytes // chunk * chunk, round_up(reach + 1, chunk))


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
