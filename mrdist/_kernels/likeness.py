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
        The window's weights along an axis, from its middle to its end: six.
    out
        float64, shape (y - 10, x - 10).
    """
    radius = len(taps) - 1
    width = out.shape[1]
    rows, columns = one.shape
    n_channels = columns // (width + 2 * radius)
    window = 2 * radius + 1
    values = np.empty((4, window, columns))  # the last rows of both images, of the sum of their squares, their product
    down = np.empty((4, columns))
    across = np.empty((4, width * n_channels))
    for row in range(rows):
        a, b, place = one[row], other[row], row % window
        first, second, squares, products = values[0, place], values[1, place], values[2, place], values[3, place]
        for i in range(columns):
            first[i] = a[i]
            second[i] = b[i]
            squares[i] = a[i] * a[i] + b[i] * b[i]
            products[i] = a[i] * b[i]
        y = row - 2 * radius
        if y < 0:
            continue
        for k in range(4):
            v, line = values[k], down[k]
            middle = y + radius
            _weigh(
                v[middle % window],
                v[(middle - 1) % window], v[(middle + 1) % window], v[(middle - 2) % window],
                v[(middle + 2) % window], v[(middle - 3) % window], v[(middle + 3) % window], taps, line,
            )  # fmt: skip
            _weigh_ends(v[(middle - 4) % window], v[(middle + 4) % window], v[y % window], v[place], taps, line)
            result = across[k]
            n, c = len(result), n_channels
            _weigh(
                line[5 * c : 5 * c + n], line[4 * c : 4 * c + n], line[6 * c : 6 * c + n], line[3 * c : 3 * c + n],
                line[7 * c : 7 * c + n], line[2 * c : 2 * c + n], line[8 * c : 8 * c + n], taps, result,
            )  # fmt: skip
            _weigh_ends(line[c : c + n], line[9 * c : 9 * c + n], line[:n], line[10 * c : 10 * c + n], taps, result)
        ratio = down[0]
        _compare(across[0], across[1], across[2], across[3], ratio)
        for x in range(width):
            total = 0.0
            for c in range(n_channels):
                total += ratio[x * n_channels + c]
            out[y, x] = total / n_channels


@jit
def _weigh(
    middle: Array, l1: Array, r1: Array, l2: Array, r2: Array, l3: Array, r3: Array, taps: Array, out: Array
) -> None:
    """Write the seven middle terms of a window of eleven; with more arrays at once the compiler does not vectorise."""
    w0, w1, w2, w3 = taps[0], taps[1], taps[2], taps[3]
    for i in range(len(out)):
        out[i] = w0 * middle[i] + w1 * (l1[i] + r1[i]) + w2 * (l2[i] + r2[i]) + w3 * (l3[i] + r3[i])


@jit
def _weigh_ends(l4: Array, r4: Array, l5: Array, r5: Array, taps: Array, out: Array) -> None:
    """Add the four outer terms."""
    w4, w5 = taps[4], taps[5]
    for i in range(len(out)):
        out[i] = out[i] + w4 * (l4[i] + r4[i]) + w5 * (l5[i] + r5[i])


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
        base = max(value, 0.04) * (1 / 1.055) + 0.055 / 1.055
        # The fifth root by Halley's method from a parabola, not a power: it fills vector registers.
        root = 0.554 + base * (0.877 - 0.449 * base)
        for _ in range(2):
            power = root * root * root * root * root
            root = root * (4 * power + 6 * base) / (6 * power + 4 * base)
        out[i] = base * base * root * root if value > 0.04045 else value * (1 / 12.92)


@jit
def look_up(levels: Array, table: Array, out: Array) -> None:
    """Write the table's entry of every level; flat arrays."""
    for i in range(len(levels)):
        out[i] = table[levels[i]]


@jit
def chroma(light: Array, a: Array, b: Array) -> None:
    """Write CIELAB's a and b (D65), flat arrays, of pixels in linear light, shape (pixel, 3)."""
    for p in range(len(light)):
        red, green, blue = light[p, 0], light[p, 1], light[p, 2]
        x = _lightness(0.412453 / 0.95047 * red + 0.357580 / 0.95047 * green + 0.180423 / 0.95047 * blue)
        y = _lightness(0.212671 * red + 0.715160 * green + 0.072169 * blue)
        z = _lightness(0.019334 / 1.08883 * red + 0.119193 / 1.08883 * green + 0.950227 / 1.08883 * blue)
        a[p] = 500 * (x - y)
        b[p] = 200 * (y - z)


@jit
def _lightness(share: float) -> float:
    base = max(share, 0.008)
    root = 0.198 + base * (3.081 + base * (3.16 * base - 5.352))  # of the third degree, to one part in 1e10
    for _ in range(2):
        power = root * root * root
        root = root * (2 * power + 4 * base) / (4 * power + 2 * base)
    return root if share > 0.008856 else 7.787 * share + 16 / 116
