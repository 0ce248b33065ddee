"""l1 and l0 from an images store to a CSR store: equal bytes however the work is cut, and one matrix for everyone."""

from __future__ import annotations

import signal
from types import SimpleNamespace

import anndata.io
import commands
import numpy as np
import pytest
import scipy.sparse
import zarr

import mrdist
from mrdist.baselines.estimators import LassoRegression, PursuitRegression
from mrdist.storage import sparse_weights
from mrdist.storage.sparse_weights import SparseReader

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


@pytest.mark.parametrize(
    ("name", "workers", "block"),
    [
        *((name, "0", block) for name in OPTIONS for block in ("16,16", "48,32")),
        ("l1", "1", "16,48"),
        ("l1", "2", "16,16"),
        ("l0-window", "2", "16,16"),
    ],
)
def test_bytes_do_not_depend_on_the_cut(stores, tmp_path, name, workers, block):
    cut = ("--workers", workers, "--block", block)
    commands.succeed("train", stores.images, tmp_path / "w.zarr", *LABELS, *OPTIONS[name], *cut)
    commands.assert_equal_bytes(tmp_path / "w.zarr", stores.weights[name])


def test_chunks_of_the_matrix(stores, tmp_path, monkeypatch):
    """Rows that straddle the matrix's chunks are laid out as if there were one chunk."""
    url = str(tmp_path / "w.zarr")
    monkeypatch.setattr(sparse_weights, "CHUNK", 1000)
    mrdist.train(
        str(stores.images), url, source="neutral", target="happy", method="l0", nonzeros=3, block=(16, 32), workers=0
    )
    assert zarr.open_group(url, mode="r")["data"].chunks == (1000,)
    found, wanted = (mrdist.open_weights(str(each)).to_scipy() for each in (url, stores.weights["l0"]))
    assert (found != wanted).nnz == 0
    assert found.nnz == wanted.nnz


@pytest.mark.parametrize("name", ["l1", "l0-window"])
def test_killed_and_resumed(stores, tmp_path, name):
    url = tmp_path / "w.zarr"
    command = ("train", stores.images, url, *LABELS, *OPTIONS[name])
    with commands.running(*command, "--block", "16,16", "--workers", "1") as process:
        commands.wait_until(lambda: commands.blocks_done(url) >= 2 or process.poll() is not None, "two blocks")
        commands.signal_group(process, signal.SIGKILL)
    assert not commands.is_whole(url)
    assert "resume" in commands.failure("evaluate", url, stores.images)
    commands.succeed(*command, *SERIAL)
    commands.assert_equal_bytes(url, stores.weights[name])
    assert commands.report(*command, *SERIAL)["already_complete"] is True


def test_killed_while_the_matrix_is_laid_out(stores, tmp_path, monkeypatch):
    url = str(tmp_path / "w.zarr")
    options = {"source": "neutral", "target": "happy", "method": "l0", "nonzeros": 3, "workers": 0}

    def fail(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as broken:
        broken.setattr(sparse_weights.SparseOutput, "write_chunk", fail)
        with pytest.raises(KeyboardInterrupt):
            mrdist.train(str(stores.images), url, **options)
    assert not commands.is_whole(url)
    assert mrdist.train(str(stores.images), url, **options).blocks_run == 0
    commands.assert_equal_bytes(url, stores.weights["l0"])


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
        (("--method", "l1", "--alpha", "cv"), "got 'cv'"),
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
        (("--method", "l1", "--max-memory", "300MB"), "max_memory is 286 MiB"),
    ],
)
def test_bad_options(stores, tmp_path, options, offending):
    assert offending in commands.failure("train", stores.images, tmp_path / "w.zarr", *LABELS, *options, *SERIAL)
    assert not (tmp_path / "w.zarr").exists()


def test_many_mappings(stores, tmp_path):
    url = tmp_path / "group.zarr"
    commands.succeed("train", stores.images, url, "--source", "neutral", "--target", "all", *OPTIONS["l0"], *SERIAL)
    commands.assert_equal_bytes(url / "neutral-happy", stores.weights["l0"])
