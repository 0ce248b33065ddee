"""`mrdist rechunk` of linked stores: the values, what is missing of them and their units stay what they are."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr
import zarr
from foreign_arrays import equal, weights_of

import mrdist
from mrdist.geometry import Block
from mrdist.storage import Images

SHAPE = (14, 24, 20)
RNG = np.random.default_rng(5)


def floats(shape=SHAPE, missing=True):
    values = RNG.normal(280, 9, shape).astype("f4")
    if missing:
        values[:, 3:9, 4:11] = np.nan
    return values


KINDS = {
    "whole floats": ({"low": floats(missing=False), "high": floats(missing=False)}, {}, {}),
    "masked floats, whole images away": (
        {"low": np.concatenate([floats((13, 24, 20)), np.full((1, 24, 20), np.nan, "f4")]), "high": floats()}, {}, {},
    ),
    "bytes": ({name: RNG.integers(0, 256, SHAPE, dtype="u1") for name in ("low", "high")}, {}, {}),
    "packed, a fill value": (
        {
            "low": RNG.integers(-99, 99, SHAPE).astype(">i2"),
            "high": np.where(np.isnan(floats()), -999, 7).astype(">i2"),
        },
        {},
        {"scale_factor": 0.1, "add_offset": 20.0, "_FillValue": -999, "units": "K"},
    ),
    "coarse": ({"low": floats((14, 6, 5), missing=False).astype("f8"), "high": floats()}, {}, {}),
    "floats that some images miss": (
        {
            name: np.where(RNG.random(SHAPE) < 0.02, np.nan, floats(missing=False)).astype("f4")
            for name in ("low", "high")
        },
        {"missing": "drop-rows"}, {},
    ),
    "transposed, selected": (
        {name: RNG.normal(0, 1, (20, 3, 24, 17)).astype("f2") for name in ("low", "high")},
        {"dims": ("x", "z", "y", "image"), "select": {"z": 1, "image": (2, 16)}},
        {},
    ),
}  # fmt: skip


@pytest.fixture
def linked(request, tmp_path):
    arrays, options, attributes = KINDS[request.param]
    group = zarr.create_group(f"{tmp_path}/data.zarr")
    for name, values in arrays.items():
        dims = options.get("dims", ("time", "lat", "lon"))
        rows = (1, *values.shape[1:-1], 1) if dims[0] == "time" else values.shape
        group.create_array(name, data=values, chunks=rows, dimension_names=dims, attributes=attributes)
    url = f"{tmp_path}/linked.zarr"
    mrdist.link(url, {name: f"{tmp_path}/data.zarr/{name}" for name in arrays}, **options, split=["train"] * 14)
    return url


@pytest.mark.parametrize("linked", KINDS, indirect=True)
def test_a_copy_is_the_linked_store_in_other_chunks(linked, tmp_path):
    copy, before = f"{tmp_path}/moved.zarr", Images.open(linked)
    report = mrdist.rechunk(linked, f"{tmp_path}/copy.zarr", chunks=(8, 12, 9), workers=0)
    assert report.chunks == (8, 12, 9, 1)
    (tmp_path / "copy.zarr").rename(copy)
    ours = weights_of(linked, f"{tmp_path}/w.zarr")
    (tmp_path / "data.zarr").rename(tmp_path / "gone.zarr")
    after = Images.open(copy)
    (tmp_path / "gone.zarr").rename(tmp_path / "data.zarr")
    assert mrdist.check_images(copy) == []
    assert after.chunks == report.chunks
    rows = np.arange(14)
    assert after.fingerprint(after.labels, rows) == before.fingerprint(before.labels, rows)
    np.testing.assert_array_equal(after.present, before.present)
    np.testing.assert_array_equal(after.split, before.split)
    np.testing.assert_array_equal(after.image, before.image)
    for label in before.labels:
        there, frame = before.present[:, before.column(label)], Block(0, 0, *before.shape)
        values = [images.reader(nan=True).read(label, 0, 14, frame)[there] for images in (before, after)]
        np.testing.assert_array_equal(*values)
        assert after.link_of(label).meaning == before.link_of(label).meaning
        np.testing.assert_array_equal(after.there(label), before.there(label))
    assert equal(weights_of(copy, f"{tmp_path}/copy_w.zarr"), ours)
    xr.testing.assert_equal(mrdist.open_images(copy).load(), mrdist.open_images(linked).load())


def test_a_copy_needs_its_arrays_no_longer_and_is_plain_xarray(tmp_path):
    values = {"low": floats(), "high": floats()}
    group = zarr.create_group(f"{tmp_path}/data.zarr")
    for name in values:
        packed = np.nan_to_num(values[name] * 100 - 20000, nan=-999).astype("i2")
        group.create_array(
            name, data=packed, chunks=(14, 24, 20), dimension_names=("time", "lat", "lon"),
            attributes={"scale_factor": 0.01, "add_offset": 200.0, "missing_value": -999, "units": "K"},
        )  # fmt: skip
    mrdist.link(f"{tmp_path}/linked.zarr", {name: f"{tmp_path}/data.zarr/{name}" for name in values})
    mrdist.rechunk(f"{tmp_path}/linked.zarr", f"{tmp_path}/copy.zarr", workers=0)
    (tmp_path / "data.zarr").rename(tmp_path / "gone.zarr")
    opened = xr.open_zarr(f"{tmp_path}/copy.zarr")
    np.testing.assert_allclose(opened["low"].values[..., 0], values["low"], atol=0.01)
    assert opened["low"].attrs["units"] == "K"
    assert mrdist.check_images(f"{tmp_path}/copy.zarr") == []
    again = mrdist.rechunk(f"{tmp_path}/copy.zarr", f"{tmp_path}/again.zarr", workers=0)
    assert equal(weights_of(again.url, f"{tmp_path}/w.zarr"), weights_of(f"{tmp_path}/copy.zarr", f"{tmp_path}/v.zarr"))
