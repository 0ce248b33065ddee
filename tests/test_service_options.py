"""Every option of every verb, alone, is taken or refused in a sentence: none is unknown to what checks the request."""

from __future__ import annotations

import io

import numpy as np
import pytest
from fastapi.testclient import TestClient
from PIL import Image

import mrdist
from mrdist.service.app import create_app
from mrdist.service.catalog import Catalog
from mrdist.service.requests import CompareOptions, GenerateOptions, IngestOptions, TrainOptions
from mrdist.service.settings import Settings

VERBS = {"train": TrainOptions, "compare": CompareOptions, "generate": GenerateOptions, "ingest": IngestOptions}
NEEDED = {
    "train": {"images": "faces", "source": "neutral", "target": "happy"},
    "compare": {"images": "faces", "source": "neutral", "target": "happy"},
    "generate": {"images": 4, "size": 32},
    "ingest": {"source": "people"},
}
NAMES = {
    "source": "people",
    "dataset": "faces",
    "reference": "faces",
    "images": "faces",
    "landmark_model": "people/a/neutral.png",
}


@pytest.fixture(scope="module")
def client(tmp_path_factory):
    catalog = Catalog.open(str(tmp_path_factory.mktemp("options") / "catalog"))
    mrdist.generate(catalog.url_of("datasets", "faces"), images=6, size=32, workers=0, progress=False)
    client = TestClient(create_app(catalog, Settings(workers=0)), base_url="http://127.0.0.1")
    stream = io.BytesIO()
    Image.fromarray(np.zeros((32, 32, 3), np.uint8)).save(stream, "png")
    for label in ("neutral", "happy"):
        files, form = {"photograph": ("a.png", stream.getvalue())}, {"path": f"a/{label}.png"}
        assert client.post("/api/v1/sources/people/photographs", files=files, data=form).status_code == 201
    return client


def value_of(name, schema):
    """Return a value that a schema allows, the smallest of numbers."""
    if name in NAMES:
        return NAMES[name]
    if "enum" in schema:
        return schema["enum"][0]
    if "const" in schema:
        return schema["const"]
    if "anyOf" in schema:
        return value_of(name, schema["anyOf"][0])
    kind = schema["type"]
    if kind == "array":
        return [value_of(name, schema["items"])] * schema.get("minItems", 1)
    if kind == "object":
        return {}
    if kind in ("integer", "number"):
        return schema.get("minimum", schema.get("exclusiveMinimum", 0) + 1)
    return {"boolean": True, "string": "2GiB" if name == "max_memory" else "happy"}[kind]


LABELS = {("source", "train"), ("source", "compare")}
CASES = [(verb, name) for verb, model in VERBS.items() for name in model.model_fields]


@pytest.mark.parametrize(("verb", "name"), CASES)
def test_an_option_is_known_to_the_check_of_its_verb(client, verb, name):
    schema = VERBS[verb].model_json_schema()["properties"][name]
    value = "neutral" if (name, verb) in LABELS else value_of(name, schema)
    options = NEEDED[verb] | {name: value}
    body = {"verb": verb, "name": f"new-{verb}-{name.replace('_', '-')}", "options": options}
    answer = client.post("/api/v1/jobs", json=body)  # raises what the service does not expect
    assert answer.status_code in (202, 409, 422), answer.text
    if verb == "train":
        del body["name"]
        assert client.post("/api/v1/plans", json=body).status_code in (200, 422)
