"""Faces and their points in photographs, by the networks of the extra ``landmarks``."""

from __future__ import annotations

import os
import zipfile
from pathlib import Path

import numpy as np
import pytest
import skimage
from PIL import Image
from test_faces_and_other_things import MADE, MORE_PHOTOGRAPHS, PHOTOGRAPHS, bundled, made

from mrdist.datasets.detection import BLENDSHAPES, N_POINTS, PUPIL_POINTS, find_faces, is_installed, model_path
from mrdist.datasets.landmark_files import read_landmarks
from mrdist.datasets.landmarks import is_face, still_of
from mrdist.datasets.photographs import read_photograph
from mrdist.errors import ParameterError

REAL = os.environ.get("MRDIST_TEST_DATA")
pytestmark = pytest.mark.skipif(not is_installed(), reason="needs the extra landmarks")


@pytest.fixture(scope="module")
def astronaut():
    with Image.open(Path(skimage.__file__).parent / "data" / "astronaut.png") as picture:
        return picture.convert("RGB")


def test_a_photograph_of_a_face(astronaut):
    (face,) = find_faces(np.asarray(astronaut))
    assert face.points.shape == (N_POINTS, 2)
    assert face.confidence > 0.9
    assert is_face(face.landmarks)
    np.testing.assert_array_equal(face.landmarks[:2], face.points[PUPIL_POINTS])
    assert face.pupil_distance == pytest.approx(43, abs=2)
    left, top, right, bottom = face.box
    assert 150 < left < right < 300
    assert 30 < top < bottom < 220
    assert set(face.blendshapes) == set(BLENDSHAPES[1:])
    assert face.blendshapes["mouthSmileLeft"] > 0.5 > face.blendshapes["mouthPucker"]
    assert np.abs([face.yaw, face.roll]).max() < 10


def test_the_answer_depends_on_the_photograph_alone(astronaut):
    pixels = np.asarray(astronaut)
    (first,) = find_faces(pixels)
    gray = np.asarray(astronaut.convert("L"))[..., np.newaxis]
    (of_gray,) = find_faces(gray)
    (again,) = find_faces(pixels)
    np.testing.assert_array_equal(first.points, again.points)
    assert first.blendshapes == again.blendshapes
    assert np.linalg.norm(of_gray.points - first.points, axis=1).mean() < 0.03 * first.pupil_distance


@pytest.mark.parametrize(("turn", "scale"), [(25, 1.0), (-40, 1.0), (0, 2.5), (0, 0.4)])
def test_points_move_with_the_face(astronaut, turn, scale):
    (face,) = find_faces(np.asarray(astronaut))
    moved = astronaut.resize([round(scale * side) for side in astronaut.size], Image.Resampling.LANCZOS)
    scale = moved.width / astronaut.width
    moved = moved.rotate(-turn, Image.Resampling.BICUBIC)
    (found,) = find_faces(np.asarray(moved))
    cosine, sine = np.cos(np.deg2rad(turn)), np.sin(np.deg2rad(turn))
    middle = np.array(astronaut.size) / 2
    expected = (face.points + 0.5 - middle) @ np.array([[cosine, sine], [-sine, cosine]]) + middle
    misses = np.linalg.norm((found.points + 0.5) / scale - expected, axis=1)
    assert misses.mean() < 0.03 * face.pupil_distance
    assert found.roll - face.roll == pytest.approx(turn, abs=4)


def test_several_faces(astronaut):
    head = astronaut.crop((120, 20, 320, 260))
    scene = Image.new("RGB", (1100, 640), (90, 120, 60))
    scene.paste(head.resize((400, 480)), (40, 100))
    scene.paste(head.resize((100, 120)), (860, 60))
    faces = find_faces(np.asarray(scene), thorough=True)
    assert [round(face.points[:, 0].mean()) // 550 for face in faces] == [0, 1]
    assert faces[0].pupil_distance == pytest.approx(4 * faces[1].pupil_distance, rel=0.05)
    assert find_faces(np.asarray(scene))[0].pupil_distance == pytest.approx(faces[0].pupil_distance, rel=0.02)


def test_other_things_show_no_face():
    for kind in (*MADE, *PHOTOGRAPHS, *MORE_PHOTOGRAPHS):
        pixels = made(kind) if kind in MADE else bundled(kind)
        assert find_faces(pixels[..., np.newaxis], thorough=True) == [], kind


@pytest.mark.skipif(not REAL, reason="needs MRDIST_TEST_DATA")
def test_points_of_real_faces_lie_where_hands_have_set_them():
    folder = Path(REAL) / "london" / "neutral_front"
    errors = []
    for path in sorted(folder.glob("*.jpg"))[::16]:
        (face,) = find_faces(read_photograph(path, "rgb"))
        by_hand = read_landmarks(path.with_suffix(".tem"))
        distance = np.linalg.norm(by_hand[0] - by_hand[1])
        # pupils, corners of the mouth, middle of the upper lip, where both templates have a point
        own, theirs = [468, 473, 61, 291, 0], [0, 1, 87, 93, 90]
        errors.append(np.linalg.norm(face.points[own] - by_hand[theirs], axis=1) / distance)
        assert face.confidence > 0.9
    mean = np.mean(errors, axis=0)
    assert mean[:2].max() < 0.02
    assert mean.max() < 0.03


# --- what is wrong ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["missing", "text", "empty archive", "broken network"])
def test_a_model_that_is_none(tmp_path, kind):
    path = tmp_path / "own.task"
    if kind == "text":
        path.write_text("nothing")
    elif kind != "missing":
        with zipfile.ZipFile(path, "w") as archive:
            names = ("face_detector", "face_landmarks_detector", "face_blendshapes") if "network" in kind else ()
            for name in names:
                archive.writestr(f"{name}.tflite", b"nothing")
    with pytest.raises(ParameterError, match=r"own\.task") as raised:
        find_faces(np.zeros((64, 64, 3), np.uint8), model=path)
    assert str(raised.value).endswith(".")


def test_nothing_installed(monkeypatch):
    monkeypatch.setattr("mrdist.datasets.detection._bundled", lambda: None)
    assert not is_installed()
    assert is_installed("own.task")
    with pytest.raises(ParameterError, match=r"mrdist\[landmarks\].*--landmark-model"):
        model_path()
    monkeypatch.setattr("mrdist.datasets.detection.RUNTIME", "not_installed")
    assert not is_installed("own.task")
    with pytest.raises(ParameterError, match=r"ai-edge-litert.*pip install 'mrdist\[landmarks\]'"):
        model_path("own.task")


def test_points_that_no_expression_moves_are_not_on_the_mouth():
    assert not {0, 13, 14, 17, 61, 291} & {number - 2 for number in still_of(np.zeros((480, 2)))}
    assert still_of(np.zeros((2, 2))) == [0, 1]
