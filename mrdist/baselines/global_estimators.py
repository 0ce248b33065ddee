"""Regressions on whole images as scikit-learn estimators, for images in memory."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any, Self

import numpy as np
import numpy.typing as npt
from sklearn.utils.validation import check_is_fitted

from mrdist.baselines.dual import (
    PCA_COMPONENTS,
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
from mrdist.baselines.global_weights import GlobalWeights
from mrdist.baselines.image_regressor import ImageRegressor, Images, pairs_of
from mrdist.baselines.mean import TargetSums
from mrdist.errors import ParameterError
from mrdist.moments import Color, unit_of
from mrdist.solvers import check_alpha
from mrdist.synthesis import check_images


def check_color(color: Color) -> Color:
    """Return how channels share their weights; a regression on the whole image has no joint colour.

    Raises
    ------
    ParameterError
        If it is neither shared nor separate.
    """
    if color not in ("shared", "separate"):
        raise ParameterError(f"color must be shared or separate, got {color!r}.")
    return color


class GlobalRegression(ImageRegressor):
    """Base of the estimators: exact inner products, weights per group, predictions from codes."""

    color: Color
    coef_: Matrix
    intercept_: Matrix
    basis_: Images
    duals_: list[Dual]
    errors_: tuple[Matrix, Matrix]

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
        pairs = pairs_of(X, Y)
        source, target = pairs
        shape, n_channels = source.shape[1:3], source.shape[3]
        n_groups = 1 if self.color == "shared" else n_channels
        unit, target_unit = gram_unit(source.dtype), gram_unit(target.dtype)
        check_pixels(shape[0] * shape[1], unit)
        basis = rows_of(integers_of(source, "X"), n_groups)
        integers = integers_of(target, "Y")
        targets = rows_of(integers, n_groups)
        grams = inner_products(basis) / unit**2
        duals = self._duals(grams)
        solved = [dual.solve(targets[group], target_unit) for group, dual in enumerate(duals)]
        coef, intercept, errors = (
            np.stack(parts).reshape(n_groups, *middle, *shape)
            for parts, middle in zip(zip(*solved, strict=True), ((-1,), (), ()), strict=True)
        )
        deviations = TargetSums.zeros(shape, n_groups, target_unit).add(integers).deviations
        shares = np.array([dual.deviation for dual in duals]).reshape(-1, 1, 1)
        one: Any = 0 if self.color == "shared" else slice(None)
        self.unit_, self.basis_, self.norms_ = unit, basis, np.diagonal(grams, axis1=1, axis2=2)
        self.duals_, self.errors_ = duals, (np.maximum(errors + shares * deviations, 0), deviations)
        self.coef_, self.intercept_ = coef[one], intercept[one]
        self._weights = GlobalWeights(self.color, n_channels, self.coef_, self.intercept_)
        self._remember(pairs, len(source))
        return self

    def predict(self, X: Images) -> npt.NDArray[np.floating]:
        """Return the images that the mapping makes of ``X``: float64 in its shape; 1 = white, not clipped.

        Raises
        ------
        DataError
            If size or channels differ from those of the training images, or floats hold NaN or lie outside 0..1.
        """
        check_is_fitted(self, "coef_")
        images = np.asarray(X)
        stack = check_images(images, self._weights.shape, self._weights.n_channels)
        rows, unit = rows_of(integers_of(stack, "X"), len(self.duals_)), gram_unit(stack.dtype)
        inner = inner_products(rows, self.basis_) / (unit * self.unit_)
        norms = np.square(rows.astype(np.float64)).sum(axis=2) / unit**2
        codes = np.stack([self._kernel(inner[g], norms[g], g) @ dual.rotation for g, dual in enumerate(self.duals_)])
        return self._weights.combine(images_of(codes, stack.shape[3]), len(stack)).reshape(images.shape)


class GlobalRidge(GlobalRegression):
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


class GaussianRidge(GlobalRegression):
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
        gamma = default_gamma(grams) if gamma is None else gamma
        kernels = [gaussian(gram, gram.diagonal(), gram.diagonal(), gamma) for gram in grams]
        duals = [Spectrum.of(kernel, penalize_intercept=self.penalize_intercept).ridge(alpha) for kernel in kernels]
        self.gamma_ = gamma
        return duals

    def _kernel(self, inner: Matrix, norms: Matrix, group: int) -> Matrix:
        return gaussian(inner, norms, self.norms_[group], self.gamma_)


class PrincipalComponentRegression(GlobalRegression):
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

    def __init__(self, components: int = PCA_COMPONENTS, color: Color = "shared") -> None:
        self.components = components
        self.color = color

    def _duals(self, grams: Matrix) -> list[Dual]:
        count = check_components(self.components, grams.shape[1])
        return [Spectrum.of(gram, penalize_intercept=False).components(count) for gram in grams]


class MeanTarget(ImageRegressor):
    """The mean target, whatever the input: a baseline that every mapping must beat.

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
    errors_: tuple[Matrix, Matrix]

    def __init__(self, color: Color = "shared") -> None:
        self.color = color

    def fit(self, X: Images, Y: Images) -> Self:
        """Average the images ``Y``; parameters and errors are those of the other estimators."""
        check_color(self.color)
        pairs = pairs_of(X, Y)
        target = pairs.target
        n_groups = 1 if self.color == "shared" else target.shape[3]
        sums = TargetSums.zeros(target.shape[1:3], n_groups, unit_of(target.dtype)).update(target)
        mean, self.errors_ = sums.mean, (sums.deviations, sums.deviations)
        self.intercept_ = mean[0] if self.color == "shared" else mean
        self._weights = GlobalWeights(self.color, target.shape[3], None, self.intercept_)
        self._remember(pairs, len(target))
        return self

    def predict(self, X: Images) -> npt.NDArray[np.floating]:
        """Return as many means as ``X`` has images, in its shape."""
        check_is_fitted(self, "intercept_")
        images = np.asarray(X)
        stack = check_images(images, self._weights.shape, self._weights.n_channels)
        return self._weights.combine(None, len(stack)).reshape(images.shape)
