"""``ingest --align landmarks`` and what is made of its stores: points are found, kept, and found again."""

from __future__ import annotations

import shutil
from types import SimpleNamespace

import commands
import numpy as np
import pytest
import xarray as xr
from commands import NO_DETECTOR
from PIL import Image

import mrdist
from mrdist.datasets.detection import is_installed
from mrdist.datasets.landmarks import FRAME_PUPILS
from mrdist.storage import Images, read_alignment

SIZE, LARGE = 64, 220
PEOPLE = 5
#: Corners of the mouth, and outer ones of the eyes.
CORNERS, EYES = [61, 291], [33, 263]
PUPILS = FRAME_PUPILS * SIZE - 0.5
needs_detector = pytest.mark.skipif(not is_installed(), reason="needs the extra landmarks")


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """Photographs of drawn people: each with a face somewhere on a wall, a little tilted."""
    folder = tmp_path_factory.mktemp("people")
    drawn = str(folder / "drawn.zarr")
    mrdist.generate(drawn, images=PEOPLE, size=128, labels=["neutral", "happy"], color="gray", workers=0)
    images = mrdist.open_images(drawn)
    rng = np.random.default_rng(0)
    for label in ("neutral", "happy"):
        (folder / "photographs" / label).mkdir(parents=True)
        for person in range(PEOPLE):
            face = Image.fromarray(images[label].values[person, ..., 0])
            scene_of(face, rng.integers(20, 70, 2), rng.uniform(-10, 10)).save(
                folder / "photographs" / label / f"p{person}.png"
            )
    return folder / "photographs"


def scene_of(face, corner, turn=0.0, size=(LARGE, LARGE)):
    scene = Image.new("L", size, 110)
    scene.paste(face, tuple(int(value) for value in corner))
    return scene.rotate(turn, Image.Resampling.BICUBIC, fillcolor=110)


def ingest(source, store, *options, **more):
    return commands.report(
        "ingest", source, store, "--size", SIZE, "--color", "gray", "--workers", "0", *options, **more
    )


@pytest.fixture(scope="module")
def store(source, tmp_path_factory):
    """The store of these photographs, and what was reported."""
    url = tmp_path_factory.mktemp("store") / "l.zarr"
    return SimpleNamespace(url=url, report=ingest(source, url))


@pytest.fixture(scope="module")
def weights(store, tmp_path_factory):
    url = tmp_path_factory.mktemp("weights") / "w.zarr"
    labels = ("--source", "neutral", "--target", "happy", "--split", "all")
    commands.succeed("train", store.url, url, *labels, "--receptive-field", 3, "--workers", 0)
    return url


# --- the store -----------------------------------------------------------------------------------------


@needs_detector
def test_points_of_all_images_are_kept(store):
    images = Images.open(str(store.url))
    assert store.report["pairs"] == PEOPLE
    assert images.landmark_scheme == "mediapipe-478"
    assert images.landmarks.shape == (PEOPLE, 2, 478, 2)
    assert images.landmarks.dtype == images.landmark_confidence.dtype == np.float32
    assert (images.landmark_confidence > 0.8).all()
    # both photographs of a pair are placed by their own points
    assert np.abs(images.landmarks[:, :, [468, 473]] - PUPILS).max() < 0.04 * SIZE
    assert np.abs((images.landmarks[:, :, [468, 473]] - PUPILS).mean(axis=0)).max() < 0.02 * SIZE
    # a smile is a change: its corners are further apart, its eyes are not
    columns = [images.column("neutral"), images.column("happy")]
    mouth, eyes = (np.diff(np.ptp(images.landmarks[:, columns][:, :, ends, 0], axis=2)) for ends in (CORNERS, EYES))
    assert (mouth > 2 * np.abs(eyes)).all()
    measured = read_alignment(images)
    assert {"confidence", "still"} <= set(measured.measures)
    assert commands.report("info", store.url)["landmarks"] == {
        "scheme": "mediapipe-478",
        "found": {"happy": PEOPLE, "neutral": PEOPLE},
    }
    assert commands.report("check", store.url)["problems"] == []


@needs_detector
def test_xarray_opens_the_points(store, tmp_path):
    for dataset in (xr.open_zarr(store.url), mrdist.open_images(store.url)):
        points = dataset["landmarks"]
        assert points.dims == ("image", "label", "point", "xy")
        assert points.attrs["scheme"] == "mediapipe-478"
        assert dataset["landmark_confidence"].dims == ("image", "label")
    mrdist.open_images(store.url).isel(image=[1, 3]).to_zarr(tmp_path / "two.zarr", zarr_format=3, consolidated=False)
    two = Images.open(str(tmp_path / "two.zarr"))
    np.testing.assert_array_equal(two.landmarks, Images.open(str(store.url)).landmarks[[1, 3]])
    assert two.landmark_scheme == "mediapipe-478"


@needs_detector
def test_a_copy_keeps_the_points(store, tmp_path):
    commands.succeed("rechunk", store.url, tmp_path / "copy.zarr", "--chunks", "2,32,32", "--workers", 0)
    images, copy = (Images.open(str(url)) for url in (store.url, tmp_path / "copy.zarr"))
    np.testing.assert_array_equal(images.landmarks, copy.landmarks)
    np.testing.assert_array_equal(images.landmark_confidence, copy.landmark_confidence)
    assert copy.landmark_scheme == images.landmark_scheme
    assert commands.report("check", tmp_path / "copy.zarr")["problems"] == []


@needs_detector
def test_more_people_are_placed_as_the_first(source, store, tmp_path):
    few, url = tmp_path / "photographs", tmp_path / "grown.zarr"
    shutil.copytree(source, few)
    for label in ("neutral", "happy"):
        (few / label / "p4.png").unlink()
    ingest(few, url)
    first = Images.open(str(url)).landmarks
    added = commands.report("ingest", source, url, "--append", "--dataset", "photographs", "--workers", 0)
    assert added["images_added"] == 1
    images = Images.open(str(url))
    np.testing.assert_array_equal(images.landmarks[:-1], first)
    assert images.landmark_confidence.min() > 0.8
    assert np.abs(images.landmarks[-1, :, [468, 473]] - PUPILS[:, np.newaxis]).max() < 0.04 * SIZE
    assert commands.report("check", url)["problems"] == []


@needs_detector
@pytest.mark.slow
def test_workers_make_equal_bytes(source, store, tmp_path):
    commands.report("ingest", source, tmp_path / "two.zarr", "--size", SIZE, "--color", "gray", "--workers", "2")
    for path in store.url.rglob("c/**/*"):
        if path.is_file():
            other = tmp_path / "two.zarr" / path.relative_to(store.url)
            assert path.read_bytes() == other.read_bytes(), path


def test_a_store_without_points_has_none(tmp_path):
    gray = np.zeros((2, 16, 16, 1), np.uint8)
    url = commands.write_store(tmp_path / "plain.zarr", {"neutral": gray, "happy": gray}, landmarks=False)
    images = Images.open(url)
    assert (images.landmarks, images.landmark_confidence, images.landmark_scheme) == (None, None, None)
    assert "landmarks" not in commands.report("info", url)


def test_drawn_faces_have_points(tmp_path):
    url = str(tmp_path / "drawn.zarr")
    mrdist.generate(url, images=3, size=64, labels=["neutral", "happy"], workers=0)
    images = Images.open(url)
    assert images.landmark_scheme == "synthetic-61"
    assert images.landmarks.shape == (3, 2, 61, 2)
    assert (images.landmark_confidence == 1).all()
    pupils = images.landmarks[:, :, [25, 30]].mean(axis=(0, 1))
    np.testing.assert_allclose(pupils, FRAME_PUPILS * 64 - 0.5, atol=0.3)
    width = np.ptp(images.landmarks[:, :, :12, 0], axis=-1)  # of the inner lips
    assert (width[:, 1] > 1.1 * width[:, 0]).all()


# --- what is on the photographs ------------------------------------------------------------------------


@pytest.fixture
def pair(source, tmp_path):
    """A copy of the photographs of two people, to be spoilt."""
    folder = tmp_path / "pair"
    for label in ("neutral", "happy"):
        (folder / label).mkdir(parents=True)
        for person in ("p0", "p1"):
            shutil.copy(source / label / f"{person}.png", folder / label)
    return folder


@needs_detector
def test_photographs_without_a_face_or_with_several_are_left_out(source, store, pair, tmp_path):
    Image.new("L", (LARGE, LARGE), 120).save(pair / "happy" / "p0.png")
    with Image.open(source / "neutral" / "p1.png") as one:
        both = Image.new("L", (2 * LARGE, LARGE))
        both.paste(one, (0, 0))
        both.paste(one, (LARGE, 0))
    both.save(pair / "neutral" / "p1.png")
    options = ("--align", "landmarks", "--reference", store.url)
    report = ingest(pair, tmp_path / "a.zarr", *options)
    reasons = {entry["what"]: entry["reason"] for entry in report["left_out"]}
    assert "shows no face" in reasons[str(pair / "happy" / "p0.png")]
    assert (
        "shows 2 faces of similar size; take the largest with --faces largest"
        in reasons[str(pair / "neutral" / "p1.png")]
    )
    assert report["present"] == {"happy": 1, "neutral": 1}
    report = ingest(pair, tmp_path / "b.zarr", *options, "--faces", "largest")
    assert report["present"] == {"happy": 1, "neutral": 2}
    sentence = commands.failure(
        "ingest", pair, tmp_path / "c.zarr", *options, "--strict", "--size", SIZE, "--workers", 0
    )
    assert "shows no face" in sentence or "shows 2 faces" in sentence


@needs_detector
def test_points_set_by_hand_win(store, pair, tmp_path):
    options = ("--align", "landmarks", "--reference", store.url)
    ingest(pair, tmp_path / "found.zarr", *options)
    found = Images.open(str(tmp_path / "found.zarr"))
    pupils = read_alignment(found).positions(0, found.column("neutral"), FRAME_PUPILS) + np.array([6, 0])
    (pair / "neutral" / "p0.csv").write_text("\n".join(f"{x},{y}" for x, y in pupils))
    report = ingest(pair, tmp_path / "by-hand.zarr", *options)
    images = Images.open(str(tmp_path / "by-hand.zarr"))
    placed = read_alignment(images).positions(0, images.column("neutral"), FRAME_PUPILS)
    np.testing.assert_allclose(placed, pupils, atol=1)
    assert images.landmark_confidence.min() > 0.8
    assert report["pairs"] == 2


# --- no detector ---------------------------------------------------------------------------------------


def test_without_a_detector_it_is_said_what_is_missing(source, tmp_path):
    url = tmp_path / "l.zarr"
    options = ("ingest", source, url, "--size", SIZE, "--workers", 0)
    sentence = commands.failure(*options, "--align", "landmarks", constants=NO_DETECTOR)
    assert "pip install 'mrdist[landmarks]'" in sentence
    sentence = commands.failure(*options, constants=NO_DETECTOR)
    assert "no person has landmarks" in sentence
    for option in (("--faces", "largest"), ("--landmark-model", "own.task")):
        sentence = commands.failure(*options, *option, "--align", "none")
        assert "give align landmarks" in sentence
    assert "must be one of one, largest" in commands.failure(*options, "--faces", "each")
    assert not url.exists()


def test_without_a_detector_all_works_as_before_and_the_hint_comes_once(tmp_path):
    images, weights = tmp_path / "drawn.zarr", tmp_path / "w.zarr"
    mrdist.generate(images, images=12, size=SIZE, labels=["neutral", "happy"], color="gray", workers=0)
    mrdist.train(images, weights, source="neutral", target="happy", workers=0)
    face = Image.fromarray(mrdist.open_images(images)["neutral"].values[0, ..., 0]).resize((128, 128))
    for name in ("a", "b"):
        scene_of(face, (40, 50)).save(tmp_path / f"{name}.png")
    command = ("synthesize", weights, tmp_path / "a.png", tmp_path / "b.png", "--out", tmp_path / "made")
    done = commands.succeed(*command, "--json", constants=NO_DETECTOR)
    assert done.stderr.count("pip install 'mrdist[landmarks]'") == 1
    assert done.stdout.count('"registration"') == 2
    sentence = commands.failure(*command, "--faces", "all", constants=NO_DETECTOR)
    assert "pip install 'mrdist[landmarks]'" in sentence


# --- photographs that a mapping is applied to ----------------------------------------------------------


def change_of(before, after):
    """Return where two pictures differ."""
    with Image.open(before) as one, Image.open(after) as other:
        return np.asarray(one.convert("L")).astype(int) != np.asarray(other.convert("L"))


@needs_detector
def test_a_face_is_found_and_only_it_changes(source, weights, tmp_path):
    photograph = source / "neutral" / "p2.png"
    Image.new("L", (300, 200), 99).save(tmp_path / "nobody.png")
    found = commands.report("synthesize", weights, photograph, tmp_path / "nobody.png", "--out", tmp_path / "made")
    assert found["aligned"] == {str(photograph): "detection"}
    assert [entry["what"] for entry in found["left_out"]] == [str(tmp_path / "nobody.png")]
    assert "300 x 200 pixels shows no face" in found["left_out"][0]["reason"]
    assert not (tmp_path / "made" / "nobody.png").exists()
    changed = change_of(photograph, tmp_path / "made" / "p2.png")
    assert 0.05 < changed.mean() < 0.6
    measures = found["measures"][str(photograph)]
    assert abs(measures["yaw"]) < 15
    assert measures["outside"] == 0
    assert measures["pupils"] == pytest.approx(0.36 * 128, rel=0.1)


@needs_detector
def test_one_face_changes_or_all(source, weights, tmp_path):
    with Image.open(source / "neutral" / "p0.png") as one, Image.open(source / "neutral" / "p1.png") as other:
        both = Image.new("L", (2 * LARGE, LARGE), 110)
        both.paste(one, (0, 0))
        both.paste(other.resize((180, 180)), (LARGE + 20, 20))
    photograph = tmp_path / "both.png"
    both.save(photograph)
    for faces, sides in (("largest", [True, False]), ("all", [True, True])):
        out = tmp_path / faces
        found = commands.report("synthesize", weights, photograph, "--out", out, "--faces", faces)
        changed = change_of(photograph, out / "both.png")
        assert [bool(half.any()) for half in np.split(changed, 2, axis=1)] == sides
        assert found.get("faces", {}) == ({str(photograph): 2} if faces == "all" else {})
    assert "must be one of largest, all" in commands.failure(
        "synthesize", weights, photograph, "--out", tmp_path / "x", "--faces", "two"
    )


@needs_detector
def test_small_and_cut_faces_give_warnings(source, weights, tmp_path):
    with Image.open(source / "neutral" / "p2.png") as picture:
        picture.resize((110, 110), Image.Resampling.LANCZOS).save(tmp_path / "small.png")
        whole = np.asarray(picture)
    columns = np.flatnonzero((whole != 110).any(axis=0))
    Image.fromarray(whole[:, columns[0] + 45 :]).save(tmp_path / "cut.png")
    found = commands.report(
        "synthesize", weights, tmp_path / "small.png", tmp_path / "cut.png", "--out", tmp_path / "made"
    )
    small, cut = (found["warnings"][str(tmp_path / f"{name}.png")] for name in ("small", "cut"))
    assert any(text.startswith("pupils") for text in small)
    assert any(text.startswith("outside") for text in cut)
