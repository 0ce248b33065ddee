"""One store that cannot be described never hides the others of its kind."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

import mrdist
from mrdist.service.app import create_app
from mrdist.service.catalog import Catalog
from mrdist.service.settings import Settings

WORK = {"workers": 0, "progress": False}


@pytest.fixture
def catalog(tmp_path):
    """Two datasets and two models."""
    catalog = Catalog.open(str(tmp_path / "catalog"))
    for name in ("one", "two"):
        images = catalog.url_of("datasets", name)
        mrdist.generate(images, images=8, size=16, labels=["neutral", "happy"], **WORK)
        mrdist.train(images, catalog.url_of("models", name), source="neutral", target="happy", **WORK)
    return catalog


def spoil(store, change):
    root = Path(store) / "zarr.json"
    content = json.loads(root.read_text())
    change(content["attributes"])
    root.write_text(json.dumps(content))


def test_a_description_by_somebody_else_is_told_and_the_rest_listed(catalog):
    spoil(catalog.url_of("models", "one"), lambda told: told["mrdist"]["training"].update(alpha={"of": "somebody"}))
    client = TestClient(create_app(catalog, Settings(workers=0)), base_url="http://127.0.0.1")
    answer = client.get("/api/v1/models")
    assert answer.status_code == 200
    one, two = answer.json()["models"]
    assert (one["name"], one["complete"], two["complete"]) == ("one", False, True)
    assert "somebody" in one["problem"]
    assert one["problem"].endswith("make it again.")
    assert client.get("/api/v1/datasets").json()["datasets"][0]["complete"]
