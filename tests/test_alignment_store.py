"""What an images store knows of its frame and of the photographs its images come from."""

from __future__ import annotations

import json
import shutil

import commands
import numpy as np
import pytest
from PIL import Image
from scipy import ndimage
from skimage.transform import SimilarityTransform, warp

import mrdist
from mrdist.datasets.landmarks import FRAME_PUPILS, MOUTH, N_POINTS, OUTLINE, PUPILS
from mrdist.datasets.synthetic import render_face
from mrdist.errors import StoreFormatError
from mrdist.geometry import Block
from mrdist.storage import Images, read_alignment, read_frame

SERIAL = ("--workers", "0")


def shape_of_points():
    """A shape of 189 points with the London template's meaning where the code asks for it."""
    shape = np.random.default_rng(0).uniform([0.2, 0.2], [0.8, 0.7], (N_POINTS, 2))
    shape[PUPILS] = FRAME_PUPILS
    for points, centre, radii in [(MOUTH, (0.5, 0.8), (0.14, 0.05)), (OUTLINE, (0.5, 0.55), (0.40, 0.48))]:
        angle = np.linspace(0, 2 * np.pi, len(points), endpoint=False)
        shape[points] = centre + np.stack([np.cos(angle), np.sin(angle)], axis=-1) * radii
    return shape


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Three people in the London layout: blobs, and the same blobs moved by a similarity."""
    place = tmp_path_factory.mktemp("london")
    for folder in ("neutral_front", "smiling_front"):
        (place / folder).mkdir()
    for person in range(3):
        noise = ndimage.gaussian_filter(np.random.default_rng(person).standard_normal((280, 300)), 4)
        neutral = np.clip(0.5 + 0.2 * noise / noise.std(), 0, 1)
        moved = SimilarityTransform(scale=1.03, rotation=0.03, translation=(4, -7))
        smiling = warp(neutral, moved.inverse, order=3, mode="reflect")
        for name, image in (("neutral_front/{}_03.png", neutral), ("smiling_front/{}_08.png", smiling)):
            pixels = np.rint(255 * np.clip(image, 0, 1)).astype(np.uint8)
            Image.fromarray(pixels).save(place / name.format(person))
        points = SimilarityTransform(scale=200 + 8 * person, translation=(45, 35))(shape_of_points())
        rows = [str(N_POINTS), *(f"{x} {y}" for x, y in points)]
        (place / "neutral_front" / f"{person}_03.tem").write_text("\n".join(rows))
    return place


@pytest.fixture(scope="module")
def aligned(folder, tmp_path_factory):
    url = tmp_path_factory.mktemp("aligned") / "images.zarr"
    commands.succeed("ingest", folder, url, "--size", 200, "--color", "gray", "--chunks", "2,64,64", *SERIAL)
    return url


def test_every_image_can_be_traced_back_to_its_photograph(folder, aligned):
    images = Images.open(str(aligned))
    origin = read_alignment(images)
    points = np.random.default_rng(1).integers(10, 190, (200, 2))
    for row in range(3):
        for column, label in enumerate(images.labels):
            name = origin.photograph[row][column]
            photograph = np.asarray(Image.open(folder / name)).astype(float)
            assert name.startswith(f"{label}_front/{images.subject[row]}_")
            assert origin.size[row, column].tolist() == [280, 300]
            x, y = origin.positions(row, column, (points + 0.5) / 200).T
            found = ndimage.map_coordinates(photograph, [y, x], order=1)
            image = images.reader().read(label, row, row + 1, Block(0, 0, *images.shape))[0, ..., 0]
            assert np.abs(found - image[points[:, 1], points[:, 0]]).mean() < 3


def test_measures_are_kept_per_image_and_label(aligned):
    images = Images.open(str(aligned))
    origin = read_alignment(images)
    quality = {
        (label, measure): origin.quality[:, column, number]
        for column, label in enumerate(images.labels)
        for number, measure in enumerate(origin.measures)
    }
    assert (quality["smiling", "correlation"] > 0.9).all()
    assert np.isnan(quality["neutral", "correlation"]).all()
    assert (quality["neutral", "landmarks"] < 0.01).all()


def test_photographs_taken_as_they_lie_are_traced_back_too(folder, tmp_path):
    commands.succeed("ingest", folder, tmp_path / "plain.zarr", "--align", "none", "--size", "64,64", *SERIAL)
    images = Images.open(str(tmp_path / "plain.zarr"))
    corners = read_alignment(images).positions(0, 0, np.array([[0.0, 0.0], [1.0, 1.0], [0.5, 0.25]]))
    np.testing.assert_allclose(corners, [[-0.5, -0.5], [299.5, 279.5], [149.5, 69.5]], atol=1e-3)
    assert len(read_frame(images)[0]) == 0


def test_mean_face_is_that_of_the_training_images(tmp_path):
    url = tmp_path / "images.zarr"
    commands.succeed("generate", url, "--images", 9, "--size", 40, "--labels", "neutral,happy", *SERIAL)
    dataset = mrdist.open_images(str(url))
    points, means = read_frame(Images.open(str(url)))
    np.testing.assert_array_equal(points[:2], FRAME_PUPILS)
    training = dataset["split"].values == "train"
    for label, mean in zip(("neutral", "happy"), means, strict=True):
        expected = dataset[label].values[training].mean(axis=0) / 255
        np.testing.assert_allclose(mean, expected, rtol=1e-6)


def test_another_chunking_keeps_what_is_known(aligned, tmp_path):
    commands.succeed("rechunk", aligned, tmp_path / "copy.zarr", "--chunks", "3,200,200", *SERIAL)
    one, other = mrdist.open_images(str(aligned)), mrdist.open_images(str(tmp_path / "copy.zarr"))
    for name in ("reference_points", "mean_face", "photograph", "photograph_size", "warp", "measure", "quality"):
        np.testing.assert_array_equal(one[name].values, other[name].values)


def test_the_worst_are_drawn_first(aligned, tmp_path):
    found = commands.report("plot", "alignment", aligned, "--out", tmp_path / "a.png", "--count", 2)
    images = Images.open(str(aligned))
    origin = read_alignment(images)
    correlation = origin.quality[:, 1, origin.measures.index("correlation")]
    order = np.argsort(correlation)[:2]
    assert [one["image"] for one in found["worst"]] == images.image[order].tolist()
    np.testing.assert_allclose([one["value"] for one in found["worst"]], correlation[order], rtol=1e-6)
    assert found["worst"][0]["photograph"] == f"smiling_front/{images.image[order[0]]}_08.png"
    with Image.open(found["picture"]) as picture:
        assert picture.size[0] > 300
    by_landmarks = commands.report("plot", "alignment", aligned, "--out", tmp_path / "b.png", "--measure", "landmarks")[
        "worst"
    ]
    assert [one["label"] for one in by_landmarks] == ["neutral"] * 3
    for options, said in (((), "beauty"), (("--count", 0), "0")):
        args = ("plot", "alignment", aligned, "--out", tmp_path / "c.png", *options)
        assert said in commands.failure(*args, *(() if options else ("--measure", "beauty")))
    assert not (tmp_path / "c.png").exists()


@pytest.fixture(scope="module")
def without_landmarks(tmp_path_factory):
    """Photographs of two synthetic people somewhere in a larger picture, and where their pupils are."""
    place, pupils = tmp_path_factory.mktemp("wild"), {}
    for person, (left, top, turn) in enumerate([(60, 30, 0.1), (20, 70, -0.15)], 200):
        for label, folder, moved in (("neutral", "neutral_front", 0), ("happy", "happy_front", 3)):
            face = render_face(person, label, 180, color="gray")[..., 0] / 255
            into = SimilarityTransform(rotation=turn, translation=(left + moved, top - moved))
            canvas = warp(face, into.inverse, output_shape=(300, 280), order=3, mode="edge")
            (place / folder).mkdir(exist_ok=True)
            pixels = np.rint(255 * np.clip(canvas, 0, 1)).astype(np.uint8)
            Image.fromarray(pixels).save(place / folder / f"{person}_03.png")
            pupils[str(person), label] = into(FRAME_PUPILS * 180 - 0.5)
    return place, pupils


@pytest.mark.slow
def test_faces_without_landmarks_are_found_by_a_mean_face(without_landmarks, tmp_path):
    folder, pupils = without_landmarks
    model, url = tmp_path / "model.zarr", tmp_path / "images.zarr"
    commands.succeed("generate", model, "--images", 30, "--size", 96, "--labels", "neutral,happy", *SERIAL)
    args = ("ingest", folder, url, "--size", 64, "--color", "gray", "--align", "features", *SERIAL)
    assert "--reference" in commands.failure(*args)
    found = commands.report(*args, "--reference", model)
    assert found["pairs"] == 2
    images = Images.open(str(url))
    origin = read_alignment(images)
    for row in range(2):
        for column, label in enumerate(images.labels):
            true = pupils[str(images.subject[row]), label]
            missed = np.linalg.norm(origin.positions(row, column, FRAME_PUPILS) - true, axis=1).max()
            assert missed < 0.08 * np.linalg.norm(true[1] - true[0])


@pytest.mark.slow
def test_a_picture_without_a_face_is_named_and_left_out(without_landmarks, tmp_path):
    folder, _ = without_landmarks
    wild = tmp_path / "wild"
    shutil.copytree(folder, wild)
    noise = np.random.default_rng(0).integers(0, 256, (300, 280), dtype=np.uint8)
    for label in ("neutral", "happy"):
        Image.fromarray(noise).save(wild / f"{label}_front" / "900_03.png")
    labels = ("--labels", "neutral,happy")
    commands.succeed("generate", tmp_path / "model.zarr", "--images", 30, "--size", 96, *labels, *SERIAL)
    args = ("ingest", wild, tmp_path / "a.zarr", "--size", 64, "--reference", tmp_path / "model.zarr", *SERIAL)
    found = commands.report(*args)
    assert (found["images"], [entry["what"] for entry in found["left_out"]]) == (2, ["person 900"])
    assert "900_03.png shows no face" in found["left_out"][0]["reason"]
    sentence = commands.failure(*args, "--overwrite", "--strict")
    assert "900_03.png shows no face" in sentence


def test_landmarks_of_another_template_are_taken_for_pupils_and_mouth(folder, tmp_path):
    mixed = tmp_path / "mixed"
    shutil.copytree(folder, mixed)
    points = SimilarityTransform(scale=208, translation=(45, 35))(shape_of_points())
    few = np.concatenate([points[PUPILS], points[MOUTH].mean(axis=0, keepdims=True)])
    (mixed / "neutral_front" / "1_03.tem").unlink()
    (mixed / "neutral_front" / "1_03.json").write_text(json.dumps(few.tolist()))
    commands.succeed("ingest", mixed, tmp_path / "a.zarr", "--size", 64, "--color", "gray", *SERIAL)
    images = Images.open(str(tmp_path / "a.zarr"))
    found = read_alignment(images).positions(1, 0, np.concatenate([FRAME_PUPILS, [[0.5, 0.8]]]))
    np.testing.assert_allclose(found, few, atol=3)


@pytest.mark.slow
def test_a_landmark_file_can_be_the_reference(folder, tmp_path):
    points = 300 * shape_of_points() + 20
    points[MOUTH] += [0, 24]
    rows = [str(N_POINTS), *(f"{x} {y}" for x, y in points)]
    (tmp_path / "goal.tem").write_text("\n".join(rows))
    url = tmp_path / "a.zarr"
    commands.succeed("ingest", folder, url, "--size", 64, "--reference", tmp_path / "goal.tem", *SERIAL)
    found, _ = read_frame(Images.open(str(url)))
    wanted = shape_of_points()
    wanted[MOUTH] += [0, 0.08]
    np.testing.assert_allclose(found, wanted, atol=1e-9)


def test_a_store_that_knows_nothing_says_so(small_images_store):
    images = small_images_store().open()
    with pytest.raises(StoreFormatError, match=r"does not record the photographs .* with mrdist ingest\."):
        read_alignment(images)
    with pytest.raises(StoreFormatError, match=r"no mean face .* with mrdist ingest or generate\."):
        read_frame(images)
