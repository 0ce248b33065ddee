"""Orthogonal matching pursuit of many targets on the same columns.

The column most correlated with the residual is added, and the target is refitted to all chosen columns (Pati,
Rezaiifar and Krishnaprasad, Asilomar 1993). Columns are centred and not normalised, as in scikit-learn's
OrthogonalMatchingPursuit. Correlations come from those of the target and from rows of the Gram matrix, which targets
share ("Batch-OMP": Rubinstein, Zibulevsky and Elad, Technion CS-2008-08), both by matrix product in float32; columns
within the rounding error of the largest are compared again in float64, so that the choice is that of exact arithmetic.
The Cholesky factor of the chosen columns' Gram matrix grows by a column a step, as R of their QR decomposition.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from mrdist._kernels.sparse import LANES, extend, strongest, substitute
from mrdist.baselines.columns import Columns, SparseRows
from mrdist.errors import ParameterError

Floats = npt.NDArray[np.float64]

TILE = 64
"""Targets that a pursuit should take at once, at most."""
_GRAM_BYTES = 256 << 20  # of Gram rows that are kept; more where one tile needs them
_EXACT = 1e-20  # share of a target's square that counts as rounding error
_ROUNDING = 2.0**-24  # of a float32

OMP_NONZEROS = 10
"""Default number of weights of an output pixel."""


def default_nonzeros(n_rows: int, n_columns: int) -> int:
    """Return the number of weights of an output pixel unless told otherwise.

    Examples
    --------
    >>> default_nonzeros(64, 4096), default_nonzeros(4, 4096)
    (10, 3)
    """
    return max(1, min(OMP_NONZEROS, n_rows - 1, n_columns))


def check_pursuit(nonzeros: int, tolerance: float, n_rows: int, n_columns: int) -> None:
    """Raise ParameterError if a pursuit cannot choose so many columns, or its tolerance is negative or not finite.

    Examples
    --------
    >>> check_pursuit(70, 0.0, n_rows=64, n_columns=4096)
    Traceback (most recent call last):
        ...
    mrdist.errors.ParameterError: nonzeros must be from 1 to 63, one less than the 64 rows to train on, got 70.
    """
    limit, why = (n_rows - 1, f"one less than the {n_rows} rows to train on")
    if n_columns < limit:
        limit, why = n_columns, f"the {n_columns} input pixels"
    if not 1 <= nonzeros <= limit:
        raise ParameterError(f"nonzeros must be from 1 to {limit}, {why}, got {nonzeros}.")
    if not 0 <= tolerance < np.inf:
        raise ParameterError(f"tolerance must be a finite mean squared error of at least 0, got {tolerance}.")


def omp(
    columns: Columns,
    targets: Floats,
    *,
    nonzeros: int,
    tolerance: float = 0.0,
    allowed: npt.NDArray[np.bool_] | None = None,
    gram: GramRows | None = None,
) -> SparseRows:
    """Choose columns for targets, one a step.

    Parameters
    ----------
    columns
        The inputs.
    targets
        Centred as `Columns.centre` does, shape (target, row).
    nonzeros
        Columns for a target, at most.
    tolerance
        Mean squared error, 1 = white, at which a target needs no more columns. (scikit-learn's ``tol`` is the sum
        over the rows.)
    allowed
        Which columns each target may use, shape (target, column); all by default.
    gram
        The Gram rows of pursuits of other targets on the same columns.

    Returns
    -------
    SparseRows
        Of equally good columns the first is chosen. A target that the columns fit exactly has fewer.
    """
    path = omp_path(columns, targets, nonzeros=nonzeros, tolerance=tolerance, allowed=allowed, gram=gram)
    return path.rows(nonzeros)


class OmpPath:
    """The steps of a pursuit: the solution for any number of columns up to ``nonzeros``."""

    def __init__(self, chosen: npt.NDArray[np.int64], counts: npt.NDArray[np.int64], factor: Floats, shares: Floats):
        self._chosen = chosen
        self._counts = counts
        self._factor = factor
        self._shares = shares

    def rows(self, nonzeros: int) -> SparseRows:
        """Return the weights of the first ``nonzeros`` columns that were chosen."""
        counts = np.minimum(self._counts, nonzeros)
        weights = np.zeros(self._shares.shape)
        substitute(self._factor, self._shares, counts, np.arange(len(counts)), weights)
        indices, values = [], []
        for p, count in enumerate(counts.tolist()):
            order = np.argsort(self._chosen[p, :count])
            indices.append(self._chosen[p, order])
            values.append(weights[p, order])
        return SparseRows(counts, np.concatenate(indices), np.concatenate(values), np.zeros(len(counts), dtype=bool))


def omp_path(
    columns: Columns,
    targets: Floats,
    *,
    nonzeros: int,
    tolerance: float = 0.0,
    allowed: npt.NDArray[np.bool_] | None = None,
    gram: GramRows | None = None,
) -> OmpPath:
    """Run the pursuit and keep its steps; parameters are those of `omp`."""
    n, n_rows = targets.shape
    nonzeros = min(nonzeros, n_rows, columns.n_columns)
    mask = np.empty((n, 0), dtype=np.bool_) if allowed is None else allowed
    residuals = targets.copy()
    sst = np.square(targets).sum(axis=1)
    limits = np.maximum(tolerance * n_rows * columns.scale**2 * columns.ratio**2, _EXACT * sst)
    chosen = np.zeros((n, nonzeros), dtype=np.int64)
    counts = np.zeros(n, dtype=np.int64)
    basis = np.empty((n, nonzeros, n_rows))
    factor = np.zeros((n, nonzeros, nonzeros))
    shares, weights = np.zeros((n, nonzeros)), np.zeros((n, nonzeros))
    best = np.empty(n, dtype=np.int64)
    gram = GramRows(columns, nonzeros) if gram is None else gram
    first = gram.products(targets)
    length = np.sqrt(sst)
    which = np.flatnonzero(sst > limits)
    for step in range(nonzeros):
        if not len(which):
            break
        size = length + (np.abs(weights) * columns.length[chosen]).sum(axis=1)
        slack = (n_rows + step + 8) * _ROUNDING * columns.length.max() * size
        places = gram.places(chosen[:, :step], which)
        strongest(first, gram.rows, places, weights, counts, which, slack, columns.x, residuals, mask, best)
        which = which[best[which] >= 0]
        extend(columns.x, which, best, chosen, counts, basis, factor, shares, residuals)
        substitute(factor, shares, counts, which, weights)
        which = which[(counts[which] > step) & (np.square(residuals[which]).sum(axis=1) > limits[which])]
    return OmpPath(chosen, counts, factor, shares)


def shared_bytes(n_columns: int, nonzeros: int) -> int:
    """Return the bytes of the rows of a Gram matrix that a pursuit keeps."""
    return 4 * n_columns * _capacity(n_columns, TILE * nonzeros)


def _capacity(n_columns: int, at_least: int) -> int:
    return min(n_columns, max(at_least, _GRAM_BYTES // (4 * n_columns)))


class GramRows:
    """Rows of the columns' Gram matrix in float32, made when they are first asked for and kept while there is room.

    Attributes
    ----------
    rows
        Shape (row, column), the columns padded with zeros to a multiple of ``LANES``.
    """

    def __init__(self, columns: Columns, nonzeros: int) -> None:
        self._columns = columns
        self._place = np.full(columns.n_columns, -1, dtype=np.int64)
        self._count = 0
        width = -(-columns.n_columns // LANES) * LANES
        self.rows = np.zeros((_capacity(columns.n_columns, TILE * nonzeros), width), dtype=np.float32)

    def serves(self, columns: Columns) -> bool:
        """Whether these are rows of the Gram matrix of exactly these columns."""
        return self._columns is columns

    def products(self, vectors: Floats) -> npt.NDArray[np.float32]:
        """Return products of vectors, shape (vector, row), with all columns; padded with zeros."""
        products = np.zeros((len(vectors), self.rows.shape[1]), dtype=np.float32)
        self._multiply(vectors, products)
        return products

    def places(self, chosen: npt.NDArray[np.int64], which: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """Return the row of each chosen column, shape (target, choice); missing rows are computed."""
        wanted = np.unique(chosen[which])
        new = wanted[self._place[wanted] < 0]
        if self._count + len(new) > len(self.rows):
            self._place[:] = -1
            self._count = 0
            new = wanted
        end = self._count + len(new)
        if len(new):
            self._multiply(self._columns.x[new], self.rows[self._count : end])
        self._place[new] = np.arange(self._count, end)
        self._count = end
        return self._place[chosen]

    def _multiply(self, vectors: Floats, out: npt.NDArray[np.float32]) -> None:
        np.matmul(vectors.astype(np.float32), self._columns.single, out=out[:, : self._columns.n_columns])
