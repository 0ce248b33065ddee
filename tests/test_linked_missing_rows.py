"""Values that some images miss: these images are left out for the pixels concerned, exactly."""

from __future__ import annotations

import missing_rows as rows
import numpy as np
import pytest
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st
from missing_rows import PAIR

import mrdist
from mrdist.errors import DataError, ParameterError
from mrdist.methods.registry import METHODS
from mrdist.selection import assign_folds
from mrdist.storage import Images

N, HEIGHT, WIDTH = 24, 11, 13
SHAPE = (N, HEIGHT, WIDTH)
TRAIN = {**PAIR, "dtype": "float64", "alpha": 0.1}


def check(url, weights, expected):
    """Compare weights with those of the oracle."""
    made = zarr.open_group(weights, mode="r")
    coef, intercept, n_rows = expected
    np.testing.assert_allclose(made["coef"][...], coef, atol=1e-9)
    np.testing.assert_allclose(made["intercept"][...], intercept, atol=1e-9)
    assert Images.open(url).dtype == np.float32
    np.testing.assert_array_equal(made["n_rows"][...], n_rows)


WAYS = {
    "float32": {},
    "big-endian float64": {"dtype": ">f8"},
    "float16": {"dtype": "<f2"},
    "big-endian float16, F order": {"dtype": ">f2", "order": "F"},
    "big-endian int16 with a fill value": {"dtype": ">i2", "nothing": -999},
    "int8, F order": {"dtype": "i1", "nothing": -128, "order": "F"},
    "little int32, outside valid_range": {"dtype": "<i4", "attributes": {"valid_range": [-64, 64]}, "outside": 5000},
}


@pytest.mark.parametrize("way", WAYS)
def test_rows_that_miss_a_value_are_left_out(way, tmp_path):
    how = dict(WAYS[way])
    low, high = rows.draw(3, SHAPE)
    outside = how.pop("outside", None)
    if outside is not None:
        addresses = rows.write(tmp_path, np.nan_to_num(low, nan=outside), np.nan_to_num(high, nan=outside), **how)
    else:
        addresses = rows.write(tmp_path, low, high, **how)
    url = rows.link(tmp_path, addresses)
    mrdist.train(url, f"{tmp_path}/w.zarr", **TRAIN)
    check(url, f"{tmp_path}/w.zarr", rows.naive(*(rows.shares(x[..., None]) for x in (low, high)), 0.1))


def test_bytes_with_a_fill_value(tmp_path):
    low, high = (np.abs(values) for values in rows.draw(4, SHAPE))
    addresses = rows.write(tmp_path, low, high, dtype="u1", nothing=255)
    url = rows.link(tmp_path, addresses, ranges=None)
    mrdist.train(url, f"{tmp_path}/w.zarr", **TRAIN)
    unit = [np.rint(values[..., None] / 255 * 2**22) / 2**22 for values in (low, high)]
    check(url, f"{tmp_path}/w.zarr", rows.naive(*unit, 0.1))


@settings(max_examples=8)
@given(
    seed=st.integers(0, 2**32 - 1),
    share=st.sampled_from([0.002, 0.1, 0.5, 0.9]),
    size=st.sampled_from([1, 3, 5]),
    dilation=st.sampled_from([1, 2]),
    penalize=st.booleans(),
)
def test_any_pattern(seed, share, size, dilation, penalize, tmp_path_factory):
    folder = tmp_path_factory.mktemp("any")
    low, high = rows.draw(seed, (9, 10, 11), share)
    url = rows.link(folder, rows.write(folder, low, high), n=9)
    options = {"receptive_field": size, "dilation": dilation, "penalize_intercept": penalize}
    mrdist.train(url, f"{folder}/w.zarr", **TRAIN, **options)
    values = [rows.shares(x[..., None]) for x in (low, high)]
    how = {"size": size, "dilation": dilation, "penalize_intercept": penalize}
    check(url, f"{folder}/w.zarr", rows.naive(*values, 0.1, **how))


@pytest.mark.parametrize("color", ["shared", "separate", "joint"])
def test_a_value_of_any_channel_counts(color, tmp_path):
    low, high = rows.draw(5, (12, 6, 7, 3), 0.02)
    url = rows.link(tmp_path, rows.write(tmp_path, low, high), dims=("image", "y", "x", "channel"), n=12)
    mrdist.train(url, f"{tmp_path}/w.zarr", color=color, **TRAIN)
    check(url, f"{tmp_path}/w.zarr", rows.naive(rows.shares(low), rows.shares(high), 0.1, color=color))


def test_a_coarser_source(tmp_path):
    low, _ = rows.draw(6, (N, 5, 6))
    _, high = rows.draw(7, (N, 10, 12))
    url = rows.link(tmp_path, rows.write(tmp_path, low, high))
    mrdist.train(url, f"{tmp_path}/w.zarr", **TRAIN)
    fine = low.repeat(2, axis=1).repeat(2, axis=2)
    values = [rows.shares(x[..., None]) for x in (fine, high)]
    check(url, f"{tmp_path}/w.zarr", rows.naive(*values, 0.1, dilation=2))


@pytest.fixture(scope="module")
def wide(tmp_path_factory):
    """A store of several blocks."""
    folder = tmp_path_factory.mktemp("wide")
    low, high = rows.draw(8, (N, 37, 50), 0.02)
    return rows.link(folder, rows.write(folder, low, high, chunks=(7, 9, 50)))


GRID = {"alpha": "cv", "alphas": [0.1, 1.0], "receptive_field": [1, 3], "folds": 2}


@pytest.mark.slow
@pytest.mark.parametrize("options", [{}, GRID], ids=["fixed", "cv"])
def test_blocks_and_workers_do_not_matter(wide, two_workers, options, tmp_path):
    mrdist.train(wide, f"{tmp_path}/one.zarr", **PAIR, **options)
    mrdist.train(wide, f"{tmp_path}/blocks.zarr", block=(16, 16), **PAIR, **options)
    rows.same(f"{tmp_path}/one.zarr", f"{tmp_path}/blocks.zarr")
    how = {**PAIR, **options, "workers": None, "scheduler": two_workers, "block": (16, 32)}
    mrdist.train(wide, f"{tmp_path}/workers.zarr", **how)
    rows.same(f"{tmp_path}/one.zarr", f"{tmp_path}/workers.zarr")


def test_a_choice_has_the_weights_of_its_own_training(wide, tmp_path):
    report = mrdist.train(wide, f"{tmp_path}/cv.zarr", alpha="cv", receptive_field=[1, 3, 5], folds=3, **PAIR)
    chosen = {name: report.cross_validation["chosen"][name] for name in ("receptive_field", "alpha")}
    mrdist.train(wide, f"{tmp_path}/fixed.zarr", **chosen, **PAIR)
    searched = rows.arrays_of(f"{tmp_path}/cv.zarr")
    for path, values in rows.arrays_of(f"{tmp_path}/fixed.zarr").items():
        np.testing.assert_array_equal(values, searched[path], err_msg=path)


def test_sums_added_in_parts_solve_to_the_same(wide, tmp_path):
    addresses = {label: link["address"] for label, link in mrdist.info(wide)["linked"]["arrays"].items()}
    url = rows.link(tmp_path, addresses, split=["train"] * 9 + ["val"] * 8 + ["test"] * 7)
    sums = f"{tmp_path}/sums.zarr"
    for part in ("train", "val", "test"):
        mrdist.accumulate(url, sums, split=part, append=part != "train", block=(16, 32), **PAIR)
    report = mrdist.solve(sums, f"{tmp_path}/solved.zarr", alpha=0.4, workers=0, progress=False)
    trained = mrdist.train(url, f"{tmp_path}/trained.zarr", split="all", **PAIR)
    assert report.scores == trained.scores
    rows.same(f"{tmp_path}/solved.zarr", f"{tmp_path}/trained.zarr")
    with pytest.raises(ParameterError, match=r"reads fewer; accumulate again for this field"):
        mrdist.solve(sums, f"{tmp_path}/no.zarr", receptive_field=1, workers=0)
    assert not (tmp_path / "no.zarr").exists()


@pytest.mark.parametrize("option", [{"pool": 1}, {"prior": "identity"}, {"alpha": "cv", "pool": [0, 1]}], ids=str)
def test_neighbours_lend_nothing_where_rows_are_left_out(wide, option, tmp_path):
    name = "prior must be zero" if "prior" in option else "pool must be 0"
    with pytest.raises(ParameterError, match=f"{name} where pixels leave out the rows of missing values, as those of"):
        mrdist.train(wide, f"{tmp_path}/no.zarr", **PAIR, **option)
    assert not (tmp_path / "no.zarr").exists()


def test_mappings_leave_out_what_each_misses(wide, tmp_path):
    mrdist.train_mappings(wide, f"{tmp_path}/all", source="low", both_ways=True, workers=0, progress=False)
    for source, target in (("low", "high"), ("high", "low")):
        mrdist.train(wide, f"{tmp_path}/{source}.zarr", **{**PAIR, "source": source, "target": target})
        rows.same(f"{tmp_path}/{source}.zarr", f"{tmp_path}/all/{source}-{target}")


def test_folds_are_tried_on_the_rows_that_they_have(tmp_path):
    low, high = rows.draw(9, SHAPE, 0.08)
    low[:, 5, 5], high[3:, 8, 9] = np.nan, np.nan
    low[4, 5, 5] = 3.0  # what sees it has one row, in one fold
    url = rows.link(tmp_path, rows.write(tmp_path, low, high))
    alphas, fields = (0.03, 0.3), (1, 3)
    grid = {"alpha": "cv", "alphas": alphas, "folds": 3, "receptive_field": fields}
    mrdist.train(url, f"{tmp_path}/w.zarr", **{**TRAIN, **grid})
    fold = assign_folds(Images.open(url).subject, 3, 0)
    values = [rows.shares(x[..., None]) for x in (low, high)]
    land = [rows.nowhere(each) for each in values]
    expected = np.empty((2, 2, 3))
    for i, j, k in np.ndindex(expected.shape):
        left, out = ([each[inside] for each in values] for inside in (fold != k, fold == k))
        coef, intercept, _ = rows.naive(*left, alphas[j], size=fields[i], land=land)
        made = rows.predict(out[0], land[0], coef, intercept, fields[i])
        errors = (made - out[1][..., 0]) ** 2
        expected[i, j, k] = np.nansum(errors) / (np.isfinite(errors).sum() + land[1].sum() * (fold == k).sum())
    np.testing.assert_allclose(mrdist.open_weights(f"{tmp_path}/w.zarr").cv.mse, expected, rtol=1e-9)


def test_every_pixel_chooses_from_its_own_rows(wide, tmp_path):
    mrdist.train(wide, f"{tmp_path}/w.zarr", **{**TRAIN, "alpha": "cv", "rule": "pixel", "alphas": (0.1, 10.0)})
    made = zarr.open_group(f"{tmp_path}/w.zarr", mode="r")
    chosen = made["alpha"][...]
    assert set(np.unique(chosen)) == {0.1, 10.0}
    values = [rows.pixels_of(wide, label)[:, :12, :12].astype("f8") for label in ("low", "high")]
    for alpha in (0.1, 10.0):
        coef, _, _ = rows.naive(*values, alpha)
        where = chosen[:11, :11] == alpha  # the oracle's image ends there
        np.testing.assert_allclose(made["coef"][:, :11, :11][:, where], coef[:, :11, :11][:, where], atol=1e-9)


def test_every_channel_chooses_too(tmp_path):
    low, high = rows.draw(14, (16, 6, 7, 3), 0.05)
    url = rows.link(tmp_path, rows.write(tmp_path, low, high), dims=("image", "y", "x", "channel"), n=16)
    options = {"alpha": "cv", "rule": "pixel", "alphas": (0.1, 10.0), "color": "separate"}
    mrdist.train(url, f"{tmp_path}/w.zarr", **{**TRAIN, **options})
    made = zarr.open_group(f"{tmp_path}/w.zarr", mode="r")
    chosen = made["alpha"][...]
    assert (chosen != chosen[0]).any()
    for alpha in (0.1, 10.0):
        coef, intercept, _ = rows.naive(rows.shares(low), rows.shares(high), alpha, color="separate")
        where = chosen == alpha
        np.testing.assert_allclose(made["intercept"][...][where], intercept[where], atol=1e-9)
        ours, theirs = (np.moveaxis(each, 1, -1)[where] for each in (made["coef"][...], coef))
        np.testing.assert_allclose(ours, theirs, atol=1e-9)


@pytest.mark.parametrize("method", METHODS)
def test_every_method_learns_or_refuses_before_it_begins(method, wide, tmp_path):
    options = {**PAIR, "method": method, "split": "all"}
    if METHODS[method].drops_rows:
        assert mrdist.train(wide, f"{tmp_path}/w.zarr", **options).blocks_run
        return
    with pytest.raises(DataError) as refused:
        mrdist.train(wide, f"{tmp_path}/w.zarr", **options)
    able = ", ".join(name for name, other in METHODS.items() if other.drops_rows)
    assert str(refused.value) == (
        f"method {method} needs whole images, but pixels of low and high are missing in some images of {wide}; choose "
        f"a method of {able}, or link them with --missing drop-images."
    )
    assert not (tmp_path / "w.zarr").exists()


def test_with_nothing_missing_all_is_as_it_was(tmp_path):
    low, high = rows.draw(10, SHAPE, share=0)
    for missing in ("error", "drop-images", "drop-rows"):
        url = rows.link(tmp_path, rows.write(tmp_path, low, high), missing=missing, name=missing)
        mrdist.train(url, f"{tmp_path}/w-{missing}.zarr", **PAIR)
        assert "drops_rows" not in mrdist.info(f"{tmp_path}/w-{missing}.zarr")["training"]
        rows.same(f"{tmp_path}/w-error.zarr", f"{tmp_path}/w-{missing}.zarr")
        assert zarr.open_group(url, mode="r").attrs.keys() == zarr.open_group(f"{tmp_path}/error.zarr").attrs.keys()
        assert sorted(zarr.open_group(url, mode="r")) == sorted(zarr.open_group(f"{tmp_path}/error.zarr", mode="r"))
