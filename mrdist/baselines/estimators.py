"""Sparse regressions as scikit-learn estimators, for images in memory."""

from __future__ import annotations

from abc import abstractmethod
from typing import Self

import numpy as np
import numpy.typing as npt
import scipy.sparse
from sklearn.utils.validation import check_is_fitted

from mrdist.baselines.image_regressor import ImageRegressor, Images, pairs_of
from mrdist.baselines.lasso import MAX_ITERATIONS, TOLERANCE
from mrdist.baselines.omp import OMP_NONZEROS, check_pursuit
from mrdist.baselines.omp import default_nonzeros as default_nonzeros
from mrdist.baselines.sparse import (
    Solver,
    SparseSolution,
    SparseWeights,
    check_color,
    check_window,
    fit_block,
    lasso_solver,
    omp_solver,
    predict_stack,
    to_matrices,
)
from mrdist.errors import ParameterError
from mrdist.geometry import Block
from mrdist.moments import Color, to_integers, unit_of
from mrdist.solvers import check_alpha


def check_iterations(max_iterations: int) -> None:
    """Raise ParameterError if a limit of iterations is not positive, or more than 64 bits count."""
    if max_iterations < 1:
        raise ParameterError(f"max_iterations must be at least 1, got {max_iterations}.")
    if max_iterations >= 2**63:
        raise ParameterError(f"max_iterations must be at most {2**63 - 1}, got {max_iterations}.")


class SparseRegression(ImageRegressor):
    """Base of the sparse regressions."""

    window: int | None
    color: Color
    weights_: SparseWeights
    n_unsolved_: int
    solution_: SparseSolution

    @abstractmethod
    def _solver(self, n_rows: int, n_columns: int) -> Solver:
        """Check the parameters and return the solver of a block."""

    def fit(self, X: Images, Y: Images) -> Self:
        """Learn the mapping from images ``X`` to images ``Y``.

        Parameters
        ----------
        X, Y
            Aligned pairs, shape (image, y, x) or (image, y, x, channel); each uint8, uint16 or floats in 0..1.

        Returns
        -------
        self

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
        n_images, height, width, n_channels = source.shape
        check_window(self.window, (height, width))
        n_rows = n_images * (n_channels if self.color == "shared" else 1)
        solution = fit_block(
            to_integers(source, "X"),
            to_integers(target, "Y"),
            Block(0, 0, height, width),
            (height, width),
            unit_of(source.dtype),
            self._solver(n_rows, min(height * width, self.window**2 if self.window else height * width)),
            window=self.window,
            color=self.color,
            target_unit=unit_of(target.dtype),
        )
        matrices = to_matrices(solution, height * width + 1, np.float64)
        self.weights_ = SparseWeights(self.color, n_channels, (height, width), matrices)
        self.solution_, self.n_unsolved_ = solution, solution.unsolved
        self._remember(pairs, n_images)
        return self

    def predict(self, X: Images) -> npt.NDArray[np.floating]:
        """Return the images that the mapping makes of ``X``: float64 in its shape, 1 = white, not clipped.

        Raises
        ------
        DataError
            If size or channels differ from those of the training images, or floats hold NaN or lie outside 0..1.
        """
        check_is_fitted(self, "weights_")
        return predict_stack(self.weights_, np.asarray(X))

    def to_scipy(self) -> scipy.sparse.csr_array | list[scipy.sparse.csr_array]:
        """Return output pixels x (input pixels + 1), the intercept in the last column; a list for separate colour."""
        check_is_fitted(self, "weights_")
        matrices = self.weights_.matrices
        return matrices[0] if self.color == "shared" else list(matrices)


class LassoRegression(SparseRegression):
    """l1 regression (LASSO) of every output pixel on the whole input image.

    Minimises ``1 / (2 N) |t - X w - b|^2 + alpha |w|_1`` for every output pixel, scikit-learn's convention, for N rows
    (images, or images x channels for shared colour) of values in 0..1; the intercept is not penalised.

    Parameters
    ----------
    alpha
        Penalty, positive.
    window
        Odd side of the square of input pixels around the output pixel that may be used; None for all.
    color
        ``"shared"``: one set of weights for all channels; ``"separate"``: one a channel.
    tolerance
        Duality gap, as a share of the sum of squares of the centred target, at which a pixel is solved.
    max_iterations
        Limit for a pixel. A pixel that reaches it keeps its weights and is counted in ``n_unsolved_``.

    Attributes
    ----------
    weights_
        `mrdist.baselines.sparse.SparseWeights`.
    n_unsolved_ : int
        Output pixels that have not converged.

    Examples
    --------
    >>> from mrdist.baselines.estimators import LassoRegression
    >>> X = np.random.default_rng(0).integers(0, 256, (20, 8, 8), dtype=np.uint8)
    >>> model = LassoRegression(alpha=1e-3).fit(X, 255 - X)
    >>> bool(abs(model.predict(X) - (255 - X) / 255).max() < 0.03)
    True
    """

    def __init__(
        self,
        alpha: float = 0.001,
        window: int | None = None,
        color: Color = "shared",
        tolerance: float = TOLERANCE,
        max_iterations: int = MAX_ITERATIONS,
    ) -> None:
        self.alpha = alpha
        self.window = window
        self.color = color
        self.tolerance = tolerance
        self.max_iterations = max_iterations

    def _solver(self, n_rows: int, n_columns: int) -> Solver:  # noqa: ARG002
        check_iterations(self.max_iterations)
        if not 0 < self.tolerance < 1:
            raise ParameterError(f"tolerance must lie between 0 and 1, got {self.tolerance}.")
        return lasso_solver(check_alpha(self.alpha), self.tolerance, self.max_iterations)


class PursuitRegression(SparseRegression):
    """l0 regression of every output pixel on the whole input image, by orthogonal matching pursuit.

    Chooses the same input pixels as scikit-learn's OrthogonalMatchingPursuit, one by one.

    Parameters
    ----------
    nonzeros
        Weights of an output pixel, at most, its intercept not counted.
    tolerance
        Mean squared training error, 1 = white, at which a pixel needs no more weights.
    window, color
        As in `LassoRegression`.

    Attributes
    ----------
    weights_
        `mrdist.baselines.sparse.SparseWeights`.

    Examples
    --------
    >>> from mrdist.baselines.estimators import PursuitRegression
    >>> X = np.random.default_rng(0).integers(0, 256, (20, 8, 8), dtype=np.uint8)
    >>> model = PursuitRegression(nonzeros=1).fit(X, 255 - X)
    >>> bool(abs(model.predict(X) - (255 - X) / 255).max() < 1e-9)
    True
    """

    def __init__(
        self,
        nonzeros: int = OMP_NONZEROS,
        tolerance: float = 0.0,
        window: int | None = None,
        color: Color = "shared",
    ) -> None:
        self.nonzeros = nonzeros
        self.tolerance = tolerance
        self.window = window
        self.color = color

    def _solver(self, n_rows: int, n_columns: int) -> Solver:
        check_pursuit(self.nonzeros, self.tolerance, n_rows, n_columns)
        return omp_solver(self.nonzeros, self.tolerance)
