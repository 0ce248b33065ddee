"""Every option of every verb, alone, is taken or refused in a sentence: none is unknown to what checks the request."""

from __future__ import annotations

import io
import shlex
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from fastapi.testclient import TestClient
from PIL import Image

import mrdist
from mrdist.cli.main import commands
from mrdist.methods.option_table import SHARED
from mrdist.service.app import create_app
from mrdist.service.catalog import Catalog
from mrdist.service.client import Client
from mrdist.service.command_lines import command_line
from mrdist.service.requests import CompareOptions, GenerateOptions, IngestOptions, TrainOptions
from mrdist.service.settings import Settings

VERBS = {"train": TrainOptions, "compare": CompareOptions, "generate": GenerateOptions, "ingest": IngestOptions}
NEEDED = {
    "train": {"images": "faces", "source": "neutral", "target": "happy"},
    "compare": {"images": "faces", "source": "neutral", "target": "happy"},
    "generate": {"images": 4, "size": 32},
    "ingest": {"source": "people"},
}
VALUES = {
    "dataset": "faces",
    "reference": "faces",
    "landmark_model": "people/a/face.task",
    "max_memory": "2GiB",
    "rename": {"happy": "glad"},
    "size": 32,
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
    Path(catalog.url, "sources/people/a/face.task").write_bytes(b"no model")
    return client


def value_of(name, schema):
    """Return a value that a schema allows, the smallest of numbers."""
    if name in VALUES:
        return VALUES[name]
    if "enum" in schema:
        return schema["enum"][0]
    if "const" in schema:
        return schema["const"]
    if "anyOf" in schema:
        return value_of(name, schema["anyOf"][0])
    kind = schema["type"]
    if kind == "array":
        return [value_of(name, schema["items"])] * schema.get("minItems", 1)
    if kind in ("integer", "number"):
        return schema.get("minimum", schema.get("exclusiveMinimum", 0) + 1)
    return {"boolean": True, "string": "happy"}[kind]


def options_of(verb, name):
    """Return the options of a request that gives one, and what must be given."""
    schema = VERBS[verb].model_json_schema()["properties"][name]
    options = {name: value_of(name, schema)} | NEEDED[verb]
    if name == "mappings":
        del options["target"]
    return options


CASES = [(verb, name) for verb, model in VERBS.items() for name in model.model_fields]


@pytest.mark.parametrize(("verb", "name"), CASES)
def test_an_option_is_known_to_the_check_of_its_verb(client, verb, name):
    options = options_of(verb, name)
    body = {"verb": verb, "name": f"new-{verb}-{name.replace('_', '-')}", "options": options}
    answer = client.post("/api/v1/jobs", json=body)  # raises what the service does not expect
    assert answer.status_code in (202, 409, 422), answer.text
    if verb == "train" and name in SHARED:  # a plan measures for a while
        del body["name"]
        assert client.post("/api/v1/plans", json=body).status_code in (200, 422)


@pytest.mark.parametrize(("verb", "name"), CASES)
def test_the_command_of_a_job_submits_it_again(monkeypatch, verb, name):
    sent = []

    def ask(client, method, path, body, headers):
        sent.append(body)
        return {"id": "1", "state": "queued", "after": []}

    monkeypatch.setattr(Client, "ask", ask)
    given = VERBS[verb].model_validate(options_of(verb, name)).given()
    result = CliRunner().invoke(commands, shlex.split(command_line(verb, "new", given))[1:])
    assert result.exit_code == 0, result.output
    (body,) = sent
    assert (body["verb"], body["name"]) == (verb, "new")
    assert VERBS[verb].model_validate(body["options"]).given() == given
