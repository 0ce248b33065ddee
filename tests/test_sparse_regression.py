"""l1 and l0 in memory: against scikit-learn, and against the conditions of optimality."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import scipy.sparse
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import Lasso, OrthogonalMatchingPursuit, orthogonal_mp_gram

from mrdist.baselines.columns import Columns
from mrdist.baselines.estimators import LassoRegression, PursuitRegression
from mrdist.baselines.lasso import largest_alpha, lasso_path
from mrdist.baselines.omp import omp, omp_path
from mrdist.errors import DataError, ParameterError


def smooth(rng, n, shape=(12, 12)):
    """Images whose neighbouring pixels resemble each other, as uint8."""
    small = rng.normal(size=(n, 6, 6))
    y, x = (np.linspace(0, 4.99, size) for size in shape)
    y0, x0 = y.astype(int), x.astype(int)
    fy, fx = (y - y0)[:, None], x - x0
    found = (
        small[:, y0][:, :, x0] * (1 - fy) * (1 - fx)
        + small[:, y0 + 1][:, :, x0] * fy * (1 - fx)
        + small[:, y0][:, :, x0 + 1] * (1 - fy) * fx
        + small[:, y0 + 1][:, :, x0 + 1] * fy * fx
    )
    return np.clip(128 + 40 * found + rng.normal(scale=3, size=found.shape), 0, 255).astype(np.uint8)


def problem(seed, n_rows=40, n_targets=20):
    """Columns that resemble their neighbours, targets of a few of them with noise, and both as centred floats."""
    rng = np.random.default_rng(seed)
    values = smooth(rng, n_rows).reshape(n_rows, -1).T
    mixed = rng.normal(size=(n_targets, len(values))) * (rng.random((n_targets, len(values))) < 0.04)
    noise = rng.normal(scale=4, size=(n_targets, n_rows))
    targets = np.clip(128 + mixed @ (values - 128.0) / 2 + noise, 0, 255).astype(np.uint8)
    columns = Columns.of(values, 255)
    centred, _ = Columns.centre(targets, 255)
    X, T = values.T / 255, targets / 255
    return columns, centred, X - X.mean(axis=0), T - T.mean(axis=1, keepdims=True)


def dense(rows, n_columns):
    found = np.zeros((len(rows.counts), n_columns))
    found[np.repeat(np.arange(len(rows.counts)), rows.counts), rows.indices] = rows.values
    return found


def gap(X, t, w, alpha):
    """Duality gap as a share of |t|^2, from the definition."""
    r = t - X @ w
    shrink = min(1.0, alpha * len(t) / np.abs(X.T @ r).max())
    primal = r @ r / 2 + alpha * len(t) * np.abs(w).sum()
    dual = t @ t / 2 - np.square(t - shrink * r).sum() / 2
    return (primal - dual) / (t @ t)


@pytest.mark.parametrize("alpha", [1e-2, 1e-3, 1e-4])
def test_lasso_is_scikit_learns(alpha):
    columns, targets, X, T = problem(0)
    (rows,) = lasso_path(columns, targets, [alpha], tolerance=1e-9)
    found = dense(rows, X.shape[1])
    assert not rows.unsolved.any()
    for t, w in zip(T, found, strict=True):
        wanted = Lasso(alpha=alpha, fit_intercept=False, tol=1e-10, max_iter=200_000).fit(X, t).coef_
        np.testing.assert_allclose(w, wanted, atol=1e-4 * np.abs(wanted).max())
        assert gap(X, t, w, alpha) <= 1e-9 + 1e-13


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10**6), st.floats(0.01, 1.2), st.integers(2, 50))
def test_lasso_is_optimal(seed, share, n_rows):
    columns, targets, X, T = problem(seed, n_rows, 6)
    alpha = share * float(largest_alpha(columns, targets).max())
    (rows,) = lasso_path(columns, targets, [alpha], tolerance=1e-11)
    for t, w in zip(T, dense(rows, X.shape[1]), strict=True):
        product = X.T @ (t - X @ w) / len(t)
        assert np.abs(product).max(initial=0) <= alpha * (1 + 1e-3)
        chosen = w != 0
        np.testing.assert_allclose(product[chosen], alpha * np.sign(w[chosen]), rtol=1e-3)
        assert chosen.sum() < len(t)


def test_lasso_path_ends_where_single_penalties_do():
    columns, targets, X, _ = problem(3)
    alphas = [1e-2, 3e-3, 1e-3]
    for alpha, rows in zip(alphas, lasso_path(columns, targets, alphas, tolerance=1e-10), strict=True):
        (single,) = lasso_path(columns, targets, [alpha], tolerance=1e-10)
        np.testing.assert_allclose(dense(rows, X.shape[1]), dense(single, X.shape[1]), atol=1e-5)


def test_gap_at_the_default_tolerance_is_what_it_says():
    columns, targets, X, T = problem(4)
    (rows,) = lasso_path(columns, targets, [1e-3])
    gaps = [gap(X, t, w, 1e-3) for t, w in zip(T, dense(rows, X.shape[1]), strict=True)]
    assert 0 < max(gaps) <= 1e-4


def test_alpha_above_the_largest_leaves_no_weights():
    columns, targets, *_ = problem(5)
    alpha = float(largest_alpha(columns, targets).max())
    (rows,) = lasso_path(columns, targets, [alpha * (1 + 1e-9)])
    assert not rows.counts.any()
    (rows,) = lasso_path(columns, targets, [alpha * 0.9])
    assert rows.counts.sum() >= 1


@pytest.mark.parametrize("solver", ["l1", "l0"])
def test_constant_and_equal_columns_and_constant_targets(solver):
    rng = np.random.default_rng(6)
    values = smooth(rng, 30).reshape(30, -1).T
    values[[0, 50]] = 77
    values[100:] = values[10:54]  # each column from 100 on equals an earlier one
    targets = np.concatenate([values[[20, 30]], np.full((1, 30), 9, dtype=np.uint8)])
    columns = Columns.of(values, 255)
    centred, _ = Columns.centre(targets, 255)
    if solver == "l1":
        (rows,) = lasso_path(columns, centred, [1e-4], tolerance=1e-10)
    else:
        rows = omp(columns, centred, nonzeros=3)
    found = dense(rows, len(values))
    assert not found[:, [0, 50]].any()
    assert not found[:, 100:].any()
    assert not found[2].any()
    assert found[:2].any(axis=1).all()


@pytest.mark.parametrize("nonzeros", [1, 5, 20])
def test_omp_is_scikit_learns(nonzeros):
    columns, targets, X, T = problem(7)
    rows = omp(columns, targets, nonzeros=nonzeros)
    found = dense(rows, X.shape[1])
    by_gram = orthogonal_mp_gram(X.T @ X, X.T @ T.T, n_nonzero_coefs=nonzeros).reshape(X.shape[1], -1).T
    for t, w, v in zip(T, found, by_gram, strict=True):
        wanted = OrthogonalMatchingPursuit(n_nonzero_coefs=nonzeros, fit_intercept=False).fit(X, t).coef_
        np.testing.assert_array_equal(np.flatnonzero(w), np.flatnonzero(wanted))
        np.testing.assert_allclose(w, wanted, atol=1e-9)
        np.testing.assert_allclose(w, v, atol=1e-7)


def test_omp_stops_by_error_as_scikit_learn_does():
    columns, targets, X, T = problem(8)
    tolerance = 1e-4
    rows = omp(columns, targets, nonzeros=39, tolerance=tolerance)
    assert len(set(rows.counts.tolist())) > 3
    for t, w in zip(T, dense(rows, X.shape[1]), strict=True):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            wanted = OrthogonalMatchingPursuit(tol=tolerance * len(t), fit_intercept=False).fit(X, t).coef_
        np.testing.assert_array_equal(np.flatnonzero(w), np.flatnonzero(wanted))
        assert np.square(t - X @ w).mean() <= tolerance


def test_omp_path_holds_every_number_of_columns():
    columns, targets, X, _ = problem(9)
    path = omp_path(columns, targets, nonzeros=8)
    for nonzeros in (1, 4, 8):
        np.testing.assert_allclose(
            dense(path.rows(nonzeros), X.shape[1]), dense(omp(columns, targets, nonzeros=nonzeros), X.shape[1])
        )


def faces(n=14, shape=(11, 13), n_channels=2, seed=0):
    rng = np.random.default_rng(seed)
    X = np.stack([smooth(rng, n, shape) for _ in range(n_channels)], axis=-1)
    return X, np.clip(X * 0.7 + X[:, ::-1] * 0.2 + rng.normal(scale=4, size=X.shape), 0, 255).astype(np.uint8)


@pytest.mark.parametrize("color", ["shared", "separate"])
@pytest.mark.parametrize("window", [None, 5])
def test_estimators_are_scikit_learn_pixel_by_pixel(color, window):
    X, Y = faces()
    lasso = LassoRegression(alpha=2e-3, window=window, color=color, tolerance=1e-9).fit(X, Y)
    pursuit = PursuitRegression(nonzeros=4, window=window, color=color).fit(X, Y)
    for channel, y, x in ((0, 0, 0), (1, 5, 7), (1, 10, 12)):
        channels = slice(None) if color == "shared" else slice(channel, channel + 1)
        half = 20 if window is None else window // 2
        ys, xs = (slice(max(at - half, 0), at + half + 1) for at in (y, x))
        rows = X[:, ys, xs, channels].transpose(0, 3, 1, 2)
        rows = rows.reshape(rows.shape[0] * rows.shape[1], -1) / 255
        t = Y[:, y, x, channels].ravel() / 255
        new = X[:, ys, xs, channel].reshape(len(X), -1) / 255
        for ours, theirs in (
            (lasso, Lasso(alpha=2e-3, tol=1e-10, max_iter=100_000)),
            (pursuit, OrthogonalMatchingPursuit(n_nonzero_coefs=4)),
        ):
            np.testing.assert_allclose(ours.predict(X)[:, y, x, channel], theirs.fit(rows, t).predict(new), atol=2e-5)


def test_estimator_gives_matrices_and_scores():
    X, Y = faces(n_channels=1)
    X, Y = X[..., 0], Y[..., 0]
    model = PursuitRegression(nonzeros=3).fit(X, Y)
    matrix = model.to_scipy()
    assert isinstance(matrix, scipy.sparse.csr_array)
    assert matrix.shape == (143, 144)
    assert (np.diff(matrix.indptr) == 4).all()
    wanted = matrix @ np.append(X[0].ravel() / 255, 1)
    np.testing.assert_allclose(model.predict(X)[0].ravel(), wanted, atol=1e-12)
    assert model.score(X, Y) > 0.5
    floats = PursuitRegression(nonzeros=3).fit(X / 255, Y / 255)
    np.testing.assert_allclose(floats.predict(X / 255), model.predict(X), atol=1e-5)


def test_one_image():
    X, Y = faces(n=1)
    model = LassoRegression(color="separate").fit(X, Y)
    np.testing.assert_allclose(model.predict(X), Y / 255, atol=1e-12)
    with pytest.raises(ParameterError, match="nonzeros must be from 1 to 0, one less than the 1 rows"):
        PursuitRegression(nonzeros=1, color="separate").fit(X, Y)


def test_iterations_that_do_not_suffice_are_counted():
    X, Y = faces(n_channels=1)
    assert LassoRegression(alpha=1e-5, max_iterations=2).fit(X, Y).n_unsolved_ > 10
    assert LassoRegression(alpha=1e-5).fit(X, Y).n_unsolved_ == 0


@pytest.mark.parametrize(
    ("model", "offending"),
    [
        (LassoRegression(alpha=0), "got 0"),
        (LassoRegression(window=4), "got 4"),
        (LassoRegression(max_iterations=0), "got 0"),
        (LassoRegression(tolerance=1), "got 1"),
        (LassoRegression(color="joint"), "'joint'"),
        (PursuitRegression(nonzeros=0), "got 0"),
        (PursuitRegression(nonzeros=28), "from 1 to 27"),
        (PursuitRegression(nonzeros=10, window=3), "the 9 input pixels, got 10"),
        (PursuitRegression(tolerance=-1), "got -1"),
    ],
)
def test_parameters_outside_their_domain(model, offending):
    with pytest.raises(ParameterError, match=offending):
        model.fit(*faces())


def test_images_that_do_not_fit():
    X, Y = faces()
    with pytest.raises(DataError, match="pairs of equal shape"):
        LassoRegression().fit(X, Y[:3])
    model = PursuitRegression(nonzeros=1).fit(X, Y)
    with pytest.raises(DataError, match="11 x 13"):
        model.predict(X[:, :5])
