"""What cannot be linked, or trained after linking: one sentence with the place, the value and what to do."""

from __future__ import annotations

import numpy as np
import pytest
import zarr
from foreign_arrays import DIMS, weights_of

import mrdist
from mrdist.errors import MrdistError
from mrdist.storage import Images


def array(folder, name, data, **how):
    group = zarr.open_group(f"{folder}/data.zarr", mode="a")
    group.create_array(name, data=data, dimension_names=DIMS[: data.ndim], **how)
    return f"{folder}/data.zarr/{name}"


@pytest.fixture
def arrays(tmp_path):
    """Arrays of many kinds, by name."""
    pixels = np.arange(8 * 6 * 5, dtype=np.uint8).reshape(8, 6, 5)
    kinds = {
        "low": pixels,
        "short": pixels[:7],
        "wide": pixels[:, :, :4],
        "coloured": np.stack([pixels, pixels], axis=3),
        "complex": pixels.astype("c8"),
        "long": pixels.astype("i8"),
        "empty": pixels[:0],
        "floats": pixels.astype("f4"),
        "infinite": np.where(pixels == 3, np.inf, pixels),
        "nothing": np.full(pixels.shape, np.nan),
    }
    made = {name: array(tmp_path, name, data) for name, data in kinds.items()}
    old = zarr.open_group(f"{tmp_path}/old.zarr", mode="w", zarr_format=2)  # of which format 3 has no agreed types
    old.create_array("words", data=np.array(["a", "b"], dtype="U1"))
    old.create_array("dates", data=pixels.astype("M8[s]"))
    made |= {name: f"{tmp_path}/old.zarr/{name}" for name in ("words", "dates")}
    return made | {"group": f"{tmp_path}/data.zarr", "none": f"{tmp_path}/no"}


@pytest.mark.parametrize(
    ("high", "options", "sentence"),
    [
        ("short", {}, "'low' has 8 images and 'high' 7"),
        ("coloured", {}, "'low' has 1 channels and 'high' 2"),
        ("wide", {}, "the pixels of 'high', 6 x 4, do not fit into 6 x 5"),
        ("complex", {}, "data.zarr/complex holds complex64, but linked arrays must be"),
        ("words", {}, "old.zarr/words holds <U1, but linked arrays must be"),
        ("dates", {}, "old.zarr/dates holds datetime64"),
        ("long", {}, "data.zarr/long holds int64"),
        ("empty", {}, "data.zarr/empty is empty"),
        ("group", {}, "data.zarr is a zarr group, but a label needs an array; give one of its arrays (coloured, "),
        ("none", {}, "there is no zarr array at"),
        ("infinite", {}, "holds infinite values"),
        ("nothing", {}, "holds nothing but missing values"),
        ("floats", {"ranges": {"high": (0, 100)}}, "holds values from 0 to 239, which leave the range 0 to 100"),
        ("floats", {"ranges": {"high": (5, 5)}}, "the range of 'high' must be two ascending numbers, got (5, 5)"),
        ("floats", {"ranges": {"hihg": (0, 1)}}, "ranges names 'hihg', which is no label"),
        ("low", {"dims": ("image", "y")}, "has 3 dimensions, (8, 6, 5), but 2 names were given"),
        ("low", {"dims": ("a", "y", "x")}, "has the dimensions a, y, x, in which there is no dimension image"),
        ("low", {"select": {"z": 1}}, "has no dimension 'z' to select from"),
        ("low", {"select": {"y": (0, 3)}}, "y cannot be selected from"),
        ("low", {"select": {"image": (0, 9)}}, "has 8 along image, so that (0, 9) cannot be selected"),
        ("low", {"subject": "people"}, "there is no one-dimensional array of this name beside"),
        ("low", {"subject": ["a"]}, "subject must have one entry for each of the 8 images, got 1"),
        ("low", {"split_by": "year"}, "split_by year needs dates"),
        ("low", {"split": ["left"] * 8}, "split must be one of train, val, test, got 'left'"),
        ("low", {"missing": "ignore"}, "missing must be one of error, drop-rows, drop-images, none, got 'ignore'"),
        ("coloured", {"dims": None, "select": {"low.channel": 0}}, "has no dimension 'channel' to select from"),
    ],
)
def test_links_that_are_refused(high, options, sentence, arrays, tmp_path):
    url = f"{tmp_path}/images.zarr"
    with pytest.raises(MrdistError) as refused:
        mrdist.link(url, {"low": arrays["low"], "high": arrays[high]}, **options)
    assert sentence in str(refused.value)
    assert str(refused.value).endswith(".")
    assert not (tmp_path / "images.zarr").exists()


def test_an_output_in_an_array_is_refused(arrays):
    with pytest.raises(MrdistError, match="would overwrite its input"):
        mrdist.link(f"{arrays['low']}/images.zarr", {"low": arrays["low"]})


def linked(tmp_path, arrays, **options):
    url = f"{tmp_path}/images.zarr"
    mrdist.link(url, {"low": arrays["low"], "high": arrays["floats"]}, **options)
    return url


def test_arrays_that_changed_after_linking_are_told(arrays, tmp_path):
    url = linked(tmp_path, arrays)
    zarr.open_array(arrays["floats"])[0, 0, 0] = 17
    with pytest.raises(MrdistError, match=r"chunk c/0/0/0 of .*floats was written after the array was linked"):
        weights_of(url, f"{tmp_path}/w.zarr")
    zarr.open_array(arrays["floats"]).attrs["scale_factor"] = 2.0
    with pytest.raises(MrdistError, match=r"the array .*floats has changed since it was linked"):
        weights_of(url, f"{tmp_path}/w.zarr")
    mrdist.link(url, {"low": arrays["low"], "high": arrays["floats"]}, overwrite=True)
    assert len(weights_of(url, f"{tmp_path}/w.zarr", overwrite=True)["coef"]) == 9


def test_values_that_leave_the_range_unseen_are_told_when_read(arrays, tmp_path):
    url = linked(tmp_path, arrays, ranges={"high": (10, 300)}, missing="none")
    with pytest.raises(MrdistError, match=r"10 values of .*floats leave the range 10 to 300, the first, 0, in image 0"):
        weights_of(url, f"{tmp_path}/w.zarr")


def test_arrays_that_are_gone_are_told(arrays, tmp_path):
    url = linked(tmp_path, arrays)
    (tmp_path / "data.zarr").rename(tmp_path / "moved.zarr")
    with pytest.raises(MrdistError, match="there is no zarr array at"):
        weights_of(url, f"{tmp_path}/w.zarr")


def test_linked_stores_do_not_grow_and_their_description_may_be_damaged(arrays, tmp_path):
    url = linked(tmp_path, arrays)
    group = zarr.open_group(url, use_consolidated=False)
    attribute = group.attrs["mrdist"]
    del attribute["linked"]["arrays"]["high"]["address"]
    group.attrs["mrdist"] = attribute
    with pytest.raises(MrdistError, match="does not say in 'linked' where its arrays lie"):
        Images.open(url)
