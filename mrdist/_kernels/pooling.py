"""Centred sums of neighbouring pixels, weighed and added: one fixed sequence of rounded operations a pixel.

A centred sum ``n S - s s'`` is an integer, rounded once to float64. The rows of a kernel are added first, from above,
then its columns, from the left: the same bits in every tile.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from mrdist._kernels.lanes import jit
from mrdist._kernels.systems import EXACT, centred

Array = npt.NDArray[Any]
Rectangle = tuple[int, int, int, int]
"""First row and column, and those after the last."""


@jit
def pool_gram(
    lag: Array,  # (map, window row, window column)
    source_sum: Array,  # (input * window row, window column)
    maps: Array,  # (map that is used, 6): number, planes, lag and first entry, see mrdist.pooling
    entries: Array,  # (entry, 3): number, and row and column of the earlier tap in the window; by map, row and column
    n_rows: int,
    unit: int,
    halo: int,
    kernel: Array,  # (2 radius + 1,)
    tile: Rectangle,
    image: Rectangle,
    gram: Array,  # (entry, row, column), zeros
) -> None:
    """Fill the lower triangles of the neighbours' ``n X' X``, centred, for the pixels of a tile.

    Far from the border of the image, the entries of a map are shifts of one convolution; near it, they lack different
    neighbours. Entries of taps outside the image stay zero. Tile and image lie in the rows and columns of the block.
    """
    y0, x0, y1, x1 = tile
    height, width, radius = y1 - y0, x1 - x0, len(kernel) // 2
    top, bottom = max(y0 - radius, image[0]), min(y1 + radius, image[2])
    left, right = max(x0 - radius, image[1]), min(x1 + radius, image[3])
    inside_y = y0 - radius >= image[0] and y1 + radius <= image[2]
    inside_x = x0 - radius >= image[1] and x1 + radius <= image[3]
    inverse = _inverse_mass(kernel, tile, image)
    window_height = lag.shape[1]
    span = 2 * halo
    lent = np.empty((bottom - top + span, right - left + span))
    by_row = np.empty((height + span, right - left + span))
    pooled = np.empty((height + span, width + span))
    for m in range(len(maps) - 1):
        number, first, partner, dy, dx, start = maps[m]
        stop = maps[m + 1, 5]
        first_y, first_x = entries[start, 1], entries[start, 2]
        more_y, more_x = entries[stop - 1, 1] - first_y, entries[stop - 1, 2] - first_x
        _centre(
            lag[number], source_sum, source_sum, n_rows, unit, top + first_y, left + first_x,
            first * window_height + top + first_y, left + first_x,
            partner * window_height + top + first_y + dy, left + first_x + dx,
            lent[: bottom - top + more_y, : right - left + more_x],
        )  # fmt: skip
        for e in range(start, stop):
            down, across = entries[e, 1] - first_y, entries[e, 2] - first_x
            if inside_y and e == start:
                _add_rows(lent, kernel, y0, y0 - radius, y1 + more_y + radius, top, height + more_y, by_row)
            elif not inside_y and (e == start or entries[e - 1, 1] != entries[e, 1]):
                _add_rows(lent, kernel, y0, image[0], image[2], top - down, height, by_row)
            if inside_y and inside_x:
                if e == start:
                    rows, columns = height + more_y, width + more_x
                    _add_columns(by_row, 0, rows, kernel, x0, x0 - radius, x1 + more_x + radius, left, columns, pooled)
                corner = down, across
            elif inside_x:
                if e == start or entries[e - 1, 1] != entries[e, 1]:
                    columns = width + more_x
                    _add_columns(
                        by_row, 0, height, kernel, x0, x0 - radius, x1 + more_x + radius, left, columns, pooled
                    )
                corner = 0, across
            else:
                skipped = down if inside_y else 0
                _add_columns(by_row, skipped, height, kernel, x0, image[1], image[3], left - across, width, pooled)
                corner = 0, 0
            y, x = entries[e, 1] - halo, entries[e, 2] - halo
            taps = (y, min(x, x + dx), y + dy, max(x, x + dx))
            _write(pooled, corner, inverse, taps, tile, image, gram[entries[e, 0]])


@jit
def pool_products(
    cross: Array,  # (tap, row, column)
    source_sum: Array,  # (input * window row, window column)
    target_sum: Array,  # (row, column)
    taps: Array,  # (tap, 2): where the first pixel's taps lie in source_sum
    offsets: Array,  # (tap, 2)
    n_rows: int,
    unit: int,
    kernel: Array,
    tile: Rectangle,
    image: Rectangle,
    products: Array,  # (tap, row, column), zeros
) -> None:
    """Fill the neighbours' ``n X' t``, centred, for the pixels of a tile, as `pool_gram` does."""
    y0, x0, y1, x1 = tile
    height, width, radius = y1 - y0, x1 - x0, len(kernel) // 2
    top, bottom = max(y0 - radius, image[0]), min(y1 + radius, image[2])
    left, right = max(x0 - radius, image[1]), min(x1 + radius, image[3])
    inverse = _inverse_mass(kernel, tile, image)
    lent = np.empty((bottom - top, right - left))
    by_row = np.empty((height, right - left))
    pooled = np.empty((height, width))
    for a in range(len(cross)):
        _centre(
            cross[a], source_sum, target_sum, n_rows, unit, top, left,
            taps[a, 0] + top, taps[a, 1] + left, top, left, lent,
        )  # fmt: skip
        _add_rows(lent, kernel, y0, image[0], image[2], top, height, by_row)
        _add_columns(by_row, 0, height, kernel, x0, image[1], image[3], left, width, pooled)
        y, x = offsets[a]
        _write(pooled, (0, 0), inverse, (y, x, y, x), tile, image, products[a])


@jit
def _centre(
    sums: Array, ones: Array, others: Array, n_rows: int, unit: int,
    row: int, column: int, row_1: int, column_1: int, row_2: int, column_2: int, out: Array,
) -> None:  # fmt: skip
    """Fill ``n sums - ones others``, from the given rows and columns of each on."""
    n = np.float64(n_rows)
    exact = n_rows * unit <= EXACT
    for i in range(out.shape[0]):
        a, b, c = sums[row + i], ones[row_1 + i], others[row_2 + i]
        if exact:
            for j in range(out.shape[1]):
                product = np.float64(b[column_1 + j]) * np.float64(c[column_2 + j])
                out[i, j] = n * np.float64(a[column + j]) - product
        else:
            for j in range(out.shape[1]):
                out[i, j] = centred(n_rows, a[column + j], b[column_1 + j], c[column_2 + j])


@jit
def _add_rows(
    values: Array, kernel: Array, first: int, low: int, high: int, origin: int, n_rows: int, out: Array
) -> None:
    """Add up the weighed rows around row first, first + 1, ...: those from ``low`` up to ``high``."""
    radius = len(kernel) // 2
    n_columns = out.shape[1]
    for i in range(n_rows):
        y = first + i
        row = out[i]
        for j in range(n_columns):
            row[j] = 0.0
        for k in range(max(0, low - y + radius), min(len(kernel), high - y + radius)):
            weight, lent = kernel[k], values[y + k - radius - origin]
            for j in range(n_columns):
                row[j] += weight * lent[j]


@jit
def _add_columns(
    values: Array, row: int, n_rows: int, kernel: Array, first: int, low: int, high: int, origin: int, n_columns: int,
    out: Array,
) -> None:  # fmt: skip
    """Add up the weighed columns around column first, first + 1, ...: those from ``low`` up to ``high``."""
    radius = len(kernel) // 2
    for i in range(n_rows):
        lent, total = values[row + i], out[i]
        for j in range(n_columns):
            total[j] = 0.0
        for k in range(len(kernel)):
            weight = kernel[k]
            shift = first + k - radius
            for j in range(max(0, low - shift), min(n_columns, high - shift)):
                total[j] += weight * lent[j + shift - origin]


@jit
def _inverse_mass(kernel: Array, tile: Rectangle, image: Rectangle) -> Array:
    """Return 1 over the sum of the weights of all neighbours in the image, of every pixel of a tile."""
    y0, x0, y1, x1 = tile
    radius = len(kernel) // 2
    rows, columns = np.zeros(y1 - y0), np.zeros(x1 - x0)
    for i in range(len(rows)):
        for k in range(max(0, image[0] - y0 - i + radius), min(len(kernel), image[2] - y0 - i + radius)):
            rows[i] += kernel[k]
    for j in range(len(columns)):
        for k in range(max(0, image[1] - x0 - j + radius), min(len(kernel), image[3] - x0 - j + radius)):
            columns[j] += kernel[k]
    inverse = np.empty((len(rows), len(columns)))
    for i in range(len(rows)):
        for j in range(len(columns)):
            inverse[i, j] = 1.0 / (rows[i] * columns[j])
    return inverse


@jit
def _write(
    pooled: Array, corner: tuple[int, int], inverse: Array, taps: Rectangle, tile: Rectangle, image: Rectangle,
    out: Array,
) -> None:  # fmt: skip
    """Write the means of the pixels whose taps, from the first offset to the last, lie in the image."""
    y0, x0, y1, x1 = tile
    for i in range(max(0, image[0] - y0 - taps[0]), min(y1 - y0, image[2] - y0 - taps[2])):
        for j in range(max(0, image[1] - x0 - taps[1]), min(x1 - x0, image[3] - x0 - taps[3])):
            out[i, j] = pooled[corner[0] + i, corner[1] + j] * inverse[i, j]
