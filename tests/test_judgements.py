"""Comparisons judge expression, person and sharpness, and show a mapping with dials as often as it is turned."""

from __future__ import annotations

import csv
import inspect
import json
import re
import shutil

import click
import numpy as np
import pytest
from commands import failure, report, succeed, write_store
from numpy.testing import assert_allclose
from scipy.ndimage import sobel

import mrdist
from mrdist.cli.comparing import comparison_options
from mrdist.datasets.detection import is_installed
from mrdist.errors import ParameterError
from mrdist.methods.registry import METHODS
from mrdist.morphing.dials import Dials
from mrdist.pipeline.judging import _jury
from mrdist.pipeline.judging._jury import JUDGED, Jury, judged
from mrdist.pipeline.judging._measure import dials_in, is_turned
from mrdist.pipeline.judging._portraits import made_of
from mrdist.pipeline.judging._verdicts import MEASURES, judge, name_of
from mrdist.pipeline.judging.learning_curve import learning_curve
from mrdist.recognition import ExpressionScale, changing_region, to_gray
from mrdist.service.requests import CompareOptions
from mrdist.storage import Images, WeightsReader

LABELS = {"source": "neutral", "target": "happy"}
ALONE = {"workers": 0, "progress": False}
TURNED = next(name for name, method in METHODS.items() if method.has_dials)


@pytest.fixture(scope="module")
def faces(tmp_path_factory):
    url = str(tmp_path_factory.mktemp("judged") / "faces.zarr")
    mrdist.generate(url, images=30, size=48, labels=[*LABELS.values()], seed=5, **ALONE)
    return url


@pytest.fixture(scope="module")
def jury(faces):
    return Jury(Images.open(faces), **LABELS)


@pytest.fixture(scope="module")
def compared(faces, tmp_path_factory):
    out = tmp_path_factory.mktemp("compared") / "out"
    methods = f"pixel,{TURNED},identity"
    arguments = ("compare", faces, "--source", "neutral", "--target", "happy", "--methods", methods, "--alpha", "1")
    return report(*arguments, "--pool", "0,1", "--workers", "0", "--out", out), out


def row_of(comparison, name):
    (row,) = [row for row in comparison["methods"] if name_of(row) == name]
    return row


def test_a_scale_runs_from_the_mean_source_to_the_mean_target():
    rng = np.random.default_rng(0)
    source, target = rng.normal(size=(20, 6)), rng.normal(size=(30, 6)) + np.arange(6)
    scale = ExpressionScale(source, target)
    assert_allclose(scale.score(source).mean(), 0, atol=1e-12)
    assert_allclose(scale.score(target).mean(), 1)
    along = target.mean(axis=0) - source.mean(axis=0)
    across = rng.normal(size=6)
    across -= along * (across @ along) / (along @ along)  # what no expression does moves no score
    assert_allclose(scale.score(target + across), scale.score(target))
    assert not ExpressionScale(source, source).score(target).any()


def test_a_region_is_where_the_expression_changes_the_face(faces, jury):
    images, region = Images.open(faces), jury.region
    height, width = images.shape
    mouth = region[int(0.65 * height) : int(0.9 * height), int(0.3 * width) : int(0.7 * width)]
    assert mouth.sum() > 0.8 * region.sum() > 0
    assert not (region & ~images.face_mask).any()
    assert not changing_region(np.zeros((8, 8)), np.ones((8, 8), bool)).any()


def test_rows_are_judged_as_evaluate_judges(compared, faces):
    comparison, out = compared
    row = row_of(comparison, "pixel")
    people = mrdist.evaluate(str(out / row["weights"]), faces, splits=["test"], recognition=True, **ALONE)["people"]
    verdict = people["test"]
    assert {name: row[name] for name in JUDGED} == judged(verdict, "synthesised")
    identity, real = comparison["methods"][-1], comparison["recognition"]["real"]
    assert {name: identity[name] for name in JUDGED} == judged(verdict, "input")
    assert real == {
        "expression": verdict["expression"]["real"],
        "recognised": verdict["recognition"]["real"],
        "rank_one": None,
        "sharpness": 1.0,
    }
    assert comparison["recognition"]["by"] == "gradients"  # pupils are too near to each other for a detector
    assert abs(identity["expression"]) < 0.3 < 0.5 < real["expression"]


def test_sharpness_is_that_of_the_equations(compared, faces, jury):
    comparison, out = compared
    images, region = Images.open(faces), jury.region
    rows = images.rows([*LABELS.values()], "test")

    def sharp(stack):
        slopes = [np.hypot(sobel(gray, axis=0), sobel(gray, axis=1)) for gray in to_gray(stack)]
        return np.stack(slopes)[:, region].mean()

    row = row_of(comparison, f"{TURNED} 3x3")
    made = made_of(WeightsReader.open(str(out / row["weights"])), images, rows)
    assert_allclose(row["sharpness"], sharp(made) / sharp(images.read("happy", rows) / 255), rtol=1e-5)


def test_dials_make_rows_of_one_store_and_what_knows_the_target_is_not_ranked(compared, faces):
    comparison, out = compared
    names = [name_of(row) for row in comparison["methods"]]
    usual = f"{TURNED} 3x3"
    assert names == ["pixel", usual, f"{usual} own", f"{usual} pool 1", f"{usual} pool 1 own", "identity"]
    default, own = (row_of(comparison, name) for name in (usual, f"{usual} own"))
    assert default["weights"] == own["weights"] != row_of(comparison, f"{usual} pool 1")["weights"]
    assert (default["strength"], default["mouth"], own["strength"]) == (1.0, "auto", "own")
    for row, strength in ((default, 1.0), (own, "own")):
        url = str(out / row["weights"])
        frame = mrdist.evaluate(url, faces, splits=["test"], strength=strength, **ALONE)["splits"]["test"]["frame"]
        assert row["mse"] == frame["model"]["mse"]
    assert own["mse"] < default["mse"]
    assert not any(own["leads"].values())
    assert all(value is None for value in own["from_best"].values())
    assert own["from_identity"]["mse"]["mean"] < 1
    assert any(any(row["leads"].values()) for row in comparison["methods"])
    with (out / "compare.csv").open() as file:
        assert [row["strength"] for row in csv.DictReader(file)] == ["", "1.0", "own", "1.0", "own", ""]


def test_only_unranked_rows_are_no_contest():
    row = {"method": TURNED, "strength": "own", "people": {measure: [1.0, 2.0] for measure in MEASURES}}
    identity = {"method": "identity", "people": {**row["people"], "names": ["a", "b"]}}
    assert judge([row], identity)["verdicts"] == {}


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (("--methods", "pixel", "--strength", "0.5"), rf"strength and mouth are for methods .*\({TURNED}\), but only"),
        (("--methods", "pixel", "--mouth", "open"), "strength and mouth are for methods"),
        (("--strength", "0.5,9"), "strength must lie in 0..1.5, got 9"),
        (("--strength", "strong"), "strength must be .*'strong'"),
        (("--mouth", "ajar"), "mouth must be one of auto, open, closed, got 'ajar'"),
        (("--pool", "-1"), "pool must be .*-1"),
    ],
)
def test_bad_dials_are_told_before_anything_is_written(faces, tmp_path, given, message):
    arguments = ("compare", faces, "--source", "neutral", "--target", "happy", "--out", tmp_path / "out")
    code = 2 if "strong" in given else 1
    assert re.search(message, failure(*arguments, "--methods", TURNED, *given, code=code))
    assert list(tmp_path.iterdir()) == []


def test_nothing_is_judged_where_nobody_asks(compared, faces, tmp_path, monkeypatch):
    shutil.copytree(compared[1], tmp_path / "out")  # its stores are complete
    monkeypatch.setattr(_jury.Jury, "__init__", None)
    options = {"methods": [TURNED], "strengths": [0.5], "mouth": "closed", "alpha": 1.0, "recognition": False}
    comparison = mrdist.compare(faces, out=str(tmp_path / "out"), **options, **LABELS, **ALONE)
    (row,) = comparison["methods"]
    assert name_of(row) == f"{TURNED} 3x3 0.5 closed"
    assert comparison["recognition"] is None
    assert [row[name] for name in JUDGED] == [None] * len(JUDGED)


@pytest.mark.slow
def test_a_report_shows_the_judgements_and_does_not_measure_again(compared, tmp_path, monkeypatch):
    comparison, out = compared
    calls = []
    inner = mrdist.pipeline.judging._measure.measure
    monkeypatch.setattr(
        "mrdist.pipeline.judging._measure.measure", lambda *a, **k: (calls.append(a), inner(*a, **k))[1]
    )
    page = tmp_path / "page.html"
    mrdist.report(str(out), str(page), people=1)
    assert len(calls) == 1  # of the identity
    text = page.read_text()
    for row in comparison["methods"]:
        assert f"<td>{name_of(row)}</td><td>{row['expression']:.2f}</td>" in text
    assert "real faces" in text
    assert "not ranked" in text
    mrdist.report(str(out), str(page), people=1, strengths=[1.5], recognition=False)
    text = page.read_text()
    assert f"{TURNED} 3x3 1.5" in text
    assert f"{TURNED} 3x3 own" not in text
    assert "real faces" not in text


@pytest.mark.slow
def test_a_report_of_what_an_older_mrdist_compared(compared, tmp_path):
    comparison, out = compared
    older = tmp_path / "older"
    older.mkdir()
    new = ("pool", "strength", "mouth", *JUDGED)
    rows = [row for row in comparison["methods"] if row.get("strength") != "own" and not row.get("pool")]
    kept = [{name: value for name, value in row.items() if name not in new} for row in rows]
    for row in kept:
        if row["weights"]:
            (older / row["weights"]).symlink_to(out / row["weights"])
    written = {name: value for name, value in comparison.items() if name != "recognition"} | {"methods": kept}
    (older / "compare.json").write_text(json.dumps(written))
    page = tmp_path / "page.html"
    mrdist.report(str(older), str(page), people=1)
    assert f"<td>{row_of(comparison, 'pixel')['expression']:.2f}</td>" in page.read_text()


def test_a_report_at_strengths_that_no_mapping_has(compared, tmp_path):
    _, out = compared
    with pytest.raises(ParameterError, match=r"strength and mouth are for mappings .* pixel\.zarr cannot|cannot"):
        mrdist.report(str(out / "pixel.zarr"), str(tmp_path / "page.html"), strengths=[0.5])
    assert list(tmp_path.iterdir()) == []


def test_faces_are_drawn_at_several_strengths(compared, faces, tmp_path):
    _, out = compared
    weights, picture = out / f"{TURNED}-3x3.zarr", tmp_path / "dial.png"
    succeed("plot", "faces", weights, faces, "--strength", "0.5,own", "--count", "2", "--out", picture)
    assert picture.read_bytes().startswith(b"\x89PNG")
    said = failure("plot", "faces", out / "pixel.zarr", faces, "--strength", "0.5", "--out", tmp_path / "x.png")
    assert "strength" in said
    assert not (tmp_path / "x.png").exists()


def test_rows_know_how_they_are_turned():
    assert dials_in({}) is None
    assert dials_in({"strength": None}) is None
    assert dials_in({"strength": 0.5, "mouth": "open"}) == Dials(0.5, "open")
    assert is_turned({}, Dials())
    assert is_turned({"strength": 1.0, "mouth": "auto"}, None)
    assert not is_turned({"strength": 1.0, "mouth": "auto"}, Dials(0.5))


def test_a_learning_curve_pools_as_a_training_does(faces):
    images = mrdist.open_images(faces)
    train, test = ((images["split"] == split).values for split in ("train", "test"))
    x, t = images["neutral"].values, images["happy"].values
    found = learning_curve(faces, pairs=[int(train.sum())], alpha=0.1, pool=1, progress=False, **LABELS)
    model = mrdist.MaskedRegression(receptive_field=3, alpha=0.1, pool=1).fit(x[train], t[train])
    wanted = np.square(model.predict(x[test]) - t[test] / 255).mean()
    assert found["curves"]["mr 3x3"] == pytest.approx([wanted], rel=1e-9)
    assert found["pool"] == 1


def test_requests_take_the_options_of_the_shell():
    shell = {option.name for option in click.command()(comparison_options(lambda: None)).params}
    assert shell == CompareOptions.model_fields.keys() - {"images"}
    assert shell <= inspect.signature(mrdist.compare).parameters.keys()
    options = {"strengths": [0.5, "own"], "mouth": "closed", "pools": [0, 1], "recognition": False}
    given = CompareOptions(images="faces", **LABELS, **options).given()
    assert given == {"images": "faces", **LABELS, **options}
    with pytest.raises(ValueError, match=r"strength must lie in 0\.\.1\.5, got 9"):
        CompareOptions(images="faces", **LABELS, strengths=[9])


class Face:
    """What a detector would find: how bright the picture is, as the first of its movements."""

    def __init__(self, pixels):
        self.blendshapes = dict.fromkeys(_jury.BLENDSHAPES[1:], 0.0) | {"jawOpen": float(pixels.mean()) / 255}


@pytest.fixture
def gray_people(tmp_path, draw_images):
    """Sources that are dark, targets that are bright, both of faces that a detector could see."""
    pixels = draw_images((12, 96, 96, 1)) // 4
    split = ["train"] * 8 + ["test"] * 4
    return Images.open(write_store(tmp_path / "gray.zarr", {"a": pixels, "b": pixels + 128}, split=split))


@pytest.mark.parametrize("misses", [0, 1, 8])
def test_movements_are_measured_where_a_detector_finds_the_faces(gray_people, monkeypatch, misses):
    seen = []

    def find(pixels):
        seen.append(pixels.shape)
        return [] if len(seen) <= misses else [Face(pixels)]

    monkeypatch.setattr(_jury, "find_faces", find)
    monkeypatch.setattr(_jury, "is_installed", lambda: True)
    jury = Jury(gray_people, "a", "b")
    assert jury.scale == ("gradients" if misses else "movements")
    if not misses:
        case = jury.case(gray_people, "test")
        assert case.real_faces()["real"]["expression"] == pytest.approx(1, abs=0.2)
        assert case._strength(case.inputs) == pytest.approx(0, abs=0.2)
    monkeypatch.setattr(_jury, "is_installed", lambda: False)
    assert Jury(gray_people, "a", "b").scale == "gradients"


@pytest.mark.slow
@pytest.mark.skipif(not is_installed(), reason="needs the extra landmarks")
def test_a_detector_sees_who_smiles(tmp_path):
    faces, weights = str(tmp_path / "faces.zarr"), str(tmp_path / "weights.zarr")
    mrdist.generate(faces, images=40, size=128, labels=[*LABELS.values()], **ALONE)
    mrdist.train(faces, weights, method=TURNED, **LABELS, **ALONE)
    images = Images.open(faces)
    jury = Jury(images, **LABELS)
    assert jury.scale == "movements"
    case = jury.case(images, "test")
    reader = WeightsReader.open(weights)
    strengths = [case.judge(reader.turned(Dials(s)))["expression"]["synthesised"] for s in (0.0, 0.5, 1.0)]
    assert abs(strengths[0]) < 0.1 < strengths[1] < strengths[2]
    assert case.judge(reader)["expression"]["found"] == 1
    assert case.real_faces()["real"]["expression"] == pytest.approx(1, abs=0.3)
