"""Linked arrays in object storage: requests, shards, secrets; and what a link of much data costs."""

from __future__ import annotations

import json
import time
from pathlib import Path

import commands
import faulty_s3
import numpy as np
import pytest
import zarr
from foreign_arrays import DIMS, equal, own_store, weights_of

import mrdist
from mrdist.errors import ParameterError, StoreError
from mrdist.geometry import Block
from mrdist.storage import Images

SHAPE, SHARD, CHUNK = (40, 64, 64, 3), (20, 32, 64, 3), (10, 16, 16, 3)


@pytest.fixture(scope="module")
def pair():
    rng = np.random.default_rng(3)
    return {label: rng.integers(0, 256, SHAPE, dtype=np.uint8) for label in ("low", "high")}


@pytest.fixture(scope="module")
def s3(pair):
    """A server with two sharded arrays."""
    with faulty_s3.serve("linked") as server:
        store = zarr.storage.FsspecStore.from_url("s3://linked/data.zarr", storage_options=server.options)
        group = zarr.create_group(store)
        for label, pixels in pair.items():
            group.create_array(label, data=pixels, shards=SHARD, chunks=CHUNK, dimension_names=DIMS)
        yield server


ADDRESSES = {label: f"s3://linked/data.zarr/{label}" for label in ("low", "high")}


def test_shards_are_read_chunk_by_chunk_with_one_index_each(s3, pair, tmp_path):
    mrdist.link(f"{tmp_path}/images.zarr", ADDRESSES)
    s3.requests.clear()
    linked = weights_of(f"{tmp_path}/images.zarr", f"{tmp_path}/w.zarr", block=(64, 64))
    chunks = [path for method, path in s3.requests if "/c/" in path]
    assert {method for method, path in s3.requests if "/c/" in path} == {"GET"}
    n_inner = 2 * np.prod([-(-size // chunk) for size, chunk in zip(SHAPE, CHUNK, strict=True)])
    n_shards = 2 * np.prod([-(-size // shard) for size, shard in zip(SHAPE, SHARD, strict=True)])
    assert len(chunks) <= 1.1 * (n_inner + n_shards)
    assert equal(linked, weights_of(own_store(f"{tmp_path}/own.zarr", pair), f"{tmp_path}/own_w.zarr"))


def test_the_link_may_lie_in_object_storage_and_keeps_no_secret(s3, pair, tmp_path):
    options = {
        "key": "key-of-the-test",
        "secret": "secret-of-the-test",
        "client_kwargs": s3.options | {"region_name": "us-east-1"},
    }
    url = "s3://linked/images.zarr"
    mrdist.link(url, ADDRESSES, storage_options=options, array_storage_options=options)
    described = json.dumps(mrdist.info(url))
    assert s3.options["endpoint_url"] in described
    assert not any(secret in described for secret in ("key-of-the-test", "secret-of-the-test"))
    assert weights_of(url, f"{tmp_path}/w.zarr")["coef"].shape == (9, 64, 64)
    with pytest.raises(ParameterError, match="holds a user, a password or a query"):
        mrdist.link(f"{tmp_path}/x.zarr", {"low": "https://me:hush@host/data.zarr/low"})


def test_a_missing_shard_or_inner_chunk_is_told(s3, pair, tmp_path):
    store = zarr.storage.FsspecStore.from_url("s3://linked/holes.zarr", storage_options=s3.options)
    group = zarr.create_group(store)
    array = group.create_array("low", shape=SHAPE, dtype="u1", shards=SHARD, chunks=CHUNK, dimension_names=DIMS)
    array[:20, :32] = pair["low"][:20, :32]
    array[20:30, :16, :16] = pair["low"][20:30, :16, :16]
    url = f"{tmp_path}/images.zarr"
    addresses = {"low": "s3://linked/holes.zarr/low", "high": ADDRESSES["high"]}
    mrdist.link(url, addresses)
    read = Images.open(url).reader().read
    np.testing.assert_array_equal(read("low", 3, 5, Block(0, 0, 32, 64)), pair["low"][3:5, :32])
    with pytest.raises(StoreError, match=r"chunks of the shard c/1/0/0/0 \(the first: 0, 0, 1, 0\) are missing"):
        read("low", 20, 21, Block(0, 0, 16, 16))
    with pytest.raises(StoreError, match=r"chunk c/0/1/0/0 is missing from s3://linked/holes\.zarr/low"):
        read("low", 0, 1, Block(32, 0, 64, 64))
    mrdist.link(url, addresses, missing_chunks="fill", overwrite=True)
    read = Images.open(url).reader().read
    assert not read("low", 0, 1, Block(32, 0, 64, 64)).any()
    assert not read("low", 20, 21, Block(16, 16, 32, 64)).any()


def test_a_link_of_100_gigabytes_takes_little_time_and_room(tmp_path):
    group = zarr.create_group(f"{tmp_path}/huge.zarr")
    for label in ("low", "high"):
        group.create_array(
            label, shape=(20000, 1024, 1024, 3), chunks=(32, 64, 64, 3), dtype="u1", dimension_names=DIMS
        )
    addresses = {label: f"{tmp_path}/huge.zarr/{label}" for label in ("low", "high")}
    began = time.perf_counter()
    mrdist.link(f"{tmp_path}/images.zarr", addresses)
    assert time.perf_counter() - began < 20  # 2 on a quiet machine
    assert sum(path.stat().st_size for path in Path(f"{tmp_path}/images.zarr").rglob("*") if path.is_file()) < 1 << 20


def test_command_line(tmp_path, pair):
    group = zarr.create_group(f"{tmp_path}/data.zarr")
    for label in pair:
        group.create_array(label, data=pair[label].astype("i2") - 100, chunks=CHUNK)
    (tmp_path / "people.csv").write_text(
        "who,side\n" + "".join(f"p{n // 4},{'test' if n > 31 else 'train'}\n" for n in range(40))
    )
    done = commands.succeed(
        *("link", f"{tmp_path}/images.zarr", "--label", f"low={tmp_path}/data.zarr/low"),
        *("--label", f"high={tmp_path}/data.zarr/high", "--dims", "image,y,x,channel", "--range", "low=-100,155"),
        *("--select", "channel=0", "--subject", f"{tmp_path}/people.csv:who", "--split", f"{tmp_path}/people.csv:side"),
        "--json",
    )
    report = json.loads(done.stdout)
    assert report["splits"] == {"train": 32, "test": 8}
    assert (report["channels"], report["labels"]["high"]["range"]) == (1, [-100, 155])
    assert (report["labels"]["low"]["measured"], report["labels"]["high"]["measured"]) == (False, True)
    again = commands.run("link", f"{tmp_path}/images.zarr", "--label", "low=a", "--label", "low=b")
    assert again.returncode == 2
    assert "'low' is given twice" in again.stderr
