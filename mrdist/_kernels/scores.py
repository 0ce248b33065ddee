"""Sums over the pixels of an image, in float64 and in one fixed order; rows of C-contiguous arrays (y, x * channel).

Each is taken over the pixels of a mask and over the others, column by column first: the columns are the lanes.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from mrdist._kernels.lanes import jit

Array = npt.NDArray[Any]


@jit
def add_squares(
    made: Array, truth: Array, corner: tuple[int, int], mask: Array, first: Array, maps: Array
) -> tuple[float, float]:
    """Return the sums of squared errors over a mask and over the rest, and add to maps of every value.

    Parameters
    ----------
    made, truth
        float64, which may reach beyond the mask.
    corner
        Row and column of the mask's first value in them.
    mask
        Boolean.
    first
        float64, shape of ``mask``.
    maps
        Shape (3, *mask.shape): of squared errors, of what the truth is above ``first``, and of the square of that.
    """
    height, width = mask.shape
    inside, outside = np.zeros(width), np.zeros(width)
    for y in range(height):
        a = made[y + corner[0], corner[1] : corner[1] + width]
        b = truth[y + corner[0], corner[1] : corner[1] + width]
        m, base, errors, deviations, squares = mask[y], first[y], maps[0, y], maps[1, y], maps[2, y]
        for i in range(width):
            error = a[i] - b[i]
            error *= error
            inside[i] += error if m[i] else 0.0
            outside[i] += 0.0 if m[i] else error
            errors[i] += error
        for i in range(width):
            deviation = b[i] - base[i]
            deviations[i] += deviation
            squares[i] += deviation * deviation
    return _total(inside), _total(outside)


@jit
def sum_distances(one: Array, other: Array, corner: tuple[int, int], mask: Array) -> tuple[float, float]:
    """Return the sums of absolute differences; ``other`` has the shape of ``mask``, see `add_squares`."""
    height, width = mask.shape
    inside, outside = np.zeros(width), np.zeros(width)
    for y in range(height):
        a = one[y + corner[0], corner[1] : corner[1] + width]
        b, m = other[y], mask[y]
        for i in range(width):
            distance = abs(a[i] - b[i])
            inside[i] += distance if m[i] else 0.0
            outside[i] += 0.0 if m[i] else distance
    return _total(inside), _total(outside)


@jit
def sum_values(values: Array, mask: Array, rest: Array) -> tuple[float, float]:
    """Return the sums over two masks of the values' shape."""
    height, width = values.shape
    inside, outside = np.zeros(width), np.zeros(width)
    for y in range(height):
        v, m, r = values[y], mask[y], rest[y]
        for i in range(width):
            inside[i] += v[i] if m[i] else 0.0
            outside[i] += v[i] if r[i] else 0.0
    return _total(inside), _total(outside)


@jit
def _total(columns: Array) -> float:
    total = 0.0
    for i in range(len(columns)):
        total += columns[i]
    return total
