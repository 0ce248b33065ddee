from __future__ import annotations

import hashlib
import subprocess
import sys

import numpy as np
import numpy.typing as npt
import pytest

from mrdist.datasets.synthetic import LABELS, face_mask, render_face
from mrdist.errors import ParameterError

EXPRESSIONS = LABELS[1:]
WITHIN_NOISE = 8  # grey levels: some six standard deviations of the difference of two noises


def difference(person: int, label: str, size: int = 128) -> npt.NDArray[np.int_]:
    """Largest change over the channels from a person's neutral photograph, 0 within the noise."""
    neutral, other = (render_face(person, name, size).astype(int) for name in ("neutral", label))
    change = np.abs(other - neutral).max(axis=-1)
    return np.where(change > WITHIN_NOISE, change, 0)


def box(image: npt.NDArray[np.generic], left: float, top: float, right: float, bottom: float):
    size = image.shape[0]
    return image[round(top * size) : round(bottom * size), round(left * size) : round(right * size)]


def halved(image: npt.NDArray[np.uint8]) -> npt.NDArray[np.float64]:
    size = image.shape[0] // 2
    return image.reshape(size, 2, size, 2, -1).mean(axis=(1, 3))


def test_the_labels_are_the_seven_expressions():
    assert LABELS == ("neutral", "afraid", "angry", "disgusted", "happy", "sad", "surprised")


@pytest.mark.parametrize("size", [16, 64, 101, 700])
@pytest.mark.parametrize(("color", "channels"), [("rgb", 3), ("gray", 1)])
def test_shape_and_type(size, color, channels):
    face = render_face(1, "happy", size, color=color)
    assert face.shape == (size, size, channels)
    assert face.dtype == np.uint8


@pytest.mark.parametrize("label", LABELS)
def test_every_label_at_the_smallest_size(label):
    assert render_face(0, label, 16).std() > 10


def test_another_process_and_order_give_the_same_bytes():
    script = (
        "import hashlib, numpy as np; from mrdist.datasets.synthetic import render_face; np.random.seed(5);"
        "render_face(9, 'sad', 32);"
        "print(hashlib.sha256(render_face(4, 'happy', 600, seed=7).tobytes()).hexdigest())"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    here = hashlib.sha256(render_face(4, "happy", 600, seed=7).tobytes()).hexdigest()
    assert done.stdout.strip() == here


def test_bands_do_not_show(monkeypatch):
    whole = render_face(3, "surprised", 96)
    monkeypatch.setattr("mrdist.datasets.synthetic.BAND_PIXELS", 96 * 7)
    banded = render_face(3, "surprised", 96)
    np.testing.assert_allclose(banded.astype(int), whole, atol=1)  # an ulp may turn a rounding
    assert np.mean(banded != whole) < 1e-3


def test_people_and_populations_differ():
    faces = [render_face(person, "neutral", 64, seed=seed).astype(float) for seed in (0, 1) for person in range(8)]
    for index, face in enumerate(faces):
        for other in faces[:index]:
            assert np.sqrt(np.mean((face - other) ** 2)) > 12


def test_noise_is_small_and_new_for_every_photograph():
    corner = [box(render_face(0, label, 256).astype(float), 0, 0, 0.04, 0.3) for label in ("neutral", "sad")]
    noise = (corner[0] - corner[1]).std() / np.sqrt(2)
    assert 0.7 < noise < 1.5


@pytest.mark.parametrize("label", EXPRESSIONS)
def test_an_expression_is_local(label):
    for person in range(12):
        change = difference(person, label)
        assert box(change, 0, 0, 1, 0.13).max() == 0  # hair
        assert box(change, 0, 0, 0.08, 1).max() == 0  # background
        assert box(change, 0.92, 0, 1, 1).max() == 0
        assert box(change, 0, 0.97, 1, 1).max() == 0  # clothes
        assert np.mean(change > 0) < 0.4


@pytest.mark.parametrize(
    ("label", "part"),
    [
        ("afraid", (0.2, 0.2, 0.8, 0.45)),
        ("angry", (0.3, 0.25, 0.7, 0.38)),
        ("disgusted", (0.44, 0.4, 0.56, 0.5)),
        ("happy", (0.3, 0.68, 0.7, 0.86)),
        ("sad", (0.3, 0.68, 0.7, 0.86)),
        ("surprised", (0.4, 0.68, 0.6, 0.86)),
    ],
)
def test_an_expression_shows_where_it_belongs(label, part):
    for person in range(6):
        change = difference(person, label)
        assert box(change, *part).mean() > 2 * change.mean()


def test_happy_people_show_teeth():
    for person in range(12):
        neutral, happy = (
            box(render_face(person, label, 128, color="gray").astype(float), 0.42, 0.74, 0.58, 0.80)
            for label in ("neutral", "happy")
        )
        assert np.percentile(happy, 90) > np.percentile(neutral, 90) + 25
        assert np.percentile(happy, 90) > 200


def test_surprised_people_open_a_dark_mouth():
    for person in range(12):
        mouth = box(render_face(person, "surprised", 128, color="gray"), 0.47, 0.765, 0.53, 0.79)
        assert mouth.mean() < 80


@pytest.mark.parametrize("label", ["neutral", "happy", "surprised"])
def test_a_face_is_the_same_at_every_resolution(label):
    for person in range(10):
        small, large = render_face(person, label, 128), render_face(person, label, 256)
        error = halved(large) - small
        assert np.sqrt(np.mean(error**2)) < 5
        assert np.abs(error.mean()) < 0.5


def test_pupils_lie_in_the_frame():
    faces = np.mean([render_face(person, "neutral", 200, color="gray")[..., 0] for person in range(20)], axis=0)
    for x in (0.32, 0.68):
        eye = box(faces, x - 0.05, 0.36, x + 0.05, 0.44)
        dark = np.argwhere(eye <= np.quantile(eye, 0.06))
        np.testing.assert_allclose(dark.mean(axis=0) / 200 + (0.36, x - 0.05), (0.40, x), atol=0.012)


def test_gray_is_the_luminance():
    rgb = render_face(2, "afraid", 96).astype(int)
    gray = render_face(2, "afraid", 96, color="gray")
    luminance = (299 * rgb[..., 0] + 587 * rgb[..., 1] + 114 * rgb[..., 2]) / 1000
    np.testing.assert_array_equal(gray[..., 0], np.floor(luminance + 0.5))


def test_face_mask_covers_the_expressions():
    mask = face_mask(128)
    assert mask.dtype == np.bool_
    assert mask.shape == (128, 128)
    assert 0.3 < mask.mean() < 0.6
    np.testing.assert_array_equal(mask, mask[:, ::-1])
    for label in EXPRESSIONS:
        change = np.mean([difference(person, label) for person in range(4)], axis=0)
        assert change[mask].sum() > 0.75 * change.sum()  # raised brows leave the average face's hull


@pytest.mark.parametrize("size", [0, 15, 4097])
def test_size_out_of_range(size):
    with pytest.raises(ParameterError, match=f"size {size} is outside 16 to 4096"):
        render_face(0, "neutral", size)
    with pytest.raises(ParameterError, match=f"size {size} is outside 16 to 4096"):
        face_mask(size)


def test_other_arguments_out_of_their_domain():
    with pytest.raises(ParameterError, match=r"label 'smiling' is unknown.*neutral, afraid.*surprised"):
        render_face(0, "smiling", 64)
    with pytest.raises(ParameterError, match="color 'cmyk' is unknown"):
        render_face(0, "neutral", 64, color="cmyk")
    with pytest.raises(ParameterError, match="person -1 "):
        render_face(-1, "neutral", 64)
    with pytest.raises(ParameterError, match="seed -2 "):
        render_face(0, "neutral", 64, seed=-2)
