"""``mrdist train`` from a real S3 server, the one that the usual AWS environment names, beside the same from disk."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import socket
import threading
from urllib.parse import urlsplit

import boto3
import fsspec
import google_crc32c
import numpy as np
import pytest
from numcodecs.zstd import decompress

from benchmarks.stores import synthetic, train, write_store
from mrdist.storage import Images

pytestmark = [pytest.mark.s3, pytest.mark.filterwarnings("ignore")]
WORKERS = "--workers=2"


@pytest.fixture(scope="module")
def bucket():
    """An empty bucket."""
    client, name = boto3.client("s3"), "mrdist-benchmarks"
    with contextlib.suppress(client.exceptions.BucketAlreadyOwnedByYou):
        client.create_bucket(Bucket=name)
    yield f"s3://{name}"
    fsspec.filesystem("s3").rm(name, recursive=True)


@pytest.fixture(scope="module")
def stores(bucket, tmp_path_factory):
    """Return the URLs of the same images on disk and in the bucket."""

    def make(n_images, size, color, chunks=None):
        local = str(tmp_path_factory.mktemp("stores") / f"{n_images}-{size}.zarr")
        write_store(local, n_images, synthetic(size, color), chunks)
        remote = f"{bucket}/{n_images}-{size}.zarr"
        fsspec.filesystem("s3").put(local, remote, recursive=True)
        return local, remote

    return make


@contextlib.contextmanager
def counted():
    """Put a relay before the server, named in the environment in its stead; the requests it has seen, in order."""
    server, seen = urlsplit(os.environ["AWS_ENDPOINT_URL"]), []

    def pump(source, target, look):
        with contextlib.suppress(OSError):
            while data := source.recv(1 << 16):
                if look:
                    seen.extend(re.findall(rb"(?:^|\n)(GET|HEAD|PUT|POST|DELETE) (\S+) HTTP/1", data))
                target.sendall(data)
        for end in (source, target):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def serve():
        with contextlib.suppress(OSError):
            while True:
                near, _ = listener.accept()
                far = socket.create_connection((server.hostname, server.port))
                for ends in ((near, far, True), (far, near, False)):
                    threading.Thread(target=pump, args=ends, daemon=True).start()

    with socket.create_server(("127.0.0.1", 0), backlog=128) as listener, pytest.MonkeyPatch.context() as patch:
        threading.Thread(target=serve, daemon=True).start()
        patch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{listener.getsockname()[1]}")
        yield seen


def test_train_from_object_storage_beside_disk(meter, stores, bucket, tmp_path):
    local, remote = stores(256, 256, "rgb")
    reports = {"disk": [], "s3": []}

    def ours():
        reports["s3"].append(train(remote, f"{bucket}/w.zarr", WORKERS))

    def disk():
        reports["disk"].append(train(local, tmp_path / "w.zarr", WORKERS))

    meter.time(ours, {"disk": disk}, rounds=3)
    seconds = {name: np.array([report["seconds"]["run"] for report in found]) for name, found in reports.items()}
    meter.tell("train 256 x 256 x 256 x 3, r=3, from S3 and back", seconds["s3"], seconds["disk"], "from disk")


def read_by_obstore(url: str) -> None:
    """Fetch all chunks of both labels at once; check and decode them into one buffer."""
    obstore = pytest.importorskip("obstore")
    from obstore.store import S3Store

    endpoint = os.environ["AWS_ENDPOINT_URL"]
    bucket, _, prefix = url.removeprefix("s3://").partition("/")
    store = S3Store(
        bucket,
        endpoint=endpoint,
        virtual_hosted_style_request=False,
        client_options={"allow_http": endpoint.startswith("http:")},
    )
    images = Images.open(url)
    decoded = np.empty(images.chunks, dtype=images.dtype)
    listing = obstore.list(store, prefix).collect()
    chunks = tuple(f"{prefix}/{label}/c/" for label in images.labels)
    keys = [entry["path"] for entry in listing if entry["path"].startswith(chunks)]

    async def fetched(key, at_once):
        async with at_once:
            answer = await obstore.get_async(store, key)
            return await answer.bytes_async()

    async def fetch():
        at_once = asyncio.Semaphore(32)
        for coming in asyncio.as_completed([fetched(key, at_once) for key in keys]):
            stored = np.frombuffer(await coming, dtype=np.uint8)
            assert google_crc32c.value(stored[:-4]) == int.from_bytes(stored[-4:].tobytes(), "little")
            decompress(stored[:-4], decoded)

    asyncio.run(fetch())


def test_small_training_from_object_storage_beside_disk_and_obstore(meter, stores, bucket, tmp_path):
    local, remote = stores(80, 384, "rgb")
    runs = {"s3": [], "disk": []}

    def run(name, images, weights):
        runs[name].append(train(images, weights, "--workers=0")["seconds"]["run"])

    rivals = {
        "disk": lambda: run("disk", local, tmp_path / "w.zarr"),
        "obstore": lambda: read_by_obstore(remote),
    }
    read_by_obstore(remote)
    seconds = meter.time(lambda: run("s3", remote, f"{bucket}/small.zarr"), rivals, rounds=3)
    what = "train 80 x 384 x 384 x 3, r=3, from S3 and back"
    meter.tell(what, np.array(runs["s3"]), np.array(runs["disk"]), "from disk", target="<= 2.0")
    meter.tell(what, np.array(runs["s3"]), seconds["obstore"], "obstore reads")


def test_requests_for_a_chunk(meter, stores, bucket):
    _, remote = stores(320, 64, "gray", (32, 32, 32))
    images = Images.open(remote)
    with counted() as seen:
        report = train(remote, f"{bucket}/w.zarr", WORKERS, "--block=32,32")
    needed = report["bytes_read"] / (np.prod(images.chunks) * images.dtype.itemsize)
    gets = [path for method, path in seen if method == b"GET" and b"/320-64.zarr/" in path]
    meter.time(lambda: None, rounds=1)
    meter.tell(
        f"GETs of images, {report['blocks']} blocks", len(gets), needed, "chunks needed", unit="", target="<= 1.3"
    )
    assert sum(b"/c/" in path for path in gets) >= needed


def test_memory_does_not_grow_with_the_images(meter, stores, bucket):
    """From as many images on as fill what a worker reads at a time."""
    peaks = []
    for n_images in (1000, 10000):
        _, remote = stores(n_images, 128, "gray")
        peaks.append(train(remote, f"{bucket}/w.zarr", WORKERS)["peak_memory_bytes"])
    meter.time(lambda: None, rounds=1)
    meter.tell("peak of a worker, 10000 x 128 x 128", peaks[1], peaks[0], "1000 images", unit="B", target="<= 1.1")
