"""No answer tells where on the machine the catalogue lies, whatever has gone into it."""

import json
from pathlib import Path

import pytest
from fastapi.testclient import TestClient
from photographs import write_photographs

from mrdist.service.app import create_app
from mrdist.service.catalog import Catalog
from mrdist.service.runner import Order, run
from mrdist.service.settings import Settings

pytestmark = pytest.mark.slow

PAIR = {"images": "faces", "source": "neutral", "target": "happy"}
JOBS = {
    "faces": ("generate", {"images": 10, "size": 32, "labels": ["neutral", "happy"]}),
    "people": ("ingest", {"source": "people", "align": "none", "color": "gray"}),
    "smile": ("train", PAIR),
    "all": ("train", {"images": "faces", "source": "neutral", "target": "all"}),
    "both": ("compare", {**PAIR, "methods": ["mr", "identity"], "split": "train"}),
    "broken": ("train", PAIR),
}


@pytest.fixture(scope="module")
def asked(tmp_path_factory):
    """The catalogue, its jobs, and all answers in JSON by their path, after a job of every verb and one that fails."""
    folder = tmp_path_factory.mktemp("paths")
    catalog = Catalog.open(str(folder / "the 'place' of the \"catalogue\" ö"))
    write_photographs(Path(catalog.url, "sources/people"), 4)
    settings = Settings(workers=0)
    client = TestClient(create_app(catalog, settings), base_url="http://127.0.0.1")
    jobs = []
    for name, (verb, options) in JOBS.items():
        answer = client.post("/api/v1/jobs", json={"verb": verb, "name": name, "options": options})
        assert answer.status_code == 202, answer.text
        jobs.append(answer.json()["id"])
        hidden = Path(catalog.url, "datasets/faces.zarr/neutral")
        if name == "broken":
            hidden.rename(hidden.with_name("hidden"))
        run(Order(catalog.url, jobs[-1], settings))
    hidden.with_name("hidden").rename(hidden)
    values = {"dataset": ["faces"], "row": [0], "job": jobs, "name": list(JOBS)}
    found = {}
    for path, methods, _ in client.app.state.known_routes:
        for url in filled(path, values) if "GET" in methods and not path.endswith("/events") else ():
            answer = client.get(url)
            if "json" in answer.headers["content-type"]:
                found[url] = answer
    return catalog, dict(zip(JOBS, jobs, strict=True)), found


def filled(path, values):
    """Yield a route's path with all values of its parameters."""
    name = path.partition("{")[2].partition("}")[0]
    if not name:
        yield path
    for value in values.get(name, ()):
        yield from filled(path.replace(f"{{{name}}}", str(value)), values)


def test_no_answer_tells_the_place(asked):
    catalog, _, found = asked
    assert len(found) > 40
    place = json.dumps(str(catalog))[1:-1]
    for url, answer in found.items():
        for text in (answer.text, json.dumps(answer.json())):
            assert place not in text, url
            assert str(catalog) not in text, url


def test_what_is_below_the_catalogue_is_told_as_it_is_named_there(asked):
    _, jobs, found = asked
    result = {name: found[f"/api/v1/jobs/{job}/result"] for name, job in jobs.items()}
    assert [answer.status_code for answer in result.values()] == [200] * 5 + [409]
    assert "datasets/" in result["smile"].text or "models/" in result["smile"].text
    failed = found[f"/api/v1/jobs/{jobs['broken']}"].json()
    assert (failed["state"], "datasets/faces.zarr" in failed["last_error"]) == ("failed", True)
