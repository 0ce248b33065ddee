"""A download is the whole model or visibly none: unfinished, replaced and removed ones, clients that go away."""

import contextlib
import http.client
import io
import os
import shutil
import socket
import struct
import zipfile
from urllib.parse import urlsplit

import commands
import pytest
from fastapi.testclient import TestClient
from services import serving

import mrdist
from mrdist.service.app import create_app
from mrdist.service.catalog import Catalog
from mrdist.service.routes import downloads

BALLAST = 48 << 20  # more than the network holds on its way, so that the service must wait for the client


@pytest.fixture(scope="module")
def service(tmp_path_factory):
    """A service with a small model."""
    folder = tmp_path_factory.mktemp("downloads")
    faces = folder / "catalog/datasets/faces.zarr"
    mrdist.generate(faces, images=6, size=32, labels=("neutral", "happy"), workers=0, progress=False)
    how = {"source": "neutral", "target": "happy", "workers": 0, "progress": False}
    mrdist.train(faces, folder / "catalog/models/smile.zarr", **how)
    with serving(folder / "catalog", folder / "log", "--workers", 0) as found:
        found.models = folder / "catalog/models"
        yield found
    assert "Traceback" not in (folder / "log").read_text()


@pytest.fixture
def said(service):
    """Return a function that returns the lines of the log since the test began."""
    before = len(service.log.read_text())
    return lambda: service.log.read_text()[before:].splitlines()


@pytest.fixture
def model(service):
    """A copy of the model, `large`, with a large file that is read first."""
    path = shutil.copytree(service.models / "smile.zarr", service.models / "large.zarr")
    with (path / "0-ballast").open("wb") as stream:
        stream.truncate(BALLAST)
    yield path
    shutil.rmtree(path, ignore_errors=True)


def ask(service, path="/models/large/download"):
    """Ask for a download and read no more than the beginning of the answer."""
    address = urlsplit(service.url)
    connection = socket.socket()
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8192)
    connection.settimeout(60)
    connection.connect((address.hostname, address.port))
    connection.sendall(f"GET /api/v1{path} HTTP/1.1\r\nhost: {address.netloc}\r\n\r\n".encode())
    answer = http.client.HTTPResponse(connection)
    answer.begin()
    assert answer.status == 200
    return connection, answer


@pytest.mark.parametrize("form", ["zip", "csr"])
def test_an_unfinished_model_is_not_downloaded(service, model, form):
    commands.damage(model, "complete", lambda _: False)
    assert "'large' is not complete" in service.refusal(409, "GET", f"/models/large/download?format={form}")


def test_an_undisturbed_download_is_whole(service, model):
    connection, answer = ask(service)
    with connection, zipfile.ZipFile(io.BytesIO(answer.read())) as archive:
        assert archive.testzip() is None
        assert len(archive.namelist()) == sum(path.is_file() for path in model.rglob("*"))


def removed(model):
    shutil.rmtree(model)


def replaced(model):
    """The root was written anew, with the same content."""
    shutil.copy(model / "zarr.json", model / "anew")
    (model / "anew").replace(model / "zarr.json")


def half_deleted(model):
    (model / "zarr.json").unlink()


@pytest.mark.parametrize("change", [removed, replaced, half_deleted])
def test_a_model_that_changes_meanwhile_is_no_whole_download(service, said, model, change):
    connection, answer = ask(service)
    change(model)
    got = bytearray()
    with connection, contextlib.suppress(ConnectionError):
        got.extend(piece for pieces in iter(lambda: answer.read1(1 << 20), b"") for piece in pieces)
    assert len(got) < int(answer.headers["content-length"])
    with pytest.raises(zipfile.BadZipFile):
        zipfile.ZipFile(io.BytesIO(got))
    commands.wait_until(said, "the line of the log")
    (line,) = said()
    assert "broken off" in line


def test_a_matrix_of_a_model_that_changed_meanwhile_is_refused(service, monkeypatch):
    def changed(url, *args, **options):
        os.utime(f"{url}/zarr.json", (1, 1))
        return export(url, *args, **options)

    export = downloads.export
    monkeypatch.setattr(downloads, "export", changed)
    client = TestClient(create_app(Catalog.open(str(service.models.parent))), base_url="http://127.0.0.1")
    answer = client.get("/api/v1/models/smile/download?format=csr")
    assert (answer.status_code, "was replaced" in answer.json()["detail"]) == (409, True)


@pytest.mark.parametrize("reset", [False, True])
def test_a_client_that_goes_away_leaves_no_trace(service, said, model, reset):
    for path in ("/models/large/download", "/models/smile/download?format=csr"):
        connection, _ = ask(service, path)
        if reset:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        connection.close()
    assert service.ask("GET", "/models")["models"]
    assert said() == []


def test_an_upload_that_breaks_off_leaves_no_trace(service, said):
    address = urlsplit(service.url)
    for kind in ("application/json", "multipart/form-data; boundary=x"):
        head = f"POST /api/v1/synthesis HTTP/1.1\r\nhost: {address.netloc}\r\ncontent-type: {kind}\r\n"
        with socket.create_connection((address.hostname, address.port)) as connection:
            connection.sendall(f"{head}content-length: 99\r\n\r\n--x\r\n".encode())
    service.ask("GET", "/models")
    assert said() == []


def test_links_that_lead_out_of_a_model_are_not_packed(service, model, tmp_path):
    (tmp_path / "elsewhere").write_text("not of the model")
    (model / "link").symlink_to(tmp_path / "elsewhere")
    assert "link" in service.refusal(503, "GET", "/models/large/download")


@pytest.mark.slow
def test_a_service_that_ends_breaks_a_download_off(service, model, tmp_path):
    quickly = "from mrdist.service import server; server._END_SECONDS = 1"
    with serving(service.models.parent, tmp_path / "log", "--workers", 0, first=quickly) as ending:
        connection, answer = ask(ending)
        ending.process.terminate()
        ending.process.wait(30)
        with connection, pytest.raises((http.client.IncompleteRead, ConnectionError)):
            answer.read()
    said = (tmp_path / "log").read_text()
    assert "Traceback" not in said, said
