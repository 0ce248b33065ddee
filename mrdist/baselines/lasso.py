"""LASSO of many targets on the same columns: working sets, warm starts, correlations by matrix product.

A target minimises, as scikit-learn's Lasso does,

    1 / (2 N) |t - X w - b|^2 + alpha |w|_1

over N rows, the intercept b unpenalised (columns and targets are centred). A working set of columns is solved to its
minimum by coordinate descent and direct solves in turn, the correlations of its residual with all columns come by
matrix product for all targets at once, and the strongest that violate the optimality conditions join the set (Johnson
and Guestrin, "Blitz", ICML 2015; Massias, Gramfort and Salmon, "Celer", ICML 2018). The duality gap stops it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from mrdist._kernels.sparse import descend, lasso_gap
from mrdist.baselines.columns import Columns, SparseRows

Floats = npt.NDArray[np.float64]

TOLERANCE = 1e-4
"""Duality gap, as a share of the target's sum of squares, at which a target is solved (scikit-learn's default)."""
MAX_ITERATIONS = 1000
"""Steps and direct solves of a target before it counts as unsolved."""
SLICE = 8192
"""Columns that are correlated at a time."""
_INNER = 0.1  # share of the gap that a working set may leave
_FIRST = 10  # columns that join a working set at a time, at least
_POOL = 64  # columns of a new pool


def largest_alpha(columns: Columns, targets: Floats) -> Floats:
    """Return for each target the alpha from which on all its weights are zero, shape (target,).

    Parameters
    ----------
    columns
        The inputs.
    targets
        Centred as `Columns.centre` does, shape (target, row).
    """
    largest = np.zeros(len(targets))
    for start in range(0, columns.n_columns, SLICE):
        np.maximum(largest, np.abs(targets @ columns.x[start : start + SLICE].T).max(axis=1), out=largest)
    alpha: Floats = largest / (columns.scale**2 * columns.n_rows * columns.ratio)
    return alpha


def lasso_path(
    columns: Columns,
    targets: Floats,
    alphas: Sequence[float],
    *,
    tolerance: float = TOLERANCE,
    max_iterations: int = MAX_ITERATIONS,
    allowed: npt.NDArray[np.bool_] | None = None,
) -> Iterator[SparseRows]:
    """Solve targets for penalties, each from the solution of the one before.

    Parameters
    ----------
    columns
        The inputs.
    targets
        Centred as `Columns.centre` does, shape (target, row). Targets that resemble each other are solved faster:
        they share a pool of columns, and the one in the middle is solved first.
    alphas
        Penalties; from large to small is fastest.
    tolerance
        Duality gap, as a share of ``|t|^2``, at which a target is solved.
    max_iterations
        Steps and direct solves per target and penalty.
    allowed
        Which columns each target may use, shape (target, column); all by default.

    Yields
    ------
    SparseRows
        For each penalty. Of equal columns only the first has a weight.
    """
    pool = _Pool(columns, targets, allowed)
    for alpha in alphas:
        pool.solve(columns.scale**2 * columns.n_rows * alpha * columns.ratio, tolerance, max_iterations)
        yield pool.rows()


class _Pool:
    """The pool of columns for the working sets of some targets, and the state of each target."""

    def __init__(self, columns: Columns, targets: Floats, allowed: npt.NDArray[np.bool_] | None) -> None:
        n = len(targets)
        self._columns = columns
        self._targets = targets
        self._allowed = allowed
        self._sst: Floats = np.square(targets).sum(axis=1)
        self._place: dict[int, int] = {}  # of a column in the pool
        self._pool = np.empty(0, dtype=np.int64)
        self._x = np.empty((_POOL, columns.n_rows))
        self._gram = np.empty((_POOL, _POOL))
        self._products = np.empty((n, _POOL))
        self._weights = np.zeros((n, _POOL))
        self._members = np.empty((n, _POOL), dtype=np.int64)
        self._counts = np.zeros(n, dtype=np.int64)
        self._unsolved = np.zeros(n, dtype=bool)

    def solve(self, penalty: float, tolerance: float, max_iterations: int) -> None:
        """Move every target from its current weights to its minimum."""
        self._keep_support()
        limits = tolerance * self._sst
        iterations = np.zeros(len(limits), dtype=np.int64)
        self._unsolved[:] = False
        if not self._weights.any():  # the target in the middle is the start of the others
            leader = len(limits) // 2
            self._solve(np.array([leader]), penalty, limits, iterations, max_iterations)
            self._keep_support()
            support = self._members[leader, : self._counts[leader]].copy()
            for p in np.flatnonzero(self._sst > 0):
                chosen = support
                if self._allowed is not None:
                    chosen = chosen[self._allowed[p, self._pool[chosen]]]
                self._members[p, : len(chosen)] = chosen
                self._counts[p] = len(chosen)
                self._weights[p, chosen] = self._weights[leader, chosen]
        which = np.flatnonzero(self._sst > 0)
        self._solve(which, penalty, limits, iterations, max_iterations)

    def rows(self) -> SparseRows:
        """Return the current weights."""
        counts, indices, values = [], [], []
        for p in range(len(self._counts)):
            own = self._members[p, : self._counts[p]]
            own = own[self._weights[p, own] != 0]
            chosen = self._pool[own]
            order = np.argsort(chosen)
            counts.append(len(chosen))
            indices.append(chosen[order])
            values.append(self._weights[p, own[order]])
        return SparseRows(
            np.array(counts, dtype=np.int64), np.concatenate(indices), np.concatenate(values), self._unsolved.copy()
        )

    def _keep_support(self) -> None:
        for p in range(len(self._counts)):
            own = self._members[p, : self._counts[p]]
            own = own[self._weights[p, own] != 0]
            self._members[p, : len(own)] = own
            self._counts[p] = len(own)

    def _solve(
        self,
        which: npt.NDArray[np.int64],
        penalty: float,
        limits: Floats,
        iterations: npt.NDArray[np.int64],
        max_iterations: int,
    ) -> None:
        arguments = penalty, self._sst, _INNER * limits, iterations, max_iterations
        while True:
            self._descend(which, *arguments)
            gaps, joining = self._violations(which, penalty)
            which, joining = self._still(which, gaps > limits[which], joining, iterations, max_iterations)
            if not len(which):
                return
            self._join(which, joining)

    def _descend(self, which: npt.NDArray[np.int64], *arguments: Any) -> None:
        descend(self._gram, self._products, self._weights, self._members, self._counts, which, *arguments)

    def _still(
        self,
        which: npt.NDArray[np.int64],
        open_: npt.NDArray[np.bool_],
        joining: list[npt.NDArray[np.int64]],
        iterations: npt.NDArray[np.int64],
        max_iterations: int,
    ) -> tuple[npt.NDArray[np.int64], list[npt.NDArray[np.int64]]]:
        """Return the targets to go on with; the others count as unsolved."""
        kept = []
        for i, p in enumerate(which):
            if not open_[i]:
                continue
            if iterations[p] >= max_iterations or not len(joining[i]):
                self._unsolved[p] = True
                continue
            kept.append(i)
        return which[kept], [joining[i] for i in kept]

    def _violations(self, which: npt.NDArray[np.int64], penalty: float) -> tuple[Floats, list[npt.NDArray[np.int64]]]:
        """Return the duality gaps, and for each target the columns that violate its optimality most."""
        columns, n_pool = self._columns, len(self._pool)
        weights, targets = self._weights[which], self._targets[which]
        residuals = targets - weights[:, :n_pool] @ self._x[:n_pool]
        largest = np.zeros(len(which))
        violations: list[list[npt.NDArray[Any]]] = [[] for _ in which]
        sizes = np.maximum(_FIRST, (weights != 0).sum(axis=1))
        members = [self._pool[self._members[p, : self._counts[p]]] for p in which]
        for start in range(0, columns.n_columns, SLICE):
            products = np.abs(residuals @ columns.x[start : start + SLICE].T)
            if self._allowed is not None:
                products[~self._allowed[which, start : start + SLICE]] = 0.0
            np.maximum(largest, products.max(axis=1), out=largest)
            for i, (row, size) in enumerate(zip(products, sizes, strict=True)):
                own = members[i] - start
                row[own[(own >= 0) & (own < len(row))]] = 0.0
                over = np.flatnonzero(row > penalty)
                if len(over) > size:
                    over = over[np.argsort(-row[over], kind="stable")[:size]]
                if len(over):
                    violations[i].append(np.stack([over + start, row[over]]))
        joining = []
        for i, p in enumerate(which):
            if not violations[i]:
                joining.append(np.empty(0, dtype=np.int64))
                continue
            over, strength = np.concatenate(violations[i], axis=1)
            candidates = columns.first[over[np.argsort(-strength, kind="stable")[: sizes[i]]].astype(np.int64)]
            if self._allowed is not None:
                candidates = candidates[self._allowed[p, candidates]]
            joining.append(np.setdiff1d(candidates, members[i]))
        gaps = [
            lasso_gap(float(r @ r), self._sst[p], float((t - r) @ t), float(np.abs(w).sum()), top, penalty)
            for p, r, t, w, top in zip(which, residuals, targets, weights, largest, strict=True)
        ]
        return np.array(gaps), joining

    def _join(self, which: npt.NDArray[np.int64], joining: list[npt.NDArray[np.int64]]) -> None:
        """Add columns to the targets' working sets, and those that are new to the pool."""
        new = np.array(sorted(set(np.concatenate(joining).tolist()) - self._place.keys()), dtype=np.int64)
        self._grow(new)
        for p, columns in zip(which, joining, strict=True):
            start = self._counts[p]
            self._members[p, start : start + len(columns)] = [self._place[j] for j in columns.tolist()]
            self._counts[p] += len(columns)

    def _grow(self, new: npt.NDArray[np.int64]) -> None:
        before, after = len(self._pool), len(self._pool) + len(new)
        if after > len(self._gram):
            size = max(2 * len(self._gram), after)
            self._x = _enlarged(self._x, (size, self._x.shape[1]))
            self._gram = _enlarged(self._gram, (size, size))
            n = len(self._targets)
            self._products, self._weights, self._members = (
                _enlarged(array, (n, size)) for array in (self._products, self._weights, self._members)
            )
        self._place.update(zip(new.tolist(), range(before, after), strict=True))
        self._pool = np.concatenate([self._pool, new])
        self._x[before:after] = self._columns.x[new]
        rows = self._x[before:after] @ self._x[:after].T
        self._gram[before:after, :after] = rows
        self._gram[:after, before:after] = rows.T
        self._products[:, before:after] = self._targets @ self._x[before:after].T


def _enlarged(array: npt.NDArray[Any], shape: tuple[int, int]) -> npt.NDArray[Any]:
    larger = np.zeros(shape, dtype=array.dtype)
    larger[: array.shape[0], : array.shape[1]] = array
    return larger
