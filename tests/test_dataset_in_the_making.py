"""Who asks too early for work on a dataset hears which job makes it."""

from __future__ import annotations

import commands
import pytest
from fastapi.testclient import TestClient

import mrdist
from mrdist.service.app import create_app
from mrdist.service.catalog import Catalog
from mrdist.service.runner import Order, run
from mrdist.service.settings import Settings

LABELS = {"source": "neutral", "target": "happy"}
FACES = {"images": 16, "size": 32, "labels": [*LABELS.values()]}
TRAINING = {"images": "faces", **LABELS}
SMILE = {"verb": "train", "name": "smile", "options": TRAINING}
ASKED = {"jobs": SMILE, "plans": {"options": TRAINING}}


@pytest.fixture
def made(tmp_path):
    """A service that starts no jobs by itself, with one that makes faces in its queue."""
    catalog = Catalog.open(str(tmp_path / "catalog"))
    client = TestClient(create_app(catalog, Settings(workers=0)), base_url="http://127.0.0.1")
    job = client.post("/api/v1/jobs", json={"verb": "generate", "name": "faces", "options": FACES}).json()
    return client, catalog, job["id"]


@pytest.mark.parametrize("begun", [False, True])
def test_it_is_waited_for(made, begun):
    client, catalog, job = made
    if begun:
        url = catalog.url_of("datasets", "faces")
        mrdist.generate(url, **FACES, workers=0, progress=False)
        commands.damage(url, "complete", lambda _: False)
    assert client.post("/api/v1/jobs", json=SMILE).json()["after"] == [job]
    answer = client.post("/api/v1/plans", json={"options": TRAINING})
    assert answer.status_code == 409
    assert answer.json()["detail"] == (
        f"dataset 'faces' is not complete yet: job {job}, which makes it, is queued; wait until it is done "
        f"(`mrdist jobs {job}` shows its progress) and ask again."
    )


@pytest.mark.parametrize("path", ASKED)
def test_once_the_job_has_ended_the_request_is_judged_by_itself(made, path):
    client, catalog, job = made
    order = Order(catalog.url, job, Settings(workers=0))
    client.post(f"/api/v1/jobs/{job}/cancel")
    assert run(order) == 0
    answer = client.post(f"/api/v1/{path}", json=ASKED[path])
    assert (answer.status_code, "no dataset 'faces'" in answer.json()["detail"]) == (404, True)
    client.post(f"/api/v1/jobs/{job}/resume")
    assert run(order) == 0
    answer = client.post(f"/api/v1/{path}", json=ASKED[path])
    assert answer.status_code == {"jobs": 202, "plans": 200}[path], answer.text
