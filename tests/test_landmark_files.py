"""Landmark files of every format, and what is said of those that are broken."""

from __future__ import annotations

import json

import numpy as np
import pytest

from mrdist.datasets.landmark_files import _BOSPHORUS, COUNTS, EXTENSIONS, read_landmarks
from mrdist.datasets.landmarks import FRAME_PUPILS, middle_of_mouth, mouth_of, outline_of
from mrdist.errors import LandmarkError

RNG = np.random.default_rng(5)


def drawn(n):
    return RNG.uniform(10, 90, (n, 2)).round(3)


def write(tmp_path, name, text):
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    return path


def pts(points):
    rows = "\n".join(f"{x + 1:.3f} {y + 1:.3f}" for x, y in points)  # pixels count from 1
    return f"version: 1\nn_points: {len(points)}\n{{\n{rows}\n}}\n"


def lm2(points, names=_BOSPHORUS):
    rows = "\n".join(f"{x} {y}" for x, y in points)
    return f"# made\n{len(names)} landmarks:\n\n" + "\n".join(name.title() for name in names) + f"\n\n{rows}\n"


def test_ibug_points_get_the_middles_of_the_eyes_as_pupils(tmp_path):
    points = drawn(68)
    found = read_landmarks(write(tmp_path, "a.pts", pts(points)))
    np.testing.assert_allclose(found[2:], points, atol=1e-9)
    np.testing.assert_allclose(found[:2], [points[36:42].mean(axis=0), points[42:48].mean(axis=0)])


def test_bosphorus_landmarks_are_told_by_their_names(tmp_path):
    points = drawn(22)
    order = RNG.permutation(22)
    names = [_BOSPHORUS[k] for k in order]
    found = read_landmarks(write(tmp_path, "a.lm2", lm2(points[order], names)))
    np.testing.assert_allclose(found[2:], points)
    eyes = sorted([points[6:8].mean(axis=0).tolist(), points[8:10].mean(axis=0).tolist()])
    np.testing.assert_allclose(found[:2], eyes)
    ears = [*names, "right ear lobe"]
    with_ears = write(tmp_path, "b.lm2", lm2([*points[order], (1, 2)], ears))
    np.testing.assert_array_equal(read_landmarks(with_ears), found)


@pytest.mark.parametrize(
    "text", ["x,y\n30,41\n60,40\n", "30,41\n60,40\n", "name,y,x\nleft,41,30\nright,40,60\n", "x,y\n60,40\n\n30,41\n"]
)
def test_csv(tmp_path, text):
    assert read_landmarks(write(tmp_path, "a.csv", text)).tolist() == [[30, 41], [60, 40]]


@pytest.mark.parametrize(
    "found",
    [
        [[30, 41], [60, 40]],
        [[30, 41, 5], [60, 40, -3]],
        {"points": [{"x": 30, "y": 41}, {"x": 60, "y": 40}]},
        {"parts": [{"x": 60, "y": 40}, {"x": 30, "y": 41}]},
        {"face_landmarks": [[{"x": 30, "y": 41, "z": 0.1}, {"x": 60, "y": 40, "z": 0}], [[1, 2], [3, 4]]]},
        {"landmarks": {"points": [[30, 41], [60, 40]]}},
    ],
)
def test_json(tmp_path, found):
    path = write(tmp_path, "a.json", json.dumps(found))
    assert read_landmarks(path).tolist() == [[30, 41], [60, 40]]


def test_shares_of_the_photographs_sides_become_pixels(tmp_path):
    points = RNG.uniform(0.1, 0.9, (478, 3))
    path = write(tmp_path, "a.json", json.dumps({"face_landmarks": [points.tolist()]}))
    found = read_landmarks(path, lambda: (200, 100))
    np.testing.assert_allclose(found[2:], points[:, :2] * [200, 100] - 0.5)
    np.testing.assert_allclose(found[:2], found[[470, 475]])
    with pytest.raises(LandmarkError, match="give pixels, or the photograph with it"):
        read_landmarks(path)


def test_pairs_are_put_in_order_from_the_left(tmp_path):
    mirrored = [[60, 40], [30, 41], [46, 55], [58, 70], [33, 71]]
    found = read_landmarks(write(tmp_path, "a.json", json.dumps(mirrored)))
    assert found.tolist() == [[30, 41], [60, 40], [46, 55], [33, 71], [58, 70]]
    np.testing.assert_allclose(middle_of_mouth(found), [[45.5, 70.5]])


@pytest.mark.parametrize(
    ("name", "text", "reason"),
    [
        ("a.txt", "1 2", "unknown extension '.txt'; .tem, .pts, .lm2, .csv, .json are read"),
        ("a.pts", "n_points: 2\n1 2\n3 4\n", "between braces"),
        ("a.pts", "n_points: 3\n{\n1 2\n3 4\n}", "promises 3 points and holds 2"),
        ("a.pts", "n_points: 2\n{\n1 2\n3\n}", "no two finite numbers, x and y, as point 1"),
        ("a.lm2", lm2(np.ones((22, 2)).tolist())[:-8], "names 22 landmarks and holds 21 points"),
        ("a.lm2", lm2(np.ones((21, 2)).tolist(), _BOSPHORUS[1:]), "lacks 1 of Bosphorus' landmarks: outer left"),
        ("a.csv", "x,y\n1,nan\n2,3\n", "no two finite numbers, x and y, as point 0"),
        ("a.csv", "", "holds 0 points; what 2, 3, 4, 5, 68, 106, 189, 468, 478 points mean is known"),
        ("a.json", "[[1, 2], [3, 4]", "is no JSON"),
        ("a.json", '{"faces": 3}', "a list of points or an object with one under landmarks, points"),
        ("a.json", '[{"x": 1}, [3, 4]]', "no two finite numbers, x and y, as point 0"),
        ("a.json", json.dumps([[1, 2]] * 7), "holds 7 points"),
        ("a.tem", "2\n1 2\n", "promises 2 points and holds 1"),
    ],
)
def test_malformed_files(tmp_path, name, text, reason):
    path = write(tmp_path, name, text)
    with pytest.raises(LandmarkError, match=reason) as caught:
        read_landmarks(path)
    assert str(path) in str(caught.value)
    assert str(caught.value).endswith(".")


@pytest.mark.parametrize("ending", EXTENSIONS)
def test_missing_and_binary_files(tmp_path, ending):
    with pytest.raises(LandmarkError, match="cannot be read"):
        read_landmarks(tmp_path / f"no{ending}")
    (tmp_path / f"binary{ending}").write_bytes(b"\xff\xfe\x00\x81")
    with pytest.raises(LandmarkError, match="cannot be read"):
        read_landmarks(tmp_path / f"binary{ending}")


@pytest.mark.parametrize("count", [2, 3, 4, 5, 24, 70, 106, 189, 470, 480])
def test_mouth_and_outline_move_with_the_points(count):
    points = np.concatenate([FRAME_PUPILS, RNG.uniform(0.2, 0.9, (count - 2, 2))])
    turn = np.array([[0.8, -0.6], [0.6, 0.8]])
    for part in (mouth_of, outline_of):
        own = part(points)
        assert len(own) >= 6
        np.testing.assert_allclose(part(100 * points @ turn.T + 7), 100 * own @ turn.T + 7)
    assert (middle_of_mouth(points) is None) == (count == 2)


def test_every_count_has_a_mouth_but_the_pupils_alone(tmp_path):
    for count in COUNTS:
        path = write(tmp_path, "a.csv", "\n".join(f"{x},{y}" for x, y in drawn(count)))
        found = read_landmarks(path)
        assert found.shape[1] == 2
        assert (middle_of_mouth(found) is None) == (count == 2)
