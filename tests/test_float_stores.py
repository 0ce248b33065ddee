"""Stores of floats are trained on, as those of integers are, and refuse values that mean nothing."""

from __future__ import annotations

import numpy as np
import pytest

import mrdist
from mrdist.baselines.estimators import LassoRegression, PursuitRegression
from mrdist.baselines.global_estimators import GaussianRidge, GlobalRidge, MeanTarget, PrincipalComponentRegression
from mrdist.errors import DataError

METHODS = {
    "mr": mrdist.MaskedRegression(),
    "l2": GlobalRidge(),
    "kernel": GaussianRidge(),
    "pca": PrincipalComponentRegression(5),
    "mean": MeanTarget(),
    "l1": LassoRegression(),
    "l0": PursuitRegression(nonzeros=3),
}
OPTIONS = {"pca": {"components": 5}, "l0": {"nonzeros": 3}}


@pytest.mark.parametrize("method", METHODS)
def test_every_method_trains_on_floats_and_refuses_nan(method, small_images_store, tmp_path):
    store = small_images_store(dtype=np.float32)
    weights, labels = str(tmp_path / "w.zarr"), {"source": "neutral", "target": "happy", "split": "all"}
    mrdist.train(
        store.url, weights, **labels, method=method, dtype="float64", workers=0, **OPTIONS.get(method, {})
    )  # fmt: skip
    data = mrdist.open_images(store.url)
    rows = np.asarray(data.present.values).all(axis=1)
    X, Y = data.neutral.values[rows], data.happy.values[rows]
    wanted = METHODS[method].fit(X, Y).predict(X)
    np.testing.assert_allclose(mrdist.open_weights(weights).predict(X), wanted, rtol=0, atol=1e-6)
    X[0, 0, 0, 0] = np.nan
    with pytest.raises(DataError, match="NaN"):
        mrdist.open_weights(weights).predict(X)
