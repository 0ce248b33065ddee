"""Errors of sparse regressions on held-out people, for every penalty or number of weights from one path per fold."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from threadpoolctl import threadpool_limits

from mrdist.baselines.columns import Columns, SparseRows
from mrdist.baselines.lasso import TOLERANCE, lasso_path
from mrdist.baselines.omp import omp_path
from mrdist.moments import Color
from mrdist.parts import parts

Floats = npt.NDArray[np.float64]
Path = Callable[[Columns, Floats], list[SparseRows]]
"""Takes columns and centred targets and returns the solution for every candidate."""


def lasso_candidates(alphas: Sequence[float], max_iterations: int) -> Path:
    """Return a path over ascending penalties, see `mrdist.baselines.lasso`."""

    def solve(columns: Columns, targets: Floats) -> list[SparseRows]:
        falling = sorted(alphas, reverse=True)  # each from the solution of the one before, which has fewer weights
        return list(lasso_path(columns, targets, falling, tolerance=TOLERANCE, max_iterations=max_iterations))[::-1]

    return solve


def omp_candidates(counts: Sequence[int], tolerance: float) -> Path:
    """Return a path over numbers of weights, see `mrdist.baselines.omp`."""

    def solve(columns: Columns, targets: Floats) -> list[SparseRows]:
        path = omp_path(columns, targets, nonzeros=max(counts), tolerance=tolerance)
        return [path.rows(count) for count in counts]

    return solve


def held_out_errors(
    x: npt.NDArray[Any],
    y: npt.NDArray[Any],
    fold: npt.NDArray[np.int64],
    unit: int,
    path: Path,
    *,
    n_candidates: int,
    color: Color,
) -> Floats:
    """Return squared errors on every fold of regressions on the others, summed over its images, channels and targets.

    Parameters
    ----------
    x
        Input pixels, integers in units of ``1 / unit``, shape (image, pixel, channel).
    y
        Output pixels, shape (image, target, channel).
    fold
        Of every image.
    path
        See `lasso_candidates` and `omp_candidates`.
    n_candidates
        Length of the path.
    color
        As in `mrdist.baselines.sparse.fit_block`.

    Returns
    -------
    ndarray
        Shape (candidate, fold); 1 = white.
    """
    n_channels = x.shape[2]
    groups = [slice(None)] if color == "shared" else [slice(c, c + 1) for c in range(n_channels)]
    errors = np.zeros((n_candidates, int(fold.max()) + 1))
    with threadpool_limits(1, user_api="blas"):
        for channels in parts(groups):
            inputs, outputs = (_as_columns(values[:, :, channels]) for values in (x, y))
            row_fold = np.repeat(fold, inputs.shape[1] // len(fold))
            for number in parts(range(errors.shape[1])):
                held = row_fold == number
                columns = Columns.of(inputs[:, ~held], unit)
                targets, mean = Columns.centre(outputs[:, ~held], unit)
                new, truth = inputs[:, held], outputs[:, held] / unit
                for position, rows in enumerate(path(columns, targets)):
                    errors[position, number] += _squared_error(rows, columns, mean, new, truth, unit)
    return errors


def _squared_error(
    rows: SparseRows, columns: Columns, mean: Floats, new: npt.NDArray[Any], truth: Floats, unit: int
) -> float:
    """Return the sum of squared errors of some targets on new rows."""
    total, ends = 0.0, np.cumsum(rows.counts)
    for p, (end, count) in enumerate(zip(ends, rows.counts, strict=True)):
        index, weights = rows.indices[end - count : end], rows.values[end - count : end]
        predicted = mean[p] + weights @ (new[index] / unit - columns.mean[index, None])
        total += float(np.square(predicted - truth[p]).sum())
    return total


def _as_columns(values: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Return values of shape (image, pixel, channel) as (pixel, image x channel)."""
    return values.transpose(1, 0, 2).reshape(values.shape[1], -1)
