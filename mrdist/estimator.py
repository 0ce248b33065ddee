"""MaskedRegression: the scikit-learn face of mrdist, for images in memory."""

from __future__ import annotations

from typing import Self

import numpy as np
import numpy.typing as npt
import scipy.sparse
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_is_fitted

from mrdist.errors import DataError, ParameterError
from mrdist.geometry import Block, ReceptiveField
from mrdist.moments import COLORS, Color, SufficientStatistics, groups_of, padded_window, to_integers, unit_of
from mrdist.scoring import r2
from mrdist.solvers import check_alpha, solve
from mrdist.synthesis import MaskedWeights, as_stack

Images = npt.NDArray[np.generic]


class MaskedRegression(BaseEstimator):  # type: ignore[misc]
    """Ridge regression of every output pixel on the input pixels in its receptive field.

    Parameters
    ----------
    receptive_field
        Odd side of the window of input pixels.
    dilation
        Distance between neighbouring taps of the window in pixels.
    alpha
        Ridge penalty for images in 0..1, positive, not scaled by the number of images.
    penalize_intercept
        Penalise the intercept like any weight (the paper); False gives the convention of scikit-learn's Ridge.
    color
        ``"shared"``: one set of weights for all channels (Khan et al. 2020, eq. 10); ``"separate"``: one a channel;
        ``"joint"``: every output channel sees all input channels.

    Attributes
    ----------
    coef_ : ndarray of float64
        Shape (offset, y, x); (channel, offset, y, x) for separate and (channel_out, channel_in, offset, y, x) for joint
        colour.
    intercept_ : ndarray of float64
        Shape (y, x); (channel, y, x) for separate and joint colour.
    n_images_ : int
        Images seen so far.

    Examples
    --------
    >>> import mrdist
    >>> rng = np.random.default_rng(0)
    >>> X = rng.integers(0, 256, (20, 8, 8), dtype=np.uint8)
    >>> model = mrdist.MaskedRegression(receptive_field=3, alpha=1e-3).fit(X, 255 - X)
    >>> model.coef_.shape
    (9, 8, 8)
    >>> bool(abs(model.predict(X) - (255 - X) / 255).max() < 0.01)
    True
    """

    coef_: npt.NDArray[np.float64]
    intercept_: npt.NDArray[np.float64]
    n_images_: int
    statistics_: SufficientStatistics
    _weights: MaskedWeights

    def __init__(
        self,
        receptive_field: int = 3,
        dilation: int = 1,
        alpha: float = 0.4,
        penalize_intercept: bool = True,
        color: Color = "shared",
    ) -> None:
        self.receptive_field = receptive_field
        self.dilation = dilation
        self.alpha = alpha
        self.penalize_intercept = penalize_intercept
        self.color = color

    def fit(self, X: Images, Y: Images) -> Self:
        """Learn the mapping from images ``X`` to images ``Y``.

        Parameters
        ----------
        X, Y
            Aligned pairs, shape (image, y, x) or (image, y, x, channel); both uint8, both uint16 or both floats
            in 0..1.

        Returns
        -------
        MaskedRegression
            Itself.

        Raises
        ------
        DataError
            If the images do not form pairs, hold NaN or lie outside 0..1.
        ParameterError
            If a parameter is outside its domain or the field is wider than the images.
        """
        self.__dict__.pop("statistics_", None)
        return self.partial_fit(X, Y)

    def partial_fit(self, X: Images, Y: Images) -> Self:
        """Learn from more pairs; the result is that of one fit to all pairs so far, to the last bit.

        Parameters, returned value and errors are those of `fit`.
        """
        alpha = check_alpha(self.alpha)
        if self.color not in COLORS:
            raise ParameterError(f"color must be one of {', '.join(COLORS)}, got {self.color!r}.")
        source, target = as_stack(np.asarray(X)), as_stack(np.asarray(Y))
        if source.shape != target.shape or not source.size:
            raise DataError(f"X and Y must be pairs of equal shape, got {np.shape(X)} and {np.shape(Y)}.")
        if unit_of(source.dtype) != unit_of(target.dtype):
            raise DataError(f"X is {source.dtype} and Y is {target.dtype}; convert one so that both have one unit.")
        field = ReceptiveField(self.receptive_field, self.dilation)
        shape, n_channels = source.shape[1:3], source.shape[3]
        field.check_fits(shape)
        n_groups, n_inputs = groups_of(self.color, n_channels)
        statistics = SufficientStatistics.zeros(
            field, shape, n_groups=n_groups, n_inputs=n_inputs, unit=unit_of(source.dtype)
        )
        window = padded_window(to_integers(source, "X"), Block(0, 0, *shape).grown(field.halo))
        statistics = statistics.update(window, to_integers(target, "Y"))
        if hasattr(self, "statistics_"):
            if n_channels != self._weights.n_channels:
                raise DataError(f"the pairs before had {self._weights.n_channels} channel(s), these have {n_channels}.")
            statistics = self.statistics_.merge(statistics)
        self.statistics_ = statistics
        self.n_images_ = statistics.n_rows // (n_channels if self.color == "shared" else 1)
        solution = solve(statistics, alpha, penalize_intercept=self.penalize_intercept)
        self.coef_, self.intercept_ = solution.as_stored(self.color)
        self._weights = MaskedWeights(field, self.color, n_channels, self.coef_, self.intercept_)
        return self

    def predict(self, X: Images) -> npt.NDArray[np.floating]:
        """Return the images that the mapping makes of ``X``.

        Parameters
        ----------
        X
            Images of the size and channels of the training images.

        Returns
        -------
        ndarray
            float64 in the shape of ``X``; 1 = white, not clipped.

        Raises
        ------
        DataError
            If size or channels differ from those of the training images.
        """
        if not hasattr(self, "coef_"):  # scikit-learn's check takes half as long as an image
            check_is_fitted(self, "coef_")
        return self._weights.predict(np.asarray(X))

    def score(self, X: Images, Y: Images) -> float:
        """Return R2 of the predictions, averaged over the output pixels whose target varies."""
        Y = np.asarray(Y)
        return r2(self.predict(X), Y.astype(np.float64) / (1 if Y.dtype.kind == "f" else unit_of(Y.dtype)))

    def to_scipy(self) -> scipy.sparse.csr_array | list[scipy.sparse.csr_array]:
        """Return the mapping as sparse matrices, see `mrdist.synthesis.MaskedWeights.to_scipy`."""
        check_is_fitted(self, "coef_")
        return self._weights.to_scipy()
