"""What a service reads from its catalogue, in a folder or a bucket, and what it says when that or a cluster is away."""

import contextlib
import errno
import io
import json
import os
import pathlib
import socket
import subprocess
import sys

import boto3
import faulty_s3
import numpy as np
import pytest
from fastapi.testclient import TestClient
from moto.server import ThreadedMotoServer
from PIL import Image
from services import serving

import mrdist
from mrdist.service.app import create_app
from mrdist.service.catalog import Catalog
from mrdist.service.settings import Settings

FACES = {"labels": ["neutral", "happy"], "color": "gray"}
PAIR = {"images": "faces", "source": "neutral", "target": "happy"}
JOBS = "/api/v1/jobs"


@pytest.fixture(scope="module")
def catalog(tmp_path_factory):
    """A catalogue with the dataset `faces`."""
    folder = tmp_path_factory.mktemp("catalog")
    found = Catalog.open(str(folder))
    mrdist.generate(found.url_of("datasets", "faces"), images=20, size=32, workers=0, **FACES)
    return found


@pytest.fixture
def client(catalog):
    """A service whose queue nobody works on."""
    return TestClient(create_app(catalog, Settings(workers=0)), base_url="http://127.0.0.1")


def refusal(answer, status):
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    return answer.json()["detail"]


def test_datasets_are_described(client, catalog):
    (found,) = client.get("/api/v1/datasets").json()["datasets"]
    assert found == {
        "name": "faces",
        "complete": True,
        "images": 20,
        "subjects": 20,
        "shape": [32, 32],
        "channels": 1,
        "dtype": "uint8",
        "labels": ["neutral", "happy"],
        "present": {"neutral": 20, "happy": 20},
        "splits": {"test": 2, "train": 16, "val": 2},
        "bytes": sum(path.stat().st_size for path in pathlib.Path(catalog.url).glob("datasets/**/*") if path.is_file()),
        "linked": False,
        "problem": None,
    }
    assert client.get("/api/v1/datasets/faces").json()["provenance"]["seed"] == 0


def test_rows_are_listed_by_split_and_page(client):
    rows = client.get("/api/v1/datasets/faces/rows?split=train&offset=3&limit=2").json()
    images = mrdist.open_images(client.app.state.catalog.url_of("datasets", "faces"))
    train = np.flatnonzero(images.split.values == "train")
    assert rows["total"] == len(train) == 16
    assert [row["row"] for row in rows["rows"]] == train[3:5].tolist()
    assert rows["rows"][0]["subject"] == images.subject.values[train[3]]
    assert rows["rows"][0]["labels"] == ["neutral", "happy"]


def test_pictures_are_those_of_the_store(client):
    path = "/api/v1/datasets/faces/rows/7/happy.png"
    answer = client.get(path)
    assert answer.headers["content-type"] == "image/png"
    images = mrdist.open_images(client.app.state.catalog.url_of("datasets", "faces"))
    np.testing.assert_array_equal(Image.open(io.BytesIO(answer.content)), images.happy.values[7, ..., 0])
    assert Image.open(io.BytesIO(client.get(f"{path}?size=16").content)).size == (16, 16)
    again = client.get(path, headers={"if-none-match": answer.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    for wrong in ("rows/99/happy.png", "rows/0/angry.png", "rows/x/happy.png", "rows/0/happy.png?size=0"):
        assert client.get(f"/api/v1/datasets/faces/{wrong}").status_code in (404, 422)


def test_a_dataset_that_cannot_be_read_does_not_hide_the_others(client, catalog):
    broken = pathlib.Path(catalog.url, "datasets/broken.zarr")
    broken.mkdir()
    (broken / "zarr.json").write_text(json.dumps({"zarr_format": 3, "node_type": "group", "attributes": {}}))
    found = {each["name"]: each for each in client.get("/api/v1/datasets").json()["datasets"]}
    assert found["faces"]["complete"]
    assert "not a store of mrdist" in found["broken"]["problem"]
    assert "not a store of mrdist" in refusal(client.get("/api/v1/datasets/broken/rows"), 409)
    assert client.delete("/api/v1/datasets/broken").status_code == 204
    assert not broken.exists()


def test_a_full_disk_is_told_and_nothing_is_half_written(client, catalog, monkeypatch):
    opened = pathlib.Path.open

    def open_on_full_disk(path, mode="r", *args, **kwargs):
        if "x" in mode or "w" in mode:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return opened(path, mode, *args, **kwargs)

    monkeypatch.setattr(pathlib.Path, "open", open_on_full_disk)
    answer = client.post(JOBS, json={"verb": "train", "name": "full", "options": PAIR})
    assert "free some space" in refusal(answer, 507)
    monkeypatch.undo()
    assert client.get(JOBS).json() == {"jobs": [], "next": None}
    assert list(pathlib.Path(catalog.url, "jobs").iterdir()) == []


def test_more_faces_than_the_disk_holds_are_not_begun(client, monkeypatch):
    monkeypatch.setattr(Catalog, "free_bytes", lambda _: 10_000)
    body = {"verb": "generate", "name": "many", "options": {"images": 100, "size": 64}}
    assert "10000 free" in refusal(client.post(JOBS, json=body), 507)


def test_more_memory_than_the_machine_has_is_refused(client, monkeypatch):
    monkeypatch.setattr("mrdist.service.checks.memory_of_machine", lambda: 100 << 20)
    body = {"verb": "train", "name": "large", "options": PAIR}
    assert "the machine has 104857600" in refusal(client.post(JOBS, json=body), 422)


def test_a_catalogue_that_is_away_is_told(client, monkeypatch):
    def fail(*_, **__):
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr("fsspec.implementations.local.LocalFileSystem.ls", fail)
    for path in ("/readyz", "/api/v1/datasets", JOBS):
        assert "cannot be read" in refusal(client.get(path), 503)
    assert client.get("/healthz").status_code == 200


def test_counts_are_told_to_prometheus(client):
    client.get("/api/v1/datasets/faces")
    client.get("/api/v1/datasets/nobody")
    text = client.get("/metrics").text
    assert 'mrdist_requests_total{method="GET",route="/api/v1/datasets/{name}",status="200"} 1.0' in text
    assert 'mrdist_requests_total{method="GET",route="/api/v1/datasets/{name}",status="404"} 1.0' in text
    assert 'mrdist_jobs{state="running"} 0.0' in text
    assert "mrdist_request_seconds_bucket" in text


@pytest.mark.slow
def test_a_cluster_that_is_away_fails_the_job_and_not_the_service(catalog, tmp_path):
    with serving(catalog.url, tmp_path / "log", "--scheduler", "tcp://127.0.0.1:9") as service:
        code, _, content = service.raw("GET", "/readyz")
        assert code == 503
        assert "tcp://127.0.0.1:9" in json.loads(content)["detail"]
        job = service.submit("train", "away", **PAIR)
        failed = service.wait(job)
        assert failed["state"] == "failed"
        assert "tcp://127.0.0.1:9" in failed["last_error"]
        assert service.raw("GET", "/healthz")[0] == 200
        service.ask("DELETE", f"/jobs/{job['id']}", status=204)


@pytest.fixture
def bucket(monkeypatch):
    """A bucket of a running server, named in the environment as users name theirs."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://{host}:{port}")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key-of-the-test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret-of-the-test")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    faulty_s3.make_bucket("lab")
    yield "s3://lab/catalog"
    server.stop()


@pytest.mark.slow
def test_a_bucket_is_a_catalogue(bucket, tmp_path):
    said = b""
    with serving(bucket, tmp_path / "log", "--workers", "0") as service:
        body = {"name": "faces", "generate": {**FACES, "images": 12, "size": 32}}
        service.finish(service.ask("POST", "/datasets", body))
        jobs = [
            service.submit("train", "smile", **PAIR),
            service.submit("compare", "both", **PAIR, methods=["mr", "mean", "identity"], alpha=0.4, split="train"),
        ]
        for job in jobs:
            service.finish(job)
        for path in ("/datasets", "/datasets/faces", "/datasets/faces/rows", "/jobs", f"/jobs/{jobs[1]['id']}/result"):
            code, headers, content = service.raw("GET", path)
            assert code == 200
            said += content + str(headers).encode()
        assert service.raw("GET", "/datasets/faces/rows/0/happy.png")[2].startswith(b"\x89PNG")
        service.ask("DELETE", "/datasets/faces", status=204)
        assert service.ask("GET", "/datasets") == {"datasets": []}
    client = boto3.client("s3")
    for entry in client.list_objects_v2(Bucket="lab", Prefix="catalog/jobs/")["Contents"]:
        said += client.get_object(Bucket="lab", Key=entry["Key"])["Body"].read()
    said += (tmp_path / "log").read_bytes()
    assert b"smile" in said
    assert b"secret-of-the-test" not in said
    assert b"key-of-the-test" not in said


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--host", "0.0.0.0"), "without a token"),
        (("--token-file", "no-such-file"), "no-such-file"),
        (("--catalog", "memory://catalog"), "memory://"),
        (("--workers", "1", "--scheduler", "tcp://127.0.0.1:1"), "not both"),
        (("--max-running", "0"), "max_running must be at least 1"),
        (("--max-memory", "much"), "much"),
        (("--max-requests", "0"), "must be positive"),
    ],
)
def test_a_service_that_cannot_be_is_not_begun(arguments, words, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    import commands

    assert words in commands.failure("serve", "--catalog", "here", *arguments, cwd=tmp_path)


def test_a_port_that_is_taken_is_told(tmp_path):
    import commands

    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert f"port {port}" in commands.failure("serve", "--catalog", tmp_path / "other", "--port", port)


def test_without_the_extra_the_command_says_what_to_install():
    code = (
        "import sys\nsys.modules['fastapi'] = None\nsys.argv = ['mrdist', 'serve']\n"
        "from mrdist.cli import main\nimport mrdist, mrdist.service\nmain()"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.returncode == 1
    assert done.stderr.startswith("Error: the service needs fastapi")
    assert "mrdist[service]" in done.stderr


def test_a_broken_record_of_a_job_hides_no_other(client, catalog):
    places = [pathlib.Path(catalog.url, f"jobs/20261125t000000000000-0000000{n}.json") for n in range(2)]
    for place, content in zip(places, ("{", '{"id": 3}'), strict=True):
        place.write_text(content)
        assert "; remove" in refusal(client.get(f"{JOBS}/{place.stem}"), 503)
    job = client.post(JOBS, json={"verb": "train", "name": "whole", "options": PAIR}).json()
    assert [each["id"] for each in client.get(JOBS).json()["jobs"]] == [job["id"]]
    assert "needs 'faces'" in refusal(client.delete("/api/v1/datasets/faces"), 409)
    for place in (*places, pathlib.Path(catalog.url, f"jobs/{job['id']}.json")):
        place.unlink()


@pytest.mark.slow
def test_who_never_ends_a_request_is_hung_up_on(catalog, tmp_path):
    with serving(catalog.url, tmp_path / "log") as service:
        host, _, port = service.url.removeprefix("http://").rpartition(":")
        with (
            socket.create_connection((host, int(port)), timeout=60) as half,
            socket.create_connection((host, int(port)), timeout=60) as long,
        ):
            half.sendall(b"GET /healthz HTTP/1.1\r\nHost: ")
            with contextlib.suppress(OSError):
                long.sendall(b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\nX: " + b"x" * (1 << 20))
            assert half.recv(100) == b""
            with contextlib.suppress(OSError):
                assert b" 400 " in long.recv(100)
        assert service.raw("GET", "/healthz")[0] == 200
