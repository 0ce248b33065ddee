"""A service whose catalogue holds a linked store: listed, trained, shown and scored, and none made over HTTP."""

from __future__ import annotations

import io
from types import SimpleNamespace

import commands
import numpy as np
import pytest
import zarr
from fastapi.testclient import TestClient
from PIL import Image

import mrdist
from mrdist.service.app import create_app
from mrdist.service.catalog import Catalog
from mrdist.service.runner import Order, run
from mrdist.service.settings import Settings

API = "/api/v1"
SHAPE = (20, 32, 28)
PAIR = {"source": "coarse", "target": "fine"}


@pytest.fixture(scope="module")
def service(tmp_path_factory):
    """A service in this process, and a dataset that is linked to two fields with land."""
    folder = tmp_path_factory.mktemp("served")
    catalog = Catalog.open(f"{folder}/catalog")
    group, rng = zarr.create_group(f"{folder}/climate.zarr"), np.random.default_rng(0)
    for name in PAIR.values():
        values = 280 + rng.normal(0, 1, SHAPE).cumsum(axis=1).astype("f4")
        values[:, 4:9, 3:11] = np.nan
        names = {"dimension_names": ("time", "lat", "lon"), "attributes": {"units": "K"}}
        group.create_array(name, data=values, chunks=(5, 16, 28), **names)
    url = catalog.url_of("datasets", "climate")
    mrdist.link(url, {name: f"{folder}/climate.zarr/{name}" for name in PAIR.values()})
    settings = Settings(workers=0)
    client = TestClient(create_app(catalog, settings), base_url="http://127.0.0.1")
    return SimpleNamespace(catalog=catalog, client=client, url=url, settings=settings, folder=folder)


def told(answer, status=200):
    assert answer.status_code == status, answer.text
    return answer.json()


def done(service, verb, name, **options):
    body = {"verb": verb, "name": name, "options": {"images": "climate", **options}}
    job = told(service.client.post(f"{API}/jobs", json=body), 202)
    assert run(Order(service.catalog.url, job["id"], service.settings)) == 0
    job = told(service.client.get(f"{API}/jobs/{job['id']}"))
    assert (job["state"], job["last_error"]) == ("done", None)
    return job


@pytest.fixture(scope="module")
def model(service):
    return done(service, "train", "downscaling", **PAIR, receptive_field=3, alpha=0.4)


def test_it_is_listed_and_its_pictures_are_those_of_its_pixels(service):
    (listed,) = told(service.client.get(f"{API}/datasets"))["datasets"]
    assert (listed["complete"], listed["shape"], listed["dtype"]) == (True, [32, 28], "float32")
    assert told(service.client.get(f"{API}/datasets/climate"))["present"] == {"coarse": 20, "fine": 20}
    assert told(service.client.get(f"{API}/datasets/climate/rows"))["total"] == 20
    picture = service.client.get(f"{API}/datasets/climate/rows/3/fine.png")
    assert picture.status_code == 200
    shares = mrdist.storage.Images.open(service.url).read("fine", [3])[0, ..., 0]
    np.testing.assert_allclose(np.asarray(Image.open(io.BytesIO(picture.content))), shares * 255, atol=0.51)


def test_it_trains_to_the_bytes_of_the_shell_with_its_scores(service, model, tmp_path):
    how = {"receptive_field": 3, "alpha": 0.4, "workers": 0, "progress": False}
    report = mrdist.train(service.url, str(tmp_path / "w.zarr"), **PAIR, **how)
    commands.assert_equal_bytes(service.catalog.url_of("models", "downscaling"), tmp_path / "w.zarr")
    assert model["scores"] == report.scores


def test_what_it_taught_is_shown_and_applied(service, model):
    told(service.client.get(f"{API}/models"))
    one = told(service.client.get(f"{API}/models/downscaling"))
    assert one["dataset"] == "climate"
    for path in ("faces/climate/3.png", "importance.png", "intercept.png", "coefficients.png"):
        answer = service.client.get(f"{API}/models/downscaling/{path}")
        assert answer.status_code == 200, (path, answer.text)
        assert Image.open(io.BytesIO(answer.content)).size[0] >= 28
    field = told(service.client.get(f"{API}/models/downscaling/receptive-field", params={"y": 20, "x": 20}))
    assert len(field["weights"]) == 9
    plan = {"options": {"images": "climate", **PAIR, "method": "mr"}}
    assert told(service.client.post(f"{API}/plans", json=plan))["n_blocks"] >= 1


def test_its_scores_have_units_and_hide_no_model(service, model):
    answer = service.client.get(f"{API}/models/downscaling/scores", params={"dataset": "climate"})
    assert told(answer)["splits"]["test"]["frame"]["model"]["units"] == "K"
    (listed,) = told(service.client.get(f"{API}/models"))["models"]
    assert (listed["complete"], listed["scores"]["test"]["units"]) == (True, "K")
    assert told(service.client.get(f"{API}/datasets"))["datasets"][0]["linked"]


def test_methods_are_compared_on_it(service):
    done(service, "compare", "methods", **PAIR, methods=["mr", "identity"])
    assert told(service.client.get(f"{API}/comparisons/methods"))["complete"]


def test_a_method_of_faces_is_refused_with_what_to_do(service):
    options = {"images": "climate", **PAIR, "method": "morph"}
    body = {"verb": "train", "name": "no", "options": options}
    answer = service.client.post(f"{API}/jobs", json=body)
    assert "choose another method, which needs none, or ingest" in told(answer, 422)["detail"]
    with pytest.raises(mrdist.errors.DataError, match="choose another method, which needs none, or ingest"):
        mrdist.train(service.url, f"{service.folder}/no.zarr", **PAIR, method="morph", workers=0)


@pytest.mark.parametrize("address", ["/etc", "file:///etc", "s3://bucket/x.zarr/a", "http://169.254.169.254/x"])
def test_no_request_can_link_an_address(address, service):
    """Whoever may ask a service must not have it open files or addresses of their choice."""
    for body in (
        {"verb": "link", "name": "mine", "options": {"arrays": {"a": address}}},
        {"verb": "ingest", "name": "mine", "options": {"source": address}},
        {"verb": "train", "name": "mine", "options": {"images": address, **PAIR}},
    ):
        assert service.client.post(f"{API}/jobs", json=body).status_code == 422
    for body in ({"name": "mine", "link": {"arrays": {"a": address}}}, {"name": "mine", "ingest": {"source": address}}):
        assert service.client.post(f"{API}/datasets", json=body).status_code == 422
    assert "mine" not in service.catalog.names("datasets")


def test_deleting_it_leaves_the_arrays(service):
    other = service.catalog.url_of("datasets", "other")
    mrdist.link(other, {"fine": f"{service.folder}/climate.zarr/fine"})
    assert service.client.delete(f"{API}/datasets/other").status_code == 204
    assert "other" not in service.catalog.names("datasets")
    assert zarr.open_array(f"{service.folder}/climate.zarr/fine", mode="r").shape == SHAPE
