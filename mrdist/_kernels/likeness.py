"""How alike two images are at every pixel: structure and colour, in float64 and in one fixed order of operations."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from mrdist._kernels.lanes import jit

Array = npt.NDArray[Any]


@jit
def similarity(one: Array, other: Array, taps: Array, out: Array) -> None:
    """Write the structural similarity (SSIM) of two images, the mean over channels, where the whole window fits.

    Parameters
    ----------
    one, other
        float64, shape (y, x * channel), 1 = white.
    taps
        The window's weights along an axis, from its middle to its end.
    out
        float64, shape (y - 2 r, x - 2 r) for ``r = len(taps) - 1``.
    """
    radius = len(taps) - 1
    height, width = out.shape
    rows, columns = one.shape
    n_channels = columns // (width + 2 * radius)
    values = np.empty((4, rows, columns))  # both images, the sum of their squares, their product
    down = np.empty((4, columns))
    across = np.empty((4, width * n_channels))
    for y in range(rows):
        a, b = one[y], other[y]
        first, second, squares, products = values[0, y], values[1, y], values[2, y], values[3, y]
        for i in range(columns):
            first[i] = a[i]
            second[i] = b[i]
            squares[i] = a[i] * a[i] + b[i] * b[i]
            products[i] = a[i] * b[i]
    for y in range(height):
        for k in range(4):
            line = down[k]
            _weigh_middle(values[k, y + radius], taps[0], line)
            for r in range(1, radius + 1):
                _add_pair(values[k, y + radius - r], values[k, y + radius + r], taps[r], line)
            result = across[k]
            n, middle = len(result), radius * n_channels
            _weigh_middle(line[middle : middle + n], taps[0], result)
            for r in range(1, radius + 1):
                left, right = middle - r * n_channels, middle + r * n_channels
                _add_pair(line[left : left + n], line[right : right + n], taps[r], result)
        ratio = down[0]
        _compare(across[0], across[1], across[2], across[3], ratio)
        for x in range(width):
            total = 0.0
            for c in range(n_channels):
                total += ratio[x * n_channels + c]
            out[y, x] = total / n_channels


@jit
def _weigh_middle(values: Array, weight: float, out: Array) -> None:
    for i in range(len(out)):
        out[i] = weight * values[i]


@jit
def _add_pair(one: Array, other: Array, weight: float, out: Array) -> None:
    for i in range(len(out)):
        out[i] += weight * (one[i] + other[i])


@jit
def _compare(one: Array, other: Array, squares: Array, products: Array, out: Array) -> None:
    """Write the ratio of SSIM from the local means of two images, of the sum of their squares and of their product."""
    c1, c2 = 0.01 * 0.01, 0.03 * 0.03
    for i in range(len(one)):
        both = one[i] * other[i]
        each = one[i] * one[i] + other[i] * other[i]
        out[i] = (2 * both + c1) * (2 * (products[i] - both) + c2) / ((each + c1) * (squares[i] - each + c2))


@jit
def linear_light(values: Array, out: Array) -> None:
    """Write sRGB values, clipped to 0..1, as shares of white's light; flat arrays."""
    for i in range(len(values)):
        value = min(max(values[i], 0.0), 1.0)
        base = max(value, 0.04) / 1.055 + 0.055 / 1.055
        root = 0.612 + 0.442 * base  # steps of Halley's method from a line, not a power: they fill vector registers
        for _ in range(3):
            power = root * root * root * root * root
            root = root * (4 * power + 6 * base) / (6 * power + 4 * base)
        out[i] = base * base * root * root if value > 0.04045 else value / 12.92


@jit
def chroma(light: Array, a: Array, b: Array) -> None:
    """Write CIELAB's a and b (D65), flat arrays, of pixels in linear light, shape (pixel, 3)."""
    for p in range(len(light)):
        red, green, blue = light[p, 0], light[p, 1], light[p, 2]
        x = _lightness((0.412453 * red + 0.357580 * green + 0.180423 * blue) / 0.95047)
        y = _lightness(0.212671 * red + 0.715160 * green + 0.072169 * blue)
        z = _lightness((0.019334 * red + 0.119193 * green + 0.950227 * blue) / 1.08883)
        a[p] = 500 * (x - y)
        b[p] = 200 * (y - z)


@jit
def _lightness(share: float) -> float:
    base = max(share, 0.008)
    root = 0.25 + base
    for _ in range(3):
        power = root * root * root
        root = root * (2 * power + 4 * base) / (4 * power + 2 * base)
    return root if share > 0.008856 else 7.787 * share + 16 / 116
