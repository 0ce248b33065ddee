"""Base of all estimators of images in memory, with the interface of scikit-learn."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from importlib import import_module
from inspect import signature
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.utils import Tags
from sklearn.utils.validation import check_is_fitted

from mrdist.arguments import Address
from mrdist.errors import DataError
from mrdist.scoring import prediction_and_target, r2
from mrdist.synthesis import as_stack

Images = npt.NDArray[Any]


class ImageRegressor(RegressorMixin, BaseEstimator, ABC):  # type: ignore[misc]
    """A regressor whose samples and targets are images.

    It works with the parts of scikit-learn that pass data on unchanged: `GridSearchCV` and `cross_val_score` (with its
    own ``score`` or the scorers of `mrdist.scoring`), `learning_curve`, `Pipeline`, `clone`. Parts that accept only
    tables (2-D arrays) reject images: `StandardScaler`, `TransformedTargetRegressor` and the scorers that are chosen by
    name.
    """

    n_images_: int
    image_shape_: tuple[int, int, int]
    fitted_params_: dict[str, Any]

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Restore from a pickle; a parameter that is newer than the pickle gets its default."""
        parameters = signature(type(self)).parameters.items()
        super().__setstate__({name: parameter.default for name, parameter in parameters} | state)

    @abstractmethod
    def fit(self, X: Images, Y: Images) -> Any:
        """Learn the mapping from images ``X`` to images ``Y``."""

    @abstractmethod
    def predict(self, X: Images) -> npt.NDArray[np.floating]:
        """Return the images that the mapping makes of ``X``."""

    def score(self, X: Images, Y: Images) -> float:
        """Return R2 of the predictions, averaged over the output pixels whose target varies.

        Parameters
        ----------
        X, Y
            Aligned pairs as for `fit`, each of any dtype that `fit` accepts.

        Returns
        -------
        float
            At most 1; NaN if no target varies.

        Raises
        ------
        DataError
            If the images do not form pairs, hold NaN or lie outside 0..1.
        """
        return r2(*prediction_and_target(self, X, Y))

    def to_store(
        self,
        url: Address,
        *,
        source: str = "source",
        target: str = "target",
        dtype: str = "float64",
        overwrite: bool = False,
        storage_options: dict[str, Any] | None = None,
    ) -> None:
        """Write the fitted weights as a store, which `mrdist.open_weights` opens and every command accepts.

        Parameters
        ----------
        url
            Path or fsspec URL.
        source, target
            Labels that it maps from and to: `mrdist.evaluate` and `mrdist.synthesize` look for these labels in an
            images store.
        dtype
            Of the stored weights: float64, which predicts the same as the estimator, or float32, the default of
            `mrdist.train`.
        overwrite
            Replace a weights store that is there.
        storage_options
            Options of the fsspec filesystem.

        Raises
        ------
        NotFittedError
            If the estimator is not fitted yet.
        ParameterError
            If ``dtype`` is neither of the two.
        StoreExistsError
            If ``url`` holds something else, or a complete store and ``overwrite`` is False.
        StoreError
            If the store cannot be written.
        """
        check_is_fitted(self)
        # By name: only the pipeline, above this layer, knows stores.
        save: Callable[..., None] = import_module("mrdist.pipeline.applying.save").save
        save(
            self,
            url,
            source=source,
            target=target,
            dtype=dtype,
            overwrite=overwrite,
            storage_options=storage_options,
        )

    def _remember(self, pairs: Pairs, n_images: int) -> None:
        """Keep the metadata of a fit for a store; parameters may be changed after it."""
        self.n_images_ = n_images
        self.image_shape_ = pairs.source.shape[1:]
        self.fitted_params_ = self.get_params()

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.input_tags.two_d_array = False
        tags.input_tags.three_d_array = True  # also four axes, for which scikit-learn has no tag
        tags.input_tags.positive_only = tags.target_tags.positive_only = True
        tags.target_tags.single_output = False
        tags.target_tags.multi_output = True
        return tags


class Pairs(NamedTuple):
    """Source and target images, shape (image, y, x, channel) both."""

    source: Images
    target: Images


def pairs_of(X: Images, Y: Images) -> Pairs:
    """Return aligned pairs with their channel axis.

    Raises
    ------
    DataError
        If their shapes differ, or there are none.

    Examples
    --------
    >>> pairs_of(np.zeros((2, 3, 3)), np.ones((2, 3, 3))).source.shape
    (2, 3, 3, 1)
    """
    source, target = as_stack(np.asarray(X)), as_stack(np.asarray(Y))
    if source.shape != target.shape or not source.size:
        raise DataError(f"X and Y must be pairs of equal shape, got {np.shape(X)} and {np.shape(Y)}.")
    return Pairs(source, target)
