"""The lag-map kernel: exact sums over images of the products of pixels, tile by tile."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from mrdist._dot_products import MAX_COUNT, ROWS, VECTOR_BYTES, add_products, interleave
from mrdist._lanes import jit

Array = npt.NDArray[Any]

# Measured: a tile stays in the second level of cache, and a column of it in the first while it meets all its lags.
_TILE_GROUPS = 64
_TILE_ROWS = 12
_TILE_COLUMNS = 128
_GROUPS_PER_SUM = 16


@jit
def accumulate(
    source: Array,  # (image, window row, window column, channel), integers, the last two axes in C order
    target: Array,  # (image, row, column, channel)
    size: int,
    dilation: int,
    lag_out: Array,  # (group, map, row, column), uint32 or int64, like all that follow
    cross_out: Array,
    source_out: Array,
    target_out: Array,
    square_out: Array,
    no_items: Array,  # empty arrays of the types of an item and of a lane: uint8 and int32, or both float64
    no_lanes: Array,
) -> None:
    """Accumulate tile by tile: the images of a tile stay in cache while all their products are summed.

    A tile holds the same pixels (i, j) of the block and of the window, and `reach` rows and columns of the window
    around these: the taps of the one and the lagged partners of the other. Its lanes are planar and lie in
    the order (row, group of items, column), so that every lag is one shift of the flat index.
    """
    n_images, n_rows, n_columns, n_channels = source.shape
    reach = (size - 1) * dilation
    cut = _column_cut(size)
    block_rows = ROWS[cut] * dilation
    tile_rows = min(-(-n_rows // block_rows), max(1, _TILE_ROWS // block_rows)) * block_rows
    lanes = VECTOR_BYTES // no_lanes.itemsize
    items = no_lanes.itemsize // no_items.itemsize
    tile_columns = -(-n_columns // -(-n_columns // _TILE_COLUMNS))
    tile_columns = -(-tile_columns // lanes) * lanes
    margin = -(-reach // lanes) * lanes
    n_groups = lag_out.shape[0]
    # images of a tile: whole packs of `items`, which make n_channels groups of lanes
    packs = max(1, min(-(-n_images // items), _TILE_GROUPS // n_channels))
    pitch = _odd(margin + tile_columns + reach, lanes)
    t_pitch = _odd(tile_columns, lanes)
    x = np.empty((tile_rows + reach) * packs * n_channels * pitch * items, dtype=no_items.dtype)
    t = np.empty(tile_rows * packs * n_channels * t_pitch * items, dtype=no_items.dtype)
    edge = np.empty(lag_out.shape[1] * ROWS[cut] * lanes, dtype=lag_out.dtype)

    for i0 in range(0, n_rows, tile_rows):
        for j0 in range(0, n_columns, tile_columns):
            for n0 in range(0, n_images, packs * items):
                n = min(packs * items, n_images - n0)
                n_packs = -(-n // items)
                x_rows = min(tile_rows, -(-(n_rows - i0) // block_rows) * block_rows)
                _convert(source, n0, n, i0, j0 - margin, x_rows + reach, margin + tile_columns + reach, pitch, n_groups, items, x)
                t_rows = min(tile_rows, -(-(n_rows - reach - i0) // block_rows) * block_rows)
                if t_rows > 0 and j0 < n_columns - reach:
                    _convert(target, n0, n, i0, j0, t_rows, tile_columns, t_pitch, n_groups, items, t)
                lane_groups = n_packs * n_channels
                if n_groups == 1:
                    per_group = -(-n * n_channels // items)
                else:
                    per_group = n_packs
                for group in range(n_groups):
                    first = group * n_packs
                    _sum_tile(
                        x.view(no_lanes.dtype), t.view(no_lanes.dtype), first, per_group, lane_groups, (i0, j0), (x_rows, tile_columns), (margin, pitch, t_pitch),
                        size, dilation, lag_out[group], cross_out[group], source_out[group], target_out[group], square_out[group],
                        edge,
                    )


@jit
def _odd(n_columns: int, lanes: int) -> int:
    """Return a pitch of whole vectors, an odd number of them: rows then do not fall into the same sets of the cache."""
    return (-(-n_columns // lanes) | 1) * lanes


@jit
def _column_cut(size: int) -> int:
    """Return how many lags of a column of ``size`` are summed at a time, in passes of nearly equal length."""
    return -(-size // -(-size // MAX_COUNT))


@jit
def _convert(images, n0, n, i0, j0, n_rows, n_columns, pitch, n_groups, items, tile):
    """Pack a rectangle of images into lanes, with zeros beyond the images."""
    height, width, n_channels = images.shape[1:]
    start = min(max(0, -j0), n_columns)
    stop = max(start, min(n_columns, width - j0))
    n_packs = -(-n // items)
    zero = 128 if items == 4 else 0
    zeros = np.zeros(width * n_channels, dtype=images.dtype)
    step = pitch if n_groups == 1 else n_packs * pitch
    for i in range(n_rows):
        y = i0 + i
        row = tile[i * n_packs * n_channels * pitch * items : (i + 1) * n_packs * n_channels * pitch * items]
        if y >= height:
            row[:] = zero
            continue
        for g in range(n_packs * n_channels):
            row[g * pitch * items : (g * pitch + start) * items] = zero
            row[(g * pitch + stop) * items : (g * pitch + n_columns) * items] = zero
        for pack in range(n_packs):
            first = (pack * n_channels if n_groups == 1 else pack) * pitch
            present = min(items, n - pack * items)
            at = (n0 + pack * items) * images.strides[0] + y * images.strides[1] + (j0 + start) * images.strides[2]
            starts = (at, at + images.strides[0], at + 2 * images.strides[0], at + 3 * images.strides[0])
            if interleave(
                images, starts, present, zeros, n_channels, n_groups == 1, stop - start, row, first + start, step
            ):
                continue
            for m in range(n_channels):
                for k in range(items):
                    image, channel = divmod(items * m + k, n_channels) if n_groups == 1 else (k, m)
                    for j in range(start, stop):
                        value = images[n0 + pack * items + image, y, j0 + j, channel] if image < present else 0
                        row[(first + m * step + j) * items + k] = value + zero


@jit
def _sum_tile(
    x, t, first, n_lane_groups, all_groups, corner, extent, pitches, size, dilation,
    lag_out, cross_out, source_out, target_out, square_out, edge,
):
    i0, j0 = corner
    n_rows, n_columns = extent
    margin, pitch, t_pitch = pitches
    lanes = VECTOR_BYTES // x.itemsize
    reach = (size - 1) * dilation
    cut = _column_cut(size)
    rows = ROWS[cut]
    unsigned = 128 if x.itemsize == 4 else 0
    one = np.full(lanes, 0x01010101 if x.itemsize == 4 else 1, dtype=x.dtype)
    nothing = np.zeros(rows * lanes, dtype=x.dtype)
    x_base = np.zeros(rows * lanes, dtype=x.dtype)
    t_base = np.zeros(rows * lanes, dtype=x.dtype)
    x_row, t_row = dilation * all_groups * pitch, dilation * all_groups * t_pitch
    for i in range(n_rows):
        if i % (rows * dilation) >= dilation:
            continue
        for k in range(0, n_columns, lanes):
            for g in range(0, n_lane_groups, _GROUPS_PER_SUM):
                n = min(_GROUPS_PER_SUM, n_lane_groups - g)
                x_at = (i * all_groups + first + g) * pitch + margin + k
                t_at = (i * all_groups + first + g) * t_pitch + k
                place = (i0 + i, j0 + k, dilation)
                if i0 + i >= source_out.shape[1] or j0 + k >= source_out.shape[2]:
                    continue
                _add_maps(x, x_at, pitch, x_row, one, 0, 0, 0, 0, n, 1, 0, 1, cut, nothing, source_out, place, edge)
                for m in range(rows * lanes):
                    x_base[m] = unsigned * edge[m]
                _add_maps(x, x_at, pitch, x_row, x, x_at, pitch, x_row, dilation, n, size, 1 - size, 2 * size - 1, cut, x_base, lag_out, place, edge)
                if i0 + i >= target_out.shape[1] or j0 + k >= target_out.shape[2]:
                    continue
                _add_maps(t, t_at, t_pitch, t_row, one, 0, 0, 0, 0, n, 1, 0, 1, cut, nothing, target_out, place, edge)
                for m in range(rows * lanes):
                    t_base[m] = unsigned * edge[m]
                _add_maps(t, t_at, t_pitch, t_row, t, t_at, t_pitch, t_row, 0, n, 1, 0, 1, cut, t_base, square_out, place, edge)
                _add_maps(t, t_at, t_pitch, t_row, x, x_at, pitch, x_row, dilation, n, size, 0, size, cut, t_base, cross_out, place, edge)


@jit
def _add_maps(
    a, a_start, a_stride, a_step, b, b_start, b_stride, b_step, b_shift, n, size, first_dx, columns, cut, base, out, place, edge
):
    """Add the products of all lags, column by column: lag (dy, dx) is map dy ``columns`` + dx."""
    n_maps, height, width = out.shape
    i0, j0, dilation = place
    lanes = VECTOR_BYTES // a.itemsize
    rows = ROWS[cut]
    n_rows = min(rows, -(-(height - i0) // dilation))
    n_columns = min(lanes, width - j0)
    whole = n_rows == rows and n_columns == lanes and n_maps > 1
    flat = out.reshape(-1) if whole else edge
    start = i0 * width + j0 if whole else 0
    step = dilation * width if whole else lanes
    stride = height * width if whole else rows * lanes
    if not whole:
        edge[: n_maps * rows * lanes] = 0
    for dx in range(first_dx, first_dx + columns):
        dy = 0 if dx >= 0 else 1
        while dy < size:
            count = min(cut, size - dy)
            add_products(
                a, a_start, a_stride, a_step,
                b, b_start + dy * b_step + dx * b_shift, b_stride, b_step,
                n, rows, count,
                base, flat, start + (dy * columns + dx) * stride, step, columns * stride,
            )  # fmt: skip
            dy += count
    if not whole:
        for m in range(n_maps):
            for r in range(n_rows):
                at = (m * rows + r) * lanes
                for j in range(n_columns):
                    out[m, i0 + r * dilation, j0 + j] += edge[at + j]
