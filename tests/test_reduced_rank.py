"""Reduced-rank regression: against its equations with all pixels, against ridge regression and principal components."""

from __future__ import annotations

from types import SimpleNamespace

import commands
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import mrdist
from mrdist.errors import ParameterError
from mrdist.methods.reduced_rank.solving import reduced_rank
from mrdist.selection import assign_folds

PAIR = {"source": "neutral", "target": "happy"}
ALONE = {"workers": 0, "progress": False}
SHAPE, N = (6, 20), 10  # in two chunks of weights
WHITE = {"uint8": 255, "uint16": 65535, "float32": 1}


def centred(rows):
    return rows - rows.mean(axis=0)


def oracle(X, Y, alpha, rank):
    """Return weights and intercepts as Mukherjee and Zhu define them: of data with a row more for each input."""
    x, y = centred(X), centred(Y)
    ridge = np.linalg.solve(x.T @ x + alpha * np.eye(x.shape[1]), x.T @ y)
    extended = np.vstack([x, np.sqrt(alpha) * np.eye(x.shape[1])])
    _, _, directions = np.linalg.svd(extended @ ridge, full_matrices=False)
    weights = ridge @ directions[:rank].T @ directions[:rank]
    return weights, Y.mean(axis=0) - X.mean(axis=0) @ weights


def applied(weights, intercept, X):
    return X @ weights + intercept


def rows_of(images, color):
    """Return images in 0..1 as the rows of every independent regression, a group each."""
    values = images / (1 if images.dtype.kind == "f" else np.iinfo(images.dtype).max)
    by_channel = np.moveaxis(values, 3, 0).reshape(images.shape[3], len(images), -1)
    return [np.concatenate(by_channel)] if color == "shared" else list(by_channel)


def train(url, out, method="rrr", **options):
    report = mrdist.train(url, str(out), method=method, dtype="float64", **PAIR, **ALONE, **options)
    return report, mrdist.open_weights(str(out))


@pytest.fixture(scope="module")
def stores(tmp_path_factory):
    """Random images of each dtype, whose targets have to do with their sources, by dtype."""
    folder, rng = tmp_path_factory.mktemp("reduced"), np.random.default_rng(3)
    made = {}
    for dtype, white in WHITE.items():
        source = rng.random((N, *SHAPE, 3))
        target = 0.6 * source[:, ::-1] + 0.4 * rng.random(source.shape)
        pixels = {
            label: (white * images).astype(dtype) for label, images in zip(PAIR.values(), (source, target), strict=True)
        }
        url = commands.write_store(folder / f"{dtype}.zarr", pixels)
        made[dtype] = SimpleNamespace(url=str(url), source=pixels["neutral"], target=pixels["happy"])
    return made


# --- the equations ----------------------------------------------------------------------------------


@given(
    st.integers(2, 9), st.integers(1, 12), st.integers(1, 12), st.integers(1, 9), st.sampled_from([1e-2, 0.4, 30.0]),
    st.integers(0, 2**32 - 1),
)  # fmt: skip
def test_the_dual_form_is_the_primal_one(n, n_inputs, n_outputs, rank, alpha, seed):
    """Also where there are fewer inputs or outputs than rows, or than the rank."""
    rng = np.random.default_rng(seed)
    X, Y, new = rng.random((n, n_inputs)), rng.random((n, n_outputs)), rng.random((4, n_inputs))
    dual = reduced_rank(X @ X.T, Y @ Y.T, rank)(alpha)
    coef, intercept, errors = dual.solve(Y, 1)
    wanted = oracle(X, Y, alpha, rank)
    np.testing.assert_allclose((new @ X.T @ dual.rotation) @ coef + intercept, applied(*wanted, new), atol=1e-9)
    residuals = np.square(applied(*wanted, X) - Y).sum(axis=0)
    np.testing.assert_allclose(errors + dual.deviation * np.square(centred(Y)).sum(axis=0), residuals, atol=1e-9)


def test_no_other_weights_of_that_rank_are_better():
    """The weights with outputs in given directions are those of ridge regression there; ours are the best of all."""
    rng = np.random.default_rng(0)
    X, Y, alpha, rank = centred(rng.random((20, 7))), centred(rng.random((20, 9))), 2.0, 3

    def loss(weights):
        return np.square(Y - X @ weights).sum() + alpha * np.square(weights).sum()

    dual = reduced_rank(X @ X.T, Y @ Y.T, rank)(alpha)
    ours = X.T @ dual.rotation @ dual.solve(Y, 1)[0]
    assert np.linalg.matrix_rank(ours) == rank
    ridge = np.linalg.solve(X.T @ X + alpha * np.eye(7), X.T @ Y)
    _, _, fitted = np.linalg.svd(X @ ridge)  # the directions that would be best without the penalty
    nearby = (fitted[:rank].T + step * rng.normal(size=(9, rank)) for step in (0, 0.01, 0.1, 9))
    others = [np.linalg.qr(directions)[0] for directions in nearby]
    assert all(loss(ours) < loss(ridge @ other @ other.T) for other in others)


# --- in stores --------------------------------------------------------------------------------------


@pytest.mark.parametrize("color", ["shared", "separate"])
@pytest.mark.parametrize("dtype", WHITE)
def test_a_store_holds_the_weights_of_the_equations(stores, tmp_path, dtype, color):
    store = stores[dtype]
    report, model = train(store.url, tmp_path / "w", color=color, components=4, alpha=2.5)
    new = store.source[:3, ::-1]
    made, sse = model.predict(new), 0.0
    groups = (rows_of(images, color) for images in (store.source, store.target, new))
    for group, (X, Y, other) in enumerate(zip(*groups, strict=True)):
        wanted = oracle(X, Y, 2.5, 4)
        found = rows_of(made, color)[group]
        np.testing.assert_allclose(found, applied(*wanted, other), atol=1e-9 if dtype != "float32" else 1e-5)
        sse += np.square(applied(*wanted, X) - Y).sum()
    assert report.scores["mse"] == pytest.approx(sse / store.target.size, rel=1e-6 if dtype != "float32" else 1e-4)
    outputs = np.prod(SHAPE) * (1 if color == "shared" else 3)
    assert model.n_parameters == 4 * outputs * 2 + outputs
    assert model.to_xarray().basis.dims[-3:] == ("component", "y", "x")


@pytest.mark.parametrize("color", ["shared", "separate"])
def test_of_full_rank_it_is_ridge_regression(stores, tmp_path, color):
    n = N * 3 if color == "shared" else N
    _, ours = train(stores["uint8"].url, tmp_path / "rrr", components=n - 1, color=color)
    _, ridge = train(stores["uint8"].url, tmp_path / "l2", "l2", penalize_intercept=False, color=color)
    new = stores["uint8"].source[:, ::-1]
    np.testing.assert_allclose(ours.predict(new), ridge.predict(new), atol=1e-9)


@pytest.mark.parametrize("rank", [1, 3, 6])
def test_predictions_have_the_rank(stores, tmp_path, rank):
    store = stores["uint8"]
    _, model = train(store.url, tmp_path / "w", components=rank)
    assert np.linalg.matrix_rank(centred(rows_of(model.predict(store.source), "shared")[0]), tol=1e-9) == rank


def test_the_first_components_are_those_of_a_smaller_rank(stores, tmp_path):
    large, small = (train(stores["uint8"].url, tmp_path / str(k), components=k)[1].to_xarray() for k in (6, 2))
    products = [
        np.einsum("kyx,kvu->yxvu", each.basis.values[:2], each.coef.values[:2]) for each in (large, small)
    ]  # fmt: skip
    np.testing.assert_allclose(*products, atol=1e-10)


@pytest.mark.parametrize("rank", [1, 5, 12])
def test_it_explains_more_than_as_many_principal_components(stores, tmp_path, rank):
    ours, pca = (
        train(stores["uint8"].url, tmp_path / method, method, components=rank, **options)[0].scores["mse"]
        for method, options in (("rrr", {"alpha": 1e-9}), ("pca", {}))
    )
    assert ours < pca


def test_float32_is_the_same_to_six_digits(stores, tmp_path):
    _, model = train(stores["uint8"].url, tmp_path / "w", components=8)
    mrdist.train(stores["uint8"].url, str(tmp_path / "w32"), method="rrr", components=8, **PAIR, **ALONE)
    new = stores["uint8"].source[:, ::-1]
    np.testing.assert_allclose(mrdist.open_weights(str(tmp_path / "w32")).predict(new), model.predict(new), atol=1e-5)


def test_rows_that_span_few_directions_leave_components_empty(tmp_path, draw_images):
    """Five people, each twice."""
    pixels = {label: np.repeat(draw_images((5, *SHAPE, 1), seed=n), 2, axis=0) for n, label in enumerate(PAIR.values())}
    url = str(commands.write_store(tmp_path / "images.zarr", pixels))
    report, model = train(url, tmp_path / "w", components=8)
    _, ridge = train(url, tmp_path / "l2", "l2", penalize_intercept=False)
    np.testing.assert_allclose(model.predict(pixels["happy"]), ridge.predict(pixels["happy"]), atol=1e-9)
    assert report.scores["mse"] > 0
    assert np.abs(model.to_xarray().coef.values[4:]).max() < 1e-9


# --- cross-validation -------------------------------------------------------------------------------


@pytest.mark.parametrize("color", ["shared", "separate"])
def test_the_table_holds_the_errors_of_refits(stores, tmp_path, color):
    """Without the images: what is chosen makes the bytes of a training with that penalty."""
    store, alphas = stores["uint8"], (0.1, 3.0, 100.0)
    given = {"components": 5, "color": color}
    report, model = train(store.url, tmp_path / "cv", alpha="cv", alphas=alphas, folds=3, seed=1, **given)
    fold, wanted = assign_folds(mrdist.open_images(store.url).subject.values.tolist(), 3, 1), np.zeros((3, 3))
    for number in range(3):
        held = fold == number
        split = [rows_of(images[rows], color) for images in (store.source, store.target) for rows in (~held, held)]
        for X, X_held, Y, Y_held in zip(*split, strict=True):
            for row, alpha in enumerate(alphas):
                made = applied(*oracle(X, Y, alpha, 5), X_held)
                wanted[row, number] += np.square(made - Y_held).sum() / (held.sum() * 3 * np.prod(SHAPE))
    np.testing.assert_allclose(model.cv.mse.values[0], wanted, rtol=1e-8)
    best = alphas[wanted.mean(axis=1).argmin()]
    assert report.cross_validation["chosen"]["alpha"] == best
    train(store.url, tmp_path / "fixed", alpha=best, **given)
    for name in ("coef", "basis", "intercept", "train_sse"):
        assert commands.files(tmp_path / "cv" / name) == commands.files(tmp_path / "fixed" / name)


# --- what is wrong ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "offending"),
    [
        ({"components": 0}, "got 0"),
        ({"components": N * 3}, "components must be from 1 to 29"),
        ({"alpha": 0}, "alpha"),
        ({"gamma": 1.0}, "method rrr has no option gamma"),
        ({"penalize_intercept": True}, "method rrr has no option penalize_intercept"),
        ({"color": "joint"}, "method rrr does not support the colour joint"),
        ({"folds": 3}, "option of cross-validation"),
    ],
)
def test_refusals(stores, tmp_path, options, offending):
    with pytest.raises(ParameterError, match=offending):
        train(stores["uint8"].url, tmp_path / "w", **options)
    assert not (tmp_path / "w").exists()


# --- every verb -------------------------------------------------------------------------------------


def test_every_verb_knows_it(stores, tmp_path):
    images, weights = stores["uint8"].url, tmp_path / "w.zarr"
    labels = ("--source", "neutral", "--target", "happy", "--workers", 0)
    commands.succeed("train", images, weights, *labels, "--method", "rrr", "--components", 3)
    assert commands.report("info", weights)["training"]["components"] == 3
    scores = commands.report("evaluate", weights, images, "--split", "train", "--workers", 0)["splits"]["train"]
    model = mrdist.open_weights(str(weights))
    assert scores["frame"]["model"]["mse"] == pytest.approx(model.attributes["scores"]["train"]["mse"])
    commands.succeed("synthesize", weights, images, "--out", tmp_path / "made.zarr", "--workers", 0)
    made = mrdist.open_images(str(tmp_path / "made.zarr")).happy.values
    wanted = model.predict(stores["uint8"].source).clip(0, 1)
    assert np.abs(made / 255 - wanted).max() < 0.51 / 255
    assert "weights of method rrr are dense" in commands.failure("export", weights, tmp_path / "w.npz")
