"""Choosing hyperparameters by cross-validation: folds by person, grids of penalties and the rules of choice."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import numpy as np
import numpy.typing as npt

from mrdist._kernels.lanes import jit
from mrdist.errors import ParameterError
from mrdist.solvers import check_alpha

Rule = Literal["min", "1se"]

DEFAULT_ALPHAS = (0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0)
DEFAULT_FOLDS = 5


def default_folds(subject: Sequence[str] | npt.NDArray[np.str_]) -> int:
    """Return the number of folds for the persons of all rows unless told otherwise, at least 2.

    Examples
    --------
    >>> default_folds(["ann", "bob", "ann", "cid"])
    3
    """
    return max(2, min(DEFAULT_FOLDS, len(set(map(str, subject)))))


def assign_folds(subject: Sequence[str] | npt.NDArray[np.str_], n_folds: int, seed: int) -> npt.NDArray[np.int64]:
    """Assign every row to a fold, so that no person is in two and the folds hold about equally many rows.

    Parameters
    ----------
    subject
        Person of every row.
    n_folds
        Number of folds, at least 2 and at most the number of persons.
    seed
        Decides the draw; the order of the rows does not.

    Returns
    -------
    ndarray of int64
        Fold of every row, 0..n_folds-1; none is empty.

    Raises
    ------
    ParameterError
        If ``n_folds`` is less than 2 or more than the number of persons.

    Examples
    --------
    >>> assign_folds(["ann", "bob", "ann", "cid"], n_folds=2, seed=0)
    array([0, 1, 0, 1])
    """
    takes = Counter(map(str, subject))
    if n_folds < 2:
        raise ParameterError(f"folds must be at least 2, one to train on and one held out, got {n_folds}.")
    if n_folds > len(takes):
        raise ParameterError(
            f"folds is {n_folds}, but the images to train on show only {len(takes)} subject(s), and none may be in two "
            "folds; use fewer folds or images of more subjects."
        )

    # Hashes, because the streams of random generators change between versions of their libraries.
    def rank(person: str) -> tuple[int, bytes]:
        return -takes[person], hashlib.sha256(f"fold {seed} {person}".encode()).digest()

    sizes = [0] * n_folds
    fold = {}
    for person in sorted(takes, key=rank):  # persons with the most rows first: the later ones even out the sizes
        fold[person] = sizes.index(min(sizes))
        sizes[fold[person]] += takes[person]
    return np.array([fold[str(person)] for person in subject], dtype=np.int64)


def check_alphas(alphas: Sequence[float]) -> tuple[float, ...]:
    """Return a grid of penalties in ascending order.

    Raises
    ------
    ParameterError
        If it is empty, one is not positive and finite, or one is there twice.

    Examples
    --------
    >>> check_alphas([10, 0.1, 1])
    (0.1, 1.0, 10.0)
    """
    if len(alphas) == 0:
        raise ParameterError("alphas is empty; give at least one penalty.")
    ascending = sorted(check_alpha(alpha) for alpha in alphas)
    for alpha, following in pairwise(ascending):
        if alpha == following:
            raise ParameterError(f"alphas holds {alpha:g} twice; give every penalty once.")
    return tuple(ascending)


@dataclass(frozen=True)
class Choice:
    """The choice of a rule from a table of errors.

    Attributes
    ----------
    model, alpha
        Indices along the first two axes of the table.
    error, standard_error
        Mean error of that candidate over the folds, and its standard error.
    edge
        ``"lower"`` or ``"upper"`` if the best alpha of its model is the smallest or the largest of several: the
        minimum may lie beyond the grid.
    """

    model: int
    alpha: int
    error: float
    standard_error: float
    edge: Literal["lower", "upper"] | None


def choose(errors: npt.NDArray[np.float64], *, rule: Rule = "min", size: Sequence[int] | None = None) -> Choice:
    """Choose the candidate with the least error.

    Parameters
    ----------
    errors
        Mean squared error of every model, alpha and fold, shape (model, alpha, fold); alphas ascend.
    rule
        ``"min"``: the least mean over the folds. ``"1se"``: the simplest candidate whose mean is at most one standard
        error of the best one above it (Hastie, Tibshirani & Friedman, The Elements of Statistical Learning, 2nd ed.,
        section 7.10): the smallest model that has one, of equally small ones the best, and its largest alpha.
    size
        Of every model, for ``"1se"``, such as its number of taps; by default they come in ascending order.

    Returns
    -------
    Choice

    Examples
    --------
    >>> errors = np.array([[[4.0, 4.2], [2.0, 2.2], [2.1, 2.1], [5.0, 5.0]]])
    >>> choose(errors).alpha, choose(errors, rule="1se").alpha
    (1, 2)
    """
    mean, error_of_mean = mean_error(errors), standard_error(errors)
    best = np.unravel_index(int(np.argmin(mean)), mean.shape)
    model, alpha = int(best[0]), int(best[1])
    last = mean.shape[1] - 1
    edge: Literal["lower", "upper"] | None = None
    if last > 0 and alpha in (0, last):
        edge = "upper" if alpha else "lower"
    if rule == "1se":
        near = mean <= mean[best] + error_of_mean[best]
        sizes = list(range(len(mean))) if size is None else list(size)
        model = min(np.flatnonzero(near.any(axis=1)).tolist(), key=lambda number: (sizes[number], mean[number].min()))
        alpha = int(np.flatnonzero(near[model])[-1])
    return Choice(model, alpha, float(mean[model, alpha]), float(error_of_mean[model, alpha]), edge)


def mean_error(errors: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return the mean over the folds, the last axis, added in their order: every fold has the same weight."""
    total = np.array(errors[..., 0])
    for fold in range(1, errors.shape[-1]):
        total += errors[..., fold]
    return np.asarray(total / errors.shape[-1])


def standard_error(errors: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return the standard error of the mean over the folds, the last axis.

    Examples
    --------
    >>> standard_error(np.array([1.0, 3.0]))
    array(1.)
    """
    n_folds = errors.shape[-1]
    squares = np.square(errors - mean_error(errors)[..., np.newaxis])
    return np.asarray(np.sqrt(mean_error(squares) / (n_folds - 1)))


def sum_tiles(maps: npt.NDArray[np.float64], side: int) -> npt.NDArray[np.float64]:
    """Sum maps over square tiles of pixels, smaller ones at the lower and right edge, and over groups.

    Every tile is one sum in raster order: tiles do not depend on the block they were cut from.

    Parameters
    ----------
    maps
        Shape (..., group, y, x).
    side
        Of a tile.

    Returns
    -------
    ndarray
        float64, shape (..., tile y, tile x).

    Examples
    --------
    >>> sum_tiles(np.ones((5, 2, 3, 4)), 2).tolist()[0]
    [[8.0, 8.0], [4.0, 4.0]]
    """
    *leading, n_groups, height, width = maps.shape
    flat = np.ascontiguousarray(maps).reshape(-1, n_groups, height, width)
    sums = np.zeros((len(flat), -(-height // side), -(-width // side)))
    _sum_tiles(flat, side, sums)
    return sums.reshape(*leading, *sums.shape[1:])


@jit
def _sum_tiles(maps: npt.NDArray[np.float64], side: int, sums: npt.NDArray[np.float64]) -> None:
    n_maps, n_groups, height, width = maps.shape
    for m in range(n_maps):
        for group in range(n_groups):
            for y in range(height):
                for x in range(width):
                    sums[m, y // side, x // side] += maps[m, group, y, x]
