"""Arrays in object storage that changed after linking are told, for one listing an array."""

from __future__ import annotations

import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import boto3
import commands
import faulty_s3
import numpy as np
import pytest
import zarr
from foreign_arrays import DIMS, equal, weights_of
from fsspec.implementations.memory import MemoryFileSystem

import mrdist
from mrdist.errors import StoreError
from mrdist.storage.access import listings

SHAPE, CHUNKS = (12, 16, 16, 1), (6, 8, 16, 1)
CHUNK = "data.zarr/high/c/1/0/0/0"


def write(store):
    rng = np.random.default_rng(3)
    group = zarr.create_group(store)
    for label in ("low", "high"):
        pixels = rng.integers(0, 256, SHAPE, dtype=np.uint8)
        group.create_array(label, data=pixels, chunks=CHUNKS, dimension_names=DIMS)


@pytest.fixture(scope="module")
def s3():
    with faulty_s3.serve("changing") as server:
        yield server


@pytest.fixture
def linked(s3, tmp_path):
    """A link to two arrays in a bucket, and the requests that it cost."""
    faulty_s3.make_bucket("changing")
    write(zarr.storage.FsspecStore.from_url("s3://changing/data.zarr", storage_options=s3.options))
    s3.requests.clear()
    url = f"{tmp_path}/images.zarr"
    report = mrdist.link(url, {label: f"s3://changing/data.zarr/{label}" for label in ("low", "high")})
    assert {one["changes_seen"] for one in report.to_dict()["labels"].values()} == {"of chunks"}
    assert len(listed(s3)) == 2
    assert not [path for method, path in s3.requests if "/c/" in path]
    return url


def listed(s3):
    return [path for method, path in s3.requests if (method, path.strip("/")) == ("GET", "changing")]


def changed(key, content):
    """Replace an object, or remove it if there is no content."""
    client = boto3.client("s3")
    if content is None:
        client.delete_object(Bucket="changing", Key=key)
    else:
        client.put_object(Bucket="changing", Key=key, Body=content)


def content_of(key):
    return boto3.client("s3").get_object(Bucket="changing", Key=key)["Body"].read()


def test_a_training_lists_each_array_and_asks_for_no_chunk_twice(linked, s3, tmp_path):
    s3.requests.clear()
    weights_of(linked, f"{tmp_path}/w.zarr")
    chunks = [path for _, path in s3.requests if "/c/" in path]
    assert {method for method, path in s3.requests if "/c/" in path} == {"GET"}
    assert len(chunks) == len(set(chunks)) == 8
    assert len(listed(s3)) == 2


@pytest.mark.parametrize("what", ["another", "removed"])
def test_another_chunk_is_told_by_every_verb(what, linked, tmp_path, monkeypatch):
    weights_of(linked, f"{tmp_path}/w.zarr")
    changed(CHUNK, content_of(CHUNK.replace("/1/0/0/0", "/0/0/0/0")) if what == "another" else None)
    told = r"of s3://changing/data.zarr/high were written or removed after the array was linked|chunk c/1/0/0/0 of"
    with pytest.raises(StoreError, match=told):
        weights_of(linked, f"{tmp_path}/w2.zarr")
    monkeypatch.setattr(listings, "_trusted", {})  # as in a process of its own
    for verb in (
        lambda: mrdist.evaluate(f"{tmp_path}/w.zarr", linked, workers=0),
        lambda: mrdist.rechunk(linked, f"{tmp_path}/copy.zarr", workers=0),
    ):
        with pytest.raises(StoreError, match=told):
            verb()
    refused = commands.failure("train", linked, tmp_path / "w3.zarr", "--source", "low", "--target", "high")
    assert "link it again" in refused


def test_the_chunk_is_named_where_the_times_of_the_store_differ(linked, monkeypatch, tmp_path):
    now = listings.list_chunks("s3://changing/data.zarr/high", None)
    changed(CHUNK, content_of(CHUNK.replace("/1/0/0/0", "/0/0/0/0")))
    later = listings.Listing("another", "9" + now.newest, "c/1/0/0/0")
    monkeypatch.setattr(listings, "list_chunks", lambda *_: later)
    with pytest.raises(StoreError, match=r"chunk c/1/0/0/0 of s3://changing/data\.zarr/low was written after"):
        weights_of(linked, f"{tmp_path}/w.zarr")


def test_the_same_bytes_again_are_no_change(linked, tmp_path):
    before = weights_of(linked, f"{tmp_path}/w.zarr")
    changed(CHUNK, content_of(CHUNK))
    assert equal(weights_of(linked, f"{tmp_path}/w2.zarr"), before)


def test_a_store_that_tells_nothing_is_said_so(tmp_path):
    write(f"{tmp_path}/data.zarr")
    serve = partial(SimpleHTTPRequestHandler, directory=tmp_path)
    serve.func.log_message = lambda *_: None
    server = ThreadingHTTPServer(("127.0.0.1", 0), serve)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    labels = [f"--label={label}=http://127.0.0.1:{server.server_port}/data.zarr/{label}" for label in ("low", "high")]
    done = commands.succeed("link", tmp_path / "images.zarr", *labels)
    trained = weights_of(f"{tmp_path}/images.zarr", f"{tmp_path}/w.zarr")
    server.shutdown()
    server.server_close()
    thread.join()
    assert done.stderr.splitlines() == [
        f"Note: the store of {label} does not list chunks: only changed metadata will be seen."
        for label in ("low", "high")
    ]
    assert trained["coef"].shape == (9, 16, 16)


def test_a_store_that_lets_nobody_list_is_linked_all_the_same(tmp_path, monkeypatch):
    monkeypatch.setattr(MemoryFileSystem, "store", {})
    write(zarr.storage.FsspecStore.from_url("memory://data.zarr"))

    def refuse(*_, **__):
        raise PermissionError("AccessDenied")

    with monkeypatch.context() as patch:
        patch.setattr(MemoryFileSystem, "find", refuse)
        report = mrdist.link(f"{tmp_path}/x.zarr", {"low": "memory://data.zarr/low"})
    assert report.to_dict()["labels"]["low"]["changes_seen"] == "of metadata"
    report = mrdist.link(f"{tmp_path}/y.zarr", {"low": "memory://data.zarr/low"})
    assert report.to_dict()["labels"]["low"]["changes_seen"] == "of chunks"
    MemoryFileSystem.store["/data.zarr/low/c/0/0/0/0"] = MemoryFileSystem.store.pop("/data.zarr/low/c/1/0/0/0")
    with pytest.raises(StoreError, match=r"chunk.* of memory://data\.zarr/low"):
        mrdist.rechunk(f"{tmp_path}/y.zarr", f"{tmp_path}/z.zarr", workers=0)
