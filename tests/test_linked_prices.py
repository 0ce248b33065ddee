"""What a plan says of chunks of linked arrays is what a training decodes, however hostile they are."""

from __future__ import annotations

from collections import Counter
from math import prod

import numpy as np
import pytest
import zarr
from foreign_arrays import DIMS, weights_of

import mrdist
from mrdist.storage.access import foreign

SHAPE = (24, 64, 64, 3)
CHUNKS = {
    "a row of an image": (1, 1, 64, 3),
    "a whole image": (1, 64, 64, 3),
    "all images, some rows": (24, 16, 64, 3),
    "everything": SHAPE,
    "tiny windows": (24, 8, 8, 3),
    "one channel": (24, 16, 16, 1),
    "sizes that fit nothing": (7, 11, 13, 2),
}


@pytest.fixture
def decoded(monkeypatch):
    """How often each chunk has been fetched, which for arrays without shards is decoded, by address and key."""
    counted, get = Counter(), foreign._ForeignStore.get

    async def counting(self, key, prototype, byte_range=None):
        if key.rpartition("/")[2] not in foreign.METADATA:
            counted[self._address, key] += 1
        return await get(self, key, prototype, byte_range)

    monkeypatch.setattr(foreign._ForeignStore, "get", counting)
    return counted


def link(folder, low, high):
    group, rng = zarr.create_group(f"{folder}/data.zarr"), np.random.default_rng(0)
    for label, chunks in (("low", low), ("high", high)):
        pixels = rng.integers(0, 256, SHAPE, dtype=np.uint8)
        group.create_array(label, data=pixels, chunks=chunks, dimension_names=DIMS)
    addresses = {label: f"{folder}/data.zarr/{label}" for label in ("low", "high")}
    return mrdist.link(f"{folder}/linked.zarr", addresses).url


def bytes_of(decoded, chunks):
    """Return the bytes of all chunks that were decoded, without what lies beyond the array."""
    total = 0
    for (address, key), times in decoded.items():
        at = map(int, key.removeprefix("c/").split("/"))
        of_label = chunks[address.rpartition("/")[2]]
        sides = (min(size - n * chunk, chunk) for size, n, chunk in zip(SHAPE, at, of_label, strict=True))
        total += times * prod(sides)
    return total


@pytest.mark.parametrize("name", CHUNKS)
@pytest.mark.parametrize(
    "block", [pytest.param((64, 64), marks=pytest.mark.slow), pytest.param((32, 32), marks=pytest.mark.long)]
)
def test_a_plan_tells_the_decoded_bytes(name, block, decoded, tmp_path):
    chunks = CHUNKS[name]
    url = link(tmp_path, chunks, chunks)
    plan = mrdist.plan(url, source="low", target="high", split="all", workers=0, block=block)
    decoded.clear()
    weights_of(url, f"{tmp_path}/w.zarr", block=block)
    assert bytes_of(decoded, {"low": chunks, "high": chunks}) == plan.bytes_read


@pytest.mark.slow
def test_labels_of_different_chunks_cost_no_more_than_the_plan_says(decoded, tmp_path):
    chunks = {"low": (1, 64, 64, 3), "high": (24, 16, 16, 3)}
    url = link(tmp_path, *chunks.values())
    plan = mrdist.plan(url, source="low", target="high", split="all", workers=0, block=(32, 32))
    decoded.clear()
    weights_of(url, f"{tmp_path}/w.zarr", block=(32, 32))
    assert bytes_of(decoded, chunks) <= plan.bytes_read
