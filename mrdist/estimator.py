"""MaskedRegression: the scikit-learn estimator of mrdist, for images in memory."""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce
from typing import Any, Literal, Self

import numpy as np
import numpy.typing as npt
import scipy.sparse
from sklearn.utils.validation import check_is_fitted

from mrdist.arguments import plain, shown
from mrdist.baselines.image_regressor import ImageRegressor, Images, Pairs, pairs_of
from mrdist.errors import DataError, ParameterError
from mrdist.geometry import Block, ReceptiveField, Shape, check_pool
from mrdist.moments import COLORS, Color, SufficientStatistics, groups_of, padded_window, to_integers, unit_of
from mrdist.paths import validation_errors
from mrdist.pooling import Pool
from mrdist.selection import DEFAULT_ALPHAS, DEFAULT_FOLDS, Rule, assign_folds, check_alphas, choose
from mrdist.solvers import PRIORS, Prior, Solution, check_alpha, solve
from mrdist.synthesis import MaskedWeights

_RULES = ("min", "1se")


class MaskedRegression(ImageRegressor):
    """Ridge regression of every output pixel on the input pixels in its receptive field.

    Parameters
    ----------
    receptive_field
        Odd side of the window of input pixels.
    dilation
        Distance between neighbouring taps of the window in pixels.
    alpha
        Ridge penalty for images in 0..1, positive, not scaled by the number of images. ``"cv"``: the one of ``alphas``
        that cross-validation chooses, from the sums of one pass over the images, as `mrdist.train` does.
    penalize_intercept
        Penalise the intercept like any weight (the paper); False gives the convention of scikit-learn's Ridge.
    pool
        Pixels on every side that lend their sums, weighed by a binomial kernel of variance ``pool / 2``, see
        `mrdist.pooling`; 0: every pixel learns from itself.
    prior
        What the penalty shrinks the weights to: ``"zero"``, or ``"identity"``, 1 of the input pixel itself and 0 of all
        others: ``alpha`` then weighs the change.
    color
        ``"shared"``: one set of weights for all channels (Khan et al. 2020, eq. 10); ``"separate"``: one a channel;
        ``"joint"``: every output channel sees all input channels.
    alphas
        For ``alpha="cv"``: penalties to try, by default ten from 0.001 to 30.
    folds
        For ``alpha="cv"``: number of folds.
    rule
        For ``alpha="cv"``: ``"min"``, the least mean error over the folds, or ``"1se"``, the largest penalty whose
        error is at most one standard error above it.
    seed
        For ``alpha="cv"``: decides which groups are in which fold.

    Attributes
    ----------
    coef_ : ndarray of float64
        Shape (offset, y, x); (channel, offset, y, x) for separate and (channel_out, channel_in, offset, y, x) for joint
        colour.
    intercept_ : ndarray of float64
        Shape (y, x); (channel, y, x) for separate and joint colour.
    n_images_ : int
        Images seen so far.
    alpha_ : float
        The penalty used.
    alphas_ : tuple of float
        With ``alpha="cv"``, the penalties tried, ascending.
    mse_path_ : ndarray of float64
        With ``alpha="cv"``, the mean squared error of each on each fold, shape (alpha, fold); 1 = white.

    Notes
    -----
    The parts of scikit-learn that pass data on unchanged work with images: `GridSearchCV`, `cross_val_score`,
    `learning_curve`, `Pipeline`, `FunctionTransformer`, `clone`. Two parts accept only tables (2-D arrays):

    - Scorers that are chosen by name, such as ``scoring="neg_mean_squared_error"``: every score becomes NaN with a
    warning,
      and `GridSearchCV` still reports a best one. Leave ``scoring`` out (R2, see `score`), or use those of
      `mrdist.scoring`, such as ``scoring=mrdist.scoring.neg_mean_squared_error``; ``error_score="raise"`` turns such a
      NaN into an error.
    - `TransformedTargetRegressor`: transform ``Y`` before `fit` instead.

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
    alpha_: float
    alphas_: tuple[float, ...]
    mse_path_: npt.NDArray[np.float64]
    statistics_: SufficientStatistics
    solution_: Solution
    _weights: MaskedWeights

    def __init__(
        self,
        receptive_field: int = 3,
        dilation: int = 1,
        alpha: float | Literal["cv"] = 0.4,
        penalize_intercept: bool = True,
        color: Color = "shared",
        alphas: Sequence[float] | None = None,
        folds: int = DEFAULT_FOLDS,
        rule: Rule = "min",
        seed: int = 0,
        pool: int = 0,
        prior: Prior = "zero",
    ) -> None:
        self.receptive_field = receptive_field
        self.dilation = dilation
        self.alpha = alpha
        self.penalize_intercept = penalize_intercept
        self.color = color
        self.alphas = alphas
        self.folds = folds
        self.rule = rule
        self.seed = seed
        self.pool = pool
        self.prior = prior

    def fit(self, X: Images, Y: Images, groups: Sequence[Any] | npt.NDArray[Any] | None = None) -> Self:
        """Learn the mapping from images ``X`` to images ``Y``.

        Parameters
        ----------
        X, Y
            Aligned pairs, shape (image, y, x) or (image, y, x, channel); each uint8, uint16 or floats in 0..1.
        groups
            For ``alpha="cv"``: the person of every pair: no person is in two folds. By default every pair is of another
            person.

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
        SolveError
            If ``alpha`` is so small that a system cannot be solved in float64.
        """
        if self.alpha != "cv":
            alpha, pairs = check_alpha(self.alpha), self._check(X, Y)
            return self._finish(self._sums(pairs), alpha, pairs)
        alphas = check_alphas(DEFAULT_ALPHAS if self.alphas is None else self.alphas)
        if self.rule not in _RULES:
            raise ParameterError(f"rule must be one of {', '.join(_RULES)}, got {self.rule!r}.")
        pairs = self._check(X, Y)
        people = range(len(pairs.source)) if groups is None else groups
        if len(people) != len(pairs.source):
            raise DataError(f"groups must name a group for each of the {len(pairs.source)} pairs, got {len(people)}.")
        fold = assign_folds([str(person) for person in people], self.folds, self.seed)
        parts = [self._sums(pairs, np.flatnonzero(fold == number)) for number in range(self.folds)]
        total = reduce(SufficientStatistics.merge, parts)
        mse = np.stack([self._held_out(total, part, alphas) for part in parts], axis=-1)
        mse /= np.bincount(fold) * pairs.target[0].size
        self._finish(total, alphas[choose(mse[np.newaxis], rule=self.rule).alpha], pairs)
        self.alphas_, self.mse_path_ = alphas, mse
        return self

    def partial_fit(self, X: Images, Y: Images) -> Self:
        """Learn from more pairs; the result is that of one fit to all pairs so far, to the last bit.

        Parameters, returned value and errors are those of `fit`; ``alpha`` must be a number.
        """
        if self.alpha == "cv":
            raise ParameterError("alpha='cv' needs all pairs at once; call fit instead of partial_fit.")
        alpha, pairs = check_alpha(self.alpha), self._check(X, Y)
        statistics = self._sums(pairs)
        if hasattr(self, "statistics_"):
            n_channels = pairs.source.shape[3]
            if n_channels != self._weights.n_channels:
                raise DataError(
                    f"earlier pairs had {self._weights.n_channels} channel(s), but these have {n_channels}."
                )
            statistics = self.statistics_.merge(statistics)
        return self._finish(statistics, alpha, pairs)

    def _check(self, X: Images, Y: Images) -> Pairs:
        """Check all but the penalty."""
        if self.color not in COLORS:
            raise ParameterError(f"color must be one of {', '.join(COLORS)}, got {self.color!r}.")
        if not isinstance(plain(self.penalize_intercept), bool):
            raise ParameterError(f"penalize_intercept must be True or False, got {shown(self.penalize_intercept)}.")
        if self.prior not in PRIORS:
            raise ParameterError(f"prior must be one of {', '.join(PRIORS)}, got {shown(self.prior)}.")
        check_pool(self.pool)
        pairs = pairs_of(X, Y)
        ReceptiveField(self.receptive_field, self.dilation).check_fits(pairs.source.shape[1:3])
        return pairs

    def _sums(self, pairs: Pairs, chosen: npt.NDArray[np.int64] | None = None) -> SufficientStatistics:
        """Return the sums over pairs, by default over all."""
        field = ReceptiveField(self.receptive_field, self.dilation)
        shape, n_channels = pairs.source.shape[1:3], pairs.source.shape[3]
        n_groups, n_inputs = groups_of(self.color, n_channels)
        unit, target_unit = (unit_of(images.dtype) for images in pairs)
        empty = SufficientStatistics.zeros(
            field, shape, n_groups=n_groups, n_inputs=n_inputs, unit=unit, target_unit=target_unit
        )
        window = padded_window(to_integers(pairs.source, "X"), Block(0, 0, *shape).grown(field.halo))
        return empty.update(window, to_integers(pairs.target, "Y"), chosen)

    def _how(self, shape: Shape) -> dict[str, Any]:
        frame = Block(0, 0, *shape)
        pool = Pool.of(frame, check_pool(self.pool), shape, frame) if self.pool else None
        return {"penalize_intercept": self.penalize_intercept, "pool": pool, "prior": self.prior}

    def _held_out(
        self, total: SufficientStatistics, part: SufficientStatistics, alphas: tuple[float, ...]
    ) -> npt.NDArray[np.float64]:
        """Return the squared errors on a fold after training on the others, for every penalty."""
        errors = validation_errors(total.subtract(part), part, alphas, **self._how(total.shape))
        squares: npt.NDArray[np.float64] = errors.sse.sum(axis=(1, 2, 3))
        return squares

    def _finish(self, statistics: SufficientStatistics, alpha: float, pairs: Pairs) -> Self:
        """Solve; an earlier fit is kept if that fails."""
        n_channels = pairs.source.shape[3]
        solution = solve(statistics, alpha, **self._how(statistics.shape))
        for name in ("alphas_", "mse_path_"):
            self.__dict__.pop(name, None)
        self.statistics_, self.solution_, self.alpha_ = statistics, solution, alpha
        self.coef_, self.intercept_ = solution.as_stored(self.color)
        self._weights = MaskedWeights(statistics.field, self.color, n_channels, self.coef_, self.intercept_)
        self._remember(pairs, statistics.n_rows // (n_channels if self.color == "shared" else 1))
        return self

    def predict(self, X: Images) -> npt.NDArray[np.floating]:
        """Return the images that the mapping makes of ``X``.

        Parameters
        ----------
        X
            Images of the size and channels of the training images, of any dtype that `fit` takes; or one of them,
            shape (y, x) or (y, x, channel).

        Returns
        -------
        ndarray
            float64 in the shape of ``X``; 1 = white, not clipped.

        Raises
        ------
        DataError
            If size or channels differ from those of the training images, or floats hold NaN or lie outside 0..1.
        """
        if not hasattr(self, "coef_"):  # scikit-learn's check takes half as long as an image
            check_is_fitted(self, "coef_")
        return self._weights.predict(np.asarray(X))

    def to_scipy(self) -> scipy.sparse.csr_array | list[scipy.sparse.csr_array]:
        """Return the mapping as sparse matrices, see `mrdist.synthesis.MaskedWeights.to_scipy`."""
        check_is_fitted(self, "coef_")
        return self._weights.to_scipy()
