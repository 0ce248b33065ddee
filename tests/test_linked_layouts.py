"""Arrays of other programs train where they lie, to the bytes of the same pixels in a store of our own."""

from __future__ import annotations

import numpy as np
import pytest
import zarr
from foreign_arrays import DIMS, LAYOUTS, equal, own_store, weights_of

import mrdist
from mrdist.storage import Images

SHAPE = (20, 24, 28, 3)


@pytest.fixture(scope="module")
def pair():
    rng = np.random.default_rng(0)
    low = rng.integers(0, 256, SHAPE, dtype=np.uint8)
    return {"low": low, "high": (low[:, ::-1] // 2 + rng.integers(0, 128, SHAPE)).astype(np.uint8)}


@pytest.fixture(scope="module")
def own(pair, tmp_path_factory):
    folder = tmp_path_factory.mktemp("own")
    return weights_of(own_store(f"{folder}/own.zarr", pair), f"{folder}/weights.zarr")


@pytest.mark.parametrize("layout", LAYOUTS)
def test_foreign_layouts_train_to_equal_bytes(layout, pair, own, tmp_path):
    addresses, options = {}, {}
    for label, pixels in pair.items():
        (tmp_path / label).mkdir()
        addresses[label], options = LAYOUTS[layout](tmp_path / label, pixels)
    report = mrdist.link(tmp_path / "images.zarr", addresses, **options)
    assert report.linked.dtype == "uint8"
    assert equal(weights_of(tmp_path / "images.zarr", str(tmp_path / "weights.zarr")), own)


@pytest.mark.parametrize("dtype", ["bool", "i1", ">i2", "<i4", ">u4", "u2", ">f2", "f4", ">f8"])
def test_values_of_any_dtype_become_the_nearest_fixed_point(dtype, tmp_path):
    rng = np.random.default_rng(1)
    dtype = np.dtype(dtype)
    if dtype.kind == "f":
        raw = rng.uniform(-300, 500, SHAPE[:3]).astype(dtype)
    elif dtype.kind == "b":
        raw = rng.integers(0, 2, SHAPE[:3]).astype(bool)
    else:
        raw = rng.integers(
            np.iinfo(dtype).min, np.iinfo(dtype).max, SHAPE[:3], dtype=dtype.newbyteorder("="), endpoint=True
        )
    group = zarr.open_group(f"{tmp_path}/g.zarr", mode="w", zarr_format=2)
    for label in ("low", "high"):
        group.create_array(label, shape=raw.shape, chunks=(7, 10, 11), dtype=dtype)[...] = raw
    addresses = {label: f"{tmp_path}/g.zarr/{label}" for label in ("low", "high")}
    report = mrdist.link(f"{tmp_path}/images.zarr", addresses, dims=DIMS[:3])
    values = raw.astype(np.float64)
    low, high = (0, 1) if dtype.kind == "b" else (0, 65535) if dtype == np.uint16 else (values.min(), values.max())
    assert report.to_dict()["labels"]["low"]["range"] == [low, high]
    images = Images.open(f"{tmp_path}/images.zarr")
    read = images.read("low", range(SHAPE[0]))[..., 0]
    unit = {"uint8": 255, "uint16": 65535}.get(str(read.dtype), 1)
    exact = (values - low) / (high - low)
    assert np.abs(read / np.float64(unit) - exact).max() <= 2.0**-23
    ours = own_store(f"{tmp_path}/own.zarr", dict.fromkeys(("low", "high"), read[..., None]))
    linked = weights_of(f"{tmp_path}/images.zarr", f"{tmp_path}/linked_weights.zarr")
    assert equal(linked, weights_of(ours, f"{tmp_path}/own_weights.zarr"))


def test_blocks_and_chunks_change_no_byte_of_odd_sizes(pair, own, tmp_path):
    addresses = {}
    for label, chunks in (("low", (3, 7, 5, 2)), ("high", (11, 24, 9, 3))):
        group = zarr.create_group(f"{tmp_path}/{label}.zarr")
        group.create_array("a", data=pair[label], chunks=chunks, dimension_names=DIMS)
        addresses[label] = f"{tmp_path}/{label}.zarr/a"
    mrdist.link(f"{tmp_path}/images.zarr", addresses)
    for number, block in enumerate([(24, 28), (8, 28)]):
        assert equal(weights_of(f"{tmp_path}/images.zarr", f"{tmp_path}/w{number}.zarr", block=block), own)
