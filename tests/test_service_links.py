"""Links in a catalogue: what they lead to can be read, and is never changed."""

import commands
import pytest
from fastapi.testclient import TestClient

import mrdist
from mrdist.service.app import create_app
from mrdist.service.catalog import Catalog
from mrdist.service.settings import Settings

PAIR = {"source": "neutral", "target": "happy"}
KINDS = ("datasets", "models", "comparisons")


@pytest.fixture(scope="module")
def outside(tmp_path_factory):
    """Stores of every kind, outside the catalogue."""
    folder = tmp_path_factory.mktemp("outside")
    faces = folder / "datasets.zarr"
    mrdist.generate(faces, images=6, size=32, labels=("neutral", "happy"), workers=0, progress=False)
    mrdist.train(faces, folder / "models.zarr", **PAIR, workers=0, progress=False)
    (folder / "comparisons.compared").mkdir()
    (folder / "comparisons.compared/compare.json").write_text("{}")
    (folder / "comparisons.compared/compare.png").write_bytes(b"")
    return folder


@pytest.fixture
def service(outside, tmp_path):
    """A client of a service whose stores are all links."""
    catalog = Catalog.open(str(tmp_path / "catalog"))
    for store in outside.iterdir():
        (tmp_path / "catalog" / store.stem / f"linked{store.suffix}").symlink_to(store)
    return TestClient(create_app(catalog, Settings(workers=0)), base_url="http://127.0.0.1")


def test_what_links_lead_to_is_listed_and_read(service):
    for kind in ("datasets", "models"):
        (found,) = service.get(f"/api/v1/{kind}").json()[kind]
        assert (found["name"], found["complete"]) == ("linked", True)
    assert service.get("/api/v1/comparisons").json() == {"comparisons": ["linked"]}
    assert service.get("/api/v1/models/linked/download").status_code == 200
    assert service.get("/api/v1/datasets/linked/rows/0/happy.png").status_code == 200


@pytest.mark.parametrize("kind", KINDS)
def test_deleting_a_link_removes_the_link_alone(service, outside, tmp_path, kind):
    before = commands.files(outside)
    assert service.delete(f"/api/v1/{kind}/linked").status_code == 204
    assert service.get(f"/api/v1/{kind}/linked").status_code == 404
    assert not any(path.is_symlink() for path in (tmp_path / "catalog" / kind).iterdir())
    assert commands.files(outside) == before


@pytest.mark.parametrize("kind", KINDS)
def test_links_inside_of_a_store_go_with_it_and_nothing_else(service, tmp_path, kind):
    store = tmp_path / "catalog" / kind / f"own{'.compared' if kind == 'comparisons' else '.zarr'}"
    store.mkdir()
    other = tmp_path / "other"
    other.mkdir()
    (other / "file").write_text("of somebody else")
    root = "compare.json" if kind == "comparisons" else "zarr.json"
    (other / root).write_text("{}")
    (store / root).symlink_to(other / root)
    (store / "folder").symlink_to(other)
    assert service.delete(f"/api/v1/{kind}/own").status_code == 204
    assert not store.exists()
    assert sorted(path.name for path in other.iterdir()) == sorted(["file", root])


REQUESTS = {
    "train": {"images": "linked", **PAIR},
    "compare": {"images": "linked", **PAIR},
    "generate": {"images": 4, "size": 32},
    "ingest": {"source": "people"},
}


@pytest.mark.parametrize("verb", REQUESTS)
@pytest.mark.parametrize("there", [True, False])
def test_jobs_do_not_write_through_links(service, outside, tmp_path, verb, there):
    """Neither into a store that is not complete, nor where a link leads to nothing yet."""
    kind = {"train": "models", "compare": "comparisons"}.get(verb, "datasets")
    name = "half" if there else "dangling"
    target = tmp_path / "target"
    if there:
        target.mkdir()
    (tmp_path / "catalog/sources/people").mkdir()
    (tmp_path / "catalog" / kind / f"{name}{'.compared' if kind == 'comparisons' else '.zarr'}").symlink_to(target)
    answer = service.post("/api/v1/jobs", json={"verb": verb, "name": name, "options": REQUESTS[verb]})
    assert (answer.status_code, "is a link" in answer.json()["detail"]) == (409, True), answer.text
    assert service.get("/api/v1/jobs").json()["jobs"] == []
    assert not any(target.iterdir()) if there else not target.exists()


def test_an_overwritten_link_is_replaced_and_not_followed(outside, tmp_path):
    """The command line, too, leaves alone what a link leads to."""
    before = commands.files(outside)
    (tmp_path / "linked.zarr").symlink_to(outside / "models.zarr")
    how = {**PAIR, "workers": 0, "progress": False}
    mrdist.train(outside / "datasets.zarr", tmp_path / "linked.zarr", **how, receptive_field=5, overwrite=True)
    assert not (tmp_path / "linked.zarr").is_symlink()
    assert commands.files(outside) == before
