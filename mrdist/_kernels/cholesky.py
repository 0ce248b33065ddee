"""Cholesky factors of a batch of systems, and their solutions."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from mrdist._kernels.lanes import jit
from mrdist._kernels.lanes_strict import SOLVE_LANES, SOLVE_ROWS, subtract_products

Array = npt.NDArray[Any]
_EPSILON = float(np.finfo(np.float64).eps)


@jit
def factorise(system: Array, lanes: int) -> int:
    """Replace lower triangles by Cholesky factors; return a lane that is not positive definite, or -1.

    Column by column, every entry the system's entry minus products in ascending order of the column, times the
    reciprocal of the pivot. The diagonal then holds these reciprocals. The right-hand sides, the last rows, meet
    the same operations, which are those of the forward substitution.
    """
    n_rows, m = system.shape[:2]
    row = m * SOLVE_LANES
    # A pivot that should be 0 comes out as a rounding error of its diagonal entry, of either sign.
    floor = np.empty((m, SOLVE_LANES))
    for j in range(m):
        for k in range(SOLVE_LANES):
            floor[j, k] = system[j, j, k] * (m * _EPSILON)
    for j in range(m):
        for i in range(j, n_rows, SOLVE_ROWS):
            start = i * row + j * SOLVE_LANES
            rows = min(SOLVE_ROWS, n_rows - i)
            subtract_products(
                system, start, row, system, i * row, row, SOLVE_LANES, system, j * row, SOLVE_LANES, j, rows
            )
        for k in range(lanes):
            if not system[j, j, k] > floor[j, k]:
                return k
        for k in range(SOLVE_LANES):
            system[j, j, k] = 1.0 / np.sqrt(system[j, j, k])
        for i in range(j + 1, n_rows):
            for k in range(SOLVE_LANES):
                system[i, j, k] *= system[j, j, k]
    return -1


@jit
def substitute(system: Array, which: int) -> None:
    """Replace row ``which`` by the solutions, with the transposes of the factors."""
    m = system.shape[1]
    row = m * SOLVE_LANES
    for i in range(m - 1, -1, -1):
        below = i + 1
        subtract_products(
            system, which * row + i * SOLVE_LANES, 0, system, below * row + i * SOLVE_LANES, 0, row,
            system, which * row + below * SOLVE_LANES, SOLVE_LANES, m - below, 1,
        )  # fmt: skip
        for k in range(SOLVE_LANES):
            system[which, i, k] *= system[i, i, k]
