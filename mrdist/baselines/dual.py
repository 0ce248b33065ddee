"""Regression on whole images in its dual form: one unknown per training row, never one per pixel.

The rows of X are the N training images (images x channels where the channels share their weights) and K = X X'. Ridge
regression of every output pixel on all input pixels is ``y(x) = k(x) C + b`` with ``k(x) = X x`` and dual coefficients
``C = (K + alpha)^-1 T`` (Saunders, Gammerman & Vovk, Ridge regression learning algorithm in dual variables, ICML 1998).
One eigendecomposition ``K = U diag(l) U'`` serves every alpha. The dual coefficients nearly cancel each other, so the
stored weights are ``coef = (U / sqrt(l + alpha))' T``, weights of the codes ``k(x) U / sqrt(l + alpha)``: float32 is
precise enough for these.

The penalty is on the weights of images in 0..1, as in `mrdist.MaskedRegression` and in scikit-learn's Ridge: it is not
scaled by the number of rows. A penalised intercept is the weight of one more input that is always 1, which adds 1 to
every entry of K; a free one centres rows and targets.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from threadpoolctl import threadpool_limits

from mrdist.errors import DataError, ParameterError
from mrdist.moments import to_integers, unit_of

Array = npt.NDArray[Any]
Matrix = npt.NDArray[np.float64]

PCA_COMPONENTS = 32
"""Principal components unless told otherwise."""
_TILE = 4096  # pixels: a sum of so many products of 20 bits each is exact in float64
_FLOAT_SHIFT = 2  # bits of float images' fixed point that are dropped, so that sums over a whole image fit into int64


def integers_of(images: Array, what: str = "images") -> Array:
    """Return images as integers in units of ``1 / gram_unit(images.dtype)``; floats are rounded to multiples of 2^-20.

    Errors are those of `mrdist.moments.to_integers`.
    """
    values = to_integers(images, what)
    if images.dtype.kind != "f":
        return values
    values += 1 << _FLOAT_SHIFT >> 1
    values >>= _FLOAT_SHIFT
    return values


def gram_unit(dtype: npt.DTypeLike) -> int:
    """Return the integer that stands for 1.0 in `integers_of`.

    Examples
    --------
    >>> gram_unit("uint8"), gram_unit("float32")
    (255, 1048576)
    """
    return unit_of(dtype) >> (_FLOAT_SHIFT if np.dtype(dtype).kind == "f" else 0)


def check_pixels(n_pixels: int, unit: int) -> None:
    """Make sure that inner products of images of so many pixels are exact.

    Raises
    ------
    DataError
        If they might not fit into int64.
    """
    limit = (2**63 - 1) // unit**2
    if n_pixels > limit:
        raise DataError(
            f"images of {n_pixels} pixels exceed the {limit} over which products in units of 1/{unit} can be summed "
            "exactly; use smaller images or images of fewer bits."
        )


def rows_of(images: Array, n_groups: int) -> Array:
    """Return images (image, y, x, channel) as the rows of every independent regression, shape (group, row, pixel).

    One group has images x channels as rows, channels fastest; as many groups as channels have the images.
    """
    n, height, width, channels = images.shape
    if n_groups == 1:
        return np.moveaxis(images, 3, 1).reshape(1, n * channels, height * width)
    return np.moveaxis(images, 3, 0).reshape(channels, n, height * width)


def images_of(rows: Array, n_channels: int) -> Array:
    """Return what belongs to rows, shape (group, row, ...), by image and channel: shape (image, channel, ...)."""
    by_channel: Array = rows[0].reshape(-1, n_channels, *rows.shape[2:]) if len(rows) == 1 else np.moveaxis(rows, 0, 1)
    return by_channel


def inner_products(a: Array, b: Array | None = None) -> npt.NDArray[np.int64]:
    """Return the inner products of rows of integers over their pixels, exact in any order.

    Parameters
    ----------
    a
        Shape (group, row, pixel).
    b
        Other rows; those of ``a`` by default.

    Returns
    -------
    ndarray of int64
        Shape (group, row of a, row of b).

    Examples
    --------
    >>> inner_products(np.array([[[1, 2], [3, 4]]], dtype=np.uint8)).tolist()
    [[[5, 11], [11, 25]]]
    """
    total = np.zeros((len(a), a.shape[1], (a if b is None else b).shape[1]), dtype=np.int64)
    for group in range(len(a)):
        for start in range(0, a.shape[2], _TILE):
            part = a[group, :, start : start + _TILE].astype(np.float64)
            other = part if b is None else b[group, :, start : start + _TILE].astype(np.float64)
            total[group] += (part @ other.T).astype(np.int64)
    return total


def gaussian(inner: Matrix, norms: Matrix, other_norms: Matrix, gamma: float) -> Matrix:
    """Return ``exp(-gamma |x - x'|^2)`` from inner products and squared norms of images in 0..1."""
    squared = np.maximum(norms[:, None] + other_norms[None, :] - 2 * inner, 0)
    return np.asarray(np.exp(-gamma * squared))


def default_gamma(grams: Matrix) -> float:
    """Return the reciprocal of the median squared distance between two training rows, a common rule of thumb.

    Parameters
    ----------
    grams
        Inner products of images in 0..1, shape (group, row, row).

    Raises
    ------
    DataError
        If there is a single row, or most rows are equal.
    """
    first, second = np.triu_indices(grams.shape[1], 1)
    norms = np.diagonal(grams, axis1=1, axis2=2)
    squared = norms[:, first] + norms[:, second] - 2 * grams[:, first, second]
    median = float(np.median(squared)) if squared.size else 0.0
    if not median > 0:
        raise DataError(
            f"gamma has no default here, because most of the {grams.shape[1]} row(s) are equal or there is only one; "
            "give gamma."
        )
    return 1 / median


def check_gamma(gamma: float | None) -> float | None:
    """Return the width of a kernel if it is None (chosen from the data) or positive and finite.

    Raises
    ------
    ParameterError
        If it is not.
    """
    if gamma is not None and not 0 < gamma < np.inf:
        raise ParameterError(f"gamma must be positive and finite, got {gamma}.")
    return gamma


def default_components(n_rows: int) -> int:
    """Return the number of principal components of so many rows unless told otherwise.

    Examples
    --------
    >>> default_components(800), default_components(4)
    (32, 3)
    """
    return max(1, min(PCA_COMPONENTS, n_rows - 1))


def check_components(components: int, n_rows: int) -> int:
    """Return a number of principal components if so many rows can have them.

    Raises
    ------
    ParameterError
        If it is not positive, or not less than the number of rows.
    """
    if not 1 <= components < n_rows:
        raise ParameterError(
            f"components must be from 1 to {n_rows - 1}, one less than the {n_rows} row(s) to train on, got "
            f"{components}."
        )
    return components


@dataclass(frozen=True)
class Spectrum:
    """Eigendecomposition of a kernel matrix under a convention of the intercept.

    Attributes
    ----------
    values, vectors
        Ascending eigenvalues, none negative, shape (row,), and eigenvectors as columns, shape (row, row).
    means
        Mean of the kernel over the training rows, shape (row,).
    penalize_intercept
        The convention.
    """

    values: Matrix
    vectors: Matrix
    means: Matrix
    penalize_intercept: bool

    @classmethod
    def of(cls, kernel: Matrix, *, penalize_intercept: bool) -> Spectrum:
        """Decompose a kernel matrix of shape (row, row); one thread, so that the bits do not depend on their number."""
        means = kernel.mean(axis=0)
        centred = kernel - means[:, None] - means[None, :] + means.mean()
        system = kernel + 1 if penalize_intercept else centred
        with threadpool_limits(1):
            values, vectors = np.linalg.eigh(system)
        return cls(np.maximum(values, 0), vectors, means, penalize_intercept)

    def ridge(self, alpha: float) -> Dual:
        """Return ridge regression with a penalty."""
        scaled = self.vectors / np.sqrt(self.values + alpha)
        return self.dual(scaled, scaled, alpha**2 / (self.values + alpha), 0.0)

    def components(self, count: int) -> Dual:
        """Return regression on the ``count`` principal components of the training rows.

        Raises
        ------
        ParameterError
            If the rows do not span so many.
        """
        rank = int((self.values > self.values[-1] * len(self.values) * np.finfo(np.float64).eps).sum())
        if count > rank:
            raise ParameterError(
                f"components is {count}, but the {len(self.values)} rows to train on span only {rank} directions "
                f"around their mean; choose at most {rank}."
            )
        values, vectors = self.values[::-1][:count], self.vectors[:, ::-1][:, :count]
        scaled = vectors / np.sqrt(values)
        return self.dual(scaled, scaled, -values, 1.0)

    def dual(self, rotation: Matrix, projector: Matrix, errors: Matrix, deviation: float) -> Dual:
        """Return a regression by its linear maps, with the intercept that belongs to them.

        Parameters
        ----------
        rotation, projector
            From the kernel to codes and from codes to targets, both of shape (row, component), without the intercept.
        errors, deviation
            As in `Dual`.
        """
        if self.penalize_intercept:
            intercept = rotation.sum(axis=0) @ projector.T
        else:
            rotation, projector = rotation - rotation.mean(axis=0), projector - projector.mean(axis=0)
            intercept = 1 / len(rotation) - (self.means @ rotation) @ projector.T
        return Dual(rotation, np.ascontiguousarray(projector.T), intercept, errors, deviation)


@dataclass(frozen=True)
class Dual:
    """A solved regression: linear maps from targets to weights.

    Attributes
    ----------
    rotation
        From the kernel with the training rows to codes, shape (row, component).
    projector
        From targets to coefficients of the codes, shape (component, row).
    intercept
        From targets to the intercept, shape (row,).
    errors, deviation
        A pixel's squared training error is the sum of ``errors * coef^2`` (of a matrix, the quadratic form), plus
        ``deviation`` times the squared deviations of its target from their mean.
    """

    rotation: Matrix
    projector: Matrix
    intercept: Matrix
    errors: Matrix
    deviation: float | Matrix

    def solve(self, targets: Array, unit: int) -> tuple[Matrix, Matrix, Matrix]:
        """Return coefficients, intercepts and squared training errors of some output pixels.

        Parameters
        ----------
        targets
            Integers in units of ``1 / unit``, shape (row, pixel).
        unit
            The integer that stands for 1.0.

        Returns
        -------
        tuple of ndarray
            Shapes (component, pixel), (pixel,) and (pixel,); the errors lack their ``deviation``.
        """
        values = targets / unit
        coef = self.projector @ values
        form = self.errors
        errors = form @ np.square(coef) if form.ndim == 1 else np.sum(coef * (form @ coef), axis=0)
        return coef, self.intercept @ values, errors


Solver = Callable[[Matrix, Matrix | None], Callable[[float], Dual]]
"""Returns, of the kernel of the rows and the inner products of their targets, what solves for a penalty."""


def held_out_errors(
    kernel: Matrix,
    targets: Matrix,
    fold: npt.NDArray[np.int64],
    alphas: tuple[float, ...],
    *,
    penalize_intercept: bool = True,
    solver: Solver | None = None,
) -> Matrix:
    """Return squared errors on every fold of regressions on the others, summed over its rows and all pixels.

    No pixel is looked at again: the errors are quadratic in the targets, so their Gram matrix has all that is needed,
    and one eigendecomposition a fold serves every penalty.

    Parameters
    ----------
    kernel, targets
        Inner products (or another kernel) of the source rows, and those of the target rows over all pixels, images in
        0..1, shape (row, row).
    fold
        Of every row, shape (row,).
    alphas
        Penalties.
    penalize_intercept
        The convention of ridge regression.
    solver
        Of another regression than that.

    Returns
    -------
    ndarray
        Shape (alpha, fold).
    """
    errors = np.zeros((len(alphas), int(fold.max()) + 1))
    for number in range(errors.shape[1]):
        held, kept = np.flatnonzero(fold == number), np.flatnonzero(fold != number)
        inner = kernel[np.ix_(kept, kept)]
        seen, across, own = (targets[np.ix_(i, j)] for i, j in ((kept, kept), (kept, held), (held, held)))
        solve = solver(inner, seen) if solver else Spectrum.of(inner, penalize_intercept=penalize_intercept).ridge
        for position, alpha in enumerate(alphas):
            dual = solve(alpha)
            # held out rows are predicted from the kept targets times this
            weights = (kernel[np.ix_(held, kept)] @ dual.rotation) @ dual.projector + dual.intercept
            error = np.sum((weights @ seen) * weights) - 2 * np.sum(weights * across.T) + np.trace(own)
            errors[position, number] = max(float(error), 0.0)
    return errors
