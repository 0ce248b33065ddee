"""The lag-map kernel: sums over images of the products of pixels, tile by tile."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from mrdist._lanes import MAX_COUNT, ROWS, VECTOR_BYTES, add_products, add_sums, convert, jit

Array = npt.NDArray[Any]

IMAGES_PER_SUM = 256
"""Images in one floating-point sum: 256 x 255^2 < 2^24 in float32 and 256 x 2^44 < 2^53 in float64."""
# Measured: a column of a tile, over its images, stays in the first level of cache while it meets all its lags.
_TILE_IMAGES = 16
_TILE_ROWS = 16
_TILE_COLUMNS = 160


@jit
def accumulate(
    source: Array,  # (image, window row, window column * channel), integers
    target: Array,  # (image, row, column * channel), integers
    n_channels: int,
    size: int,
    dilation: int,
    lag_out: Array,  # (group, map, row, column), uint32 or int64, like all that follow
    cross_out: Array,
    source_out: Array,
    target_out: Array,
    square_out: Array,
    like: Array,  # empty array of the floating-point type that holds the sums
) -> None:
    """Accumulate tile by tile: a tile of all maps stays in cache while the images stream through it.

    Pixel (i, j) of the block and pixel (i, j) of the window share a tile: the taps of the one and the lagged
    partners of the other are the same window rows i..i+reach. The source's rows lie end to end with `reach` columns
    on both sides, so that every lag is one shift of the flat index; those of target and sums fill whole vectors.
    """
    n_images, n_rows, n_lanes = source.shape
    n_columns = n_lanes // n_channels
    reach = (size - 1) * dilation
    group = ROWS[_column_cut(size)] * dilation
    tile_rows = -(-n_rows // -(-n_rows // _TILE_ROWS))
    tile_rows = -(-tile_rows // group) * group
    tile_columns = -(-n_columns // -(-n_columns // _TILE_COLUMNS))
    margin = reach * n_channels
    lanes = VECTOR_BYTES // like.itemsize
    width = -(-tile_columns * n_channels // lanes) * lanes
    pitch = width + 2 * margin
    n_sums = tile_rows * width
    source_size = (tile_rows + reach) * pitch

    x = np.zeros((_TILE_IMAGES, source_size), dtype=like.dtype)
    t = np.zeros((_TILE_IMAGES, n_sums), dtype=like.dtype)
    lag_sums = np.zeros((lag_out.shape[1], n_sums), dtype=like.dtype)
    tap_sums = np.zeros((cross_out.shape[1], n_sums), dtype=like.dtype)
    plain_sums = np.zeros((3, n_sums), dtype=like.dtype)

    for i0 in range(0, n_rows, tile_rows):
        for j0 in range(0, n_columns, tile_columns):
            corner = (i0, j0)
            tile = (tile_rows, tile_columns, width, n_channels)
            for batch in range(0, n_images, IMAGES_PER_SUM):
                batch_end = min(batch + IMAGES_PER_SUM, n_images)
                lag_sums[:] = 0
                tap_sums[:] = 0
                plain_sums[:] = 0
                for n0 in range(batch, batch_end, _TILE_IMAGES):
                    n = min(_TILE_IMAGES, batch_end - n0)
                    first_lane = j0 * n_channels
                    _cast(source, n0, n, i0, first_lane - margin, tile_rows + reach, pitch, pitch, x)
                    _cast(target, n0, n, i0, first_lane, tile_rows, tile_columns * n_channels, width, t)
                    rows, columns = min(tile_rows, n_rows - i0), min(tile_columns, n_columns - j0)
                    for i in range(rows):
                        for k in range(0, columns * n_channels, lanes):
                            at = margin + i * pitch + k
                            add_sums(x, at, source_size, t, i * width + k, n_sums, n, plain_sums, i * width + k, n_sums)
                    tiling = (margin, pitch, width, lanes)
                    extent = (rows, columns, n_channels, size, dilation)
                    _add_lags(n, x, tiling, extent, lag_sums)
                    rows, columns = min(tile_rows, n_rows - reach - i0), min(tile_columns, n_columns - reach - j0)
                    extent = (rows, columns, n_channels, size, dilation)
                    _add_taps(n, t, x, tiling, extent, tap_sums)
                _flush(lag_sums, corner, tile, lag_out)
                _flush(tap_sums, corner, tile, cross_out)
                _flush(plain_sums[0:1], corner, tile, source_out)
                _flush(plain_sums[1:2], corner, tile, target_out)
                _flush(plain_sums[2:3], corner, tile, square_out)


@jit
def _column_cut(size: int) -> int:
    """Return how many lags of a column of ``size`` are summed at a time, in passes of nearly equal length."""
    return -(-size // -(-size // MAX_COUNT))


@jit
def _cast(
    images: Array,
    first: int,
    n: int,
    first_row: int,
    first_lane: int,
    n_rows: int,
    n_lanes: int,
    pitch: int,
    tile: Array,
) -> None:
    """Copy a rectangle of images first..first+n-1 into the rows of ``tile``, with zeros beyond the images."""
    height, width = images.shape[1:]
    start = max(0, -first_lane)
    stop = max(start, min(n_lanes, width - first_lane))
    for k in range(n):
        for i in range(n_rows):
            y = first_row + i
            row = i * pitch
            if y >= height:
                for lane in range(row, row + n_lanes):
                    tile[k, lane] = 0
                continue
            for lane in range(row, row + start):
                tile[k, lane] = 0
            convert(
                images, ((first + k) * height + y) * width + first_lane + start, tile, k * tile.shape[1] + row + start,
                stop - start,
            )  # fmt: skip
            for lane in range(row + stop, row + n_lanes):
                tile[k, lane] = 0


@jit
def _add_lags(
    n: int, x: Array, tiling: tuple[int, int, int, int], extent: tuple[int, int, int, int, int], sums: Array
) -> None:
    """Add the lag products of ``n`` images, column by column of lags: lag (dy, dx) is map dy (2 r - 1) + dx."""
    margin, pitch, width, lanes = tiling
    n_rows, n_columns, n_channels, size, dilation = extent
    cut, n_sums = _column_cut(size), sums.shape[1]
    rows = ROWS[cut]
    columns = 2 * size - 1
    for i0 in range(0, n_rows, rows * dilation):
        for i in range(i0, i0 + dilation):
            for k in range(0, n_columns * n_channels, lanes):
                at = margin + i * pitch + k
                for dx in range(1 - size, size):
                    dy = 0 if dx >= 0 else 1
                    while dy < size:
                        count = min(cut, size - dy)
                        add_products(
                            x, at, x.shape[1], dilation * pitch,
                            x, at + dilation * (dy * pitch + dx * n_channels), x.shape[1], dilation * pitch,
                            n, rows, count,
                            sums, (dy * columns + dx) * n_sums + i * width + k, dilation * width, columns * n_sums,
                        )  # fmt: skip
                        dy += count


@jit
def _add_taps(
    n: int, t: Array, x: Array, tiling: tuple[int, int, int, int], extent: tuple[int, int, int, int, int], sums: Array
) -> None:
    """Add the products of targets and taps of ``n`` images, column by column: tap (dy, dx) is map dy r + dx."""
    margin, pitch, width, lanes = tiling
    n_rows, n_columns, n_channels, size, dilation = extent
    cut, n_sums = _column_cut(size), sums.shape[1]
    rows = ROWS[cut]
    for i0 in range(0, n_rows, rows * dilation):
        for i in range(i0, i0 + dilation):
            for k in range(0, n_columns * n_channels, lanes):
                at = margin + i * pitch + k
                for dx in range(size):
                    dy = 0
                    while dy < size:
                        count = min(cut, size - dy)
                        add_products(
                            t, i * width + k, t.shape[1], dilation * width,
                            x, at + dilation * (dy * pitch + dx * n_channels), x.shape[1], dilation * pitch,
                            n, rows, count,
                            sums, (dy * size + dx) * n_sums + i * width + k, dilation * width, size * n_sums,
                        )  # fmt: skip
                        dy += count


@jit
def _flush(sums: Array, corner: tuple[int, int], tile: tuple[int, int, int, int], out: Array) -> None:
    """Add a tile of floating-point sums to the integer maps ``out`` of shape (group, map, row, column)."""
    n_groups, n_maps, height, width = out.shape
    i0, j0 = corner
    n_rows, n_columns, pitch, n_channels = tile
    n_columns = min(n_columns, width - j0)
    integers = np.empty(max(n_columns, 0) * n_channels, dtype=out.dtype)
    for m in range(n_maps):
        for i in range(min(n_rows, height - i0)):
            row = sums[m, i * pitch : i * pitch + len(integers)]
            for k in range(len(integers)):
                integers[k] = out.dtype.type(row[k])
            for group in range(n_groups):
                total = out[group, m, i0 + i, j0 : j0 + n_columns]
                if n_groups == n_channels:
                    for j in range(n_columns):
                        total[j] += integers[j * n_channels + group]
                elif n_channels == 3:  # a constant stride lets the compiler use vectors
                    for j in range(n_columns):
                        total[j] += integers[3 * j] + integers[3 * j + 1] + integers[3 * j + 2]
                else:
                    for channel in range(n_channels):
                        for j in range(n_columns):
                            total[j] += integers[j * n_channels + channel]
