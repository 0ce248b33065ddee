"""Regressions on whole images: in memory against scikit-learn, in stores against memory, whatever dies on the way."""

from __future__ import annotations

from types import SimpleNamespace

import commands
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.decomposition import PCA
from sklearn.kernel_ridge import KernelRidge
from sklearn.linear_model import LinearRegression, Ridge
from sklearn.metrics.pairwise import rbf_kernel
from sklearn.preprocessing import KernelCenterer

import mrdist
from mrdist.baselines.dual import held_out_errors, inner_products
from mrdist.baselines.global_estimators import (
    GaussianRidge,
    GlobalRidge,
    MeanTarget,
    PrincipalComponentRegression,
)
from mrdist.errors import DataError, ParameterError
from mrdist.selection import assign_folds

SERIAL = ("--workers", "0")
LABELS = ("--source", "neutral", "--target", "happy")
METHODS = {
    "l2": GlobalRidge,
    "kernel": GaussianRidge,
    "pca": lambda color: PrincipalComponentRegression(12, color),
    "mean": MeanTarget,
}
OPTIONS = {"pca": ("--components", "12")}


def flat(images):
    return images.reshape(len(images), -1) / (255 if images.dtype == np.uint8 else 1)


def with_ones(rows):
    return np.column_stack([rows, np.ones(len(rows))])


# --- in memory -----------------------------------------------------------------------------------------


@pytest.fixture
def pairs(draw_images):
    return tuple(draw_images((n, 6, 5), seed=seed) for seed, n in enumerate((20, 20, 4)))


@pytest.mark.parametrize("alpha", [1e-3, 0.4, 50.0])
def test_ridge_is_that_of_scikit_learn(pairs, alpha):
    source, target, new = pairs
    free = Ridge(alpha=alpha).fit(flat(source), flat(target)).predict(flat(new))
    found = GlobalRidge(alpha, penalize_intercept=False).fit(source, target).predict(new)
    np.testing.assert_allclose(flat(found), free, atol=1e-10)
    model = Ridge(alpha=alpha, fit_intercept=False).fit(with_ones(flat(source)), flat(target))
    found = GlobalRidge(alpha).fit(source, target)
    np.testing.assert_allclose(flat(found.predict(new)), model.predict(with_ones(flat(new))), atol=1e-10)
    np.testing.assert_allclose(found.intercept_.ravel(), model.coef_[:, -1], atol=1e-10)


@given(
    st.integers(1, 12), st.integers(1, 4), st.integers(1, 4), st.sampled_from(["uint8", "uint16", "float64"]),
    st.booleans(), st.integers(0, 2**32 - 1),
)  # fmt: skip
def test_ridge_of_any_shape(n, height, width, dtype, penalize, seed):
    rng = np.random.default_rng(seed)
    source, target = rng.random((2, n, height, width))
    if dtype != "float64":
        source, target = ((images * np.iinfo(dtype).max).astype(dtype) for images in (source, target))
    unit = 1 if dtype == "float64" else np.iinfo(dtype).max
    x, t = (images.reshape(n, -1) / unit for images in (source, target))
    if penalize:
        model = Ridge(alpha=0.1, fit_intercept=False, solver="svd").fit(with_ones(x), t)
        wanted = model.predict(with_ones(x))
    else:
        wanted = Ridge(alpha=0.1, solver="svd").fit(x, t).predict(x)
    found = GlobalRidge(0.1, penalize).fit(source, target).predict(source)
    # floats count in units of 2^-20
    np.testing.assert_allclose(found.reshape(n, -1), wanted.reshape(n, -1), atol=1e-9 if unit > 1 else 1e-4)


@pytest.mark.parametrize("color", ["shared", "separate"])
def test_colours(draw_images, color):
    source, target, new = (draw_images((n, 4, 5, 3), seed=seed) for seed, n in enumerate((12, 12, 3)))
    found = GlobalRidge(0.4, color=color).fit(source, target).predict(new)
    for channel in range(3):
        if color == "separate":
            one = GlobalRidge(0.4).fit(source[..., channel], target[..., channel]).predict(new[..., channel])
        else:  # channels are rows
            rows = (np.moveaxis(images, 3, 1).reshape(-1, 4, 5) for images in (source, target))
            one = GlobalRidge(0.4).fit(*rows).predict(new[..., channel])
        np.testing.assert_allclose(found[..., channel], one, atol=1e-11)


def test_kernel_ridge_is_that_of_scikit_learn(pairs):
    source, target, new = pairs
    kernel = rbf_kernel(flat(source), gamma=0.05)
    centre = KernelCenterer().fit(kernel)
    mean = flat(target).mean(axis=0)
    model = KernelRidge(alpha=0.1, kernel="precomputed").fit(centre.transform(kernel), flat(target) - mean)
    wanted = model.predict(centre.transform(rbf_kernel(flat(new), flat(source), gamma=0.05))) + mean
    found = GaussianRidge(0.1, 0.05, penalize_intercept=False).fit(source, target)
    np.testing.assert_allclose(flat(found.predict(new)), wanted, atol=1e-10)
    distances = np.square(flat(source)[:, None] - flat(source)[None]).sum(axis=2)[np.triu_indices(20, 1)]
    assert GaussianRidge().fit(source, target).gamma_ == pytest.approx(1 / np.median(distances))


def test_principal_component_regression_is_that_of_scikit_learn(pairs):
    source, target, new = pairs
    pca = PCA(7, svd_solver="full").fit(flat(source))
    wanted = LinearRegression().fit(pca.transform(flat(source)), flat(target)).predict(pca.transform(flat(new)))
    found = PrincipalComponentRegression(7).fit(source, target)
    np.testing.assert_allclose(flat(found.predict(new)), wanted, atol=1e-10)
    all_of_them = PrincipalComponentRegression(19).fit(source, target)
    assert all_of_them.score(source, target) == pytest.approx(1)


@pytest.mark.parametrize("penalize", [True, False])
def test_errors_on_folds_are_those_of_refits(pairs, penalize):
    source, target, _ = pairs
    x, t, fold, alphas = flat(source), flat(target), np.arange(20) % 3, (0.01, 0.4, 30.0)
    found = held_out_errors(x @ x.T, t @ t.T, fold, alphas, penalize_intercept=penalize)
    for position, alpha in enumerate(alphas):
        for number in range(3):
            held = fold == number
            model = GlobalRidge(alpha, penalize).fit(source[~held], target[~held])
            wanted = np.square(flat(model.predict(source[held])) - t[held]).sum()
            assert found[position, number] == pytest.approx(wanted, rel=0, abs=1e-10 * np.square(t).sum())


@pytest.mark.parametrize("dtype", [np.uint8, np.int32])
def test_inner_products_are_exact(dtype):
    """White images, whose sums over two tiles no float32 and, of 2^20, hardly a float64 holds."""
    white = 255 if dtype == np.uint8 else 1 << 20
    rows = np.full((1, 3, 5000), white, dtype=dtype)
    rows[0, 1, 17] = white - 1
    wanted = rows[0].astype(object) @ rows[0].astype(object).T
    assert inner_products(rows)[0].tolist() == wanted.tolist()


@pytest.mark.parametrize(
    ("estimator", "offending"),
    [
        (GlobalRidge(alpha=0), "got 0"),
        (GlobalRidge(color="blue"), "blue"),
        (GaussianRidge(color="joint"), "joint"),
        (GaussianRidge(gamma=0), "gamma must be positive and finite, got 0"),
        (GaussianRidge(gamma=float("inf")), "inf"),
        (PrincipalComponentRegression(20), "from 1 to 19"),
        (PrincipalComponentRegression(0), "got 0"),
    ],
)
def test_parameters(pairs, estimator, offending):
    with pytest.raises(ParameterError, match=offending):
        estimator.fit(*pairs[:2])


def test_images_that_cannot_be_used(pairs):
    source, target, new = pairs
    with pytest.raises(DataError, match="pairs of equal shape"):
        GlobalRidge().fit(source, target[:3])
    with pytest.raises(DataError, match="6 x 5"):
        GlobalRidge().fit(source, target).predict(new[:, 1:])
    with pytest.raises(DataError, match="give gamma"):
        GaussianRidge().fit(source[:1], target[:1])
    with pytest.raises(ParameterError, match="span only 4 directions"):
        PrincipalComponentRegression(6).fit(np.repeat(source[:5], 4, axis=0), target)


# --- in stores -----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def stores(tmp_path_factory):
    """Colour faces, and the weights of every method, trained without a disturbance."""
    folder = tmp_path_factory.mktemp("global")
    found = SimpleNamespace(folder=folder, images=folder / "images.zarr")
    generate = ("--images", "24", "--size", "40", "--labels", "neutral,happy", "--chunks", "5,16,20")
    commands.succeed("generate", found.images, *generate, *SERIAL)
    found.weights = {}
    for method in METHODS:
        found.weights[method] = url = folder / f"{method}.zarr"
        options = (*LABELS, "--method", method, *OPTIONS.get(method, ()), *SERIAL)
        commands.succeed("train", found.images, url, *options)
    data = mrdist.open_images(str(found.images))
    found.train, found.test = (data.sel(image=data.split == split) for split in ("train", "test"))
    return found


@pytest.mark.parametrize("color", ["shared", "separate"])
@pytest.mark.parametrize("method", METHODS)
def test_a_store_predicts_as_the_estimator(stores, tmp_path, method, color):
    url = tmp_path / "w.zarr"
    options = ("--method", method, *OPTIONS.get(method, ()), "--color", color, "--dtype", "float64", *SERIAL)
    report = commands.report("train", stores.images, url, *LABELS, *options)
    estimator = METHODS[method](color=color).fit(stores.train.neutral.values, stores.train.happy.values)
    model, new = mrdist.open_weights(str(url)), stores.test.neutral.values
    np.testing.assert_allclose(model.predict(new), estimator.predict(new), atol=1e-9)
    error = estimator.predict(stores.train.neutral.values) - stores.train.happy.values / 255
    assert report["scores"]["mse"] == pytest.approx(np.square(error).mean(), rel=1e-6)
    score = estimator.score(stores.train.neutral.values, stores.train.happy.values)
    if color == "separate":  # of shared colour, a target is a pixel of all channels
        assert report["scores"]["r2"] == pytest.approx(score, rel=1e-6)
    assert np.abs(model.predict(new.astype(np.float32) / 255) - model.predict(new)).max() < 1e-4


@pytest.mark.parametrize("method", METHODS)
def test_float32_is_the_same_to_seven_digits(stores, method):
    estimator = METHODS[method](color="shared").fit(stores.train.neutral.values, stores.train.happy.values)
    new = stores.test.neutral.values
    found = mrdist.open_weights(str(stores.weights[method])).predict(new)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, estimator.predict(new), atol=1e-5)


def test_sizes(stores):
    n, pixels = stores.train.sizes["image"], 40 * 40
    counts = {method: mrdist.open_weights(str(url)).n_parameters for method, url in stores.weights.items()}
    rows = 3 * n
    assert counts == {
        "l2": n * pixels * 3 + rows**2 + (rows + 1) * pixels,
        "kernel": n * pixels * 3 + rows**2 + rows + (rows + 1) * pixels,
        "pca": 12 * pixels + 13 * pixels,
        "mean": pixels,
    }


def sums_done(weights):
    return sum(not path.name.endswith(".partial") for path in weights.glob("progress/gram/summed/c/*"))


@pytest.mark.slow
def test_killed_with_its_workers_at_work(stores, tmp_path):
    """The driver is killed in the first pass; the same command ends with the same bytes."""
    weights = tmp_path / "w.zarr"
    command = ("train", stores.images, weights, *LABELS, "--method", "l2", "--block", "16,16")
    with commands.running(*command, "--workers", "2") as process:
        commands.wait_until(lambda: sums_done(weights) >= 2 or process.poll() is not None, "two blocks")
        assert process.poll() is None, process.stderr.read()
        process.kill()
        process.wait()
    assert commands.report(*command, *SERIAL)["blocks_run"] == 9
    commands.assert_equal_bytes(weights, stores.weights["l2"])


@pytest.mark.slow
def test_killed_worker(stores, tmp_path):
    weights = tmp_path / "w.zarr"
    command = ("train", stores.images, weights, *LABELS, "--method", "l2", "--block", "16,16", "--workers", "2")
    with commands.running(*command) as process:
        commands.wait_until(lambda: sums_done(weights) >= 1 or process.poll() is not None, "a block")
        worker = commands.workers_of(process)[0]
        worker.kill()
        _, err = process.communicate(timeout=commands.SECONDS)
        assert process.returncode == 0, err
    commands.assert_equal_bytes(weights, stores.weights["l2"])


@pytest.mark.parametrize(("method", "color"), [("l2", "shared"), ("kernel", "separate")])
def test_cross_validation(stores, tmp_path, method, color):
    """The table holds the errors of explicit refits; the weights are those of the alpha that it chooses."""
    url, alphas = tmp_path / "w.zarr", (1e-3, 0.1, 10.0)
    options = ["--method", method, "--color", color, "--free-intercept", "--dtype=float64", *SERIAL]
    if method == "kernel":
        options.append("--gamma=0.004")
    search = ("--alpha=cv", "--alphas=0.001,0.1,10", "--folds=3", "--seed=2")
    report = commands.report("train", stores.images, url, *LABELS, *options, *search, "--block=16,32")
    source, target = stores.train.neutral.values, stores.train.happy.values
    fold = assign_folds(stores.train.subject.values, 3, 2)
    made = {"penalize_intercept": False, "color": color} | ({"gamma": 0.004} if method == "kernel" else {})
    wanted = np.empty((3, 3))
    for row, alpha in enumerate(alphas):
        for number in range(3):
            held = fold == number
            model = METHODS[method](alpha=alpha, **made).fit(source[~held], target[~held])
            wanted[row, number] = np.square(model.predict(source[held]) - target[held] / 255).mean()
    model = mrdist.open_weights(str(url))
    np.testing.assert_allclose(model.cv.mse.values[0], wanted, rtol=1e-9, atol=1e-12)
    best = alphas[wanted.mean(axis=1).argmin()]
    assert report["cross_validation"]["chosen"]["alpha"] == best == model.attributes["training"]["alpha"]
    commands.succeed("train", stores.images, tmp_path / "fixed.zarr", *LABELS, *options, "--alpha", best)
    for name in ("coef", "intercept", "rotation", "train_sse"):
        assert commands.files(url / name) == commands.files(tmp_path / "fixed.zarr" / name)
    again = ("train", stores.images, url, *LABELS, *options)
    assert commands.report(*again, *search)["already_complete"]
    assert "seed is 2 there and 3 here" in commands.failure(*again, *search[:3], "--seed=3")


# --- what is wrong -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "offending"),
    [
        (("--method=l2", "--alpha=0"), "got 0"),
        (("--method=l2", "--gamma=1"), "gamma (got 1.0)"),
        (("--method=kernel", "--gamma=0"), "got 0.0"),
        (("--method=kernel", "--gamma=nan"), "nan"),
        (("--method=pca", "--components=0"), "got 0"),
        (("--method=pca", "--components=1000"), "1000"),
        (("--method=pca", "--alpha=1"), "alpha"),
        (("--method=l2", "--receptive-field=3"), "receptive_field"),
        (("--method=l2", "--max-memory=104MB"), "99 MiB"),
        (("--method=l2", "--alpha=cv", "--folds=100"), "100"),
        (("--method=l2", "--alpha=cv", "--alphas=1,-2"), "-2"),
        (("--method=l2", "--alpha=cv", "--rule=pixel"), "pixel"),
        (("--method=l2", "--alpha=2", "--folds=3"), "folds (3)"),
        (("--method=pca", "--alpha=cv"), "alpha"),
    ],
)
def test_options(stores, tmp_path, options, offending):
    sentence = commands.failure("train", stores.images, tmp_path / "w.zarr", *LABELS, *options, *SERIAL)
    assert offending in sentence
    assert not commands.is_whole(tmp_path / "w.zarr")


def test_one_image(tmp_path, draw_images):
    pixels = {label: draw_images((1, 16, 16, 1), seed=seed) for seed, label in enumerate(("neutral", "happy"))}
    images = commands.write_store(tmp_path / "one.zarr", pixels)
    for method, offending in (("kernel", "give gamma"), ("pca", "1 row(s)")):
        url = tmp_path / f"{method}.zarr"
        assert offending in commands.failure("train", images, url, *LABELS, "--method", method, *SERIAL)
        assert not commands.is_whole(url)
    commands.succeed("train", images, tmp_path / "l2.zarr", *LABELS, "--method=l2", "--alpha=1e-6", *SERIAL)
    found = mrdist.open_weights(str(tmp_path / "l2.zarr")).predict(pixels["neutral"])
    np.testing.assert_allclose(found, pixels["happy"] / 255, atol=1e-5)
