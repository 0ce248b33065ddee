"""Regressions on whole images with scikit-learn's face, for images in memory."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any, Self

import numpy as np
import numpy.typing as npt
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_is_fitted

from mrdist.baselines.dual import (
    Dual,
    Matrix,
    Spectrum,
    check_components,
    check_gamma,
    check_pixels,
    default_gamma,
    gaussian,
    gram_unit,
    images_of,
    inner_products,
    integers_of,
    rows_of,
)
from mrdist.baselines.global_weights import GlobalWeights, check_images
from mrdist.baselines.mean import TargetSums
from mrdist.errors import DataError, ParameterError
from mrdist.moments import Color, unit_of
from mrdist.scoring import r2
from mrdist.solvers import check_alpha
from mrdist.synthesis import as_stack, to_floats

Images = npt.NDArray[Any]


def check_color(color: Color) -> Color:
    """Return how channels share their weights; a regression on the whole image knows no joint colour.

    Raises
    ------
    ParameterError
        If it is neither shared nor separate.
    """
    if color not in ("shared", "separate"):
        raise ParameterError(f"color must be shared or separate, got {color!r}.")
    return color


class _GlobalRegression(BaseEstimator):  # type: ignore[misc]
    """What the estimators share: exact inner products, weights a group, predictions from codes."""

    color: Color
    coef_: Matrix
    intercept_: Matrix
    n_images_: int

    @abstractmethod
    def _duals(self, grams: Matrix) -> list[Dual]:
        """Solve every group from the inner products of its rows, images in 0..1, shape (group, row, row)."""

    def _kernel(self, inner: Matrix, norms: Matrix, group: int) -> Matrix:  # noqa: ARG002
        """Return the kernel of rows with a group's training rows, from inner products and squared norms."""
        return inner

    def fit(self, X: Images, Y: Images) -> Self:
        """Learn the mapping from images ``X`` to images ``Y``.

        Parameters
        ----------
        X, Y
            Aligned pairs, shape (image, y, x) or (image, y, x, channel); uint8, uint16 or floats in 0..1.

        Returns
        -------
        Self

        Raises
        ------
        DataError
            If the images do not form pairs, hold NaN or lie outside 0..1.
        ParameterError
            If a parameter is outside its domain.
        """
        check_color(self.color)
        source, target = as_stack(np.asarray(X)), as_stack(np.asarray(Y))
        if source.shape != target.shape or not source.size:
            raise DataError(f"X and Y must be pairs of equal shape, got {np.shape(X)} and {np.shape(Y)}.")
        shape, n_channels = source.shape[1:3], source.shape[3]
        n_groups = 1 if self.color == "shared" else n_channels
        self._unit = gram_unit(source.dtype)
        check_pixels(shape[0] * shape[1], self._unit)
        self._basis = rows_of(integers_of(source, "X"), n_groups)
        grams = inner_products(self._basis) / self._unit**2
        self._norms = np.diagonal(grams, axis1=1, axis2=2)
        self._solved = self._duals(grams)
        targets, unit = rows_of(integers_of(target, "Y"), n_groups), gram_unit(target.dtype)
        found = [dual.solve(targets[group], unit)[:2] for group, dual in enumerate(self._solved)]
        coef = np.stack([coef for coef, _ in found]).reshape(n_groups, -1, *shape)
        intercept = np.stack([intercept for _, intercept in found]).reshape(n_groups, *shape)
        one: Any = 0 if self.color == "shared" else slice(None)
        self.coef_, self.intercept_, self.n_images_ = coef[one], intercept[one], len(source)
        self._weights = GlobalWeights(self.color, n_channels, self.coef_, self.intercept_)
        return self

    def predict(self, X: Images) -> npt.NDArray[np.floating]:
        """Return the images that the mapping makes of ``X``: float64 in its shape; 1 = white, not clipped.

        Raises
        ------
        DataError
            If size or channels differ from those of the training images.
        """
        check_is_fitted(self, "coef_")
        images = np.asarray(X)
        stack = check_images(images, self._weights.shape, self._weights.n_channels)
        rows, unit = rows_of(integers_of(stack, "X"), len(self._solved)), gram_unit(stack.dtype)
        inner = inner_products(rows, self._basis) / (unit * self._unit)
        norms = np.square(rows.astype(np.float64)).sum(axis=2) / unit**2
        codes = np.stack([self._kernel(inner[g], norms[g], g) @ dual.rotation for g, dual in enumerate(self._solved)])
        return self._weights.combine(images_of(codes, stack.shape[3]), len(stack)).reshape(images.shape)

    def score(self, X: Images, Y: Images) -> float:
        """Return R2 of the predictions, averaged over the output pixels whose target varies."""
        return r2(self.predict(X), to_floats(np.asarray(Y)))


class GlobalRidge(_GlobalRegression):
    """Ridge regression of every output pixel on all input pixels, solved with one unknown a training row.

    Parameters
    ----------
    alpha
        Ridge penalty for images in 0..1, positive, not scaled by the number of images (as scikit-learn's Ridge).
    penalize_intercept
        Penalise the intercept like any weight (the paper); False gives the convention of scikit-learn's Ridge.
    color
        ``"shared"``: one set of weights for all channels; ``"separate"``: one a channel.

    Attributes
    ----------
    coef_ : ndarray of float64
        Weights of the codes, see `mrdist.baselines.dual`: shape (component, y, x), or (channel, component, y, x).
    intercept_ : ndarray of float64
        Shape (y, x); (channel, y, x) for separate colour.
    n_images_ : int
        Images seen.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> X = rng.integers(0, 256, (20, 4, 4), dtype=np.uint8)
    >>> model = GlobalRidge(alpha=1e-3).fit(X, 255 - X)
    >>> bool(abs(model.predict(X) - (255 - X) / 255).max() < 0.01)
    True
    """

    def __init__(self, alpha: float = 0.4, penalize_intercept: bool = True, color: Color = "shared") -> None:
        self.alpha = alpha
        self.penalize_intercept = penalize_intercept
        self.color = color

    def _duals(self, grams: Matrix) -> list[Dual]:
        alpha = check_alpha(self.alpha)
        return [Spectrum.of(gram, penalize_intercept=self.penalize_intercept).ridge(alpha) for gram in grams]


class GaussianRidge(_GlobalRegression):
    """Kernel ridge regression with the Gaussian kernel ``exp(-gamma |x - x'|^2)`` of whole images in 0..1.

    Parameters
    ----------
    alpha, penalize_intercept, color
        As in `GlobalRidge`; without an intercept in the kernel's space this is scikit-learn's KernelRidge.
    gamma
        Positive; by default the reciprocal of the median squared distance between two training images (for separate
        colour, over all channels).

    Attributes
    ----------
    coef_, intercept_, n_images_
        As in `GlobalRidge`.
    gamma_ : float
        The gamma used.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> X = rng.integers(0, 256, (20, 4, 4), dtype=np.uint8)
    >>> GaussianRidge(alpha=1e-6).fit(X, 255 - X).score(X, 255 - X) > 0.99
    True
    """

    def __init__(
        self,
        alpha: float = 0.01,
        gamma: float | None = None,
        penalize_intercept: bool = True,
        color: Color = "shared",
    ) -> None:
        self.alpha = alpha
        self.gamma = gamma
        self.penalize_intercept = penalize_intercept
        self.color = color

    def _duals(self, grams: Matrix) -> list[Dual]:
        alpha, gamma = check_alpha(self.alpha), check_gamma(self.gamma)
        self.gamma_ = default_gamma(grams) if gamma is None else gamma
        return [
            Spectrum.of(
                gaussian(gram, gram.diagonal(), gram.diagonal(), self.gamma_),
                penalize_intercept=self.penalize_intercept,
            ).ridge(alpha)
            for gram in grams
        ]

    def _kernel(self, inner: Matrix, norms: Matrix, group: int) -> Matrix:
        return gaussian(inner, norms, self._norms[group], self.gamma_)


class PrincipalComponentRegression(_GlobalRegression):
    """Least squares on the principal components of the training images: a mapping whose rank is their number.

    Parameters
    ----------
    components
        Number of principal components, less than the number of rows (images, or images x channels).
    color
        As in `GlobalRidge`.

    Attributes
    ----------
    coef_, intercept_, n_images_
        As in `GlobalRidge`.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> X = rng.integers(0, 256, (20, 4, 4), dtype=np.uint8)
    >>> round(PrincipalComponentRegression(16).fit(X, 255 - X).score(X, 255 - X), 6)
    1.0
    """

    def __init__(self, components: int = 32, color: Color = "shared") -> None:
        self.components = components
        self.color = color

    def _duals(self, grams: Matrix) -> list[Dual]:
        count = check_components(self.components, grams.shape[1])
        return [Spectrum.of(gram, penalize_intercept=False).components(count) for gram in grams]


class MeanTarget(BaseEstimator):  # type: ignore[misc]
    """The mean target, whatever the input: what every mapping must beat.

    Parameters
    ----------
    color
        ``"shared"``: one mean for all channels; ``"separate"``: one a channel.

    Attributes
    ----------
    intercept_ : ndarray of float64
        Shape (y, x); (channel, y, x) for separate colour.

    Examples
    --------
    >>> Y = np.array([[[0, 255]], [[255, 255]]], dtype=np.uint8)
    >>> MeanTarget().fit(Y, Y).predict(Y[:1])
    array([[[0.5, 1. ]]])
    """

    intercept_: Matrix

    def __init__(self, color: Color = "shared") -> None:
        self.color = color

    def fit(self, X: Images, Y: Images) -> Self:  # noqa: ARG002
        """Average the images ``Y``, shape (image, y, x) or (image, y, x, channel)."""
        check_color(self.color)
        target = as_stack(np.asarray(Y))
        if not target.size:
            raise DataError(f"Y holds no image, its shape is {np.shape(Y)}; give at least one.")
        n_groups = 1 if self.color == "shared" else target.shape[3]
        mean = TargetSums.zeros(target.shape[1:3], n_groups, unit_of(target.dtype)).update(target).mean
        self.intercept_ = mean[0] if self.color == "shared" else mean
        self._weights = GlobalWeights(self.color, target.shape[3], None, self.intercept_)
        return self

    def predict(self, X: Images) -> npt.NDArray[np.floating]:
        """Return as many means as ``X`` has images, in its shape."""
        check_is_fitted(self, "intercept_")
        images = np.asarray(X)
        stack = check_images(images, self._weights.shape, self._weights.n_channels)
        return self._weights.combine(None, len(stack)).reshape(images.shape)

    def score(self, X: Images, Y: Images) -> float:
        """Return R2 of the predictions, averaged over the output pixels whose target varies."""
        return r2(self.predict(X), to_floats(np.asarray(Y)))
