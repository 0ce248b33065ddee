"""The lag-map kernel: exact sums over images of the products of pixels, tile by tile."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from mrdist._dot_products import MAX_COUNT, ROWS, VECTOR_BYTES, add_products, add_sums, interleave
from mrdist._lanes import jit

Array = npt.NDArray[Any]

# Measured: a tile stays in the second level of cache, and a column of it in the first while it meets all its lags.
_TILE_ROWS = 14
_TILE_COLUMNS = 160
_TILE_GROUPS = 32


@jit
def accumulate(
    source: Array,  # (image, window row, window column, channel), integers, the last two axes in C order
    target: Array,  # (image, row, column, channel)
    size: int,
    dilation: int,
    lag_out: Array,  # (group, map, row, column), uint32 or int64, like all that follow
    cross_out: Array,
    source_out: Array,  # (group, row, column)
    target_out: Array,
    square_out: Array,
    no_items: Array,  # empty arrays of the types of an item and of a lane: uint8 and int32, or both float64
    no_lanes: Array,
) -> None:
    """Accumulate tile by tile: the images of a tile stay in cache while all their products are summed.

    Pixel (i, j) of the block and pixel (i, j) of the window share a tile: the taps of the one and the lagged
    partners of the other are the same window rows i..i+reach. The lanes of a tile are planar and lie in the order
    (row, group of items, column), with `reach` columns of the window on both sides: every lag is one shift.
    """
    n_images, n_rows, n_columns, n_channels = source.shape
    n_regressions = lag_out.shape[0]
    shared = n_regressions == 1
    reach = (size - 1) * dilation
    rows = ROWS[_column_cut(size)]
    lanes = VECTOR_BYTES // no_lanes.itemsize
    items = no_lanes.itemsize // no_items.itemsize

    block = rows * dilation
    tile_rows = min(-(-n_rows // block), max(1, _TILE_ROWS // block)) * block
    tile_columns = _ceil(_split(n_columns, _TILE_COLUMNS), lanes)
    packs = _split(-(-n_images // items), max(1, _TILE_GROUPS // n_channels))
    groups = packs * n_channels
    margin = _ceil(reach, lanes)
    pitches = (_odd(margin + tile_columns + reach, lanes), _odd(tile_columns, lanes))
    x = np.empty((tile_rows + reach) * groups * pitches[0] * items, dtype=no_items.dtype)
    t = np.empty(tile_rows * groups * pitches[1] * items, dtype=no_items.dtype)
    base = np.empty((tile_rows, tile_columns), dtype=no_lanes.dtype)
    edge = np.empty(lag_out.shape[1] * rows * lanes, dtype=lag_out.dtype)

    for j0 in range(0, n_columns, tile_columns):
        _fill(x, zero_of(x))
        _fill(t, zero_of(t))
        for i0 in range(0, n_rows, tile_rows):
            for n0 in range(0, n_images, packs * items):
                n = min(packs * items, n_images - n0)
                extent = (tile_rows + reach, groups, pitches[0])
                _convert(source, (n0, i0, j0 - reach), (n, tile_columns + 2 * reach), shared, x, extent, margin - reach)
                _convert(target, (n0, i0, j0), (n, tile_columns), shared, t, (tile_rows, groups, pitches[1]), 0)
                used = -(-n * n_channels // (items * n_regressions))
                for regression in range(n_regressions):
                    _add_tile(
                        x.view(no_lanes.dtype), t.view(no_lanes.dtype), regression * packs, used, groups,
                        margin, pitches, (i0, j0), size, dilation, base, edge,
                        lag_out[regression], cross_out[regression],
                        source_out[regression], target_out[regression], square_out[regression],
                    )  # fmt: skip


@jit
def zero_of(tile):
    return 128 if tile.itemsize == 1 else 0


@jit
def _fill(tile, value):
    for k in range(len(tile)):
        tile[k] = value


@jit
def _split(n: int, limit: int) -> int:
    """Return the length of nearly equal parts of ``n`` that are no longer than ``limit``."""
    return max(1, -(-n // max(1, -(-n // limit))))


@jit
def _ceil(n: int, unit: int) -> int:
    return -(-n // unit) * unit


@jit
def _odd(n_columns: int, lanes: int) -> int:
    """Return a pitch of whole vectors, an odd number of them: rows then do not fall into the same sets of the cache."""
    return (-(-n_columns // lanes) | 1) * lanes


@jit
def _column_cut(size: int) -> int:
    """Return how many lags of a column of ``size`` are summed at a time, in passes of nearly equal length."""
    return _split(size, MAX_COUNT)


@jit
def _convert(images, corner, count, shared, tile, extent, start):
    """Pack a rectangle of images into lanes, with zeros beyond the images."""
    height, width, n_channels = images.shape[1:]
    n0, i0, j0 = corner
    n, n_columns = count
    n_rows, groups, pitch = extent
    items = 4 if tile.itemsize == 1 else 1
    zero = zero_of(tile)
    skip = max(0, -j0)
    j0 += skip
    start += skip
    n_columns = min(n_columns - skip, width - j0)
    if n_columns <= 0:
        return
    zeros = np.zeros(n_columns * n_channels, dtype=images.dtype)
    group_step = pitch if shared else groups // n_channels * pitch
    stored = min(n_rows, height - i0)
    if stored < n_rows:
        _fill(tile[max(stored, 0) * groups * pitch * items :], zero)
    for pack in range(-(-n // items)):
        at = n0 + pack * items
        present = min(items, n - pack * items)
        for i in range(stored):
            byte = at * images.strides[0] + (i0 + i) * images.strides[1] + j0 * images.strides[2]
            starts = (byte, byte + images.strides[0], byte + 2 * images.strides[0], byte + 3 * images.strides[0])
            lane = (i * groups + (pack * n_channels if shared else pack)) * pitch + start
            if interleave(images, starts, present, zeros, n_channels, shared, n_columns, tile, lane, group_step):
                continue
            for m in range(n_channels):
                for k in range(items):
                    image, channel = divmod(items * m + k, n_channels) if shared else (k, m)
                    for j in range(n_columns):
                        value = images[at + image, i0 + i, j0 + j, channel] if image < present else 0
                        tile[(lane + m * group_step + j) * items + k] = value + zero


@jit
def _add_tile(
    x, t, first, n, groups, margin, pitches, corner, size, dilation, base, edge,
    lag_out, cross_out, source_out, target_out, square_out,
):
    i0, j0 = corner
    x_pitch, t_pitch = pitches
    lanes = VECTOR_BYTES // x.itemsize
    x_row, t_row = groups * x_pitch, groups * t_pitch
    x_start, t_start = first * x_pitch + margin, first * t_pitch
    tile_rows, tile_columns = base.shape
    n_rows, n_columns = min(tile_rows, source_out.shape[0] - i0), min(tile_columns, source_out.shape[1] - j0)
    sums = np.empty(tile_columns, dtype=x.dtype)
    squares = np.empty(tile_columns, dtype=x.dtype)
    unsigned = 128 if x.itemsize == 4 else 0
    for i in range(n_rows):
        add_sums(x, x_start + i * x_row, x_pitch, n, -(-n_columns // lanes), sums, squares)
        _add_row(sums, source_out[i0 + i, j0 : j0 + n_columns])
        for j in range(tile_columns):
            base[i, j] = unsigned * sums[j]
    a, b = (x_start, x_pitch, x_row), (x_start, x_pitch, x_row)
    _add_maps(x, a, x, b, n, (n_rows, n_columns), size, 1 - size, dilation, base, lag_out, corner, edge)

    n_rows, n_columns = min(tile_rows, target_out.shape[0] - i0), min(tile_columns, target_out.shape[1] - j0)
    if n_columns <= 0:
        return
    for i in range(n_rows):
        add_sums(t, t_start + i * t_row, t_pitch, n, -(-n_columns // lanes), sums, squares)
        _add_row(sums, target_out[i0 + i, j0 : j0 + n_columns])
        for j in range(tile_columns):
            base[i, j] = unsigned * sums[j]
            squares[j] += base[i, j]
        _add_row(squares, square_out[i0 + i, j0 : j0 + n_columns])
    a = (t_start, t_pitch, t_row)
    _add_maps(t, a, x, b, n, (n_rows, n_columns), size, 0, dilation, base, cross_out, corner, edge)


@jit
def _add_row(sums, out):
    for j in range(len(out)):
        out[j] += out.dtype.type(sums[j])


@jit
def _add_maps(a, a_place, b, b_place, n, extent, size, first_dx, dilation, base, out, corner, edge):
    """Add the products of all lags, column by column: lag (dy, dx) is map dy ``columns`` + dx."""
    a_start, a_stride, a_row = a_place
    b_start, b_stride, b_row = b_place
    n_rows, n_columns = extent
    n_maps, height, width = out.shape
    columns = size - first_dx
    flat, flat_base, base_row = out.reshape(-1), base.reshape(-1), base.shape[1]
    lanes = VECTOR_BYTES // a.itemsize
    cut = _column_cut(size)
    rows = ROWS[cut]
    for block in range(0, n_rows, rows * dilation):
        for i in range(block, min(block + dilation, n_rows)):
            for k in range(0, n_columns, lanes):
                start = (corner[0] + i) * width + corner[1] + k
                used_rows, used_columns = min(rows, -(-(n_rows - i) // dilation)), min(lanes, n_columns - k)
                if used_rows == rows and used_columns == lanes:
                    sums, at, step, stride = flat, start, dilation * width, height * width
                else:
                    sums, at, step, stride = edge, 0, lanes, rows * lanes
                    _fill(edge[: n_maps * stride], 0)
                for dx in range(first_dx, size):
                    dy = 0 if dx >= 0 else 1
                    while dy < size:
                        count = min(cut, size - dy)
                        add_products(
                            a, a_start + i * a_row + k, a_stride, dilation * a_row,
                            b, b_start + (i + dilation * dy) * b_row + k + dilation * dx, b_stride, dilation * b_row,
                            n, rows, count,
                            flat_base, i * base_row + k, dilation * base_row,
                            sums, at + (dy * columns + dx) * stride, step, columns * stride,
                        )  # fmt: skip
                        dy += count
                if used_rows < rows or used_columns < lanes:
                    for m in range(n_maps):
                        for r in range(used_rows):
                            for j in range(used_columns):
                                flat[start + m * height * width + r * dilation * width + j] += edge[
                                    (m * rows + r) * lanes + j
                                ]
