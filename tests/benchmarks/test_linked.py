"""Linked arrays of 1000 x 512 x 512 x 3 in shards at an object store: requests and bytes of a training."""

from __future__ import annotations

from math import prod

import faulty_s3
import numpy as np
import pytest
import zarr
from foreign_arrays import DIMS

import mrdist
from benchmarks.stores import LABELS, train

SHAPE, SHARD, CHUNK = (1000, 512, 512, 3), (250, 256, 256, 3), (50, 64, 64, 3)
pytestmark = pytest.mark.filterwarnings("ignore")


def count(part):
    """Return how many parts of a shape an array has."""
    return prod(-(-size // length) for size, length in zip(SHAPE, part, strict=True))


@pytest.fixture(scope="module")
def s3():
    """A server with an array a label: every image is another crop of one texture, with noise."""
    rng = np.random.default_rng(0)
    texture = rng.normal(0, 9, (2 * 512, 2 * 512, 3)).cumsum(axis=0).cumsum(axis=1)
    texture = (255 * (texture - texture.min()) / np.ptp(texture)).astype(np.uint8)
    with faulty_s3.serve("linked-benchmarks") as server:
        store = zarr.storage.FsspecStore.from_url("s3://linked-benchmarks/data.zarr", storage_options=server.options)
        group = zarr.create_group(store)
        for label in LABELS:
            array = group.create_array(label, shape=SHAPE, dtype="u1", shards=SHARD, chunks=CHUNK, dimension_names=DIMS)
            for start in range(0, SHAPE[0], SHARD[0]):
                places = rng.integers(0, 512, (SHARD[0], 2))
                images = np.stack([texture[y : y + 512, x : x + 512] for y, x in places])
                array[start : start + SHARD[0]] = images + rng.integers(0, 4, images.shape, dtype=np.uint8)
        yield server


@pytest.mark.parametrize("workers", [0, 2])
def test_requests_for_shards(workers, meter, s3, tmp_path):
    url = str(tmp_path / "images.zarr")
    mrdist.link(url, {label: f"s3://linked-benchmarks/data.zarr/{label}" for label in LABELS})
    s3.requests.clear()
    s3.sent = 0
    report = train(url, tmp_path / "w.zarr", f"--workers={workers}")
    of_chunks = [path for _, path in s3.requests if "/c/" in path]
    once = len(LABELS) * (count(CHUNK) + count(SHARD))
    needed = report["bytes_read"] // prod(CHUNK) + len(LABELS) * count(SHARD)  # with the halos of blocks
    meter.time(lambda: None, rounds=1)
    what = f"train r=3 from shards, {report['blocks']} blocks, {workers} workers"
    against = "inner chunks that blocks need, an index a shard"
    meter.tell(f"{what}: requests", len(s3.requests), needed, against, unit="", target="<= 1.1")
    stored = sum(obj["Size"] for obj in stored_objects())
    meter.tell(f"{what}: bytes", s3.sent, stored, "all objects", unit="B")
    print(f"{len(of_chunks)} of {len(s3.requests)} requests are of chunks; {report['seconds']}")
    assert len(of_chunks) >= once


def stored_objects():
    import boto3

    pages = boto3.client("s3").get_paginator("list_objects_v2").paginate(Bucket="linked-benchmarks")
    return [obj for page in pages for obj in page["Contents"]]
