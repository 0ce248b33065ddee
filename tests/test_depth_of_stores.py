"""Rectangular stores of every depth through all verbs: what is trained on them, scored, made and drawn."""

from __future__ import annotations

import io

import commands
import numpy as np
import pytest
import scipy.sparse
from PIL import Image

import mrdist
from mrdist.datasets.depth import to_depth
from mrdist.datasets.photographs import read_pixels
from mrdist.methods.registry import METHODS
from mrdist.pipeline.showing.browse import read_one, to_png
from mrdist.pipeline.showing.plot import plot_faces
from mrdist.storage import Images

HEIGHT, WIDTH = 24, 16
#: Largest difference of a prediction from float images: they are rounded to 2^-22, or 2^-20 by global methods.
CLOSE = 2e-4


@pytest.fixture(scope="session")
def stores(tmp_path_factory):
    """The same 12 pairs as 16 bits, as floats, and, rounded, as 8 bits, by dtype."""
    folder = tmp_path_factory.mktemp("depths")
    rng = np.random.default_rng(5)
    source = rng.integers(6000, 60000, (12, HEIGHT, WIDTH, 1), dtype=np.uint16)
    target = (0.8 * source + 0.1 * np.roll(source, 1, axis=2)).astype(np.uint16)
    split = ["train"] * 9 + ["val"] + ["test"] * 2
    return {
        dtype: commands.write_store(
            folder / f"{dtype}.zarr",
            {"neutral": to_depth(source, dtype), "happy": to_depth(target, dtype)},
            split=split,
        )
        for dtype in ("uint8", "uint16", "float32")
    }


@pytest.fixture(scope="session")
def trained(stores, tmp_path_factory):
    """Return a function that trains once a session."""
    folder, urls = tmp_path_factory.mktemp("trained"), {}

    def train(method, dtype):
        if (method, dtype) not in urls:
            urls[method, dtype] = url = str(folder / f"{method}-{dtype}.zarr")
            options = commands.known(method, components=3, nonzeros=2)
            labels = {"source": "neutral", "target": "happy"}
            mrdist.train(stores[dtype], url, method=method, workers=0, progress=False, **labels, **options)
        return urls[method, dtype]

    return train


@pytest.mark.parametrize("method", METHODS)
def test_every_method_learns_the_same_at_every_depth(method, stores, trained):
    outputs = {dtype: commands.applied(trained(method, dtype), url, "neutral")[-2:] for dtype, url in stores.items()}
    assert outputs["uint16"].shape == (2, HEIGHT, WIDTH, 1)
    assert np.abs(outputs["float32"] - outputs["uint16"]).max() < CLOSE
    # a rounding may lead l1 and l0 to other pixels
    assert np.median(np.abs(outputs["uint8"] - outputs["uint16"])) < 0.01
    scores = {
        dtype: mrdist.evaluate(trained(method, dtype), stores[dtype], workers=0, progress=False)["splits"]
        for dtype in ("uint16", "float32")
    }
    models = [score["test"]["frame"]["model"]["mse"] for score in scores.values()]
    assert models[0] == pytest.approx(models[1], rel=1e-2)


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
@pytest.mark.parametrize("method", ["mr", "l2"])
def test_what_is_made_has_the_depth_of_what_it_is_made_of(method, dtype, stores, trained, tmp_path):
    weights = trained(method, dtype)
    mrdist.synthesize(weights, stores[dtype], str(tmp_path / "made.zarr"), workers=0, progress=False)
    made = mrdist.open_images(str(tmp_path / "made.zarr"))["happy"]
    assert (made.dtype, made.shape) == (dtype, (12, HEIGHT, WIDTH, 1))
    image = mrdist.open_images(stores[dtype])["neutral"].values[0]
    np.save(tmp_path / "photograph.npy", image)
    mrdist.synthesize(
        weights, str(tmp_path / "photograph.npy"), str(tmp_path / "out"), contact_sheet=True, progress=False
    )
    picture = read_pixels(tmp_path / "out" / "photograph.png", "gray")
    assert picture.dtype == ("uint8" if dtype == "uint8" else "uint16")
    expected = made.values[0] if dtype != "float32" else to_depth(made.values[0].clip(0, 1), "uint16")
    assert np.abs(picture.astype(int) - expected.astype(int)).max() <= 1
    sheet = read_pixels(tmp_path / "out" / "contact-sheet.png", "gray")[..., 0].astype(float)
    before, after = sheet[:, :256], sheet[:, 256:]
    assert abs(before[before < 250].mean() - after[after < 250].mean()) < 60  # not black, as 16 bits taken for 8 are


def test_colours_of_16_bits(stores, tmp_path):
    rng = np.random.default_rng(0)
    source = rng.integers(0, 60000, (9, HEIGHT, WIDTH, 3), dtype=np.uint16)
    url = commands.write_store(tmp_path / "in.zarr", {"a": source, "b": source // 2})
    mrdist.train(url, str(tmp_path / "w.zarr"), source="a", target="b", workers=0, progress=False)
    np.save(tmp_path / "p.npy", source[0])
    mrdist.synthesize(str(tmp_path / "w.zarr"), str(tmp_path / "p.npy"), str(tmp_path / "out"), progress=False)
    expected = mrdist.open_weights(str(tmp_path / "w.zarr")).predict(source[:1])[0] * 65535
    picture = read_pixels(tmp_path / "out" / "p.png", "rgb")
    assert picture.dtype == np.uint16
    assert np.abs(picture - expected.clip(0, 65535)).max() <= 0.51


@pytest.mark.parametrize("dtype", ["uint16", "float32"])
def test_pictures_of_a_dataset(dtype, stores):
    images = Images.open(stores[dtype])
    picture = Image.open(io.BytesIO(to_png(read_one(images, "neutral", 0), 12)))
    assert (picture.size, picture.mode) == ((8, 12), "L")
    assert 60 < np.asarray(picture).mean() < 200


@pytest.mark.parametrize("dtype", ["uint16", "float32"])
def test_rechunked_summed_exported_and_drawn(dtype, stores, trained, tmp_path):
    copy, sums, weights = (str(tmp_path / name) for name in ("copy.zarr", "sums.zarr", "w.zarr"))
    mrdist.rechunk(stores[dtype], copy, chunks=(3, 8, 16), workers=0, progress=False)
    for label in ("neutral", "happy"):
        ours, wanted = (mrdist.open_images(url)[label].values for url in (copy, stores[dtype]))
        np.testing.assert_array_equal(ours, wanted)
    mrdist.accumulate(copy, sums, source="neutral", target="happy", workers=0, progress=False)
    mrdist.solve(sums, weights, workers=0, progress=False)
    for name in ("coef", "intercept"):
        ours, wanted = (mrdist.open_weights(url).to_xarray()[name].values for url in (weights, trained("mr", dtype)))
        np.testing.assert_array_equal(ours, wanted)
    mrdist.export(weights, str(tmp_path / "w.npz"), format="npz")
    assert scipy.sparse.load_npz(tmp_path / "w.npz").shape == (HEIGHT * WIDTH, HEIGHT * WIDTH + 1)
    plot_faces(weights, copy, str(tmp_path / "faces.png"), split="all")
    height, width = read_pixels(tmp_path / "faces.png", "gray").shape[:2]
    assert height > width / 4
