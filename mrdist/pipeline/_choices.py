"""The settings of methods that `mrdist.train` does not choose itself, for comparisons: errors on people held out."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from mrdist.analysis import spread_pixels
from mrdist.baselines.columns import Columns, SparseRows
from mrdist.baselines.lasso import lasso_path
from mrdist.baselines.omp import omp_path
from mrdist.baselines.sparse import as_columns
from mrdist.moments import to_integers, unit_of
from mrdist.pipeline.plot import read_images
from mrdist.selection import DEFAULT_FOLDS, assign_folds
from mrdist.storage import Images

Array = npt.NDArray[Any]
logger = logging.getLogger("mrdist")

PENALTIES = (0.1, 0.03, 0.01, 0.003, 0.001, 0.0003)
"""Tried for l1, from large to small; scikit-learn's convention, see `mrdist.baselines.estimators.LassoRegression`."""
NONZEROS = (1, 2, 3, 4, 6, 8, 12, 16)
"""Tried for l0."""
COMPONENTS = (2, 4, 8, 16, 32)
"""Tried for pca."""
_TARGETS = 256


def choose_sparse(
    images: Images, labels: tuple[str, str], method: str, max_memory: int
) -> tuple[dict[str, Any], float]:
    """Choose the penalty of l1 or the number of weights of l0 by cross-validation among the training people.

    Some 256 output pixels spread over the frame stand for all, each on the whole input image.

    Parameters
    ----------
    images, labels
        Images store, source and target.
    method
        l1 or l0.
    max_memory
        Images that need more stay at the method's default.

    Returns
    -------
    setting
        ``alpha`` or ``nonzeros``; empty if the images do not fit.
    seconds
        What the choice took.
    """
    started = time.perf_counter()
    rows = images.rows(labels, "train")
    people = images.subject[rows]
    n_folds = min(DEFAULT_FOLDS, len(set(people)))
    needed = 4 * 8 * len(rows) * images.shape[0] * images.shape[1] * images.n_channels
    if needed > max_memory or n_folds < 2:
        logger.warning(
            "the setting of %s stays at its default: choosing it needs two people and %d MiB", method, needed >> 20
        )
        return {}, 0.0
    pixels = spread_pixels(images.shape, _TARGETS)
    x, t = (as_columns(to_integers(read_images(images, label, rows))) for label in labels)
    t = t[pixels]
    fold_of_row = np.repeat(assign_folds(people, n_folds, seed=0), images.n_channels)
    name, candidates = ("alpha", PENALTIES) if method == "l1" else ("nonzeros", NONZEROS)
    errors = np.zeros(len(candidates))
    for fold in range(n_folds):
        held_out = fold_of_row == fold
        errors += held_out_errors(
            x[:, ~held_out], t[:, ~held_out], x[:, held_out], t[:, held_out], unit_of(images.dtype), method
        )
    best = candidates[int(errors.argmin())]
    logger.info("%s: %s %g chosen", method, name, best)
    return {name: best}, time.perf_counter() - started


def held_out_errors(
    x: Array, t: Array, held_out_x: Array, held_out_t: Array, unit: int, method: str
) -> npt.NDArray[np.float64]:
    """Return the sum of squared errors on held-out rows for every candidate; 1 = white.

    Parameters
    ----------
    x, held_out_x
        Integers in units of ``1 / unit``, shape (pixel, row).
    t, held_out_t
        Targets, shape (target, row).
    """
    columns = Columns.of(x, unit)
    targets, mean = Columns.centre(t, unit)
    errors = []
    for found in _solutions(columns, targets, method):
        ends = np.cumsum(found.counts)
        error = 0.0
        for p, (end, count) in enumerate(zip(ends, found.counts, strict=True)):
            index, weights = found.indices[end - count : end], found.values[end - count : end]
            made = mean[p] + weights @ (held_out_x[index] / unit - columns.mean[index, None])
            error += float(np.square(made - held_out_t[p] / unit).sum())
        errors.append(error)
    return np.array(errors)


def _solutions(columns: Columns, targets: npt.NDArray[np.float64], method: str) -> Iterator[SparseRows]:
    if method == "l1":
        yield from lasso_path(columns, targets, PENALTIES)
    else:
        path = omp_path(columns, targets, nonzeros=max(NONZEROS))
        yield from (path.rows(nonzeros) for nonzeros in NONZEROS)


def fitting(candidates: Sequence[int], n_pairs: int) -> list[int]:
    """Return the numbers of components that so many pairs allow.

    Examples
    --------
    >>> fitting(COMPONENTS, 10)
    [2, 4, 8]
    """
    return [candidate for candidate in candidates if candidate < n_pairs]
