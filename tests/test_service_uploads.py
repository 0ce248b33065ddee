"""Photographs of clients come into the catalogue's sources, nowhere else, and are understood before the ingest."""

from __future__ import annotations

import asyncio
import io
import threading

import httpx2
import numpy as np
import pytest
from fastapi.testclient import TestClient
from PIL import Image

import mrdist
from mrdist.service import uploads
from mrdist.service.app import create_app
from mrdist.service.catalog import Catalog
from mrdist.service.runner import Order, run
from mrdist.service.settings import Settings

SOURCES = "/api/v1/sources"
SETTINGS = Settings(workers=0, max_upload_bytes=100_000)


@pytest.fixture
def catalog(tmp_path):
    return Catalog.open(str(tmp_path / "catalog"))


@pytest.fixture
def client(catalog):
    return TestClient(create_app(catalog, SETTINGS), base_url="http://127.0.0.1")


def picture(seed=0, side=24):
    stream = io.BytesIO()
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, (side, side, 3), np.uint8)).save(stream, "png")
    return stream.getvalue()


def send(client, path, content=None, source="mine"):
    files = {"photograph": ("photograph", picture() if content is None else content)}
    return client.post(f"{SOURCES}/{source}/photographs", files=files, data={"path": path})


def test_photographs_are_sent_understood_and_ingested(client, catalog):
    for person in range(10):
        for label in ("neutral", "happy") if person else ("neutral",):
            answer = send(client, f"{label}/p{person}.png", picture(person))
            assert (answer.status_code, answer.json()["path"]) == (201, f"{label}/p{person}.png"), answer.text
    assert "mine" in client.get(SOURCES).json()["sources"]
    found = client.get(f"{SOURCES}/mine/people").json()
    assert (found["people"], found["whole"], found["labels"]) == (10, 9, {"happy": 9, "neutral": 10})
    assert sum(found["splits"].values()) == found["takes"] == 10
    assert (found["n_left_out"], list(found["left_out"].values())) == (
        1,
        ["the person has no photograph with this label"],
    )
    assert str(catalog.url) not in str(found)
    request = {"verb": "ingest", "name": "mine", "options": {"source": "mine", "align": "none"}}
    job = client.post("/api/v1/jobs", json=request).json()
    assert run(Order(catalog.url, job["id"], SETTINGS)) == 0
    described = mrdist.info(catalog.url_of("datasets", "mine"))
    assert (described["images"], described["present"]) == (found["takes"], found["labels"])
    assert described["splits"] == found["splits"]


def test_what_is_sent_again_changes_nothing(client):
    assert send(client, "a/one.png").status_code == 201
    assert send(client, "a/one.png").status_code == 201
    answer = send(client, "a/one.png", picture(1))
    assert (answer.status_code, "another file" in answer.json()["detail"]) == (409, True)
    assert (send(client, "a/one.png/two.png").status_code, send(client, "a/two.png").status_code) == (409, 201)


OUTSIDE = ("../out.png", "a/../../out.png", "/etc/out.png", "..\\out.png", "a//b.png", "a/.b/c.png", f"{'a/' * 8}b.png")
UNUSUAL = (".hidden.png", "", "a\0.png", "é.png", "a\n.png")


@pytest.mark.parametrize("path", [*OUTSIDE, *UNUSUAL])
def test_no_place_leads_out_of_the_source(client, tmp_path, path):
    assert send(client, path).status_code == 422
    assert not [found for found in tmp_path.rglob("*") if found.suffix == ".png"]


@pytest.mark.parametrize("path", ["list.csv", "list.txt", "run.py", "faces.zip", "png", "a.png.parquet"])
def test_manifests_and_other_files_are_not_taken(client, path):
    answer = send(client, path)
    assert (answer.status_code, "no photograph or landmark file" in answer.json()["detail"]) == (422, True)


@pytest.mark.parametrize("source", ["Mine", ".mine", "..", "a b", "x" * 64])
def test_names_of_sources_are_those_of_the_catalogue(client, source):
    assert send(client, "one.png", source=source).status_code in (404, 422)


def test_links_are_not_followed_out_of_the_catalogue(client, catalog, tmp_path):
    outside = tmp_path / "outside"
    outside.mkdir()
    (tmp_path / "catalog" / "sources" / "linked").symlink_to(outside)
    assert send(client, "one.png", source="linked").status_code == 422
    assert send(client, "a/one.png", source="linked").status_code == 422
    assert not list(outside.iterdir())


def test_what_clients_send_is_never_run_as_a_model(client):
    """Whatever is in it: the parsers of models are native code, and trust them."""
    send(client, "a/happy.png")
    send(client, "a/neutral.png")
    assert send(client, "a/face.task").status_code == 422
    options = {"source": "mine", "landmark_model": "mine/a/happy.png", "align": "landmarks"}
    answer = client.post("/api/v1/jobs", json={"verb": "ingest", "name": "faces", "options": options})
    assert (answer.status_code, "must be a .task file" in answer.json()["detail"]) == (422, True)


@pytest.mark.parametrize(
    "form",
    [
        [("path", "a.png"), ("path", "b.png"), ("photograph", b"1")],
        [("path", "a.png"), ("photograph", b"1"), ("photograph", b"2")],
        [("path", "a.png"), ("photograph", b"1"), ("label", "happy")],
        [("path", "a.png"), ("photograph", "no file")],
        [("path", "a.png")],
        [("photograph", b"1")],
    ],
)
def test_a_form_holds_one_photograph_and_its_path(client, form):
    parts = [(name, (None, value) if isinstance(value, str) else ("a.png", value)) for name, value in form]
    answer = client.post(f"{SOURCES}/mine/photographs", files=parts)
    detail = answer.json()["detail"]
    assert (answer.status_code, detail.count("."), "Error" in detail, "class" in detail) == (422, 1, False, False)


def test_few_files_are_in_memory_at_once(client, monkeypatch):
    """However many are sent: the others wait on the disk."""
    begun, go = threading.Semaphore(0), threading.Event()

    def keep(*_):
        begun.release()
        assert go.wait(60)

    async def send_all():
        async with httpx2.AsyncClient(transport=httpx2.ASGITransport(client.app), base_url="http://127.0.0.1") as many:
            photograph = {"photograph": ("a.png", picture())}
            path = f"{SOURCES}/mine/photographs"
            sent = [asyncio.create_task(many.post(path, files=photograph, data={"path": f"{n}.png"})) for n in range(9)]
            for _ in range(uploads._AT_ONCE):
                assert await asyncio.to_thread(begun.acquire, timeout=60)
            more = await asyncio.to_thread(begun.acquire, timeout=0.2)
            go.set()
            return more, {answer.status_code for answer in await asyncio.gather(*sent)}

    monkeypatch.setattr(uploads, "keep", keep)
    assert asyncio.run(send_all()) == (False, {201})


def test_limits_are_told_and_kept(client, monkeypatch):
    limits = client.get(SOURCES).json()
    assert (limits["file_bytes"], ".jpg" in limits["endings"], ".csv" in limits["endings"]) == (100_000, True, False)
    assert send(client, "large.png", b"0" * 120_000).status_code == 413
    monkeypatch.setattr(uploads, "_KEPT_FREE", 1 << 62)
    answer = send(client, "one.png")
    assert (answer.status_code, "bytes free" in answer.json()["detail"]) == (507, True)


def test_a_source_that_holds_nothing_is_told(client):
    assert client.get(f"{SOURCES}/none/people").status_code == 404
    send(client, "lonely.tem", b"1")
    answer = client.get(f"{SOURCES}/mine/people")
    assert (answer.status_code, answer.json()["detail"][-1]) == (422, ".")
