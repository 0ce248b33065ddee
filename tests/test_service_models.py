"""Models over HTTP: what they are, how good they are, what they look at, and how they come and go."""

from __future__ import annotations

import io
import zipfile
from types import SimpleNamespace

import commands
import numpy as np
import pytest
import scipy.sparse
from fastapi.testclient import TestClient
from PIL import Image

import mrdist
from mrdist.refinement import Refinement
from mrdist.service.app import create_app
from mrdist.service.catalog import Catalog
from mrdist.service.routes import models as routes
from mrdist.storage.making.lease import Lease

MODELS = "/api/v1/models"
SIZE = 32
LABELS = ("--source", "neutral", "--target", "happy", "--workers", 0)
KINDS = {
    "shared": (),
    "joint": ("--color", "joint", "--receptive-field", 5),
    "separate": ("--color", "separate", "--alpha", "cv", "--folds", 3),
    "l1": ("--method", "l1", "--window", 5, "--alpha", 0.01),
    "l2": ("--method", "l2"),
}


@pytest.fixture(scope="module")
def studio(tmp_path_factory):
    """A service with models of several kinds of the same people."""
    catalog = Catalog.open(str(tmp_path_factory.mktemp("studio") / "catalog"))
    images = catalog.url_of("datasets", "people")
    options = ("--images", 20, "--size", SIZE, "--labels", "neutral,happy", "--workers", 0)
    commands.succeed("generate", images, *options)
    for name, options in KINDS.items():
        commands.succeed("train", images, catalog.url_of("models", name), *LABELS, *options)
    client = TestClient(create_app(catalog), base_url="http://127.0.0.1")
    return SimpleNamespace(catalog=catalog, client=client, images=images)


def get(studio, path, **query):
    return studio.client.get(f"{MODELS}{path}", params=query or None)


def refusal(answer, status):
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    return answer.json()["detail"]


def pixels_of(answer):
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "image/png"
    with Image.open(io.BytesIO(answer.content)) as picture:
        return np.asarray(picture)


# --- what they are -------------------------------------------------------------------------------------


def test_the_list_says_what_there_is(studio):
    found = {model["name"]: model for model in get(studio, "").json()["models"]}
    assert sorted(found) == sorted(KINDS)
    for name, model in found.items():
        opened = mrdist.open_weights(studio.catalog.url_of("models", name))
        assert model["complete"] is True
        assert model["problem"] is None
        assert (model["source"], model["target"], model["dataset"]) == ("neutral", "happy", "people")
        assert (model["shape"], model["channels"]) == ([SIZE, SIZE], 3)
        assert (model["parameters"], model["nonzeros"]) == (opened.n_parameters, opened.n_nonzeros)
        assert model["bytes"] > 1000
        assert model["created"].endswith("Z")
        assert model["scores"]["train"]["mse"] > 0
    assert (found["joint"]["color"], found["joint"]["receptive_field"]) == ("joint", 5)
    assert (found["l1"]["method"], found["l1"]["receptive_field"]) == ("l1", None)


def test_a_model_tells_where_it_comes_from(studio):
    found = get(studio, "/separate").json()
    assert found["provenance"]["images"] == "people"
    assert "numba" in found["provenance"]["versions"]
    assert found["training"]["n_images"] > 0
    assert found["cross_validation"]["chosen"]["alpha"] == found["alpha"]
    assert {"alpha", "mse"} <= set(found["cross_validation"]["table"][0])
    assert get(studio, "/shared").json()["cross_validation"] is None


def test_one_in_the_making_and_one_that_is_broken_hide_no_other(studio):
    weights = studio.catalog.url_of("models", "making")
    commands.succeed("train", studio.images, weights, *LABELS)
    commands.damage(weights, "complete", lambda _: False)
    commands.succeed(
        "generate", studio.catalog.url_of("models", "strange"), "--images", 4, "--size", SIZE, "--workers", 0
    )
    try:
        found = {model["name"]: model for model in get(studio, "").json()["models"]}
        assert (found["making"]["complete"], found["making"]["target"]) == (False, "happy")
        assert "a store of images, not of weights" in found["strange"]["problem"]
        assert found["shared"]["complete"] is True
        assert "not complete" in refusal(get(studio, "/making/importance.png"), 409)
    finally:
        studio.catalog.remove("models", "making")
        studio.catalog.remove("models", "strange")


# --- how good they are ---------------------------------------------------------------------------------


def test_scores_are_those_of_evaluate_found_once(studio, monkeypatch):
    assert "test" not in get(studio, "/shared").json()["scores"]
    found = get(studio, "/shared/scores").json()
    expected = commands.report("evaluate", studio.catalog.url_of("models", "shared"), studio.images, "--split", "test")
    assert found["splits"] == expected["splits"]
    assert (found["model"], found["dataset"]) == ("shared", "people")
    assert str(studio.catalog.url) not in str(found)
    assert get(studio, "/shared").json()["scores"]["test"] == expected["splits"]["test"]["frame"]["model"]

    def never(*_, **__):
        raise AssertionError("what is kept in the catalogue is not to be found again")

    monkeypatch.setattr("mrdist.service.findings.evaluate", never)
    anew = TestClient(create_app(Catalog.open(studio.catalog.url)), base_url="http://127.0.0.1")
    assert anew.get(f"{MODELS}/shared/scores").json() == found


def test_scores_that_take_long_are_asked_for_again(studio, monkeypatch):
    monkeypatch.setattr(routes, "_WAIT_SECONDS", 0.0)
    first = get(studio, "/joint/scores", split="val")
    assert (first.status_code, first.json()) == (202, {"state": "computing"})
    assert int(first.headers["retry-after"]) > 0
    answer = commands.wait_until(
        lambda: found if (found := get(studio, "/joint/scores", split="val")).status_code != 202 else None, "scores"
    )
    assert list(answer.json()["splits"]) == ["val"]


def test_scores_that_cannot_be_found(studio):
    other = studio.catalog.url_of("datasets", "larger")
    commands.succeed("generate", other, "--images", 4, "--size", 2 * SIZE, "--workers", 0)
    try:
        assert "32 x 32" in refusal(get(studio, "/shared/scores", dataset="larger"), 422)
    finally:
        studio.catalog.remove("datasets", "larger")
    assert "no dataset 'nobody'" in refusal(get(studio, "/shared/scores", dataset="nobody"), 404)
    refusal(get(studio, "/shared/scores", dataset="../models/shared"), 422)
    refusal(get(studio, "/shared/scores", split="everything"), 422)


# --- what they look at ---------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "channel"), [("shared", 0), ("separate", 2), ("joint", 1), ("l1", 0)])
def test_the_weights_of_a_pixel_make_the_pixel(studio, name, channel):
    face = mrdist.open_images(studio.images)["neutral"].values[3]
    made = mrdist.open_weights(studio.catalog.url_of("models", name)).predict(face[np.newaxis])[0]
    for y, x in ((0, 0), (SIZE // 2, SIZE - 1), (11, 17)):
        total = 0.0
        for source in range(3) if name == "joint" else [channel]:
            query = {"source": source} if name == "joint" else {}
            found = get(studio, f"/{name}/receptive-field", y=y, x=x, channel=channel, **query).json()
            for (dy, dx), weight, inside in zip(found["offsets"], found["weights"], found["inside"], strict=True):
                assert inside == (0 <= y + dy < SIZE and 0 <= x + dx < SIZE)
                total += weight * face[y + dy, x + dx, source] / 255 if inside else 0
        assert total + found["intercept"] == pytest.approx(made[y, x, channel], abs=1e-5)
        assert (found["importance"] is None) == (name == "l1")


def test_pixels_and_methods_without_weights(studio):
    field = "/shared/receptive-field"
    assert "y must be from 0 to 31" in refusal(get(studio, field, y=SIZE, x=0), 422)
    refusal(get(studio, field, y=0), 422)
    refusal(get(studio, field, y=-1, x=0), 422)
    refusal(get(studio, field, y=0, x=0, channel=3), 422)
    assert "no receptive fields" in refusal(get(studio, "/l2/receptive-field", y=0, x=0), 422)
    assert "no receptive fields" in refusal(get(studio, "/l2/coefficients.png"), 422)
    assert "can be refined" in refusal(get(studio, "/l2/importance.png"), 422)


def test_importance_is_a_picture_to_be_laid_over_a_face(studio):
    weights = mrdist.open_weights(studio.catalog.url_of("models", "shared"))
    for options in ({}, {"radius": 0.3, "high": 3.0}):
        found = pixels_of(get(studio, "/shared/importance.png", **options))
        expected = Refinement(**options).importance(weights.norms())
        assert found.shape == (SIZE, SIZE, 4)
        np.testing.assert_array_equal(found[..., 3], np.rint(220 * expected))
    refusal(get(studio, "/shared/importance.png", radius=2), 422)
    refusal(get(studio, "/shared/importance.png", colour="red"), 422)


@pytest.mark.parametrize("name", KINDS)
def test_intercepts_and_coefficients_are_red_above_and_blue_below_zero(studio, name):
    opened = mrdist.open_weights(studio.catalog.url_of("models", name))
    picture = pixels_of(get(studio, f"/{name}/intercept.png", channel=1))
    assert picture.shape == (SIZE, SIZE, 4)
    if name in ("shared", "separate", "joint"):
        intercept = opened.intercept if name == "shared" else opened.intercept[1]
        strong = np.abs(intercept) > 0.1 * np.abs(intercept).max()
        assert ((picture[..., 0] > picture[..., 2]) == (intercept > 0))[strong].all()
        side = opened.field.size
        sheet = pixels_of(get(studio, f"/{name}/coefficients.png"))
        assert sheet.shape == (side * (SIZE + 2), side * (SIZE + 2), 4)


def test_a_picture_that_the_client_has_is_not_sent_again(studio):
    first = get(studio, "/shared/intercept.png")
    again = studio.client.get(f"{MODELS}/shared/intercept.png", headers={"if-none-match": first.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    assert first.headers["etag"] != get(studio, "/shared/coefficients.png").headers["etag"]


def test_the_same_person_by_every_model(studio):
    face = mrdist.open_images(studio.images)["neutral"].values[2]
    for name in KINDS:
        made = mrdist.open_weights(studio.catalog.url_of("models", name)).predict(face[np.newaxis])[0]
        found = pixels_of(get(studio, f"/{name}/faces/people/2.png"))
        np.testing.assert_array_equal(found, np.rint(np.clip(made, 0, 1) * 255))
    assert "rows 0 to 19" in refusal(get(studio, "/shared/faces/people/20.png"), 404)
    assert "no dataset 'nobody'" in refusal(get(studio, "/shared/faces/nobody/2.png"), 404)


# --- how they go ---------------------------------------------------------------------------------------


def test_a_zip_holds_the_store(studio, tmp_path):
    answer = get(studio, "/shared/download")
    assert answer.headers["content-type"] == "application/zip"
    assert answer.headers["content-disposition"] == 'attachment; filename="shared.zarr.zip"'
    with zipfile.ZipFile(io.BytesIO(answer.content)) as archive:
        assert archive.testzip() is None
        archive.extractall(tmp_path)
    ours, theirs = tmp_path / "shared.zarr", studio.catalog.url_of("models", "shared")
    commands.assert_equal_bytes(ours, theirs)
    assert commands.report("info", ours)["complete"] is True


def test_matrices_are_those_of_export(studio, tmp_path):
    answer = get(studio, "/shared/download", format="csr")
    assert answer.headers["content-disposition"] == 'attachment; filename="shared.npz"'
    found = scipy.sparse.load_npz(io.BytesIO(answer.content))
    expected = mrdist.open_weights(studio.catalog.url_of("models", "shared")).to_scipy()
    assert found.shape == (SIZE * SIZE, SIZE * SIZE + 1)
    assert abs(found - expected).nnz == 0
    answer = get(studio, "/joint/download", format="csr")
    with zipfile.ZipFile(io.BytesIO(answer.content)) as archive:
        assert archive.namelist() == [f"joint/joint-channel_{channel}.npz" for channel in range(3)]
    assert "dense" in refusal(get(studio, "/l2/download", format="csr"), 422)
    refusal(get(studio, "/shared/download", format="pickle"), 422)


def test_a_deleted_model_leaves_nothing(studio):
    weights = studio.catalog.url_of("models", "short-lived")
    commands.succeed("train", studio.images, weights, *LABELS)
    assert get(studio, "/short-lived/scores").status_code == 200
    assert studio.client.delete(f"{MODELS}/short-lived").status_code == 204
    assert "no model 'short-lived'" in refusal(studio.client.delete(f"{MODELS}/short-lived"), 404)
    assert not [each for each in commands.files(f"{studio.catalog.url}/models") if "short-lived" in each]
    for path in ("", "/scores", "/importance.png", "/download", "/receptive-field?y=0&x=0", "/faces/people/0.png"):
        assert "no model 'short-lived'" in refusal(get(studio, f"/short-lived{path}"), 404)


def test_a_model_that_is_being_written_is_not_deleted(studio):
    weights = studio.catalog.url_of("models", "busy")
    commands.succeed("train", studio.images, weights, *LABELS)
    lease = Lease.take(weights, None, "train")
    try:
        assert "is being written by the train" in refusal(studio.client.delete(f"{MODELS}/busy"), 409)
    finally:
        lease.end()
    assert get(studio, "/busy").status_code == 200
    assert studio.client.delete(f"{MODELS}/busy").status_code == 204


@pytest.mark.parametrize("name", ["..", "%2e%2e", "a%2fb", "A", "-a", "a" * 64, "sha red", "%00"])
def test_names_that_cannot_be(studio, name):
    assert studio.client.get(f"{MODELS}/{name}/importance.png").status_code in (404, 422)
    assert studio.client.delete(f"{MODELS}/{name}").status_code in (404, 405, 422)
