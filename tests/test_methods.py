"""Every method is trained, opened, evaluated and applied by the same commands."""

from __future__ import annotations

from types import SimpleNamespace

import commands
import numpy as np
import pytest
from PIL import Image

import mrdist
from mrdist.errors import ParameterError, StoreFormatError
from mrdist.methods import registry

SERIAL = ("--workers", "0")
LABELS = ("--source", "neutral", "--target", "happy")
METHODS = [name for name, method in registry.METHODS.items() if "window" not in method.options]  # those are slow


@pytest.fixture(scope="module")
def stores(tmp_path_factory):
    """Colour faces in blocks of several chunks, and the weights of every method."""
    folder = tmp_path_factory.mktemp("methods")
    found = SimpleNamespace(folder=folder, images=folder / "images.zarr")
    generate = ("--images", "24", "--size", "48", "--labels", "neutral,happy", "--chunks", "5,16,16")
    commands.succeed("generate", found.images, *generate, *SERIAL)
    found.weights = {method: folder / f"{method}.zarr" for method in METHODS}
    for method, url in found.weights.items():
        commands.succeed("train", found.images, url, *LABELS, "--method", method, *SERIAL)
    data = mrdist.open_images(str(found.images))
    train = data.sel(image=data.split == "train")
    found.source, found.target = train.neutral.values, train.happy.values
    found.is_test = data.split.values == "test"
    found.test = data.neutral.values[found.is_test]
    found.truth = data.happy.values[data.split == "test"] / 255
    return found


@pytest.mark.parametrize("method", METHODS)
def test_model(stores, method):
    model = mrdist.open_weights(str(stores.weights[method]))
    assert (model.method, model.shape, model.n_channels) == (method, (48, 48), 3)
    assert model.predict(stores.test).shape == stores.test.shape
    assert 0 < model.n_nonzeros <= model.n_parameters
    dataset = model.to_xarray().load()  # every chunk is there, also one of zeros
    assert dataset.intercept.dims == ("y", "x")
    assert commands.report("info", stores.weights[method])["training"]["method"] == method


def test_pixel_is_masked_regression_with_one_tap(stores, tmp_path):
    commands.succeed("train", stores.images, tmp_path / "w.zarr", *LABELS, "--receptive-field", "1", *SERIAL)
    assert commands.files(tmp_path / "w.zarr") == commands.files(stores.weights["pixel"])
    assert mrdist.open_weights(str(stores.weights["pixel"])).n_parameters == 2 * 48 * 48


def test_counts_of_masked_regression_are_those_of_its_matrix(stores):
    model = mrdist.open_weights(str(stores.weights["mr"]))
    assert model.n_parameters == model.to_scipy().nnz
    assert model.n_nonzeros == np.count_nonzero(model.to_scipy().data)


@pytest.mark.parametrize("color", ["shared", "separate"])
def test_mean(stores, tmp_path, color):
    url = tmp_path / "w.zarr"
    report = commands.report("train", stores.images, url, *LABELS, "--method=mean", "--color", color, *SERIAL)
    model = mrdist.open_weights(str(url))
    axes = (0, 3) if color == "shared" else 0
    mean = np.broadcast_to(stores.target.mean(axis=axes, keepdims=True) / 255, stores.target.shape)
    np.testing.assert_allclose(model.predict(stores.source), mean, atol=1e-7)
    assert report["scores"]["mse"] == pytest.approx(np.square(stores.target / 255 - mean).mean(), rel=1e-12)
    assert report["scores"]["r2"] == 0
    with pytest.raises(ParameterError, match="mean"):
        model.to_scipy()


@pytest.mark.parametrize(("method", "workers"), [*((method, "0") for method in METHODS), ("mr", "2"), ("morph", "2")])
def test_evaluate(stores, method, workers):
    scores = commands.report("evaluate", stores.weights[method], stores.images, "--split=test", "--workers", workers)
    prediction = commands.applied(stores.weights[method], stores.images, "neutral")[stores.is_test]
    found = scores["splits"]["test"]["frame"]
    assert found["model"]["mse"] == pytest.approx(np.square(prediction - stores.truth).mean(), rel=1e-5)
    assert found["identity"]["mse"] == pytest.approx(np.square(stores.test / 255 - stores.truth).mean(), rel=1e-9)
    assert (found["intercept_share"] == 1) == (method == "mean")


@pytest.mark.parametrize("method", METHODS)
def test_synthesize(stores, tmp_path, method):
    commands.succeed("synthesize", stores.weights[method], stores.images, "--out", tmp_path / "made.zarr", *SERIAL)
    model = mrdist.open_weights(str(stores.weights[method]))
    data = mrdist.open_images(str(stores.images))
    wanted = np.rint(commands.applied(stores.weights[method], stores.images, "neutral").clip(0, 1) * 255)
    # the same numbers, summed in blocks of other sizes: a half may be rounded the other way
    assert np.abs(mrdist.open_images(str(tmp_path / "made.zarr")).happy.values - wanted).max() <= 1
    face = tmp_path / "face.png"
    Image.fromarray(data.neutral.values[0]).save(face)
    commands.succeed("synthesize", stores.weights[method], face, "--out", tmp_path / "out")
    wanted = np.rint(model.predict(data.neutral.values[:1]).clip(0, 1) * 255)
    assert np.abs(np.asarray(Image.open(tmp_path / "out" / "face.png")) - wanted[0]).max() <= 1


@pytest.mark.parametrize(
    ("options", "offending"),
    [
        (("--method", "magic"), "'magic'"),
        (("--method", "pixel", "--receptive-field", "3"), "receptive_field (got 3)"),
        (("--method", "pixel", "--dilation", "1"), "dilation"),
        (("--method", "mean", "--alpha", "0.5"), "alpha (got 0.5)"),
        (("--method", "mean", "--free-intercept"), "penalize_intercept"),
        (("--method", "mean", "--color", "joint"), "colour joint"),
    ],
)
def test_options_that_a_method_does_not_know(stores, tmp_path, options, offending):
    sentence = commands.failure("train", stores.images, tmp_path / "w.zarr", *LABELS, *options, *SERIAL)
    assert offending in sentence
    assert options[1] in sentence
    assert not (tmp_path / "w.zarr").exists()


@pytest.mark.parametrize("command", [("refine",), ("plot", "intercept"), ("plot", "receptive-fields")])
def test_what_needs_receptive_fields(stores, tmp_path, command):
    out = () if command == ("refine",) else ("--out", tmp_path / "picture.png")
    assert "method mean" in commands.failure(*command, stores.weights["mean"], *out)


def test_another_method_does_not_resume(stores):
    sentence = commands.failure("train", stores.images, stores.weights["mr"], *LABELS, "--method=mean", *SERIAL)
    assert "method is mr there and mean here" in sentence


def test_a_store_of_before_there_were_methods(stores, tmp_path):
    url = tmp_path / "w.zarr"
    commands.succeed("train", stores.images, url, *LABELS, *SERIAL)
    commands.damage(url, "training", lambda training: {k: v for k, v in training.items() if k != "method"})
    assert mrdist.open_weights(str(url)).method == "mr"
    assert commands.report("train", stores.images, url, *LABELS, *SERIAL)["already_complete"]


def test_a_method_of_a_newer_mrdist(stores, tmp_path):
    """It is read if its layout is known."""
    url = tmp_path / "w.zarr"
    commands.succeed("train", stores.images, url, *LABELS, "--method=mean", *SERIAL)
    intercept = mrdist.open_weights(str(url)).to_xarray()["intercept"].values
    commands.damage(url, "training", lambda training: training | {"method": "magic"})
    model = mrdist.open_weights(str(url))
    assert model.method == "magic"
    np.testing.assert_array_equal(model.to_xarray()["intercept"].values, intercept)
    commands.damage(url, "layout", lambda _: "magical")
    with pytest.raises(StoreFormatError, match="'magic' and has the layout 'magical'"):
        mrdist.open_weights(str(url))
