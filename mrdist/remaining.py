"""What remains for pixels that leave rows out: their own systems, those of equal numbers of rows together."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from mrdist._kernels.lanes_strict import SOLVE_LANES
from mrdist.geometry import REMAINING_BYTES
from mrdist.moments import SufficientStatistics

Array = npt.NDArray[Any]


def equal_rows(*statistics: SufficientStatistics) -> Iterator[tuple[tuple[int, ...], npt.NDArray[np.int64]]]:
    """Yield the pixels that leave rows out of any of the statistics, so many at a time that have as many rows left.

    Parameters
    ----------
    statistics
        Of the same pixels of the same block.

    Yields
    ------
    n_rows
        Rows that are left, of each of the statistics.
    chosen
        Positions among the pixels of `mrdist.left_out.LeftOut`.
    """
    left_out = [each.left_out for each in statistics if each.left_out is not None]
    if not left_out:
        return
    concerned = np.flatnonzero(np.any([each.n_rows > 0 for each in left_out], axis=0))
    if not len(concerned):
        return
    total = np.array([each.n_rows for each in statistics])
    numbers = total - np.stack([each.n_rows[concerned] for each in left_out], axis=1)
    kinds, kind = np.unique(numbers, axis=0, return_inverse=True)
    order = np.argsort(kind.ravel(), kind="stable")
    ends = np.cumsum(np.bincount(kind.ravel(), minlength=len(kinds)))
    at_once = max(SOLVE_LANES, REMAINING_BYTES // left_out[0].gram[0].nbytes)
    for n_rows, chosen in zip(kinds.tolist(), np.split(concerned[order], ends[:-1]), strict=True):
        for first in range(0, len(chosen), at_once):
            yield tuple(n_rows), chosen[first : first + at_once]


def rows_left(statistics: SufficientStatistics) -> npt.NDArray[np.int64] | None:
    """Return how many rows the regression of every pixel has, shape (y, x); None where all have all of them."""
    left_out = statistics.left_out
    if left_out is None:
        return None
    n_rows = np.full(statistics.shape, statistics.n_rows)
    n_rows[tuple(left_out.pixels.T)] -= left_out.n_rows
    return n_rows


def systems_at(
    statistics: SufficientStatistics, chosen: npt.NDArray[np.int64]
) -> tuple[tuple[Array, Array, Array, Array, Array], Array, Array]:
    """Return the sums over the rows that remain, as `mrdist.solvers.systems_of` returns those of a block.

    The pixels lie side by side, as a block of one row; every entry of their Gram matrices is a map of its own.
    """
    left_out = statistics.left_out
    assert left_out is not None
    field, n_groups, n_inputs = statistics.field, statistics.n_groups, statistics.n_inputs
    window, n_taps = statistics.source_sum.shape[1:], n_inputs * field.n_offsets
    y, x = left_out.pixels[chosen].T
    a, b = np.tril_indices(n_taps)
    number, down, across = field.pair_lookup(n_inputs)[a, b].T[..., np.newaxis]
    plane, tap = divmod(np.arange(n_taps), field.n_offsets)
    rows, columns = (field.offsets[tap] + field.halo).T[..., np.newaxis]
    lag = statistics.lag.reshape(n_groups, -1, *window)[:, number, y + down, x + across]
    source_sum = statistics.source_sum.reshape(n_groups, n_inputs, *window)
    source_sum = source_sum[:, plane[:, np.newaxis], y + rows, x + columns]
    cross = statistics.cross.reshape(-1, n_taps, *statistics.shape)[..., y, x]

    def remaining(total: Array, name: str) -> Array:
        left = total - np.moveaxis(getattr(left_out, name)[chosen], 0, -1)
        missing = max(0, SOLVE_LANES - len(chosen))
        return np.ascontiguousarray(np.pad(left, [(0, 0)] * (left.ndim - 1) + [(0, missing)]))

    sums = (
        remaining(lag, "gram")[:, :, np.newaxis],
        remaining(cross, "cross")[:, :, np.newaxis],
        remaining(source_sum, "source_sum"),
        remaining(statistics.target_sum[:, y, x], "target_sum")[:, np.newaxis],
        remaining(statistics.target_square[:, y, x], "target_square")[:, np.newaxis],
    )
    lookup = np.zeros((n_taps, n_taps, 3), dtype=np.int64)
    lookup[a, b, 0] = np.arange(len(a))
    taps = np.stack([np.arange(n_taps), np.zeros(n_taps, dtype=np.int64)], axis=1)
    return sums, lookup, taps
