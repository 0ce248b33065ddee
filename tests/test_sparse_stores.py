"""l1 and l0 from an images store to a CSR store: equal bytes however the work is cut, and one matrix for everyone."""

from __future__ import annotations

import warnings
from types import SimpleNamespace

import anndata.io
import commands
import numpy as np
import pytest
import scipy.sparse
import zarr
from sklearn.linear_model import Lasso, orthogonal_mp

import mrdist
from mrdist.baselines.estimators import LassoRegression, PursuitRegression
from mrdist.selection import assign_folds
from mrdist.storage.weights import sparse as sparse_weights
from mrdist.storage.weights.sparse import SparseReader

SERIAL = ("--workers", "0")
LABELS = ("--source", "neutral", "--target", "happy")
OPTIONS = {
    "l1": ("--method", "l1", "--alpha", "0.003"),
    "l0": ("--method", "l0", "--nonzeros", "3"),
    "l1-window": ("--method", "l1", "--alpha", "0.003", "--window", "7", "--color", "separate"),
    "l0-window": ("--method", "l0", "--nonzeros", "3", "--window", "7", "--dtype", "float64"),
}
MODELS = {
    "l1": LassoRegression(alpha=0.003),
    "l0": PursuitRegression(nonzeros=3),
    "l1-window": LassoRegression(alpha=0.003, window=7, color="separate"),
    "l0-window": PursuitRegression(nonzeros=3, window=7),
}


@pytest.fixture(scope="module")
def stores(tmp_path_factory):
    """Colour faces of 40 x 40 pixels, so that blocks end inside the image, and the weights of every kind."""
    folder = tmp_path_factory.mktemp("sparse")
    found = SimpleNamespace(images=folder / "images.zarr", weights={})
    generate = ("--images", "20", "--size", "40", "--labels", "neutral,happy", "--chunks", "6,16,16")
    commands.succeed("generate", found.images, *generate, *SERIAL)
    for name, options in OPTIONS.items():
        found.weights[name] = folder / f"{name}.zarr"
        commands.succeed("train", found.images, found.weights[name], *LABELS, *options, *SERIAL)
    data = mrdist.open_images(str(found.images))
    found.train = data.sel(image=data.split == "train")
    found.test = data.neutral.values[data.split == "test"]
    return found


@pytest.mark.parametrize("name", OPTIONS)
def test_the_store_holds_the_estimators_weights(stores, name):
    estimator = MODELS[name].fit(stores.train.neutral.values, stores.train.happy.values)
    model = mrdist.open_weights(str(stores.weights[name]))
    ours, theirs = model.to_scipy(), estimator.to_scipy()
    for found, wanted in zip(*([m] if not isinstance(m, list) else m for m in (ours, theirs)), strict=True):
        np.testing.assert_array_equal(found.indptr, wanted.indptr)
        np.testing.assert_array_equal(found.indices, wanted.indices)
        np.testing.assert_array_equal(found.data, wanted.data.astype(found.dtype))
    np.testing.assert_allclose(model.predict(stores.test), estimator.predict(stores.test), atol=1e-5)
    assert model.n_parameters >= model.n_nonzeros > 40 * 40
    scores = commands.attributes(stores.weights[name])["scores"]["train"]
    residual = estimator.predict(stores.train.neutral.values) - stores.train.happy.values / 255
    assert scores["mse"] == pytest.approx(np.square(residual).mean(), rel=1e-9)


@pytest.mark.parametrize("name", OPTIONS)
def test_anndata_opens_the_matrix(stores, name):
    model = mrdist.open_weights(str(stores.weights[name]))
    wanted = model.to_scipy()
    wanted = scipy.sparse.vstack(wanted) if isinstance(wanted, list) else wanted
    group = zarr.open_group(str(stores.weights[name]), mode="r")
    assert group["indptr"].dtype == np.int64
    found = anndata.io.sparse_dataset(group).to_memory()
    assert found.shape == wanted.shape
    assert (found != wanted).nnz == 0
    assert dict(model.to_xarray().sizes)["nonzero"] == wanted.nnz


def test_chunks_of_the_matrix(stores, tmp_path, monkeypatch):
    """Rows that straddle the matrix's chunks are laid out as if there were one chunk."""
    url = str(tmp_path / "w.zarr")
    monkeypatch.setattr(sparse_weights, "_CHUNK", 1000)
    mrdist.train(
        str(stores.images), url, source="neutral", target="happy", method="l0", nonzeros=3, block=(16, 32), workers=0
    )
    assert zarr.open_group(url, mode="r")["data"].chunks == (1000,)
    found, wanted = (mrdist.open_weights(str(each)).to_scipy() for each in (url, stores.weights["l0"]))
    assert (found != wanted).nnz == 0
    assert found.nnz == wanted.nnz


@pytest.mark.parametrize("name", OPTIONS)
def test_blocks_of_output(stores, name):
    reader = mrdist.storage.WeightsReader.open(str(stores.weights[name]))
    assert isinstance(reader, SparseReader)
    whole = mrdist.open_weights(str(stores.weights[name])).predict(stores.test)
    block = mrdist.geometry.Block(16, 24, 40, 35)
    part = reader.block(block)
    window = part.window
    assert (window == reader.frame) == ("window" not in name)
    made = part.predict(stores.test[:, *window.slices], None)
    np.testing.assert_allclose(made, whole[:, *block.slices], atol=1e-6)
    assert part.intercept.shape == (*block.shape, 3 if name == "l1-window" else 1)


@pytest.mark.parametrize("name", ["l1", "l0-window"])
def test_synthesize_evaluate_and_export(stores, tmp_path, name):
    weights = stores.weights[name]
    model = mrdist.open_weights(str(weights))
    commands.succeed("synthesize", weights, stores.images, "--out", tmp_path / "made.zarr", *SERIAL)
    data = mrdist.open_images(str(stores.images))
    wanted = np.rint(model.predict(data.neutral.values).clip(0, 1) * 255)
    assert np.abs(mrdist.open_images(str(tmp_path / "made.zarr")).happy.values - wanted).max() <= 1
    scores = commands.report("evaluate", weights, stores.images, "--split", "test")
    truth = data.happy.values[data.split == "test"] / 255
    mse = np.square(model.predict(stores.test) - truth).mean()
    assert scores["splits"]["test"]["frame"]["model"]["mse"] == pytest.approx(mse, rel=1e-5)
    commands.succeed("export", weights, tmp_path / "w.npz", "--format", "npz")
    assert (scipy.sparse.load_npz(tmp_path / "w.npz") != model.to_scipy()).nnz == 0


def test_pixels_that_do_not_converge(stores, tmp_path):
    options = ("--method", "l1", "--alpha", "0.0001", "--max-iterations", "3", *SERIAL)
    done = commands.succeed("train", stores.images, tmp_path / "w.zarr", *LABELS, *options)
    unsolved = commands.attributes(tmp_path / "w.zarr")["unsolved"]
    assert 0 < unsolved <= 1600
    assert done.stderr.count("did not converge") == 1
    assert f"{unsolved} of 1600 pixels did not converge within 3 iterations" in done.stderr
    assert "--max-iterations" in done.stderr
    assert commands.attributes(stores.weights["l1"])["unsolved"] == 0


@pytest.mark.parametrize(
    ("options", "offending"),
    [
        (("--method", "l1", "--window", "6"), "window must be an odd number of pixels from 1 to 79, got 6"),
        (("--method", "l0", "--window", "81"), "got 81"),
        (("--method", "l1", "--alpha", "0"), "got 0"),
        (("--method", "l1", "--alpha", "-1"), "got -1"),
        (("--method", "l1", "--max-iterations", "0"), "got 0"),
        (("--method", "l1", "--nonzeros", "3"), "nonzeros (got 3)"),
        (("--method", "l1", "--receptive-field", "3"), "receptive_field (got 3)"),
        (("--method", "l1", "--color", "joint"), "joint"),
        (("--method", "l0", "--alpha", "1"), "alpha (got 1.0)"),
        (("--method", "l0", "--nonzeros", "0"), "got 0"),
        (("--method", "l0", "--nonzeros", "48"), "got 48"),
        (("--method", "l0", "--nonzeros", "10", "--window", "3"), "the 9 input pixels, got 10"),
        (("--method", "l0", "--tolerance", "-1"), "got -1"),
        (("--method", "mr", "--window", "3"), "window (got 3)"),
        (("--method", "l1", "--max-memory", "170MB"), "max_memory is 162 MiB"),
    ],
)
def test_bad_options(stores, tmp_path, options, offending):
    assert offending in commands.failure("train", stores.images, tmp_path / "w.zarr", *LABELS, *options, *SERIAL)
    assert not (tmp_path / "w.zarr").exists()


def test_many_mappings(stores, tmp_path):
    url = tmp_path / "group.zarr"
    commands.succeed("train", stores.images, url, "--source", "neutral", "--target", "all", *OPTIONS["l0"], *SERIAL)
    commands.assert_equal_bytes(url / "neutral-happy", stores.weights["l0"])


# --- chosen by cross-validation ------------------------------------------------------------------------

SEARCHES = {
    "l1": (("--method", "l1", "--alpha", "cv", "--alphas", "0.001,0.01,0.003"), [0.001, 0.003, 0.01]),
    "l0": (("--method", "l0", "--nonzeros", "4,1,2", "--color", "separate"), [1, 2, 4]),
    "l0-window": (("--method", "l0", "--nonzeros", "1,3", "--window", "5"), [1, 3]),
}
FOLDS = ("--folds", "3", "--seed", "4")


@pytest.fixture(scope="module")
def crops(stores, tmp_path_factory):
    """A part of the faces with fewer pixels than stand for all."""
    cut = stores.train.isel(y=slice(14, 20), x=slice(10, 18))
    pixels = {label: cut[label].values for label in ("neutral", "happy")}
    return commands.write_store(tmp_path_factory.mktemp("crops") / "images.zarr", pixels)


def refit(X, T, new, method, candidate):
    """What scikit-learn makes of new rows, trained on one regression after the other."""
    if method == "l1":
        fits = [Lasso(alpha=candidate, tol=1e-5, max_iter=20_000).fit(X, t) for t in T.T]
        return np.stack([fit.predict(new) for fit in fits], axis=1)
    mean, level = X.mean(axis=0), T.mean(axis=0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        coef = orthogonal_mp(X - mean, T - level, n_nonzero_coefs=candidate).reshape(X.shape[1], -1)
    return (new - mean) @ coef + level


def errors_of(train, name, candidates):
    """The table as refits of scikit-learn make it; shape (candidate, fold)."""
    fold = assign_folds(train.subject.values, 3, 4)
    source, target = train.neutral.values / 255, train.happy.values / 255
    every = slice(None)
    parts = [(every, every, every, every, slice(c, c + 1) if name == "l0" else every) for c in range(3)]
    if name == "l1":
        parts = parts[:1]
    if name == "l0-window":
        places = [(2 * i + 1) * 40 // 32 for i in range(16)]  # 16 spread over 40
        parts = [
            (slice(max(y - 2, 0), y + 3), slice(max(x - 2, 0), x + 3), slice(y, y + 1), slice(x, x + 1), every)
            for y in places
            for x in places
        ]
    found, n_targets = np.zeros((len(candidates), 3)), 0
    for ys, xs, y, x, channels in parts:
        X, T = source[:, ys, xs, channels], target[:, y, x, channels]
        n_targets += T[0].size
        for number in range(3):
            (old, t), (new, truth) = (
                [v[which].transpose(0, 3, 1, 2).reshape(which.sum() * v.shape[3], -1) for v in (X, T)]
                for which in (fold != number, fold == number)
            )
            for row, candidate in enumerate(candidates):
                found[row, number] += np.square(refit(old, t, new, name[:2], candidate) - truth).sum()
    return found / (np.bincount(fold) * n_targets)


@pytest.mark.parametrize("name", ["l1", pytest.param("l0", marks=pytest.mark.long), "l0-window"])
def test_cross_validation(stores, crops, tmp_path, name):
    """The table holds the errors of explicit refits, on 256 pixels at most; the weights are those of the choice."""
    (options, candidates), url = SEARCHES[name], tmp_path / "w.zarr"
    images = stores.images if name == "l0-window" else crops
    report = commands.report("train", images, url, *LABELS, *options, *FOLDS, *SERIAL)
    wanted = errors_of(stores.train if images is stores.images else mrdist.open_images(images), name, candidates)
    model = mrdist.open_weights(str(url))
    parameter = "alpha" if name == "l1" else "nonzeros"
    assert model.cv.mse.dims == ("field", parameter, "fold")
    assert model.cv[parameter].values.tolist() == candidates
    np.testing.assert_allclose(model.cv.mse.values[0], wanted, rtol=2e-2 if name == "l1" else 1e-9)  # l1 stops at a gap
    best = candidates[wanted.mean(axis=1).argmin()]
    assert report["cross_validation"]["chosen"][parameter] == best == model.attributes["training"][parameter]
    rows = commands.report("info", url)["cross_validation"]["table"]
    assert [row[parameter] for row in rows] == candidates
    assert [row["mse"] for row in rows] == pytest.approx(wanted.mean(axis=1), rel=2e-2)
    fixed = tuple(value for value in options if value not in ("--alphas", "0.001,0.01,0.003"))
    fixed = tuple(str(best) if value in ("cv", "4,1,2", "1,3") else value for value in fixed)
    commands.succeed("train", images, tmp_path / "fixed.zarr", *LABELS, *fixed, *SERIAL)
    for part in ("data", "indices", "indptr", "train_sse"):
        assert commands.files(url / part) == commands.files(tmp_path / "fixed.zarr" / part)
    commands.succeed("plot", "cv", url, "--out", tmp_path / "cv.png")
    again = ("train", images, url, *LABELS, *options, *SERIAL)
    assert commands.report(*again, *FOLDS)["already_complete"]
    assert "seed is 4 there and 5 here" in commands.failure(*again, "--folds", "3", "--seed", "5")


def test_one_standard_error_prefers_few_weights(crops, tmp_path):
    options = ("--method", "l0", "--nonzeros", "cv", "--rule", "1se", "--folds", "4", *SERIAL)
    commands.succeed("train", crops, tmp_path / "w.zarr", *LABELS, *options)
    model = mrdist.open_weights(str(tmp_path / "w.zarr"))
    assert model.cv.nonzeros.values.tolist() == [1, 2, 3, 5, 8, 13, 21]
    mse, se = model.cv.mse.mean("fold").values[0], model.cv.se.values[0]
    near = mse <= mse.min() + se[mse.argmin()]
    assert model.attributes["training"]["nonzeros"] == model.cv.nonzeros.values[near].min()


@pytest.mark.parametrize(
    ("options", "offending"),
    [
        (("--method", "l1", "--alpha", "cv", "--folds", "100"), "folds is 100"),
        (("--method", "l1", "--alpha", "cv", "--alphas", "0.1,-2"), "got -2"),
        (("--method", "l1", "--alpha", "cv", "--rule", "pixel"), "got 'pixel'"),
        (("--method", "l1", "--alphas", "0.1,0.2"), "add --alpha cv"),
        (("--method", "l0", "--nonzeros", "cv", "--folds", "100"), "folds is 100"),
        (("--method", "l0", "--nonzeros", "3,3"), "contains 3 twice"),
        (("--method", "l0", "--nonzeros", "0,3"), "got 0"),
        (("--method", "l0", "--nonzeros", "3,47"), "got 47"),
        (("--method", "l0", "--nonzeros", "3", "--folds", "3"), "add --nonzeros cv"),
        (("--method", "l0", "--nonzeros", "few"), "'few'"),
    ],
)
def test_bad_searches(stores, tmp_path, options, offending):
    done = commands.warm("train", stores.images, tmp_path / "w.zarr", *LABELS, *options, *SERIAL)
    assert done.returncode in (1, 2)
    assert offending in done.stderr
    assert not (tmp_path / "w.zarr").exists()
