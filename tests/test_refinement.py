"""Importance maps, refined results, and the pictures of both."""

from __future__ import annotations

from types import SimpleNamespace

import commands
import numpy as np
import pytest
import zarr
from PIL import Image
from scipy import ndimage
from skimage.color import rgb2lab
from skimage.morphology import disk

import mrdist
from mrdist.errors import ParameterError
from mrdist.refinement import Refinement, blend
from mrdist.scoring import chroma_difference

LABELS = ("--source", "neutral", "--target", "happy")
SIZE = 32


@pytest.fixture(scope="module")
def stores(tmp_path_factory):
    """Twenty people in colour and weights of both kinds, trained on them."""
    folder = tmp_path_factory.mktemp("refinement")
    images = str(folder / "images.zarr")
    commands.succeed("generate", images, "--images", 20, "--size", SIZE, "--labels", "neutral,happy", "--workers", 0)
    found = SimpleNamespace(images=images)
    for color in ("shared", "separate"):
        setattr(found, color, str(folder / f"{color}.zarr"))
        commands.succeed("train", images, getattr(found, color), *LABELS, "--color", color, "--workers", 0)
    return found


# --- the map -------------------------------------------------------------------------------------------


def test_the_map_is_what_its_definition_says():
    norms = np.random.default_rng(0).gamma(2, size=(24, 30))
    found = Refinement(radius=0.1, smoothing=0, low=0.2, high=1.7).importance(norms)
    scores = np.clip(np.abs(norms - norms.mean()) / norms.std(), 0.2, 1.7)
    y, x = np.mgrid[:24, :30]
    near = (y[..., None, None] - y) ** 2 + (x[..., None, None] - x) ** 2 <= 3**2  # 0.1 of the longer side
    expected = (np.where(near, scores, -np.inf).max(axis=(2, 3)) - 0.2) / 1.5
    np.testing.assert_allclose(found, expected, atol=1e-6)
    assert found.dtype == np.float32
    smooth = Refinement(radius=0.1, smoothing=0.1, low=0.2, high=1.7).importance(norms)
    assert np.abs(np.diff(smooth)).max() < np.abs(np.diff(found)).max() / 3
    assert 0 <= smooth.min() <= smooth.max() <= 1


@pytest.mark.parametrize("shape", [(24, 30), (1, 9), (40, 3)])
@pytest.mark.parametrize("radius", [0, 1, 2, 5, 9, 40])
def test_a_disk_dilates_as_a_footprint_does(shape, radius):
    norms = np.random.default_rng(0).normal(size=shape)
    refinement = Refinement(radius=min(1, radius / max(shape)), smoothing=0, low=-9, high=9, signed=True)
    scores = (norms - norms.mean()) / norms.std()
    expected = (ndimage.grey_dilation(scores, footprint=disk(min(radius, max(shape)))) + 9) / 18
    np.testing.assert_array_equal(refinement.importance(norms), expected.astype(np.float32))


def test_a_signed_score_leaves_out_what_lies_below_the_mean():
    norms = np.ones((40, 40))
    norms[10, 10], norms[30, 30] = 0, 2
    options = {"radius": 0, "smoothing": 0, "low": 2, "high": 3}
    either, signed = Refinement(**options).importance(norms), Refinement(**options, signed=True).importance(norms)
    assert (either[10, 10], either[30, 30], either.sum()) == (1, 1, 2)
    assert (signed[10, 10], signed[30, 30], signed.sum()) == (0, 1, 1)
    assert Refinement().importance(np.ones((5, 5))).max() == 0


@pytest.mark.parametrize("options", [{"radius": -0.1}, {"smoothing": 2}, {"low": 3, "high": 3}, {"high": np.nan}])
def test_options_outside_their_domain(options):
    with pytest.raises(ParameterError, match=str(next(iter(options.values())))):
        Refinement(**options)


@pytest.mark.parametrize("color", ["shared", "separate"])
def test_norms_are_those_of_the_sparse_matrix(stores, color):
    model = mrdist.open_weights(getattr(stores, color))
    matrices = model.to_scipy()
    dense = np.stack([abs(m).toarray() for m in (matrices if isinstance(matrices, list) else [matrices])])
    shape = (SIZE, SIZE)
    # a tap beyond the border has weight 0
    np.testing.assert_allclose(model.norms(), dense[..., :-1].sum(axis=-1).mean(axis=0).reshape(shape), rtol=1e-6)
    np.testing.assert_allclose(model.norms(intercept=True), dense.sum(axis=-1).mean(axis=0).reshape(shape), rtol=1e-6)


# --- refined results -----------------------------------------------------------------------------------


def test_refine_keeps_a_map_that_everything_else_uses(stores, tmp_path):
    weights = stores.separate
    model, dataset = mrdist.open_weights(weights), mrdist.open_images(stores.images)
    before = commands.files(weights)
    found = commands.report("refine", weights, "--radius", 0.05, "--low", 0.5, "--high", 2, "--intercept")
    refinement = Refinement(radius=0.05, low=0.5, high=2, intercept=True)
    importance = refinement.importance(model.norms(intercept=True))
    stored = zarr.open_group(weights, mode="r")["importance"]
    np.testing.assert_array_equal(stored[...], importance)
    assert stored.attrs["radius"] == found["refinement"]["radius"] == 0.05
    assert found["mean_importance"] == pytest.approx(importance.mean())
    assert 0.02 < importance.mean() < 0.98
    after = commands.files(weights)
    assert {name: after[name] for name in before} == before

    neutral = dataset["neutral"].values
    expected = blend(neutral / 255, model.predict(neutral), importance)
    Image.fromarray(neutral[0]).save(tmp_path / "photo.png")
    commands.succeed("synthesize", weights, tmp_path / "photo.png", "--out", tmp_path / "made", "--refine")
    with Image.open(tmp_path / "made" / "photo.png") as picture:
        np.testing.assert_array_equal(np.asarray(picture), np.rint(expected[0].clip(0, 1) * 255))
    made = str(tmp_path / "made.zarr")
    commands.succeed("synthesize", weights, stores.images, "--out", made, "--refine", "--workers", 0)
    difference = mrdist.open_images(made)["happy"].values - expected.clip(0, 1) * 255
    assert np.abs(difference).max() < 0.51

    test = dataset["split"].values == "test"
    face = dataset["face_mask"].values
    scores = commands.report("evaluate", weights, stores.images, "--split", "test", "--refine")["splits"]["test"]
    assert set(scores) == {"frame", "face", "background"}
    truth, source = dataset["happy"].values[test] / 255, neutral[test] / 255
    for name, region in (("frame", np.ones_like(face)), ("face", face), ("background", ~face)):
        for mapping, values in (("model", model.predict(neutral[test])), ("refined", expected[test])):
            mse = np.square(values - truth)[:, region].mean()
            assert scores[name][mapping]["mse"] == pytest.approx(mse, rel=1e-5)
            change = np.abs(values - source)[:, region].mean()
            assert scores[name]["change"][mapping] == pytest.approx(change, rel=1e-5)
    assert scores["background"]["change"]["refined"] < scores["background"]["change"]["model"]
    assert "refined" in commands.succeed("evaluate", weights, stores.images, "--split", "test", "--refine").stdout


def test_without_a_kept_map_the_default_one_is_used(stores):
    plain = mrdist.evaluate(stores.shared, stores.images, splits=["test"])["splits"]["test"]
    kept = mrdist.evaluate(stores.shared, stores.images, splits=["test"], refine=True)["splits"]["test"]
    given = mrdist.evaluate(stores.shared, stores.images, splits=["test"], refine=Refinement())["splits"]["test"]
    assert kept == given
    assert "importance" not in zarr.open_group(stores.shared, mode="r")
    assert plain["face"]["model"] == kept["face"]["model"]
    other = mrdist.evaluate(stores.shared, stores.images, splits=["test"], refine=Refinement(low=0, high=1))
    assert other["splits"]["test"]["face"]["refined"] != kept["face"]["refined"]


def test_chroma_is_that_of_cielab(stores):
    dataset, model = mrdist.open_images(stores.images), mrdist.open_weights(stores.separate)
    test, face = dataset["split"].values == "test", dataset["face_mask"].values
    source, target = dataset["neutral"].values[test], dataset["happy"].values[test] / 255
    lab = {
        name: rgb2lab(values.clip(0, 1))[..., 1:]
        for name, values in (("model", model.predict(source)), ("identity", source / 255), ("target", target))
    }
    found = mrdist.evaluate(stores.separate, stores.images, splits=["test"])["splits"]["test"]["face"]["chroma"]
    for name, one, other in (
        ("model", "model", "target"),
        ("identity", "identity", "target"),
        ("change", "model", "identity"),
    ):
        assert found[name] == pytest.approx(np.abs(lab[one] - lab[other])[:, face].mean(), rel=1e-4)
    gray = np.full((4, 4, 3), 0.3)
    assert chroma_difference(gray, gray * 2).max() < 0.02


# --- pictures ------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_plots_are_pictures(stores, tmp_path):
    for name, *args in (
        ("faces", stores.shared, stores.images, "--count", 2, "--refine"),
        ("refinement", stores.shared, stores.images, "--radii", "0,0.1", "--smoothings", "0.05"),
        ("refinement", stores.shared),
        ("receptive-fields", stores.separate, "--pixel", "0,0", "--pixel", "20,31"),
        ("receptive-fields", stores.shared),
        ("intercept", stores.shared),
    ):
        out = tmp_path / "made" / f"{name}.png"
        assert commands.report("plot", name, *args, "--out", out) == {"picture": str(out)}
        with Image.open(out) as picture:
            pixels = np.asarray(picture.convert("RGB"))
        assert min(pixels.shape[:2]) > 100
        assert len(np.unique(pixels.reshape(-1, 3), axis=0)) > 10
        out.unlink()
    assert list((tmp_path / "made").iterdir()) == []


def test_plots_that_cannot_be_drawn(stores, tmp_path):
    for args, said in (
        (("intercept", stores.shared, "--out", tmp_path / "a.xyz"), "a.xyz"),
        (("intercept", stores.images, "--out", tmp_path / "a.png"), "store of images, not of weights"),
        (("receptive-fields", stores.shared, "--pixel", "0,32", "--out", tmp_path / "a.png"), "pixel 0,32"),
        (("faces", stores.shared, stores.images, "--count", 0, "--out", tmp_path / "a.png"), "got 0"),
        (("refinement", stores.shared, "--radii", "-1", "--out", tmp_path / "a.png"), "radius"),
    ):
        assert said in commands.failure("plot", *args)
    assert "1,x" in commands.failure("plot", "refinement", "w", "--radii", "1,x", "--out", "a.png", code=2)
    assert "low" in commands.failure("refine", stores.shared, "--low", 9)
    assert list(tmp_path.iterdir()) == []
