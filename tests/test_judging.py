"""What a comparison says of its methods: nobody is crowned without evidence, and harm is called harm."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
from commands import report, succeed

import mrdist
from mrdist.pipeline.judging._verdicts import judge, sentences

PEOPLE = [f"person {number}" for number in range(8)]
HARD = np.array([1.0, 1.2, 0.9, 1.1, 1.0, 0.8, 1.3, 9.0]) * 1e-3  # one person is much harder than the others


def row(method, mse, ssim=None, face=None):
    face, ssim = mse if face is None else face, 1 - mse if ssim is None else ssim
    values = {"mse": mse, "face_mse": face, "ssim": ssim}
    people = {name: None if each is None else np.asarray(each, dtype=float).tolist() for name, each in values.items()}
    return {"method": method, "people": {"names": PEOPLE[: len(mse)], **people}}


def judged(*rows, identity=HARD):
    table = [*rows, row("identity", identity)]
    found = judge(table, table[-1])
    return {each["method"]: each for each in table}, sentences({**found, "methods": table}), found


NOISE = np.exp(np.random.default_rng(0).normal(0, 0.2, 8))


def test_a_smaller_mean_is_no_crown():
    """As met with real faces: one method has the smaller mean error, another one is ahead in the face and in SSIM."""
    rows, said, _ = judged(row("pixel", 0.69 * HARD), row("mr", 0.70 * HARD * NOISE, face=0.5 * HARD))
    assert np.mean(rows["pixel"]["people"]["mse"]) < np.mean(rows["mr"]["people"]["mse"])
    assert rows["pixel"]["leads"]["mse"]
    assert rows["mr"]["leads"]["mse"]
    assert not rows["identity"]["leads"]["mse"]
    assert (rows["mr"]["leads"]["face_mse"], rows["pixel"]["leads"]["face_mse"]) == (True, False)
    assert "MSE of the frame, best: pixel and mr, which cannot be told apart on 8 people." in said
    assert "MSE in the face, best: mr, ahead of all others on 8 people." in said


def test_what_destroys_is_called_so():
    up = np.array([0.9, 1.1, 0.9, 1.2, 0.95, 1.1, 0.9, 1.2])  # by chance alone
    rows, said, _ = judged(
        row("mr", 0.5 * HARD), row("l0", 4 * HARD * up), row("mean", HARD * up), row("l2", HARD / up)
    )
    assert {name: each["remark"] for name, each in rows.items()} == {
        "mr": None,
        "l0": "worse than leaving the photograph as it is",
        "mean": "no better than leaving the photograph as it is",
        "l2": "not to be told apart from leaving the photograph as it is",
        "identity": None,
    }
    assert "l0: worse than leaving the photograph as it is." in said


def test_intervals_are_ratios_of_errors_and_differences_of_similarity():
    rows, _, _ = judged(row("mr", 0.5 * HARD, ssim=np.full(8, 0.9)), row("l0", 4 * HARD, ssim=np.full(8, 0.5)))
    assert rows["l0"]["from_best"]["mse"] == pytest.approx({"mean": 8, "low": 8, "high": 8})
    assert rows["mr"]["from_identity"]["mse"] == pytest.approx({"mean": 0.5, "low": 0.5, "high": 0.5})
    assert rows["l0"]["from_identity"]["ssim"]["mean"] == pytest.approx(0.5 - np.mean(1 - HARD))


def test_one_person_crowns_nobody():
    rows, said, _ = judged(row("mr", HARD[:1] / 9), row("l0", HARD[:1] * 9), identity=HARD[:1])
    assert all(each["leads"]["mse"] for each in rows.values())
    assert rows["l0"]["remark"] == "no better than leaving the photograph as it is"
    assert any("on 1 person" in sentence for sentence in said)


def test_a_measure_without_scores_has_no_verdict():
    table = [row("mr", 0.5 * HARD), row("identity", HARD)]
    for each in table:
        each["people"]["ssim"] = None
    found = judge(table, table[-1])
    assert set(found["verdicts"]) == {"mse", "face_mse"}
    assert table[0]["from_best"]["ssim"] is None


@pytest.fixture(scope="module")
def compared(tmp_path_factory):
    folder = tmp_path_factory.mktemp("judging")
    url = str(folder / "faces.zarr")
    mrdist.generate(url, images=40, size=32, labels=["neutral", "happy"], color="gray", workers=0, progress=False)
    arguments = ("compare", url, "--source", "neutral", "--target", "happy", "--alpha", "0.4", "--workers", "0")
    found = report(*arguments, "--methods", "mr,pixel,mean,identity", "--out", folder / "out")
    return found, folder, (*arguments, "--methods", "mr,pixel,mean,identity", "--out", folder / "out")


def test_a_real_comparison_holds_its_evidence(compared):
    found, folder, arguments = compared
    rows = {each["method"]: each for each in found["methods"]}
    images = mrdist.open_images(str(folder / "faces.zarr"))
    test = np.flatnonzero(images["split"].values == "test")
    model = mrdist.open_weights(str(folder / "out" / "mr-3x3.zarr"))
    error = np.square(model.predict(images["neutral"].values[test]) - images["happy"].values[test] / 255)
    wanted = dict(zip(images["subject"].values[test].tolist(), error.mean(axis=(1, 2, 3)), strict=True))
    assert dict(zip(found["people"], rows["mr"]["people"]["mse"], strict=True)) == pytest.approx(wanted, rel=1e-5)
    assert rows["mean"]["remark"] == "worse than leaving the photograph as it is"
    assert not rows["mean"]["leads"]["mse"]
    said = succeed(*arguments).stdout
    assert "mean: worse than leaving the photograph as it is." in said
    assert found["verdicts"]["mse"] in said
    assert json.loads((folder / "out" / "compare.json").read_text())["verdicts"] == found["verdicts"]


def test_the_page_says_the_same(compared):
    found, folder, _ = compared
    out = folder / "report.html"
    mrdist.report(str(folder / "out"), str(out), people=1)
    page = out.read_text()
    assert found["verdicts"]["face_mse"] in page
    assert "<small>worse than leaving the photograph as it is</small>" in page


@pytest.mark.slow
def test_a_comparison_of_an_older_mrdist_is_measured_anew(compared):
    found, folder, _ = compared
    old = folder / "old"
    shutil.copytree(folder / "out", old)
    kept = json.loads((old / "compare.json").read_text())
    for each in kept["methods"]:
        for name in ("people", "from_identity", "from_best", "leads", "remark"):
            del each[name]
    (old / "compare.json").write_text(json.dumps({**kept, "people": None, "verdicts": None}))
    mrdist.report(str(old), str(folder / "old.html"), people=1)
    assert found["verdicts"]["face_mse"] in (folder / "old.html").read_text()


def test_an_evaluation_says_how_sure_it_is(compared):
    _, folder, _ = compared
    faces, weights = folder / "faces.zarr", folder / "out" / "mean.zarr"
    said = succeed("evaluate", weights, faces, "--split", "test").stdout
    assert "of the identity's MSE (95% over" in said
    assert "worse than leaving the photograph as it is" in said
    found = mrdist.evaluate(str(weights), str(faces), splits=["test"])["splits"]["test"]["frame"]
    assert 1 < found["ratio"]["mse"]["low"] < found["ratio"]["mse"]["mean"] < found["ratio"]["mse"]["high"]
    assert found["difference"]["mse"]["mean"] == pytest.approx(found["model"]["mse"] - found["identity"]["mse"])
