"""The lag-map kernel: exact sums over images of the products of pixels, tile by tile."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from mrdist._kernels.dot_products import MAX_COUNT, ROWS, add_products, add_sums
from mrdist._kernels.interleaving import interleave
from mrdist._kernels.lanes import VECTOR_BYTES, jit

Array = npt.NDArray[Any]
Place = tuple[int, int, int]
"""First lane of a plane's items in a tile, lanes from one group of items to the next, and from row to row."""
Tile = tuple[int, tuple[int, int], tuple[int, int]]
"""Groups of items of a plane, the first row and column, and how many rows and columns hold pixels."""
Window = tuple[Array, Array, int, tuple[int, int], tuple[int, int, int, int]]
"""Integers as `mrdist.windows.ChunkedWindow` holds them; what is inside as y0, x0, y1, x1."""

# Measured: a tile stays in the second level of cache, and a column of it in the first while it meets all its lags.
_TILE_ROWS = 14
_TILE_COLUMNS = 160
_TILE_GROUPS = 32


@jit
def accumulate(
    source: Window,
    target: Window,
    corner: tuple[int, int],  # row and column of the maps where the first pixels of both windows belong
    extent: tuple[int, int],  # rows and columns to add to source_out and lag_out
    target_extent: tuple[int, int],  # and to the others
    chosen: Array,  # (n,), the images to add
    size: int,
    dilation: int,
    adds_source: bool,  # False where these images' lag maps and source sums are there already
    lag_out: Array,  # (pair, map, row, column), uint32 or int64, like all that follow
    cross_out: Array,
    source_out: Array,  # (plane, row, column)
    target_out: Array,
    square_out: Array,
    no_items: Array,  # empty arrays of the types of an item and of a lane: uint8 and int32, or both float64
    no_lanes: Array,
) -> None:
    """Accumulate tile by tile: the images of a tile stay in cache while all their products are summed.

    Pixel (i, j) of the block and pixel (i, j) of the window share a tile: the taps of the one and the lagged
    partners of the other are the same window rows i..i+reach. A tile's lanes are planar and lie in the order
    (row, group of items, column), with `reach` columns of the window on both sides: every lag is one shift.

    A plane is a channel, or all of them where these share their weights. It is paired with itself, or with every
    plane where each output sees all channels: pair ``k * n_planes + m`` holds the products of plane k, or of the
    target's plane k, with plane m at the lags.
    """
    (n_rows, n_columns), (n_target_rows, n_target_columns) = extent, target_extent
    n_channels = source[0].shape[5]
    n_images, n_planes = len(chosen), len(source_out)
    n_partners = len(lag_out) // n_planes
    shared = n_planes == 1
    reach = (size - 1) * dilation
    rows = ROWS[_column_cut(size)]
    lanes = VECTOR_BYTES // no_lanes.itemsize
    items = no_lanes.itemsize // no_items.itemsize

    tile_rows = min(
        _ceil(n_rows, rows * dilation), max(rows * dilation, _TILE_ROWS // (rows * dilation) * rows * dilation)
    )
    tile_columns = _ceil(_split(n_columns, _TILE_COLUMNS), lanes)
    packs = _split(-(-n_images // items), max(1, _TILE_GROUPS // n_channels))
    groups = packs * n_channels
    margin = _ceil(reach, lanes)
    x_pitch, t_pitch = _odd(margin + tile_columns + reach, lanes), _odd(margin + tile_columns, lanes)
    x_items = np.empty((tile_rows + reach) * groups * x_pitch * items, dtype=no_items.dtype)
    t_items = np.empty(tile_rows * groups * t_pitch * items, dtype=no_items.dtype)
    x, t = x_items.view(no_lanes.dtype), t_items.view(no_lanes.dtype)
    base = np.empty((tile_rows, tile_columns), dtype=no_lanes.dtype)
    squares = np.empty_like(base)
    edge = np.empty(lag_out.shape[1] * rows * lanes, dtype=lag_out.dtype)

    for j0 in range(0, n_columns, tile_columns):
        _fill(x_items, _zero(x_items))  # the columns beyond the images are the same for all rows of tiles
        _fill(t_items, _zero(t_items))
        for i0 in range(0, n_rows, tile_rows):
            for n0 in range(0, n_images, packs * items):
                n = min(packs * items, n_images - n0)
                x_shape, t_shape = (tile_rows + reach, groups, x_pitch), (tile_rows, groups, t_pitch)
                x_columns, x_start = tile_columns + 2 * reach, margin - reach
                _convert(source, chosen, n0, n, i0, j0 - reach, x_columns, shared, x_items, x_shape, x_start)
                _convert(target, chosen, n0, n, i0, j0, tile_columns, shared, t_items, t_shape, margin)
                n_groups = -(-n * n_channels // (items * n_planes))
                for k in range(n_planes):
                    x_place = (k * packs * x_pitch + margin, x_pitch, groups * x_pitch)
                    t_place = (k * packs * t_pitch + margin, t_pitch, groups * t_pitch)
                    place = (corner[0] + i0, corner[1] + j0)
                    tile = (n_groups, place, (min(tile_rows, n_rows - i0), min(tile_columns, n_columns - j0)))
                    if adds_source:
                        _add_sums(x, x_place, tile, base, squares, source_out[k])
                        for m in range(n_partners):
                            other = (_partner(k, m, n_partners) * packs * x_pitch + margin, x_pitch, groups * x_pitch)
                            out = lag_out[k * n_partners + m]
                            _add_maps(x, x_place, x, other, tile, size, 1 - size, dilation, base, edge, out)
                    used = (min(tile_rows, n_target_rows - i0), min(tile_columns, n_target_columns - j0))
                    tile = (n_groups, place, used)
                    _add_sums(t, t_place, tile, base, squares, target_out[k])
                    _add_rows(squares, place, used, square_out[k])
                    for m in range(n_partners):
                        other = (_partner(k, m, n_partners) * packs * x_pitch + margin, x_pitch, groups * x_pitch)
                        out = cross_out[k * n_partners + m]
                        _add_maps(t, t_place, x, other, tile, size, 0, dilation, base, edge, out)


@jit
def _partner(plane: int, number: int, n_partners: int) -> int:
    return plane if n_partners == 1 else number


@jit
def _zero(items: Array) -> int:
    """Return what stands for 0: bytes are stored less 128, as signed numbers."""
    return 128 if items.itemsize == 1 else 0


@jit
def _fill(array: Array, value: int) -> None:
    for k in range(len(array)):  # a plain loop becomes memset, an assignment to a slice does not
        array[k] = value


@jit
def _split(n: int, limit: int) -> int:
    """Return the length of nearly equal parts of ``n`` that are no longer than ``limit``."""
    return max(1, -(-n // max(1, -(-n // limit))))


@jit
def _ceil(n: int, unit: int) -> int:
    return -(-n // unit) * unit


@jit
def _odd(n: int, lanes: int) -> int:
    """Return a pitch of an odd number of vectors: the groups of a column then share no sets of the cache."""
    return (-(-n // lanes) | 1) * lanes


@jit
def _column_cut(size: int) -> int:
    """Return how many lags of a column of ``size`` are summed at a time, in passes of nearly equal length."""
    return _split(size, MAX_COUNT)


@jit
def _convert(
    window: Window,
    chosen: Array,
    n0: int,
    n: int,
    i0: int,
    j0: int,
    n_columns: int,
    shared: bool,
    tile: Array,
    shape: tuple[int, int, int],  # of the tile: rows, groups of items, lanes
    start: int,  # lane of column j0
) -> None:
    """Pack a rectangle of images chosen[n0..n0+n-1] into lanes; rows that are not inside the window become zeros.

    Items are the channels of all images, one after the other, where these are ``shared``; otherwise the images, with
    the groups of the first channel before those of the second. Chunk after chunk is gone through, each from the top:
    the pixels of an image follow one another there. Less than a vector at the left or right end is widened by pixels
    whose lanes nobody reads.
    """
    chunks, above, first_slot, (y, x), (y0, x0, y1, x1) = window
    n_slots, n_chunk_rows, n_stored, height, width, n_channels = chunks.shape
    n_above, of_chunks, of_above = above.shape[2], chunks.reshape(-1), above.reshape(-1)
    n_rows, groups, pitch = shape
    items = 4 if tile.itemsize == 1 else 1
    lanes = VECTOR_BYTES // (items * tile.itemsize)
    zero = _zero(tile)
    top, bottom = min(max(y0 - i0, 0), n_rows), max(0, min(n_rows, y1 - i0))
    _fill(tile[: top * groups * pitch * items], zero)
    _fill(tile[max(top, bottom) * groups * pitch * items :], zero)
    nothing = np.zeros(width * n_channels, dtype=chunks.dtype)
    pack_step, channel_step = (n_channels * pitch, pitch) if shared else (pitch, groups // n_channels * pitch)
    end = j0 + n_columns
    following = max(j0, x0)
    while following < min(end, x1):
        j, column = following, (x + following) % width
        stop = min(j + width - column, end, x1)
        following = stop
        missing = lanes - (stop - j)
        if 0 < missing <= min(column, start) and j == j0:
            j, column = j - missing, column - missing
        elif 0 < missing <= min(width - column - (stop - j), pitch - start - (stop - j0)) and stop == end:
            stop += missing
        to = start + j - j0
        for pack in range(-(-n // items)):
            first, present = n0 + pack * items, min(items, n - pack * items)
            for i in range(top, bottom):
                row, chunk_column = y + i0 + i, (x + j) // width
                if row < 0:
                    images, image_rows, line = of_above, n_above, chunk_column * n_stored * n_above + n_above + row
                else:
                    chunk = (first_slot + chunk_column) % n_slots * n_chunk_rows + row // height
                    images, image_rows, line = of_chunks, height, chunk * n_stored * height + row % height
                at, image_step = (line * width + column) * n_channels, image_rows * width * n_channels
                lane = i * groups * pitch + pack * pack_step + to
                if interleave(
                    images, at, image_step, chosen, first, present, nothing, n_channels, shared, stop - j,
                    tile, lane, channel_step,
                ):  # fmt: skip
                    continue
                for m in range(n_channels):
                    for k in range(items):
                        image, channel = divmod(items * m + k, n_channels) if shared else (k, m)
                        item = (lane + m * channel_step) * items + k
                        pixel = at + image_step * chosen[first + image] + channel if image < present else 0
                        for p in range(stop - j):
                            tile[item + p * items] = images[pixel + p * n_channels] + zero if image < present else zero


@jit
def _add_sums(
    a: Array,
    place: Place,
    tile: Tile,
    base: Array,
    squares: Array,
    out: Array,
) -> None:
    """Add the sums of a tile to ``out``, set its sums of squares, and the base of its sums of products.

    A product of unsigned items is that of an unsigned and a signed one plus 128 times the unsigned one.
    """
    start, stride, row = place
    n_groups, corner, extent = tile
    n_rows, n_columns = extent
    tile_columns = base.shape[1]
    less = 128 if a.itemsize == 4 else 0
    for i in range(n_rows):
        add_sums(a, start + i * row, stride, n_groups, n_columns, base, squares, i * tile_columns)
    _add_rows(base, corner, extent, out)
    for i in range(n_rows):
        for j in range(tile_columns):
            base[i, j] *= less
            squares[i, j] += base[i, j]


@jit
def _add_rows(sums: Array, corner: tuple[int, int], extent: tuple[int, int], out: Array) -> None:
    for i in range(extent[0]):
        row = out[corner[0] + i, corner[1] : corner[1] + extent[1]]
        for j in range(len(row)):
            row[j] += out.dtype.type(sums[i, j])


@jit
def _add_maps(
    a: Array,
    a_place: Place,
    b: Array,
    b_place: Place,
    tile: Tile,
    size: int,
    first_dx: int,
    dilation: int,
    base: Array,
    edge: Array,
    out: Array,
) -> None:
    """Add the products of a and b at all lags (dy, dx) after (0, ``first_dx``), column by column of lags.

    Lag (dy, dx) is map dy (size - first_dx) + dx. Blocks of whole vectors go straight into ``out``, others by way of
    ``edge``.
    """
    a_start, a_stride, a_row = a_place
    b_start, b_stride, b_row = b_place
    n_groups, corner, (n_rows, n_columns) = tile
    n_maps, height, width = out.shape
    base_row = base.shape[1]
    flat = out.reshape(-1)
    lanes = VECTOR_BYTES // a.itemsize
    cut, columns = _column_cut(size), size - first_dx
    rows = ROWS[cut]
    for block in range(0, n_rows, rows * dilation):
        for i in range(block, min(block + dilation, n_rows)):
            for k in range(0, n_columns, lanes):
                used_rows, used_columns = min(rows, -(-(n_rows - i) // dilation)), min(lanes, n_columns - k)
                whole = used_rows == rows and used_columns == lanes
                start = (corner[0] + i) * width + corner[1] + k
                if whole:
                    sums, at, row, step = flat, start, dilation * width, height * width
                else:
                    sums, at, row, step = edge, 0, lanes, rows * lanes
                    _fill(edge[: n_maps * step], 0)
                for dx in range(first_dx, size):
                    dy = 0 if dx >= 0 else 1
                    while dy < size:
                        count = min(cut, size - dy)
                        add_products(
                            a, a_start + i * a_row + k, a_stride, dilation * a_row,
                            b, b_start + (i + dilation * dy) * b_row + k + dilation * dx, b_stride, dilation * b_row,
                            n_groups, rows, count,
                            base, i * base_row + k, dilation * base_row,
                            sums, at + (dy * columns + dx) * step, row, columns * step,
                        )  # fmt: skip
                        dy += count
                if whole:
                    continue
                for m in range(n_maps):
                    for r in range(used_rows):
                        for j in range(used_columns):
                            flat[start + (m * height + r * dilation) * width + j] += edge[(m * rows + r) * lanes + j]
