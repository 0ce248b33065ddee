"""Mappings that were trained at once: each is a model that is listed, shown, scored, applied and downloaded."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

import commands
import numpy as np
import pytest
import scipy.sparse
from fastapi.testclient import TestClient
from PIL import Image

import mrdist
from mrdist.service.app import create_app
from mrdist.service.catalog import Catalog
from mrdist.service.runner import Order, run
from mrdist.service.settings import Settings

MODELS = "/api/v1/models"
SIZE = 32
LABELS = ("neutral", "Happy", "sad")
NAMES = ["all:neutral-Happy", "all:neutral-sad", "all:Happy-neutral", "all:sad-neutral"]
SETTINGS = Settings(workers=0)


@pytest.fixture(scope="module")
def catalog(tmp_path_factory):
    """A catalogue with the mappings of a job, one of them trained alone, too."""
    catalog = Catalog.open(str(tmp_path_factory.mktemp("mappings") / "catalog"))
    rng = np.random.default_rng(3)
    pixels = {label: rng.integers(0, 256, (16, SIZE, SIZE, 3), np.uint8) for label in LABELS}
    split = ["train"] * 12 + ["test"] * 4
    images = str(commands.write_store(catalog.url_of("datasets", "faces"), pixels, split=split))
    request = {"verb": "train", "name": "all", "options": {"images": "faces", "source": "neutral", "mappings": "all"}}
    job = app(catalog).post("/api/v1/jobs", json=request).json()
    assert run(Order(catalog.url, job["id"], SETTINGS)) == 0
    mrdist.train(images, catalog.url_of("models", "alone"), source="neutral", target="Happy", workers=0, progress=False)
    return catalog


def app(catalog):
    return TestClient(create_app(catalog, SETTINGS), base_url="http://127.0.0.1")


@pytest.fixture
def client(catalog):
    return app(catalog)


def content(answer):
    assert answer.status_code == 200, answer.text
    return answer.content


def test_each_is_a_model_of_the_list(client):
    listed = {model["name"]: model for model in client.get(MODELS).json()["models"]}
    assert list(listed) == [*NAMES, "alone"]
    for name in NAMES:
        model = listed[name]
        assert (model["group"], model["complete"], model["dataset"]) == ("all", True, "faces")
        assert name == f"all:{model['source']}-{model['target']}"
    same = ("parameters", "nonzeros", "shape", "alpha", "scores")
    assert {key: listed[NAMES[0]][key] for key in same} == {key: listed["alone"][key] for key in same}


@pytest.mark.parametrize(
    "path", ["intercept.png", "coefficients.png", "importance.png", "receptive-field?y=3&x=4", "faces/faces/13.png"]
)
def test_each_shows_what_it_would_alone(client, path):
    assert content(client.get(f"{MODELS}/{NAMES[0]}/{path}")) == content(client.get(f"{MODELS}/alone/{path}"))


def test_each_is_scored_and_the_scores_are_kept(client, catalog):
    scores = client.get(f"{MODELS}/{NAMES[0]}/scores").json()
    assert scores["splits"] == client.get(f"{MODELS}/alone/scores").json()["splits"]
    assert client.get(f"{MODELS}/{NAMES[0]}").json()["scores"]["test"] == scores["splits"]["test"]["frame"]["model"]
    assert mrdist.info(catalog.url_of("models", "all"))["complete"] is True  # what is kept lies beside the store


def test_each_is_applied_and_downloaded(client):
    photograph = io.BytesIO()
    Image.fromarray(np.random.default_rng(1).integers(0, 256, (SIZE, SIZE, 3), np.uint8)).save(photograph, "png")
    sent = {"photograph": photograph.getvalue()}
    made = [content(client.post("/api/v1/synthesis", files=sent, data={"model": name})) for name in (NAMES[0], "alone")]
    assert made[0] == made[1]
    matrices = [
        scipy.sparse.load_npz(io.BytesIO(content(client.get(f"{MODELS}/{name}/download?format=csr"))))
        for name in (NAMES[0], "alone")
    ]
    assert (matrices[0] != matrices[1]).nnz == 0
    with zipfile.ZipFile(io.BytesIO(content(client.get(f"{MODELS}/{NAMES[1]}/download")))) as store:
        assert "all-neutral-sad.zarr/zarr.json" in store.namelist()


def test_all_of_them_are_downloaded_together(client, tmp_path):
    with zipfile.ZipFile(io.BytesIO(content(client.get(f"{MODELS}/all/download")))) as store:
        store.extractall(tmp_path)
    assert list(mrdist.info(tmp_path / "all.zarr")["mappings"]) == [name.partition(":")[2] for name in NAMES]


@pytest.mark.parametrize("path", ["", "/scores", "/importance.png", "/faces/faces/0.png", "/download?format=csr"])
def test_who_asks_for_all_as_if_they_were_one_hears_a_name(client, path):
    answer = client.get(f"{MODELS}/all{path}")
    assert (answer.status_code, answer.json()["detail"]) == (
        409,
        "model 'all' holds 4 mappings, each a model of its own: name one, such as 'all:neutral-Happy'.",
    )


@pytest.mark.parametrize("name", ["all:neutral-angry", "alone:neutral-Happy", "none:neutral-Happy"])
def test_one_that_is_not_there(client, name):
    answer = client.get(f"{MODELS}/{name}")
    assert (answer.status_code, f"no model {name!r}" in answer.json()["detail"]) == (404, True)


@pytest.mark.parametrize("name", ["all:", "all:..-..", "all:neutral-Happy:sad", "all:zarr.json", ":neutral-Happy"])
def test_names_lead_nowhere_else(client, name):
    assert client.get(f"{MODELS}/{name}").status_code == 422


def test_one_in_the_making_is_named_by_its_job(client, catalog):
    commands.damage(catalog.url_of("models", "all"), "complete", lambda _: False)
    try:
        listed = {model["name"]: model for model in app(catalog).get(MODELS).json()["models"]}
        assert list(listed) == ["all", "alone"]
        assert (listed["all"]["complete"], listed["all"]["problem"]) == (False, None)
    finally:
        commands.damage(catalog.url_of("models", "all"), "complete", lambda _: True)


def test_they_are_deleted_together(catalog, client):
    answer = client.delete(f"{MODELS}/{NAMES[0]}")
    assert (answer.status_code, "delete 'all'" in answer.json()["detail"]) == (409, True)
    assert client.delete(f"{MODELS}/all:neutral-angry").status_code == 404
    assert client.delete(f"{MODELS}/all").status_code == 204
    assert [model["name"] for model in client.get(MODELS).json()["models"]] == ["alone"]
    assert not [path for path in Path(catalog.url, "models").iterdir() if path.name.startswith("all")]
