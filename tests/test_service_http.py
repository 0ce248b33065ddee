"""What every HTTP client may expect of the service: HEAD, ETags, parameters that are read, fields as they were sent."""

import pytest
from fastapi.testclient import TestClient

import mrdist
from mrdist.service.app import create_app
from mrdist.service.catalog import Catalog
from mrdist.service.settings import Settings

PICTURE = "/api/v1/datasets/faces/rows/0/happy.png"
MAP = "/api/v1/models/smile/intercept.png"
PAIR = {"images": "faces", "source": "neutral", "target": "happy"}


@pytest.fixture(scope="module")
def client(tmp_path_factory):
    catalog = Catalog.open(str(tmp_path_factory.mktemp("http") / "catalog"))
    faces = catalog.url_of("datasets", "faces")
    mrdist.generate(faces, images=6, size=32, labels=("neutral", "happy"), workers=0, progress=False)
    model = catalog.url_of("models", "smile")
    mrdist.train(faces, model, source="neutral", target="happy", workers=0, progress=False)
    return TestClient(create_app(catalog, Settings(workers=0)), base_url="http://127.0.0.1", follow_redirects=False)


def paths_of(client):
    """Return the path of every GET, with parameters of what is there."""
    values = {"name": "faces", "dataset": "faces", "row": "0", "label": "happy", "path": "css/base.css"}
    for path, methods, name in client.app.state.known_routes:
        if "GET" in methods:
            filled = path.replace("{name}", "smile") if "/models" in path else path
            for part, value in values.items():
                filled = filled.replace(f"{{{part}}}", value).replace(f"{{{part}:path}}", value)
            yield name, filled.replace("{job}", "20261125t093000123456-0f3a9c2e")


def test_head_is_get_without_its_content(client):
    for name, path in paths_of(client):
        if name == "get_metrics":  # counts this request, too
            continue
        got, head = client.get(path), client.head(path)
        assert (head.status_code, head.content) == (got.status_code, b""), path
        told = {field: value for field, value in got.headers.items() if field not in ("date", "server-timing")}
        assert {field: head.headers.get(field) for field in told} == told, path


def test_allowed_methods_are_told_with_head(client):
    assert client.put("/api/v1/jobs").headers["allow"] == "DELETE, GET, HEAD, POST"


@pytest.mark.parametrize("path", [PICTURE, MAP])
def test_what_a_client_has_is_not_sent_again(client, path):
    etag = client.get(path).headers["etag"]
    for known in (etag, f"W/{etag}", f'"other", {etag}', f'W/"other",W/{etag} ', "*"):
        answer = client.get(path, headers={"if-none-match": known})
        assert (answer.status_code, answer.content, answer.headers["etag"]) == (304, b"", etag), known
    for known in ('"other"', etag.strip('"'), ""):
        assert client.get(path, headers={"if-none-match": known}).status_code == 200, known


def test_whatever_has_an_etag_is_not_sent_again(client):
    marked = {name: (path, etag) for name, path in paths_of(client) if (etag := client.get(path).headers.get("etag"))}
    assert {"download_model", "get_dataset_picture", "get_model_face", "get_static"} <= set(marked)
    for name, (path, etag) in marked.items():
        answer = client.get(path, headers={"if-none-match": etag})
        assert (answer.status_code, answer.content) == (304, b""), name


def test_parameters_that_nobody_reads_are_refused(client):
    described = client.get("/openapi.json").json()["paths"]
    for name, path in paths_of(client):
        if path.startswith("/api/"):
            answer = client.get(path, params={"offzet": 3})
            assert (answer.status_code, "'offzet'" in answer.json()["detail"]) == (422, True), name
    assert "before, limit, search, state" in client.get("/api/v1/jobs?offset=3").json()["detail"]
    known = {each["name"] for each in described["/api/v1/datasets/{name}/rows"]["get"]["parameters"]}
    assert {"offset", "limit", "split"} <= known
    assert client.get("/api/v1/datasets/faces/rows?offset=1&limit=2").status_code == 200
    assert client.get("/api/v1/models/smile/importance.png?radius=0.5").status_code == 200
    assert client.get("/?model=smile").status_code == 200


def test_parameters_that_are_there_twice_are_refused(client):
    answer = client.get("/api/v1/jobs?limit=1&limit=2")
    assert (answer.status_code, answer.json()["detail"]) == (
        422,
        "the parameter 'limit' is there 2 times; send it once.",
    )
    two = "job=20261125t093000123456-0f3a9c2e&job=20261125t093000123456-0f3a9c2f"
    assert len(client.delete(f"/api/v1/jobs?{two}").json()["kept"]) == 2


@pytest.mark.parametrize(
    ("verb", "options", "words"),
    [
        ("train", {**PAIR, "colour": "joint"}, "invalid colour (got 'joint')"),
        ("train", {**PAIR, "images": "../faces"}, "invalid images (got '../faces')"),
        ("generate", {"images": 0}, "invalid images (got 0)"),
        ("generate", {"images": 4, "labels": ["neutral", 5]}, "invalid labels.1 (got 5)"),
    ],
)
def test_fields_are_named_as_they_were_sent(client, verb, options, words):
    answer = client.post("/api/v1/jobs", json={"verb": verb, "name": "other", "options": options})
    assert answer.status_code == 422
    assert words in answer.json()["detail"]


def test_a_missing_field_is_named(client):
    detail = client.post("/api/v1/jobs", json={"verb": "train", "name": "other", "options": {}}).json()["detail"]
    assert detail.startswith("invalid images: ")
    assert (
        client.post("/api/v1/jobs", json={"verb": "train", "options": PAIR})
        .json()["detail"]
        .startswith("invalid name: ")
    )


@pytest.mark.parametrize("method", ["mr", "l2", "pca", "kernel", "l1", "l0", "morph", "mean"])
@pytest.mark.parametrize("block", [[0, 16], [-16, 16], [16, 0]])
def test_blocks_that_are_none_are_refused(client, method, block):
    for path in ("/api/v1/jobs", "/api/v1/plans"):
        body = {"verb": "train", "options": {**PAIR, "method": method, "block": block}}
        answer = client.post(path, json=body if "plans" in path else {**body, "name": "other"})
        assert answer.status_code == 422, answer.text
