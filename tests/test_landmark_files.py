"""Landmark files of every format, and what is said of those that are broken."""

from __future__ import annotations

import json

import numpy as np
import pytest

from mrdist.datasets.landmark_files import _BOSPHORUS, COUNTS, EXTENSIONS, TEMPLATES, read_landmarks
from mrdist.datasets.landmarks import (
    _MOUTHS,
    EYES,
    FRAME_PUPILS,
    is_face,
    lies_in,
    middle_of_mouth,
    mouth_of,
    outline_of,
)
from mrdist.errors import LandmarkError

RNG = np.random.default_rng(5)
#: Points of every template in front of which the pupils are put.
ADDED = {68: 2, 83: 2, 468: 2, 478: 2}


def drawn(n, scale=100.0):
    """Return a face of n points as a file holds them: pupils and mouth are where a face has them."""
    points = RNG.uniform(0.1, 0.9, (n, 2))
    left, right = EYES.get(n, ([0], [1]))
    for eye, pupil in zip((left, right), FRAME_PUPILS, strict=True):
        points[list(eye)] = pupil + RNG.uniform(-0.03, 0.03, (len(eye), 2))
    mouth = np.array(_MOUTHS.get(n + ADDED.get(n, 0), ()), dtype=int) - ADDED.get(n, 0)
    points[mouth] = np.array([0.5, 0.8]) + RNG.uniform(-0.05, 0.05, (len(mouth), 2))
    if n in (4, 5):
        points[-2:] = (0.4, 0.8), (0.6, 0.81)
    return (scale * points).round(3)


def drawn_lm2():
    points = RNG.uniform(10, 90, (22, 2)).round(3)
    points[6:10] = (26, 40), (38, 41), (62, 40), (74, 39)
    points[15:21] = np.array([50, 80]) + RNG.uniform(-8, 8, (6, 2)).round(2)
    return points


def write(tmp_path, name, text):
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    return path


def tem(points):
    return f"{len(points)}\n" + "".join(f"{x}\t{y}\n" for x, y in points) + "1\n0\n2\n0 1\n"


def pts(points, head="version: 1\nn_points:  {}\n"):
    rows = "\n".join(f"{x + 1:.3f} {y + 1:.3f}" for x, y in points)  # pixels count from 1
    return f"{head.format(len(points))}{{\n{rows}\n}}\n"


def lm2(points, names=_BOSPHORUS):
    rows = "\n".join(f"{x} {y}" for x, y in points)
    listed = "\n".join(name.capitalize() for name in names)
    return f"# made by hand\n#\n{len(names)} Landmarks\n\nLabels:\n{listed}\n\n2D Image coordinates:\n{rows}\n"


# --- .tem, .pts, .lm2 ----------------------------------------------------------------------------------


@pytest.mark.parametrize("count", sorted((*COUNTS, *TEMPLATES)))
def test_every_template_of_webmorph(tmp_path, count):
    points = drawn(count)
    found = read_landmarks(write(tmp_path, "a.tem", "\ufeff" + tem(points).replace("\n", "\r\n")))
    np.testing.assert_allclose(found[ADDED.get(count, 0) :], points)
    np.testing.assert_allclose(found[:2], 100 * FRAME_PUPILS, atol=4)
    if count not in (2, 7):
        np.testing.assert_allclose(middle_of_mouth(found), [[50, 80]], atol=5)
    else:
        assert middle_of_mouth(found) is None


@pytest.mark.parametrize("head", ["version: 1\nn_points: {}\n", "version: 1 \r\nn_points:  {} \r\n\r\n", ""])
def test_ibug_points_get_the_middles_of_the_eyes_as_pupils_and_count_from_one(tmp_path, head):
    points = drawn(68)
    found = read_landmarks(write(tmp_path, "a.pts", pts(points, head)))
    np.testing.assert_allclose(found[2:], points, atol=1e-9)
    np.testing.assert_allclose(found[:2], [points[36:42].mean(axis=0), points[42:48].mean(axis=0)])


def test_bosphorus_landmarks_are_told_by_their_names(tmp_path):
    points = drawn_lm2()
    order = RNG.permutation(22)
    names = [_BOSPHORUS[k] for k in order]
    found = read_landmarks(write(tmp_path, "a.lm2", lm2(points[order], names)))
    np.testing.assert_allclose(found[2:], points)
    np.testing.assert_allclose(found[:2], [(32, 40.5), (68, 39.5)])
    ears = [*(name.replace("middle left", "middle of the left") for name in names), "right ear lobe"]
    with_ears = write(tmp_path, "b.lm2", lm2([*points[order], (1, 2)], ears))
    np.testing.assert_array_equal(read_landmarks(with_ears), found)


# --- .csv ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        "x,y\n30,41\n60,40\n",
        "30,41\n60,40\n",
        "name,y,x\nleft,41,30\nright,40,60\n",
        "x,y\n60,40\n\n30,41\n",
        "\ufeffname;X;Y\r\nleft;30;41\r\nright;60;40\r\n",
        "x\ty\n30\t41\n60\t40\n",
    ],
)
def test_csv(tmp_path, text):
    assert read_landmarks(write(tmp_path, "a.csv", text)).tolist() == [[30, 41], [60, 40]]


def openface(faces, *, gap=", ", sequence=True, frames=None):
    """Return OpenFace 2's table of faces (confidence, success, points), with the columns that are not used."""
    space = [f"{axis}_{k}" for axis in "XYZ" for k in range(68)]
    plane = [f"{axis}_{k}" for axis in "xy" for k in range(68)]
    head = ["frame", "face_id", "timestamp", "confidence", "success"] if sequence else ["face", "confidence"]
    lines = [gap.join([*head, "gaze_0_x", "eye_lmk_x_0", "eye_lmk_y_0", "pose_Rx", *plane, *space, "AU01_r"])]
    for number, (confidence, success, points) in enumerate(faces):
        frame = 1 if frames is None else frames[number]
        first = [frame, number, "0.000", confidence, success] if sequence else [number, confidence]
        cells = [*first, 0.1, 9, 9, 0.02, *points.T.ravel(), *[7.0] * (3 * 68), 0.5]
        lines.append(gap.join(map(str, cells)))
    return "\n".join(lines) + "\n"


@pytest.mark.parametrize("gap", [", ", ","])
@pytest.mark.parametrize("sequence", [True, False])
def test_the_most_confident_face_of_openface_is_taken_and_said(tmp_path, caplog, gap, sequence):
    faces = [(0.71, 1, drawn(68)), (0.98, 1, drawn(68)), (0.3, 0, drawn(68))][: 3 if sequence else 2]
    path = write(tmp_path, "a.csv", openface(faces, gap=gap, sequence=sequence))
    found = read_landmarks(path)
    np.testing.assert_allclose(found[2:], faces[1][2])
    np.testing.assert_allclose(found[:2], [faces[1][2][36:42].mean(axis=0), faces[1][2][42:48].mean(axis=0)])
    assert caplog.messages == [f"Landmark file {path} holds 2 faces; the most confident (0.98) is taken."]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (openface([(0.9, 0, drawn(68))]), "holds no face: OpenFace did not find one"),
        (openface([]), "holds no face"),
        (openface([(0.9, 1, drawn(68))] * 2, frames=[1, 2]), "holds 2 frames of a video"),
        (openface([("good", 1, drawn(68))]), "a confidence that is not a number"),
        (openface([(0.9, 1, drawn(68) * np.nan)]), "needs two finite numbers, x and y, as point 0"),
        (openface([(0.9, 1, drawn(68))]).replace("x_67", "x"), "holds 67 points"),
        (openface([(0.9, 1, drawn(68))]).replace(", 0.5\n", "\n"), "has 350 columns but a row of 349 cells"),
        ("frame,face_id,timestamp,confidence,success,X_0,Y_0,Z_0\n1,0,0,1,1,3,4,5\n", "with -2Dfp"),
        ("0,30,41\n1,60,40\n", "has 3 columns, none of them named x and y"),
    ],
)
def test_tables_without_a_face(tmp_path, text, reason):
    with pytest.raises(LandmarkError, match=reason):
        read_landmarks(write(tmp_path, "a.csv", text))


# --- .json ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "found",
    [
        [[30, 41], [60, 40]],
        [[30, 41, 5], [60, 40, -3]],
        {"points": [{"x": 30, "y": 41}, {"x": 60, "y": 40}]},
        {"parts": [{"x": 60, "y": 40}, {"x": 30, "y": 41}]},
        {"landmarks": {"points": [[30, 41], [60, 40]]}},
        {"left_eye": [30, 41], "right_eye": {"x": 60, "y": 40}},
        {"left_eye": [[28, 40], [32, 42]], "right_eye": [[60, 40]]},
        {"faces": [{"bbox": [1, 2, 3, 4], "kps": [[30, 41], [60, 40]]}]},
        {"version": 1, "groups": [{"label": "eyes", "landmarks": [{"point": [41, 30]}, {"point": [40, 60]}]}]},
        {"version": 2, "labels": [], "landmarks": {"points": [[41, 30], [40, 60]]}},
        {"version": 3, "groups": {"PTS": {"labels": [], "landmarks": {"points": [[41, 30], [40, 60]]}}}},
        {"width": 200, "height": 100, "points": [[30, 41], [60, 40]]},
    ],
)
def test_json(tmp_path, found):
    path = write(tmp_path, "a.json", json.dumps(found))
    assert read_landmarks(path, lambda: (200, 100)).tolist() == [[30, 41], [60, 40]]


@pytest.mark.parametrize(
    ("faces", "chosen", "said"),
    [
        ({"face_landmarks": [[[30, 41, 1], [60, 40, 0]], [[1, 2, 0], [30, 4, 0]]]}, 30, "the first is taken"),
        ([{"keypoints": {"left_eye": [3, 4], "right_eye": [9, 4]}, "confidence": 0.6},
          {"keypoints": {"left_eye": [30, 41], "right_eye": [60, 40]}, "confidence": 0.9}], 30, "confident (0.9)"),
        ({"face_1": {"score": 0.99, "landmarks": {"right_eye": [30, 41], "left_eye": [60, 40]}},
          "face_2": {"score": 0.5, "landmarks": {"right_eye": [3, 4], "left_eye": [9, 4]}}}, 30, "confident (0.99)"),
    ],
)  # fmt: skip
def test_of_several_faces_one_is_taken_and_said(tmp_path, caplog, faces, chosen, said):
    found = read_landmarks(write(tmp_path, "a.json", json.dumps(faces)))
    assert found[0, 0] == chosen
    (message,) = caplog.messages
    assert "holds 2 faces" in message
    assert said in message


def test_named_parts_give_pupils_nose_and_corners(tmp_path):
    parts = {
        "left_eye": [60, 40],
        "right_eye": [30, 41],
        "nose": [46, 55],
        "mouth_left": [58, 70],
        "mouth_right": [33, 71],
    }
    expected = [[30, 41], [60, 40], [46, 55], [33, 71], [58, 70]]
    assert read_landmarks(write(tmp_path, "a.json", json.dumps([{"keypoints": parts}]))).tolist() == expected
    contours = {
        "chin": [[1, 2], [3, 4]],
        "left_eye": [[59, 40], [61, 40]],
        "right_eye": [[30, 41]],
        "nose_tip": [[46, 55]],
    }
    contours |= {"top_lip": [[33, 71], [46, 68], [58, 70]], "bottom_lip": [[35, 73], [46, 76]]}
    assert read_landmarks(write(tmp_path, "b.json", json.dumps([contours]))).tolist() == expected


@pytest.mark.parametrize("ending", ["json", "csv"])
def test_shares_of_the_photographs_sides_become_pixels_a_little_outside_of_it_too(tmp_path, ending):
    points = drawn(478, scale=1.0)
    points[:2] = (-0.04, 0.3), (1.03, 1.1)
    text = json.dumps({"faceLandmarks": [[{"x": x, "y": y, "z": 0.1} for x, y in points]]})
    path = write(tmp_path, f"a.{ending}", text if ending == "json" else "\n".join(f"{x},{y}" for x, y in points))
    found = read_landmarks(path, lambda: (200, 100))
    np.testing.assert_allclose(found[2:], points * [200, 100] - 0.5)
    np.testing.assert_allclose(found[:2], found[[470, 475]])
    with pytest.raises(LandmarkError, match="give pixels, or the photograph, too"):
        read_landmarks(path)


def test_landmarks_of_a_photograph_of_another_size_are_refused(tmp_path):
    path = write(tmp_path, "a.json", json.dumps({"image_width": 400, "image_height": 300, "points": [[3, 4], [9, 4]]}))
    with pytest.raises(LandmarkError, match="of 400 x 300 pixels and lies beside one of 200 x 150"):
        read_landmarks(path, lambda: (200, 150))


def test_pairs_are_put_in_order_from_the_left(tmp_path):
    mirrored = [[60, 40], [30, 41], [46, 55], [58, 70], [33, 71]]
    found = read_landmarks(write(tmp_path, "a.json", json.dumps(mirrored)))
    assert found.tolist() == [[30, 41], [60, 40], [46, 55], [33, 71], [58, 70]]
    np.testing.assert_allclose(middle_of_mouth(found), [[45.5, 70.5]])


# --- what cannot be a face -----------------------------------------------------------------------------


@pytest.mark.parametrize("count", [68, 106, 189, 468, 478])
def test_y_before_x_is_refused(tmp_path, count):
    text = "\n".join(f"{y},{x}" for x, y in drawn(count))
    with pytest.raises(LandmarkError, match="belong to another template or have y before x"):
        read_landmarks(write(tmp_path, "a.csv", text))


def test_another_template_of_106_points_is_refused(tmp_path):
    """Those of InsightFace and LaPa begin with the jaw."""
    points = drawn(106)
    points[:2] = (50, 98), (10, 45)
    with pytest.raises(LandmarkError, match="106 points with pupils at"):
        read_landmarks(write(tmp_path, "a.json", json.dumps(points.tolist())))


def test_pupils_and_mouth_must_lie_in_the_photograph():
    points = drawn(189)
    assert is_face(points)
    assert lies_in(points, (100, 100))
    assert not lies_in(points, (60, 100))
    assert not lies_in(points, (100, 75))
    assert not lies_in(points - (35, 0), (100, 100))
    assert not lies_in(points / 100, (100, 100))


@pytest.mark.parametrize(
    ("name", "text", "reason"),
    [
        ("a.txt", "1 2", "unknown extension '.txt'; supported are .tem, .pts, .lm2, .csv, .json, .ljson"),
        ("a.pts", "n_points: 2\n1 2\n3 4\n", "between braces"),
        ("a.pts", "version: 2\nn_points: 2\n{\n1 2\n3 4\n}", "has version 2; only version 1 of .pts is supported"),
        ("a.pts", "n_points: 3\n{\n1 2\n3 4\n}", "declares 3 points but holds 2"),
        ("a.pts", "n_points: 2\n{\n1 2\n3\n}", "needs two finite numbers, x and y, as point 1"),
        ("a.lm2", lm2(np.ones((22, 2)).tolist())[:-8], "names 22 landmarks but holds 21 points"),
        ("a.lm2", lm2(np.ones((21, 2)).tolist(), _BOSPHORUS[1:]), "lacks 1 of Bosphorus' landmarks: outer left"),
        ("a.lm2", lm2(drawn_lm2() * (1, -1)), "no mouth below them"),
        ("a.csv", "x,y\n1,nan\n2,3\n", "needs two finite numbers, x and y, as point 0"),
        ("a.csv", "", "holds 0 points; supported are templates of 2, 3, 4, 5, 68, 106, 189, 468, 478 points"),
        ("a.json", "[[1, 2], [3, 4]", "is not JSON"),
        ("a.json", "[" * 600 + "]" * 600, "must be a list of points|is not JSON"),
        ("a.json", '{"faces": 3}', "a list of points or an object with one under landmarks, points"),
        ("a.json", '[{"x": 1}, [3, 4]]', "needs two finite numbers, x and y, as point 0"),
        ("a.json", '{"left_eye": "here", "right_eye": [1, 2]}', "a list of points"),
        ("a.json", json.dumps([[1, 2]] * 7), "holds 7 points"),
        ("a.ljson", '{"version": 2, "labels": [], "landmarks": 7}', "holds 0 points"),
        ("a.ljson", '{"version": 2, "labels": [], "landmarks": {"points": [[null, null], [1, 2]]}}', "as point 0"),
        ("a.tem", "2\n1 2\n", "declares 2 points but holds 1"),
        ("a.tem", tem(drawn(2).repeat(21, axis=0)[:42]), "supported are templates of 2, 3, 4, 5, 7, 68, 70, 83, 106"),
    ],
)  # fmt: skip
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


@pytest.mark.parametrize("count", [2, 3, 4, 5, 24, 70, 85, 106, 189, 470, 480])
def test_mouth_and_outline_move_with_the_points(count):
    points = np.concatenate([FRAME_PUPILS, RNG.uniform(0.2, 0.9, (count - 2, 2))])
    turn = np.array([[0.8, -0.6], [0.6, 0.8]])
    for part in (mouth_of, outline_of):
        own = part(points)
        assert len(own) >= 6
        np.testing.assert_allclose(part(100 * points @ turn.T + 7), 100 * own @ turn.T + 7)
    assert (middle_of_mouth(points) is None) == (count == 2)
