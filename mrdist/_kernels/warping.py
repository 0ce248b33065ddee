"""Warps: displacements from points of control, and images looked up where a map points; float64, in one fixed order.

Only + - x / and square roots occur, so that every processor has the same bits.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from mrdist._kernels.lanes import jit
from mrdist._kernels.lanes_warping import MOST_CHANNELS, interpolate

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
    columns = np.zeros((n, n))  # of the factor, as rows: every loop runs over numbers that lie side by side
    xs, ys = points[:, 0].copy(), points[:, 1].copy()
    for j in range(n):
        column, right, below = columns[j, j:], xs[j:], ys[j:]
        for i in range(len(column)):
            dx, dy = right[i] - xs[j], below[i] - ys[j]
            column[i] = bump(dx * dx + dy * dy, radius)
        for k in range(j):
            other = columns[k, j:]
            share = other[0]
            for i in range(len(column)):
                column[i] -= other[i] * share
        column[0] = np.sqrt(column[0] + penalty)
        for i in range(1, len(column)):
            column[i] /= column[0]
    return columns.T.copy()


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
def local_maps(source: Array, target: Array, radius: float, penalty: float) -> Array:
    """Return the linear map, shape (n, 2, 2), that takes the surroundings of every source point to their targets'.

    Parameters
    ----------
    source, target
        (x, y) of points, shape (n, 2).
    radius
        How far the surroundings reach, falling like a bump.
    penalty
        Squared length that the maps are drawn to the identity with.
    """
    n = len(source)
    maps = np.empty((n, 2, 2))
    for p in range(n):
        weight, mean, products = 0.0, np.zeros(4), np.zeros((2, 4))
        for q in range(n):
            dx, dy = source[q, 0] - source[p, 0], source[q, 1] - source[p, 1]
            height = bump(dx * dx + dy * dy, radius)
            if height == 0.0:
                continue
            values = (dx, dy, target[q, 0] - target[p, 0], target[q, 1] - target[p, 1])
            weight += height
            for c in range(4):
                mean[c] += height * values[c]
                products[0, c] += height * dx * values[c]
                products[1, c] += height * dy * values[c]
        for c in range(4):
            for a in range(2):
                products[a, c] = products[a, c] / weight - mean[a] * mean[c] / (weight * weight)
        for a in range(2):
            products[a, a] += penalty
            products[a, a + 2] += penalty
        (xx, xy, xu, xv), (_, yy, yu, yv) = products
        size = xx * yy - xy * xy
        maps[p, 0] = (yy * xu - xy * yu) / size, (xx * yu - xy * xu) / size
        maps[p, 1] = (yy * xv - xy * yv) / size, (xx * yv - xy * xv) / size
    return maps


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
        for i in range(first, last + 1):
            dy = i * step - y
            reach = np.sqrt(max(0.0, radius * radius - dy * dy)) + step  # at least as far as the bump
            left = max(0, int(np.ceil((x - reach) / step)))
            right = min(n_columns - 1, int(np.floor((x + reach) / step)))
            near = heights[: max(0, right + 1 - left)]
            for j in range(len(near)):
                dx = (left + j) * step - x
                near[j] = bump(dx * dx + dy * dy, radius)
            for k in range(width):
                share, row = coefficients[p, k], out[k, i, left : left + len(near)]
                for j in range(len(near)):
                    row[j] += share * near[j]


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
    flat, written, row = image.reshape(-1), out.reshape(-1), width * n_channels
    sides, rights = np.empty(shape[1], dtype=np.int64), np.empty(shape[1])
    for x in range(shape[1]):
        sides[x] = min(int(x / step), n_columns - 2)
        rights[x] = x / step - sides[x]
    shifts, places = np.empty((2, n_columns)), np.empty((2, shape[1]))
    lefts, tops = np.empty(shape[1], dtype=np.int64), np.empty(shape[1], dtype=np.int64)
    across, down = np.empty((4, shape[1])), np.empty((4, shape[1]))
    taps = np.empty(4 * n_channels)
    for y in range(shape[0]):
        node = min(int(y / step), n_rows - 2)
        below = y / step - node
        for axis in range(2):
            upper, lower, shift = displacement[axis, node], displacement[axis, node + 1], shifts[axis]
            for j in range(n_columns):
                shift[j] = (1.0 - below) * upper[j] + below * lower[j]
            _place(affine[axis], corner[1], float(y + corner[0]), sides, rights, shift, places[axis])
        _split(places[0], width - 1.0, lefts, across[0], across[1], across[2], across[3])
        _split(places[1], height - 1.0, tops, down[0], down[1], down[2], down[3])
        for x in range(shape[1]):
            left, top = lefts[x], tops[x]
            if places[0, x] == left and places[1, x] == top:
                for c in range(n_channels):
                    out[y, x, c] = image[top, left, c]
                continue
            a0, a1, a2, a3 = across[0, x], across[1, x], across[2, x], across[3, x]
            b0, b1, b2, b3 = down[0, x], down[1, x], down[2, x], down[3, x]
            if n_channels <= MOST_CHANNELS and 1 <= left < width - 4 and 1 <= top < height - 2:
                first, place = (top - 1) * row + (left - 1) * n_channels, (y * out.shape[1] + x) * n_channels
                interpolate(flat, first, row, n_channels, b0, b1, b2, b3, a0, a1, a2, a3, written, place)
                continue
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
def _place(affine: Array, first: int, y: float, sides: Array, rights: Array, shift: Array, places: Array) -> None:
    """Write one coordinate of what the pixels of a row are mapped to."""
    a, b, c = affine
    for x in range(len(places)):
        side, right = np.uint64(sides[x]), rights[x]
        place = a * float(x + first) + b * y + c
        places[x] = place + ((1.0 - right) * shift[side] + right * shift[side + np.uint64(1)])


@jit
def _split(places: Array, end: float, wholes: Array, w0: Array, w1: Array, w2: Array, w3: Array) -> None:
    """Keep places within 0..end; write the whole pixels before them and the weights of the four around them."""
    for x in range(len(places)):
        places[x] = min(max(places[x], 0.0), end)
        wholes[x] = int(places[x])
        w0[x], w1[x], w2[x], w3[x] = _weights(places[x] - wholes[x])


@jit
def _weights(t: float) -> tuple[float, float, float, float]:
    """Return the weights of the four pixels around a place between the middle two."""
    return (
        0.5 * t * (t * (2.0 - t) - 1.0),
        0.5 * (t * t * (3.0 * t - 5.0) + 2.0),
        0.5 * t * (t * (4.0 - 3.0 * t) + 1.0),
        0.5 * t * t * (t - 1.0),
    )


@jit
def change(before: Array, after: Array, share: Array) -> None:
    """Write the difference to values after, (pixel, channel), times a share a pixel, over the values before."""
    for i in range(len(before)):
        for c in range(before.shape[1]):
            before[i, c] = (after[i, c] - before[i, c]) * share[i]


@jit
def to_integers(values: Array, factor: float, largest: int, out: Array) -> None:
    """Write values times a factor, kept within 0..largest and rounded; all arrays have one axis."""
    scale, top, zero = values.dtype.type(factor), values.dtype.type(largest), values.dtype.type(0)
    for i in range(len(values)):
        out[i] = np.rint(min(max(values[i] * scale, zero), top))


@jit
def depths(corners: Array, out: Array) -> None:
    """Write how deep pixels lie in a polygon of corners (x, y), shape (n, 2); outside of it the depth is negative."""
    for y in range(out.shape[0]):
        row = out[y]
        row[:] = np.inf
        crossings = np.zeros(len(row), dtype=np.int64)
        for n in range(len(corners)):
            ax, ay = corners[n]
            bx, by = corners[(n + 1) % len(corners)]
            ex, ey = bx - ax, by - ay
            length = ex * ex + ey * ey
            for x in range(len(row)):
                dx, dy = x - ax, y - ay
                along = min(max((dx * ex + dy * ey) / length, 0.0), 1.0) if length else 0.0
                to_x, to_y = dx - along * ex, dy - along * ey
                row[x] = min(row[x], to_x * to_x + to_y * to_y)
            if (ay <= y) != (by <= y):
                for x in range(len(row)):
                    crossings[x] += x < ax + (y - ay) / ey * ex
        for x in range(len(row)):
            row[x] = np.sqrt(row[x]) if crossings[x] % 2 else -np.sqrt(row[x])


@jit
def box_sums(values: Array, reach: int, out: Array) -> None:
    """Write the sums over ``reach`` places on both sides along the middle of three axes; the border is carried on."""
    n, end = values.shape[1], values.shape[1] - 1
    total = np.empty(values.shape[2], dtype=values.dtype)
    for outer in range(len(values)):
        total[:] = 0
        for k in range(-reach, reach + 1):
            total += values[outer, min(max(k, 0), end)]
        out[outer, 0] = total
        for i in range(1, n):
            entering, leaving = values[outer, min(i + reach, end)], values[outer, max(i - 1 - reach, 0)]
            for c in range(len(total)):
                total[c] += entering[c] - leaving[c]
            out[outer, i] = total
