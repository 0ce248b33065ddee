from __future__ import annotations

import numpy as np
import pytest
from commands import failure, report, succeed, write_store
from PIL import Image

import mrdist
from mrdist.geometry import ReceptiveField
from mrdist.pipeline.judging._portraits import portraits
from mrdist.pipeline.judging.learning_curve import learning_curve
from mrdist.storage import Images, WeightsReader


@pytest.fixture(scope="module")
def stores(tmp_path_factory):
    """Faces, a mapping of theirs, and faces from elsewhere, of which only the inputs are known."""
    folder = tmp_path_factory.mktemp("people")
    faces, weights, others = (str(folder / name) for name in ("faces.zarr", "weights.zarr", "others.zarr"))
    mrdist.generate(
        faces, images=60, size=64, labels=["neutral", "happy", "sad"], color="gray", workers=0, progress=False
    )
    mrdist.train(faces, weights, source="neutral", target="happy", workers=0, progress=False)
    mrdist.generate(others, images=8, size=64, labels=["neutral"], seed=9, color="gray", workers=0, progress=False)
    return faces, weights, others


@pytest.fixture(scope="module")
def judged(stores):
    faces, weights, others = stores
    return report("evaluate", weights, faces, "--split", "test", "--on", others, "--recognition")


def test_expressions_are_recognised_in_and_out_of_the_dataset(judged):
    found = judged["people"]["test"]["recognition"]
    assert found["expressions"] == ["neutral", "happy", "sad"]
    assert found["faces"] == 6
    assert found["real"] >= 0.8
    assert found["input"] <= 0.2  # the identity would not do
    assert found["drop"] == pytest.approx(found["real"] - found["synthesised"])
    outside = judged["on"]["people"]["recognition"]
    assert outside["faces"] == 8
    assert outside["real"] is None
    assert outside["drop"] is None
    assert outside["input"] <= 0.25 < outside["synthesised"]


def test_synthesised_faces_are_still_their_person(judged):
    found = judged["people"]["test"]["identity"]
    assert (found["people"], found["gallery"]) == (6, "happy")
    assert found["rank_one"] >= 0.8
    outside = judged["on"]["people"]["identity"]
    assert (outside["people"], outside["gallery"], outside["input_rank_one"]) == (8, "neutral", None)
    assert outside["rank_one"] >= 0.8


def test_scores_of_other_images_stand_beside_the_own_ones(judged, stores, tmp_path):
    faces, weights, _ = stores
    assert judged["on"]["splits"] == {}  # neutral faces alone cannot be scored
    pairs = str(tmp_path / "pairs.zarr")
    mrdist.generate(
        pairs, images=10, size=64, labels=["neutral", "happy"], seed=9, color="gray", workers=0, progress=False
    )
    found = mrdist.evaluate(weights, faces, splits=["test"], on=pairs, progress=False)
    assert found["splits"] == judged["splits"]
    assert found["on"]["splits"] == mrdist.evaluate(weights, pairs, progress=False)["splits"]
    assert "people" not in found


def test_people_read_a_table(stores):
    faces, weights, others = stores
    said = succeed("evaluate", weights, faces, "--split", "test", "--on", others, "--recognition").stdout
    for word in ("recognised as happy", "synthesised", "rank 1", "drop"):
        assert word in said


def test_other_images_must_fit(stores, tmp_path):
    faces, weights, _ = stores
    small = str(tmp_path / "small.zarr")
    mrdist.generate(small, images=4, size=32, labels=["neutral"], color="gray", workers=0, progress=False)
    assert "32 x 32" in failure("evaluate", weights, faces, "--on", small)
    sad = str(tmp_path / "sad.zarr")
    mrdist.generate(sad, images=4, size=64, labels=["sad"], color="gray", workers=0, progress=False)
    assert "no label 'neutral'" in failure("evaluate", weights, faces, "--on", sad)


def test_portraits_are_means_of_squares_however_they_are_read(tmp_path, draw_images, monkeypatch):
    pixels = draw_images((3, 130, 140, 3))
    images = Images.open(write_store(tmp_path / "images.zarr", {"neutral": pixels, "happy": pixels}))
    rows = np.array([0, 2])
    weights = str(tmp_path / "weights.zarr")
    mrdist.train(images.url, weights, source="neutral", target="happy", workers=0, progress=False)

    def read(reader=None):
        return np.concatenate(list(portraits(images, "neutral", rows, reader, side=65)))

    found, made = read(), read(WeightsReader.open(weights))
    squares = (3, 65, 2, 70, 2, 3)
    assert np.allclose(found, (pixels / 255).reshape(squares).mean(axis=(2, 4))[rows], atol=1e-6)
    whole = np.clip(mrdist.open_weights(weights).predict(pixels), 0, 1)
    assert np.allclose(made, whole.reshape(squares).mean(axis=(2, 4))[rows], atol=1e-5)
    monkeypatch.setattr("mrdist.pipeline.judging._portraits._STRIP_BYTES", 1 << 16)
    assert np.array_equal(read(), found)
    assert np.array_equal(read(WeightsReader.open(weights)), made)


def test_a_learning_curve_is_that_of_separate_trainings(stores, tmp_path):
    faces, _, _ = stores
    found = learning_curve(
        faces, source="neutral", target="happy", pairs=[48, 7], receptive_fields=[3, 5], alpha=0.5, progress=False
    )
    assert found["pairs"] == [7, 48]
    images = mrdist.open_images(faces)
    train, test = ((images["split"] == split).values for split in ("train", "test"))
    assert train.sum() == 48
    x, t = images["neutral"].values, images["happy"].values
    for size in (3, 5):
        model = mrdist.MaskedRegression(receptive_field=size, alpha=0.5).fit(x[train], t[train])
        wanted = np.square(model.predict(x[test]) - t[test] / 255).mean()
        assert found["curves"][f"mr {size}x{size}"][1] == pytest.approx(wanted, rel=1e-9)
        assert found["curves"][f"mr {size}x{size}"][0] > wanted  # seven pairs are few
    identity = np.square(x[test] / 255.0 - t[test] / 255.0).mean()
    assert found["identity"] == pytest.approx(identity, rel=1e-9)


def test_a_learning_curve_is_drawn(stores, tmp_path):
    faces, _, _ = stores
    out = tmp_path / "curve.png"
    found = report("plot", "learning-curve", faces, "--source", "neutral", "--target", "happy", "--out", out)
    assert found["pairs"] == [5, 10, 20, 40, 48]
    assert found["picture"] == str(out)
    with Image.open(out) as picture:
        assert picture.width > picture.height > 300


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("--pairs", "0,5"), "pairs must be from 1 to 48, .*got 0"),
        (("--pairs", "49"), "got 49"),
        (("--receptive-field", "2"), "receptive_field must be odd"),
        (("--alpha", "0"), "alpha must"),
        (("--out", "curve.txt"), "must end with one of"),
    ],
)
def test_bad_input_of_a_learning_curve(stores, tmp_path, change, message):
    import re

    said = failure("plot", "learning-curve", stores[0], "--source", "neutral", "--target", "happy",
                   "--out", tmp_path / "curve.png", *change)  # fmt: skip
    assert re.search(message, said)
    assert list(tmp_path.iterdir()) == []


def test_the_mask_of_a_small_image_is_drawn(tmp_path):
    out = tmp_path / "mask.png"
    assert report("plot", "mask", "--out", out) == {"picture": str(out)}
    with Image.open(out) as picture:
        colors = {tuple(np.round(color, -1)) for _, color in picture.convert("RGB").getcolors(1 << 20)}
    assert len(colors) > 3
    assert "size must be from 1 to 16 pixels" in failure("plot", "mask", "--size", "17", "--out", tmp_path / "m.png")
    assert ReceptiveField(3).in_bounds((5, 5)).sum() + 25 == 194  # what the title says
