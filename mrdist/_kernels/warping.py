"""Warps: displacements from points of control, and images looked up where a map points; float64, in one fixed order.

Only + - x / and square roots occur, so that every processor has the same bits.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from mrdist._kernels.lanes import jit

Array = npt.NDArray[Any]


@jit
def bump(squared: float, radius: float) -> float:
    """Return Wendland's C2 function of a squared distance: 1 at 0, falling to 0 at ``radius`` and beyond."""
    share = np.sqrt(squared) / radius
    rest = max(0.0, 1.0 - share)
    rest *= rest
    height: float = rest * rest * (4.0 * share + 1.0)
    return height


@jit
def factorise(points: Array, radius: float, penalty: float) -> Array:
    """Return the lower Cholesky factor of the bumps between points (n, 2) with ``penalty`` added to the diagonal."""
    n = len(points)
    factor = np.zeros((n, n))
    for i in range(n):
        row = factor[i]
        for j in range(i + 1):
            dx, dy = points[i, 0] - points[j, 0], points[i, 1] - points[j, 1]
            value = bump(dx * dx + dy * dy, radius)
            other = factor[j]
            for k in range(j):
                value -= row[k] * other[k]
            if i == j:
                row[i] = np.sqrt(value + penalty)
            else:
                row[j] = value / other[j]
    return factor


@jit
def substitute(factor: Array, values: Array) -> Array:
    """Return the solution (n, k) of the system that has the Cholesky factor and the right sides (n, k)."""
    n, width = values.shape
    solution = values.copy()
    for i in range(n):
        for k in range(i):
            share = factor[i, k]
            for c in range(width):
                solution[i, c] -= share * solution[k, c]
        for c in range(width):
            solution[i, c] /= factor[i, i]
    for i in range(n - 1, -1, -1):
        for k in range(i + 1, n):
            share = factor[k, i]
            for c in range(width):
                solution[i, c] -= share * solution[k, c]
        for c in range(width):
            solution[i, c] /= factor[i, i]
    return solution


@jit
def spread(points: Array, coefficients: Array, radius: float, step: float, out: Array) -> None:
    """Write the sums of bumps at nodes of a grid.

    Parameters
    ----------
    points
        (x, y) of their centres in pixels, shape (n, 2).
    coefficients
        Shape (n, k).
    radius
        Of the bumps, in pixels.
    step
        Pixels from node to node; the first node is the centre of the first pixel.
    out
        Shape (k, node y, node x).
    """
    width, n_rows, n_columns = out.shape
    out[...] = 0.0
    heights = np.empty(n_columns)
    for p in range(len(points)):
        x, y = points[p]
        first = max(0, int(np.ceil((y - radius) / step)))
        last = min(n_rows - 1, int(np.floor((y + radius) / step)))
        left = max(0, int(np.ceil((x - radius) / step)))
        right = min(n_columns - 1, int(np.floor((x + radius) / step)))
        for i in range(first, last + 1):
            dy = i * step - y
            for j in range(left, right + 1):
                dx = j * step - x
                heights[j] = bump(dx * dx + dy * dy, radius)
            for k in range(width):
                share, row = coefficients[p, k], out[k, i]
                for j in range(left, right + 1):
                    row[j] += share * heights[j]


@jit
def look_up(
    image: Array,
    displacement: Array,
    step: float,
    affine: Array,
    corner: tuple[int, int],
    shape: tuple[int, int],
    out: Array,
) -> None:
    """Write for every pixel what the image shows where the pixel is mapped to, by cubic convolution (Keys, -1/2).

    A pixel that is mapped to a pixel gets that one exactly. Outside the image its border is carried on.

    Parameters
    ----------
    image
        C-contiguous, shape (y, x, channel).
    displacement
        (x, y) in pixels of the image at the nodes of a grid, shape (2, node y, node x); linear in between.
    step
        Pixels of ``out`` from node to node; the first node is its first pixel.
    affine
        Shape (2, 3): a pixel (x, y) is mapped to ``affine @ (x, y, 1)`` plus its displacement.
    corner
        (y, x) of the first pixel of ``out``, as ``affine`` sees it.
    shape
        (y, x) of what is written.
    out
        Floats of shape (y, x, channel), at least as large.
    """
    height, width, n_channels = image.shape
    n_rows, n_columns = displacement.shape[1:]
    flat = image.reshape(-1)
    across, along = np.empty(n_columns), np.empty(n_columns)
    reach, row = 4 * n_channels, np.uint64(width * n_channels)
    taps = np.empty(reach)
    for y in range(shape[0]):
        node = min(int(y / step), n_rows - 2)
        down = y / step - node
        for j in range(n_columns):
            across[j] = (1.0 - down) * displacement[0, node, j] + down * displacement[0, node + 1, j]
            along[j] = (1.0 - down) * displacement[1, node, j] + down * displacement[1, node + 1, j]
        v = float(y + corner[0])
        for x in range(shape[1]):
            side = min(int(x / step), n_columns - 2)
            right = x / step - side
            u = float(x + corner[1])
            px = affine[0, 0] * u + affine[0, 1] * v + affine[0, 2]
            py = affine[1, 0] * u + affine[1, 1] * v + affine[1, 2]
            px += (1.0 - right) * across[side] + right * across[side + 1]
            py += (1.0 - right) * along[side] + right * along[side + 1]
            px, py = min(max(px, 0.0), width - 1.0), min(max(py, 0.0), height - 1.0)
            left, top = int(px), int(py)
            s, t = px - left, py - top
            if s == 0.0 and t == 0.0:
                for c in range(n_channels):
                    out[y, x, c] = image[top, left, c]
                continue
            a0, a1, a2, a3 = _weights(s)
            b0, b1, b2, b3 = _weights(t)
            if 1 <= left < width - 2 and 1 <= top < height - 2:
                first = np.uint64(((top - 1) * width + left - 1) * n_channels)
                for k in range(reach):
                    i = first + np.uint64(k)
                    taps[k] = (
                        b0 * flat[i] + b1 * flat[i + row] + b2 * flat[i + row + row] + b3 * flat[i + row + row + row]
                    )
            else:
                for j in range(4):
                    column = min(max(left + j - 1, 0), width - 1)
                    for c in range(n_channels):
                        taps[j * n_channels + c] = (
                            b0 * image[max(top - 1, 0), column, c]
                            + b1 * image[top, column, c]
                            + b2 * image[min(top + 1, height - 1), column, c]
                            + b3 * image[min(top + 2, height - 1), column, c]
                        )
            for c in range(n_channels):
                out[y, x, c] = (
                    a0 * taps[c]
                    + a1 * taps[c + n_channels]
                    + a2 * taps[c + 2 * n_channels]
                    + a3 * taps[c + 3 * n_channels]
                )


@jit
def _weights(t: float) -> tuple[float, float, float, float]:
    """Return the weights of the four pixels around a place between the middle two."""
    return (
        0.5 * t * (t * (2.0 - t) - 1.0),
        0.5 * (t * t * (3.0 * t - 5.0) + 2.0),
        0.5 * t * (t * (4.0 - 3.0 * t) + 1.0),
        0.5 * t * t * (t - 1.0),
    )
