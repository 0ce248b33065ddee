"""What is taken for a face and what is not, and how far a face is from those of the training."""

from __future__ import annotations

import json
import os
from pathlib import Path

import commands
import numpy as np
import pytest
import skimage
import sklearn
from PIL import Image, ImageDraw
from scipy import ndimage

import mrdist
from mrdist.datasets.likeness import likeness_of, symmetry_of
from mrdist.datasets.locating import SURE, locate
from mrdist.datasets.retouching import to_luminance
from mrdist.datasets.suitability import LYING, USUAL, measure_face, unusual
from mrdist.errors import AlignmentError

REAL = os.environ.get("MRDIST_TEST_DATA")
SIZE = 64
#: Photographs that scikit-image and scikit-learn bring along, of anything but faces.
PHOTOGRAPHS = ("chelsea.png", "flower.jpg", "coins.png", "ihc.png", "text.png", "rocket.jpg")
MORE_PHOTOGRAPHS = (
    *("coffee.png", "brick.png", "grass.png", "gravel.png", "moon.png", "hubble_deep_field.jpg", "retina.jpg"),
    *("page.png", "clock_motion.png", "horse.png", "cell.png", "motorcycle_left.png", "microaneurysms.png"),
    *("phantom.png", "chessboard_GRAY.png", "china.jpg"),
)


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    """The store of forty drawn people and the weights trained on them."""
    folder = tmp_path_factory.mktemp("drawn")
    images, weights = str(folder / "images.zarr"), str(folder / "weights.zarr")
    mrdist.generate(images, images=40, size=SIZE, labels=["neutral", "happy"], color="gray", workers=0)
    mrdist.train(images, weights, source="neutral", target="happy", receptive_field=3, workers=0)
    return images, weights


@pytest.fixture(scope="module")
def drawn_mean(drawn):
    return to_luminance(mrdist.open_weights(drawn[1]).to_xarray()["mean_face"].values)


def bundled(name):
    folders = Path(skimage.__file__).parent / "data", Path(sklearn.__file__).parent / "datasets" / "images"
    path = next(folder / name for folder in folders if (folder / name).exists())
    with Image.open(path) as picture:
        gray = picture.convert("L")
    gray.thumbnail((320, 320))
    return np.asarray(gray)


def made(kind):
    """Return a picture of something else than a face."""
    rng = np.random.default_rng(sum(map(ord, kind)))
    height, width = 210, 320
    y, x = np.mgrid[:height, :width]
    if kind.startswith("noise"):
        frequency = np.hypot(np.fft.fftfreq(height)[:, np.newaxis], np.fft.fftfreq(width))
        frequency[0, 0] = 1
        spectrum = np.fft.fft2(rng.normal(size=(height, width))) * frequency ** -float(kind[-1])
        return clipped(128 + 50 * (found := np.fft.ifft2(spectrum).real) / found.std())
    patterns = {
        "gradient": x * 255 / width,
        "stripes": 255 * (x // 12 % 2),
        "checkers": 255 * ((x // 20 + y // 20) % 2),
        "rings": 128 + 120 * np.cos(np.hypot(x - width / 2, y - height / 2) / 12),
        "waves": 128 + 120 * np.sin(y / 20) * np.cos(x / 28),
        "flat": np.full((height, width), 99.0),
    }
    if kind in patterns:
        return clipped(patterns[kind])
    picture = Image.new("L", (width, height), 90)
    draw = ImageDraw.Draw(picture)

    def disc(cx, cy, rx, ry, gray):
        draw.ellipse([cx - rx, cy - ry, cx + rx, cy + ry], fill=gray)

    if kind == "fish":
        for _ in range(12):
            disc(*rng.integers(0, width, 2), *rng.integers(5, 40, 2), int(rng.integers(30, 200)))
        draw.polygon([(220, 105), (290, 60), (290, 150)], fill=150)
        disc(150, 105, 95, 55, 190)
        for left in (110, 150, 190):
            draw.rectangle([left, 62, left + 9, 148], fill=50)
        disc(82, 90, 9, 9, 250)
        disc(82, 90, 5, 5, 10)
    elif kind == "fish from the front":
        disc(160, 105, 70, 80, 180)
        for eye in (-1, 1):
            disc(160 + 52 * eye, 97, 15, 15, 240)
            disc(160 + 52 * eye, 97, 8, 8, 5)
        disc(160, 142, 20, 14, 60)
    elif kind == "two dots on an oval":
        disc(160, 105, 70, 90, 210)
        for eye in (-1, 1):
            disc(160 + 30 * eye, 85, 9, 9, 25)
    elif kind == "flower":
        for turn in np.linspace(0, 2 * np.pi, 8, endpoint=False):
            disc(160 + 50 * np.cos(turn), 105 + 50 * np.sin(turn), 30, 30, int(rng.integers(160, 240)))
        disc(160, 105, 25, 25, 60)
    elif kind == "leaves":
        for _ in range(160):
            disc(rng.uniform(0, width), rng.uniform(0, height), *rng.uniform(4, 25, 2), int(rng.integers(40, 220)))
    elif kind == "map":
        for _ in range(14):
            steps = np.cumsum(rng.normal(0, 30, (30, 2)), axis=0) + rng.uniform(0, width, 2)
            draw.line([tuple(step) for step in steps], fill=int(rng.integers(40, 230)), width=int(rng.integers(1, 8)))
    elif kind == "house":
        draw.rectangle([90, 70, 230, 200], fill=150)
        draw.polygon([(80, 70), (160, 10), (240, 70)], fill=60)
        for left in (108, 182):
            draw.rectangle([left, 90, left + 30, 120], fill=40)
        draw.rectangle([148, 150, 172, 200], fill=50)
    elif kind == "socket":
        draw.rounded_rectangle([90, 35, 230, 175], 15, fill=235)
        for left in (130, 182):
            draw.rectangle([left, 80, left + 8, 110], fill=30)
        disc(160, 135, 9, 9, 30)
    elif kind == "landscape":
        draw.rectangle([0, 0, width, height], fill=210)
        for depth in range(5):
            ridge = 70 + 28 * depth + 12 * np.sin(np.arange(width) / rng.uniform(12, 40) + depth)
            draw.polygon([*zip(range(width), ridge, strict=True), (width, height), (0, height)], fill=150 - 25 * depth)
    else:
        raise ValueError(kind)
    return clipped(ndimage.gaussian_filter(np.asarray(picture, float), 1) + rng.normal(0, 3, (height, width)))


def clipped(values):
    return np.rint(np.clip(values, 0, 255)).astype(np.uint8)


MADE = (
    *("noise 0", "noise 1", "noise 2", "gradient", "stripes", "checkers", "rings", "waves", "flat", "fish"),
    *("fish from the front", "two dots on an oval", "flower", "leaves", "map", "house", "socket", "landscape"),
)


@pytest.mark.parametrize(
    "kind", [*MADE, *PHOTOGRAPHS, *(pytest.param(name, marks=pytest.mark.slow) for name in MORE_PHOTOGRAPHS)]
)
def test_other_things_are_no_faces(drawn_mean, kind):
    pixels = made(kind) if kind in MADE else bundled(kind)
    with pytest.raises(AlignmentError, match=f"likeness to the mean face is .* at best, but a face needs {SURE}"):
        locate(pixels[..., np.newaxis], drawn_mean)


@pytest.mark.long
@pytest.mark.skipif(REAL is None, reason="MRDIST_TEST_DATA is not set")
def test_people_are_faces_and_other_things_are_not_by_a_mean_of_photographs(tmp_path):
    """The mean is that of other people, whose landmarks alone are used."""
    from mrdist.datasets.alignment import align_take, reference_shape
    from mrdist.datasets.landmark_files import read_landmarks
    from mrdist.datasets.photographs import Take, read_photograph

    folder = Path(REAL) / "london" / "neutral_front"
    people = sorted(path.with_suffix("") for path in folder.glob("*.jpg"))
    known, others = people[1::4], people[::8]
    reference = reference_shape([read_landmarks(f"{person}.tem") for person in known])
    takes = [Take(person.name, {"n": f"{person}.jpg"}, {"n": f"{person}.tem"}) for person in known]
    mean = np.mean([align_take(take, reference, size=128).images["n"][..., 0] for take in takes], axis=0) / 255
    for person in others:
        left, right = read_landmarks(f"{person}.tem")[:2]
        found = locate(read_photograph(f"{person}.jpg", "gray"), mean).mapping(np.array([[0.32, 0.4], [0.68, 0.4]]))
        misses = np.linalg.norm(found - [left, right], axis=1) / np.linalg.norm(right - left)
        assert misses.max() < 0.15, person
    for kind in (*MADE, *PHOTOGRAPHS, *MORE_PHOTOGRAPHS):
        with pytest.raises(AlignmentError, match="but a face needs"):
            locate((made(kind) if kind in MADE else bundled(kind))[..., np.newaxis], mean)


# --- how far a face is from the training's -------------------------------------------------------------


def test_measures_know_what_they_are_for(drawn, drawn_mean):
    face = mrdist.open_images(drawn[0])["neutral"].values[3, ..., 0] / 255
    mask = np.ones(face.shape, dtype=bool)
    measures = measure_face(face, drawn_mean, mask, (10, 10, 20, 10))
    assert set(measures) == set(USUAL)
    assert measures["likeness"] == pytest.approx(likeness_of(face, drawn_mean))
    assert measures["roll"] == 0
    np.testing.assert_allclose(
        [measure_face(face / 3, drawn_mean, mask, None)[name] for name in ("brightness", "contrast")],
        [measures[name] / 3 for name in ("brightness", "contrast")],
    )
    mirrored = (drawn_mean + drawn_mean[:, ::-1]) / 2
    assert symmetry_of(mirrored) == pytest.approx(1, abs=1e-6)
    half = np.concatenate([mirrored[:, : SIZE // 2], np.roll(mirrored, 9, axis=0)[:, SIZE // 2 :]], axis=1)
    assert symmetry_of(half) < 0.7
    assert likeness_of(mirrored, mirrored) == pytest.approx(1)


def test_a_covered_mouth_is_told(drawn, drawn_mean):
    face = mrdist.open_images(drawn[0])["neutral"].values[3, ..., 0] / 255
    mask = np.ones(face.shape, dtype=bool)
    assert measure_face(face, drawn_mean, mask, None)["mouth"] > 0.2
    face[int(0.55 * SIZE) : int(0.9 * SIZE), int(0.2 * SIZE) : int(0.8 * SIZE)] = 0.7
    covered = measure_face(face, drawn_mean, mask, None)
    assert unusual({"mouth": covered["mouth"]})[0].endswith(
        "(usual 0.15 to 1): covered, or it has another expression than those that the training changed"
    )


@pytest.mark.parametrize("name", USUAL)
def test_each_measure_has_a_warning_of_its_own(name):
    usual = {each: (least + most) / 2 for each, (least, most, _) in USUAL.items()}
    assert unusual(usual) == []
    (sentence,) = unusual({**usual, name: USUAL[name][0] - 0.1})
    assert sentence.startswith(f"{name} {USUAL[name][0] - 0.1:.2f} (usual {USUAL[name][0]:g} to ")


def test_how_a_face_lies_has_warnings_too():
    assert unusual({"yaw": 0.0, "pupils": 32.0, "outside": 0.0}) == []
    small, cut = unusual({"yaw": -20.0, "pupils": 31.5, "outside": 0.25})
    assert small.startswith("pupils 31.50 (usual at least 32): too small")
    assert cut.startswith("outside 0.25 (usual 0 to 0.02): cut by")


def test_synthesize_tells_measures_and_warns_of_a_dark_face(drawn, tmp_path):
    images, weights = drawn
    face = mrdist.open_images(images)["neutral"].values[0, ..., 0]
    large = np.asarray(Image.fromarray(face).resize((160, 160), Image.Resampling.BICUBIC))
    for name, factor in (("bright", 1.0), ("dark", 0.2)):
        Image.fromarray(clipped(factor * large)).save(tmp_path / f"{name}.png")
    points = "50.7,63.5,108.3,63.5"
    for name, warned in (("bright", False), ("dark", True)):
        photograph = str(tmp_path / f"{name}.png")
        command = ("synthesize", weights, photograph, "--points", points, "--out", tmp_path / "made")
        done = commands.warm(*command, "--json")
        found = json.loads(done.stdout)
        assert set(found["measures"][photograph]) == set(USUAL) | set(LYING) - {"yaw"}
        assert found["measures"][photograph]["roll"] == pytest.approx(0, abs=0.1)
        told = [text for text in found.get("warnings", {}).get(photograph, []) if text.startswith("brightness")]
        assert bool(told) == warned
        line = f"Warning: {photograph}: brightness {found['measures'][photograph]['brightness']:.2f} (usual"
        assert (line in done.stderr) == warned
