"""Reduced-rank ridge regression in its dual form: never a matrix of input by output pixels.

Of n training rows, centred, X holds the inputs and Y the outputs. The weights B minimise ``|Y - X B|^2 + alpha |B|^2``
among the matrices of at most a rank (Izenman, Reduced-rank regression for the multivariate linear model, Journal of
Multivariate Analysis 5, 1975; with the penalty Mukherjee and Zhu, Reduced rank ridge regression and its kernel
extensions, Statistical Analysis and Data Mining 4, 2011). The penalty is that of a further row ``sqrt(alpha)`` of X for
each input, with zeros in Y: so B is ridge regression, projected on the leading right singular vectors V of its fit to
all rows, ``B_ridge V V'``. With ``K = X X'`` and ``H = K (K + alpha)^-1``, the inner products of that fit are
``B_ridge' (X' X + alpha) B_ridge = Y' H Y``. So V are the right singular vectors of ``H^(1/2) Y``, and its left ones,
U, are eigenvectors of ``H^(1/2) Y Y' H^(1/2)``: whatever is decomposed has a row and a column for each training row.
With ``P = H^(1/2) U``, the weights are ``B = X' K^-1 P P' Y`` and their fit is ``X B = P P' Y``.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from threadpoolctl import threadpool_limits

from mrdist.baselines.dual import Dual, Matrix, Spectrum


def reduced_rank(kernel: Matrix, targets: Matrix, rank: int) -> Callable[[float], Dual]:
    """Return what solves reduced-rank ridge regression for a penalty.

    The intercept is free. The components are in the order of what they explain: the first ones of a larger rank are
    those of a smaller rank. Where the rows span fewer directions than ``rank``, the last components are zero.

    Parameters
    ----------
    kernel, targets
        Inner products of the rows of the source and of the target, shape (row, row).
    rank
        Largest rank of the weights.

    Examples
    --------
    >>> x = np.random.default_rng(0).random((5, 9))
    >>> solve = reduced_rank(x @ x.T, x @ x.T, 2)
    >>> solve(0.1).rotation.shape
    (5, 2)
    """
    spectrum = Spectrum.of(kernel, penalize_intercept=False)
    spanned = spectrum.values > spectrum.values[-1] * len(kernel) * np.finfo(np.float64).eps
    values = np.where(spanned, spectrum.values, 1.0)
    vectors = np.where(spanned, spectrum.vectors - spectrum.vectors.mean(axis=0), 0.0)
    with threadpool_limits(1):
        seen = vectors.T @ targets @ vectors

    def solve(alpha: float) -> Dual:
        shrinkage = np.sqrt(values / (values + alpha))
        with threadpool_limits(1):
            _, directions = np.linalg.eigh(shrinkage[:, None] * seen * shrinkage)
            leading = directions[:, ::-1][:, :rank]
            fit = (vectors * shrinkage) @ leading
            rotation = (vectors / np.sqrt(values * (values + alpha))) @ leading
            return spectrum.dual(rotation, fit, fit.T @ fit - 2 * np.eye(fit.shape[1]), 1.0)

    return solve
