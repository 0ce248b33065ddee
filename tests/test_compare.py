from __future__ import annotations

import csv
import json
import re

import numpy as np
import pytest
from commands import failure, report, succeed, warm

import mrdist
from mrdist.methods import registry
from mrdist.pipeline.judging._verdicts import name_of
from mrdist.pipeline.judging.compare import COLUMNS
from mrdist.storage import stored_bytes

METHODS = "mr,pixel,mean,identity"
CONTRACT = {
    "method", "mse", "psnr", "ssim", "r2", "parameters", "nonzeros", "bytes", "train_seconds", "predict_seconds",
}  # fmt: skip


@pytest.fixture(scope="module")
def faces(tmp_path_factory):
    url = str(tmp_path_factory.mktemp("faces") / "faces.zarr")
    mrdist.generate(url, images=40, size=32, labels=["neutral", "happy"], color="gray", workers=0, progress=False)
    return url


def arguments(faces, out, methods=METHODS):
    return ("compare", faces, "--source", "neutral", "--target", "happy", "--methods", methods, "--out", out,
            "--receptive-field", "3,5", "--dilation", "1,2", "--alpha", "0.4", "--workers", "0")  # fmt: skip


@pytest.fixture(scope="module")
def compared(faces, tmp_path_factory):
    """The report of a comparison, and its folder."""
    out = tmp_path_factory.mktemp("compare") / "out"
    return report(*arguments(faces, out)), out


def test_a_comparison_keeps_the_contract(compared):
    found, out = compared
    assert found["split"] == "test"
    rows = found["methods"]
    assert [(row["method"], row["receptive_field"], row["dilation"]) for row in rows] == [
        ("mr", 3, 1), ("mr", 3, 2), ("mr", 5, 1), ("mr", 5, 2), ("pixel", 1, 1), ("mean", None, None),
        ("identity", None, None),
    ]  # fmt: skip
    assert all(set(row) >= CONTRACT for row in rows)
    assert {path.name for path in out.iterdir()} >= {"compare.json", "compare.csv", "compare.png"}
    assert (out / "compare.png").read_bytes().startswith(b"\x89PNG")
    assert json.loads((out / "compare.json").read_text())["methods"] == rows


def test_scores_and_sizes_are_those_of_the_stores(compared, faces):
    found, out = compared
    identity = found["methods"][-1]
    for row in found["methods"][:-1]:
        url = str(out / row["weights"])
        frame = mrdist.evaluate(url, faces, splits=["test"], progress=False)["splits"]["test"]["frame"]
        assert {name: row[name] for name in ("mse", "psnr", "ssim", "r2")} == frame["model"]
        assert {name: identity[name] for name in ("mse", "psnr", "ssim", "r2")} == frame["identity"]
        assert row["relative_mse"] == row["mse"] / identity["mse"]
        assert row["bytes"] == stored_bytes(url)
        model = mrdist.open_weights(url)
        assert (row["parameters"], row["nonzeros"]) == (model.n_parameters, model.n_nonzeros)
        assert row["train_seconds"] > 0
        assert row["predict_seconds"] > 0
    small, large = found["methods"][0], found["methods"][2]
    assert small["parameters"] == 3 * 3 * 1024 - 4 * 3 * 32 + 4 + 1024  # taps beyond the image are none
    assert small["bytes"] < large["bytes"]


def test_the_csv_says_what_the_json_says(compared):
    found, out = compared
    with (out / "compare.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert tuple(rows[0]) == COLUMNS
    wanted = [{name: "" if row[name] is None else str(row[name]) for name in COLUMNS} for row in found["methods"]]
    assert rows == wanted


def test_what_is_trained_is_reused_and_people_read_a_table(compared, faces):
    found, out = compared
    before = {path: path.stat().st_mtime_ns for path in out.rglob("*/c/*") if path.is_file()}
    said = succeed(*arguments(faces, out)).stdout
    assert {path: path.stat().st_mtime_ns for path in before} == before
    again = json.loads((out / "compare.json").read_text())["methods"]
    assert [row["train_seconds"] for row in again] == [row["train_seconds"] for row in found["methods"]]
    for word in ("mr 3x3", "mr 5x5 d2", "identity", "ratio", "parameters", "report.html"):
        assert word in said


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("--methods", "mr,magic"), "method must be one of .*identity, got 'magic'"),
        (("--methods", "identity"), "nothing to compare"),
        (("--target", "angry"), "no label 'angry'"),
        (("--split", "nobody"), "split must be one of train, val, test, got 'nobody'"),
        (("--receptive-field", "4"), "receptive_field must be odd .*got 4"),
        (("--receptive-field", "33", "--methods", "mr"), "spans 33 pixels"),
        (("--dilation", "0", "--methods", "mr"), "dilation must be at least 1, got 0"),
    ],
)
def test_bad_input_is_told_before_anything_is_written(faces, tmp_path, change, message):
    said = failure(*arguments(faces, tmp_path / "out"), *change)
    assert re.search(message, said)
    assert list(tmp_path.iterdir()) == []


def test_a_split_without_pairs_is_told(small_images_store, tmp_path):
    store = small_images_store(n_images=3)  # all of them to train on
    said = failure(*arguments(store.url, tmp_path / "out"), "--split", "test")
    assert "no image of split 'test'" in said
    assert not (tmp_path / "out").exists()


def test_another_trainings_store_is_not_touched(compared, faces):
    done = warm(*arguments(faces, compared[1]), "--alpha", "2")
    assert done.returncode == 1
    assert "alpha is 0.4 there and 2.0 here" in done.stderr


@pytest.fixture(scope="module")
def page(compared, tmp_path_factory):
    out = tmp_path_factory.mktemp("report") / "report.html"
    assert report("report", compared[1], "--out", out, "--people", "2") == {"report": str(out)}
    return out.read_text()


def test_the_page_holds_everything_it_shows(page):
    sources = re.findall(r'(?:src|srcset|href)="([^"]*)"', page)
    assert len(sources) > 20
    assert all(source.startswith("data:image/png;base64,iVBORw0KGgo") for source in sources)
    without_pictures = re.sub(r'"data:[^"]*"', '""', page)
    assert "http:" not in without_pictures
    assert "https:" not in without_pictures
    assert "url(" not in without_pictures


def test_the_page_shows_every_method_and_person(page, compared):
    for row in compared[0]["methods"]:
        assert f"<td>{row['mse']:.5f}</td>" in page
    faces = re.findall(r'alt="([^"]*), person (\d)"', page)
    kinds = ["input", "mr 3x3", "mr 3x3 d2", "mr 5x5", "mr 5x5 d2", "pixel", "mean", "target"]
    assert faces == [(kind, number) for kind in kinds for number in "12"]
    assert "prefers-color-scheme: dark" in page
    assert 'name="viewport"' in page


def test_a_page_of_weights_stores_alone(compared, tmp_path):
    stores = [str(compared[1] / name) for name in ("mr-3x3.zarr", "pixel.zarr")]
    out = tmp_path / "page.html"
    assert mrdist.report(stores, str(out), people=1) == str(out)
    page = out.read_text()
    assert "mr 3x3" in page
    assert f"{compared[0]['methods'][0]['mse']:.5f}" in page


def test_reports_of_nothing_are_refused(compared, tmp_path):
    assert "there is no zarr group" in failure("report", tmp_path / "none", "--out", tmp_path / "r.html")
    assert "people must be at least 1, got 0" in failure(
        "report", compared[1], "--out", tmp_path / "r", "--people", "0"
    )
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "compare.json").write_text("{")
    assert "not a result of mrdist compare" in failure("report", tmp_path / "broken", "--out", tmp_path / "r.html")
    assert list(tmp_path.glob("r*")) == []


def test_weights_of_a_dense_mapping_are_found_by_asking():
    from mrdist.pipeline.showing.report import _probe

    rng = np.random.default_rng(0)
    matrix, intercept = rng.normal(size=(20, 20)), rng.normal(size=20)

    class Dense:
        shape, n_channels = (4, 5), 1

        def predict(self, images):
            return (images.reshape(len(images), 20) @ matrix.T + intercept).reshape(images.shape)

    class Curved(Dense):
        def predict(self, images):
            return super().predict(images) ** 2

    outputs = np.array([0, 7, 19])
    found_outputs, rows = _probe(Dense(), outputs)
    assert np.array_equal(found_outputs, outputs)
    assert np.allclose(rows, matrix[outputs], atol=1e-5)
    assert _probe(Curved(), outputs) is None


def test_usage_is_told():
    assert warm("compare").returncode == 2
    assert warm("report").returncode == 2


@pytest.mark.slow
def test_every_method_can_be_compared_and_reported(tmp_path):
    url, out = str(tmp_path / "faces.zarr"), tmp_path / "out"
    mrdist.generate(url, images=40, size=32, labels=["neutral", "happy"], color="gray", workers=0, progress=False)
    methods = [*registry.METHODS, "identity"]
    found = mrdist.compare(
        url, source="neutral", target="happy", methods=methods, out=str(out), workers=0, progress=False
    )
    assert list(dict.fromkeys(row["method"] for row in found["methods"])) == methods  # those with a dial have two rows
    ratio = {row["method"]: row["relative_mse"] for row in found["methods"]}
    assert ratio["mr"] < 1 == ratio["identity"] < ratio["mean"]
    alphas = {row["method"]: row["alpha"] for row in found["methods"]}
    assert all(alphas[name] > 0 for name, method in registry.METHODS.items() if "alpha" in method.options)
    assert mrdist.report(str(out), str(tmp_path / "report.html"), people=1)
    page = (tmp_path / "report.html").read_text()
    assert "mr 3x3" in page
    assert all(f"<td>{name_of(row)}</td>" in page for row in found["methods"])
