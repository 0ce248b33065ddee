"""The method morph: what it learns is that of its equations, its stores, its dials, and its errors."""

from __future__ import annotations

import commands
import numpy as np
import pytest
import zarr
from numpy.testing import assert_allclose, assert_array_equal
from PIL import Image

import mrdist
from mrdist.datasets._face_landmarks import face_landmarks
from mrdist.datasets._warping import GRID
from mrdist.datasets.synthetic import render_face
from mrdist.errors import DataError, ParameterError
from mrdist.morphing.dials import Dials
from mrdist.morphing.landmark_sums import LIPS, ShapeSums
from mrdist.morphing.morph import to_canonical
from mrdist.morphing.shapes import Shapes
from mrdist.pipeline.applying._locating import Place
from mrdist.pipeline.applying._morphing import points_of
from mrdist.storage import Images, WeightsReader
from mrdist.synthesis import to_floats, to_pixels

SIDE, ALPHA = 48, 3.0
LABELS = {"source": "neutral", "target": "happy"}
ALONE = {"workers": 0, "progress": False}


@pytest.fixture(scope="module")
def faces(tmp_path_factory):
    url = str(tmp_path_factory.mktemp("morph") / "faces.zarr")
    mrdist.generate(url, images=24, size=SIDE, labels=[*LABELS.values()], seed=3, **ALONE)
    return url


@pytest.fixture(scope="module")
def weights(faces, tmp_path_factory):
    url = str(tmp_path_factory.mktemp("morph") / "weights.zarr")
    mrdist.train(faces, url, method="morph", alpha=ALPHA, **LABELS, **ALONE)
    return url


@pytest.fixture(scope="module")
def lesson(faces):
    """Return pixels and landmarks of the training images, by label."""
    images = Images.open(faces)
    rows = images.rows([*LABELS.values()], "train")
    group = zarr.open_group(faces, mode="r")
    return {
        label: (np.asarray(group[label][...])[rows], images.landmarks[rows, images.column(label)])
        for label in images.labels
    }


def test_it_learns_what_its_equations_say(weights, lesson):
    (x, own), (y, theirs) = lesson["neutral"], lesson["happy"]
    lips = LIPS["synthetic-61"]
    shapes = Shapes.fit(ShapeSums.zeros(61).update(own, theirs, lips), (SIDE, SIDE), lips)
    reader = WeightsReader.open(weights)
    for name in ("control", "canonical", "movement", "gauge", "share", "anchors"):
        assert_array_equal(getattr(reader.morph.shapes, name), getattr(shapes, name))
    assert (reader.morph.shapes.rates, reader.morph.shapes.ring) == (shapes.rates, shapes.ring)

    def warped(images, points):
        return (
            np.rint(np.clip([to_canonical(shapes, *pair) for pair in zip(images, points, strict=True)], 0, 255)) / 255
        )

    before = warped(x, own[:, shapes.control])
    after = warped(y, [shapes.registered(*pair) for pair in zip(own, theirs, strict=True)])
    coef = reader.morph.weights.coef
    for row, column in ((20, 24), (36, 22), (11, 30)):
        window = before[:, row - 1 : row + 2, column - 1 : column + 2].reshape(len(x), 9, 3)
        rows = np.concatenate([window, np.ones((len(x), 1, 3))], axis=1).transpose(0, 2, 1).reshape(-1, 10)
        change = (after - before)[:, row, column].ravel()
        change_weights = np.linalg.solve(rows.T @ rows + ALPHA * np.eye(10), rows.T @ change)
        assert_allclose(coef[:, row, column], change_weights[:9] + np.eye(9)[4], atol=1e-5)
        assert_allclose(reader.morph.weights.intercept[row, column], change_weights[9], atol=1e-5)
    assert reader.morph.mouth is not None


def test_it_is_better_than_the_photograph_and_best_at_the_own_strength(faces, weights):
    def ratio(**dials):
        face = mrdist.evaluate(weights, faces, splits=["test"], **dials, **ALONE)["splits"]["test"]["face"]
        return face["model"]["mse"] / face["identity"]["mse"]

    assert ratio(strength=0) == pytest.approx(1, rel=1e-6)
    assert ratio(strength="own") < ratio() < 0.7
    assert ratio(strength="own") < ratio(mouth="closed")


def test_strength_0_makes_a_store_of_the_same_pixels(faces, weights, tmp_path):
    mrdist.synthesize(weights, faces, str(tmp_path / "made.zarr"), strength=0, **ALONE)
    made, given = (zarr.open_group(url, mode="r") for url in (str(tmp_path / "made.zarr"), faces))
    assert_array_equal(made["happy"][...], given["neutral"][...])


def test_a_store_is_made_as_the_model_makes_its_images(faces, weights, tmp_path):
    mrdist.synthesize(
        weights, faces, str(tmp_path / "made.zarr"), strength=0.7, mouth="open", max_memory="400MB", **ALONE
    )
    made = zarr.open_group(str(tmp_path / "made.zarr"), mode="r")["happy"][...]
    images = Images.open(faces)
    model = WeightsReader.open(weights).turned(Dials(0.7, "open")).model()
    pixels = zarr.open_group(faces, mode="r")["neutral"][...]
    for row in (0, 7):
        expected = model.apply(pixels[row], images.landmarks[row, 0], in_frame=True)
        assert_array_equal(made[row], to_pixels(expected, np.uint8))


def test_images_without_landmarks(faces, weights, tmp_path):
    """Pairs without them are left out of a training, and a synthesis leaves such images as they are."""
    pixels = {label: zarr.open_group(faces, mode="r")[label][:6] for label in ("neutral", "happy")}
    url = commands.write_store(tmp_path / "some.zarr", pixels)
    points = zarr.open_group(url)["landmarks"]
    points[2, 1] = np.nan
    points[3, 0, 5] = np.nan
    report = mrdist.train(url, str(tmp_path / "w.zarr"), method="morph", **LABELS, **ALONE)
    assert mrdist.info(str(tmp_path / "w.zarr"))["training"]["n_images"] == 4
    assert report.blocks == 1
    mrdist.synthesize(str(tmp_path / "w.zarr"), url, str(tmp_path / "made.zarr"), **ALONE)
    made = zarr.open_group(str(tmp_path / "made.zarr"), mode="r")["happy"][...]
    same = [bool((made[row] == pixels["neutral"][row]).all()) for row in range(6)]
    assert same == [False, False, False, True, False, False]
    points[...] = np.nan
    with pytest.raises(DataError, match="none of the 6 pairs"):
        mrdist.train(url, str(tmp_path / "x.zarr"), method="morph", **LABELS, **ALONE)


def test_a_store_without_landmarks_is_refused_before_anything_is_written(faces, weights, tmp_path):
    black = np.zeros((4, SIDE, SIDE, 3), np.uint8)
    url = commands.write_store(tmp_path / "bare.zarr", {"neutral": black, "happy": black}, landmarks=False)
    for failing in (
        lambda: mrdist.train(url, str(tmp_path / "w.zarr"), method="morph", **LABELS, **ALONE),
        lambda: mrdist.evaluate(weights, url, **ALONE),
    ):
        with pytest.raises(DataError, match="has no landmarks"):
            failing()
    assert not (tmp_path / "w.zarr").exists()


def test_dials_that_do_not_exist(faces, weights, tmp_path):
    with pytest.raises(ParameterError, match=r"strength must lie in 0..1.5, got 9"):
        mrdist.evaluate(weights, faces, strength=9, **ALONE)
    with pytest.raises(ParameterError, match="mouth must be one of auto, open, closed, got 'wide'"):
        mrdist.synthesize(weights, faces, str(tmp_path / "made.zarr"), mouth="wide", **ALONE)
    mrdist.train(faces, str(tmp_path / "mean.zarr"), method="mean", **LABELS, **ALONE)
    with pytest.raises(ParameterError, match="trained by mean; leave them out"):
        mrdist.evaluate(str(tmp_path / "mean.zarr"), faces, mouth="open", **ALONE)
    assert not (tmp_path / "made.zarr").exists()
    with pytest.raises(ParameterError, match="strength must be a number for photographs, got 'own'"):
        mrdist.synthesize(weights, str(tmp_path / "face.png"), str(tmp_path / "out"), strength="own")
    assert not (tmp_path / "out").exists()


def test_the_command_line_turns_the_dials(faces, weights):
    scores = commands.report("evaluate", weights, faces, "--split", "test", "--strength", 0)["splits"]["test"]["face"]
    assert scores["model"]["mse"] == pytest.approx(scores["identity"]["mse"], rel=1e-6)
    assert "strength must lie in 0..1.5" in commands.failure("evaluate", weights, faces, "--strength", 2)


def test_a_model_in_hand(weights):
    model = mrdist.open_weights(weights)
    large = render_face(40, "neutral", 3 * SIDE)
    points = face_landmarks(40, "neutral") * 3 * SIDE - 0.5
    made = model.apply(large, points)
    wanted, still = (to_floats(render_face(40, label, 3 * SIDE)) for label in ("happy", "neutral"))
    mouth = np.s_[90:130, 50:94]
    assert ((made - wanted)[mouth] ** 2).mean() < 0.7 * ((still - wanted)[mouth] ** 2).mean()
    gray = model.apply(large.mean(axis=2, keepdims=True).astype(np.uint8), points)
    assert gray.shape == (3 * SIDE, 3 * SIDE, 1)
    with pytest.raises(DataError, match=r"landmarks must have shape \(61, 2\)"):
        model.apply(large, points[:4])
    assert 0 < model.n_nonzeros <= model.n_parameters


def test_images_without_landmarks_in_hand_get_the_mean_ones(weights, lesson):
    model = mrdist.open_weights(weights)
    still, happy = (lesson[label][0] for label in LABELS.values())
    made = model.predict(still)
    assert made.shape == still.shape
    assert ((made - happy / 255) ** 2).mean() < ((still / 255 - happy / 255) ** 2).mean()
    assert_array_equal(model.predict(still[0]), made[0])


def test_a_photograph_without_these_landmarks_is_moved_as_the_mean_face_is(weights, tmp_path):
    pixels = render_face(40, "neutral", 96)
    Image.fromarray(pixels).save(tmp_path / "one.png")
    x, y = (face_landmarks(40, "neutral")[[25, 30]] * 96 - 0.5).T
    points = (x[0], y[0], x[1], y[1])
    mrdist.synthesize(weights, str(tmp_path / "one.png"), str(tmp_path / "out"), points=points, strict=True)
    made = np.asarray(Image.open(tmp_path / "out" / "one.png")).astype(float)
    happy = render_face(40, "happy", 96)
    mouth = np.s_[60:86, 28:68]
    assert ((made - happy)[mouth] ** 2).mean() < 0.8 * ((pixels.astype(float) - happy)[mouth] ** 2).mean()


def test_landmarks_that_place_a_face_move_it(weights):
    model = mrdist.open_weights(weights)
    photograph, points = render_face(40, "neutral", 96), face_landmarks(40, "neutral") * 96 - 0.5
    for given in (points, np.concatenate([points[[25, 30]], points])):
        found = points_of(model.moving, photograph, Place(GRID * 96, "landmarks", landmarks=given), None)
        assert_array_equal(found, points[model.morph.shapes.control])
