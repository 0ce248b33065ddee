"""Linked values: land and masks against the naive oracle, units of their own, coarser sources."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr
import zarr
from foreign_arrays import weights_of

import mrdist
from mrdist.errors import DataError, MrdistError
from mrdist.storage import Images

N, HEIGHT, WIDTH = 24, 11, 13
LAND = np.zeros((HEIGHT, WIDTH), dtype=bool)
LAND[:3, 5:] = LAND[7, 2] = LAND[10, :] = True


def field(seed, shape=(N, HEIGHT, WIDTH)):
    rng = np.random.default_rng(seed)
    return rng.normal(0, 8, shape).cumsum(axis=2) + 285


def climate(folder, name="climate.zarr", **variables):
    """Write variables over time, lat and lon with xarray; packed as its encoding says."""
    time = np.datetime64("2001-01-15", "ns") + np.arange(N) * np.timedelta64(61, "D")
    data, encoding = {}, {}
    for key, (values, how) in variables.items():
        dims = ("time", f"lat_{key}", f"lon_{key}")
        data[key] = (dims, values, {"units": "K"})
        encoding[key] = how
    xr.Dataset(data, coords={"time": time}).to_zarr(
        f"{folder}/{name}", zarr_format=2, consolidated=True, encoding=encoding
    )
    return {key: f"{folder}/{name}/{key}" for key in variables}


def link(folder, addresses, **options):
    url = f"{folder}/images.zarr"
    return url, mrdist.link(url, addresses, **{"dims": ("time", "y", "x")} | options)


def naive(low, high, alpha, size=3):
    """Solve every pixel from its rows, those of missing values left out; x and t are in 0..1, NaN is missing."""
    n, height, width = low.shape
    coef, intercept = np.zeros((size * size, height, width)), np.zeros((height, width))
    for y in range(height):
        for x in range(width):
            if np.isnan(high[:, y, x]).all():
                continue
            taps = []
            for dy in range(-(size // 2), size // 2 + 1):
                for dx in range(-(size // 2), size // 2 + 1):
                    inside = 0 <= y + dy < height and 0 <= x + dx < width
                    values = low[:, y + dy, x + dx] if inside else np.full(n, np.nan)
                    taps.append(np.zeros(n) if np.isnan(values).all() else values)
            rows = np.column_stack([*taps, np.ones(n)])
            target = high[:, y, x]
            whole = ~np.isnan(rows).any(axis=1) & ~np.isnan(target)
            rows, target = rows[whole], target[whole]
            found = np.linalg.solve(rows.T @ rows + alpha * np.eye(rows.shape[1]), rows.T @ target)
            coef[:, y, x], intercept[y, x] = found[:-1], found[-1]
    return coef, intercept


def rounded(values, low, high):
    """Values as shares of a range, rounded as links round them."""
    return np.rint((values - low) / (high - low) * 2**22) / 2**22


@pytest.fixture
def land(tmp_path):
    """A coarse and a fine field with land, as float32, and their values."""
    low, high = field(1).astype("f4"), field(2).astype("f4")
    low[:, LAND] = high[:, LAND] = np.nan
    high[:, 5, 5] = np.nan
    chunks = {"chunks": (5, 4, 13)}
    return climate(tmp_path, low=(low, chunks), high=(high, chunks)), low, high


def test_land_is_outside_and_has_no_output(land, tmp_path):
    addresses, low, high = land
    url, report = link(tmp_path, addresses, ranges={"low": (150, 450), "high": (150, 450)})
    assert report.to_dict()["labels"]["high"]["masked_pixels"] == LAND.sum() + 1
    weights = weights_of(url, f"{tmp_path}/w.zarr", dtype="float64", alpha=0.1)
    coef, intercept = naive(rounded(low.astype(float), 150, 450), rounded(high.astype(float), 150, 450), 0.1)
    np.testing.assert_allclose(weights["coef"], coef, atol=1e-9)
    np.testing.assert_allclose(weights["intercept"], intercept, atol=1e-9)
    mrdist.synthesize(f"{tmp_path}/w.zarr", url, out=f"{tmp_path}/made.zarr", workers=0)
    made = zarr.open_array(f"{tmp_path}/made.zarr/high", mode="r")[..., 0]
    assert (np.isnan(made) == np.isnan(high).all(axis=0)).all()
    shares = np.where(np.isnan(low), 0, rounded(low.astype(float), 150, 450))
    wide = np.pad(shares, ((0, 0), (1, 1), (1, 1)))
    predicted = intercept + sum(
        coef[3 * dy + dx] * wide[:, dy : dy + HEIGHT, dx : dx + WIDTH] for dy in range(3) for dx in range(3)
    )
    np.testing.assert_allclose(made, np.where(np.isnan(high), np.nan, 150 + 300 * predicted), rtol=2e-6)
    scores = mrdist.evaluate(f"{tmp_path}/w.zarr", url, workers=0)["splits"]["train"]["frame"]
    errors = (150 + 300 * predicted - high)[Images.open(url).split == "train"]
    assert scores["model"]["rmse"] == pytest.approx(np.sqrt(np.nanmean(errors**2)), rel=1e-5)
    assert scores["model"]["units"] == "K"
    again = Images.open(f"{tmp_path}/made.zarr").read("high", [3])[0, ..., 0]
    assert np.abs(again - np.where(np.isnan(high[3]), 0, predicted[3]))[~LAND].max() < 1e-6


def test_training_scores_count_pixels_that_are_there(land, tmp_path):
    url, _ = link(tmp_path, land[0], ranges={"low": (150, 450), "high": (150, 450)})
    report = mrdist.train(url, f"{tmp_path}/w.zarr", source="low", target="high", workers=0, progress=False)
    scores = mrdist.evaluate(f"{tmp_path}/w.zarr", url, splits=["train"], workers=0)["splits"]["train"]["frame"]
    assert report.scores["mse"] == pytest.approx(scores["model"]["mse"], rel=1e-6)
    assert report.scores["r2"] == pytest.approx(scores["model"]["r2"], rel=1e-6)


def test_packed_values_with_fill_values(tmp_path):
    low, high = np.round(field(1), 1), np.round(field(2), 1)
    low[:, LAND] = high[:, LAND] = np.nan
    packed = {"dtype": "int16", "scale_factor": 0.1, "add_offset": 250.0, "_FillValue": -32768}
    addresses = climate(tmp_path, low=(low, packed), high=(high, packed))
    url, report = link(tmp_path, addresses)
    told = report.to_dict()["labels"]["low"]
    np.testing.assert_allclose(told["range"], [np.nanmin(low), np.nanmax(low)], atol=1e-9)
    assert told["missing_values"] == [-32768.0]
    assert told["masked_pixels"] == LAND.sum()
    opened = mrdist.open_images(url)
    np.testing.assert_allclose(opened["low"][..., 0].values, low, rtol=1e-6)
    np.testing.assert_allclose(opened["low"][3:9:2, 4, ::-1, 0].values, low[3:9:2, 4, ::-1], rtol=1e-6)
    assert opened["low"].attrs["units"] == "K"


def test_pixels_missing_in_some_images(land, tmp_path):
    addresses, low, high = land
    low, high = low.copy(), high.copy()
    low[4, 6, 6] = low[9, 6, 7] = high[4, 8, 8] = np.nan
    low[17] = np.nan
    addresses = climate(tmp_path, "holes.zarr", low=(low, {}), high=(high, {}))
    with pytest.raises(DataError, match=r"2 pixels of .*low are missing in some images and not in others"):
        link(tmp_path, addresses)
    url, report = link(tmp_path, addresses, missing="drop-images")
    assert report.present == {"low": N - 3, "high": N - 1}
    assert Images.open(url).rows(("low", "high"), "all").tolist() == [n for n in range(N) if n not in (4, 9, 17)]
    weights_of(url, f"{tmp_path}/w.zarr")


def test_a_missing_value_nobody_looked_for_is_told(land, tmp_path):
    addresses, _, _ = land
    url, _ = link(tmp_path, addresses, missing="none", ranges={"low": (150, 450), "high": (150, 450)})
    with pytest.raises(DataError, match=r"climate.zarr/low misses \d+ values in image 0 \(the first at y = 0, x = 5\)"):
        weights_of(url, f"{tmp_path}/w.zarr")


def test_a_finer_target_sees_the_source_pixels_around_it(tmp_path):
    low, high = field(1, (N, 6, 7)), field(2, (N, 24, 28))
    addresses = climate(tmp_path, low=(low, {"chunks": (7, 3, 5)}), high=(high, {"chunks": (24, 10, 9)}))
    ranges = {"low": (100, 450), "high": (100, 450)}
    url, report = link(tmp_path, addresses, ranges=ranges)
    assert {label: one["factor"] for label, one in report.to_dict()["labels"].items()} == {"low": 4, "high": 1}
    weights = weights_of(url, f"{tmp_path}/w.zarr", dtype="float64", alpha=0.1, block=(8, 28))
    for phase_y, phase_x in ((0, 0), (1, 3), (3, 2)):
        part = high[:, phase_y::4, phase_x::4]
        coef, intercept = naive(rounded(low, 100, 450), rounded(part, 100, 450), 0.1)
        np.testing.assert_allclose(weights["coef"][:, phase_y::4, phase_x::4], coef, atol=1e-9)
        np.testing.assert_allclose(weights["intercept"][phase_y::4, phase_x::4], intercept, atol=1e-9)


def test_land_of_a_coarser_source_is_outside(tmp_path):
    land = np.zeros((6, 7), dtype=bool)
    land[:2, 3:] = land[5, 0] = True
    low, high = field(1, (N, 6, 7)), field(2, (N, 24, 28))
    low[:, land] = np.nan
    high[:, land.repeat(4, axis=0).repeat(4, axis=1)] = np.nan
    high[:, 10:13, 5] = np.nan
    addresses = climate(tmp_path, low=(low, {"chunks": (7, 3, 5)}), high=(high, {"chunks": (24, 10, 9)}))
    url, report = link(tmp_path, addresses, ranges={"low": (100, 450), "high": (100, 450)})
    assert report.masked == {"low": 16 * land.sum(), "high": 16 * land.sum() + 3}
    weights = weights_of(url, f"{tmp_path}/w.zarr", dtype="float64", alpha=0.1, block=(8, 28))
    for phase_y, phase_x in ((0, 0), (2, 1), (3, 2)):
        part = high[:, phase_y::4, phase_x::4]
        coef, intercept = naive(rounded(low, 100, 450), rounded(part, 100, 450), 0.1)
        np.testing.assert_allclose(weights["coef"][:, phase_y::4, phase_x::4], coef, atol=1e-9)
        np.testing.assert_allclose(weights["intercept"][phase_y::4, phase_x::4], intercept, atol=1e-9)


def test_years_stay_together(tmp_path):
    addresses = climate(tmp_path, low=(field(1), {}), high=(field(2), {}))
    url, _ = link(tmp_path, addresses, split_by="year")
    images = Images.open(url)
    assert images.image[0] == "2001-01-15"
    assert sorted(set(images.subject)) == ["2001", "2002", "2003", "2004", "2005"][: len(set(images.subject))]
    assert all(len(set(images.split[images.subject == year])) == 1 for year in set(images.subject))
    assert set(images.split) == {"train", "val", "test"}


def test_attributes_and_options_say_what_is_missing_and_what_the_range_is(tmp_path):
    rng = np.random.default_rng(4)
    group = zarr.open_group(f"{tmp_path}/g.zarr", mode="w", zarr_format=2)
    values = rng.integers(0, 100, (12, 5, 6), dtype="i2")
    values[:, 1, 1], values[:, 2, 3], values[:, 4, 4] = 120, -9, 77
    low = group.create_array("low", data=values, fill_value=0)
    low.attrs.update({"valid_range": [0, 110], "scale_factor": 0.5, "add_offset": 10.0})
    group.create_array("high", data=values.astype("u1"), fill_value=255)
    addresses = {label: f"{tmp_path}/g.zarr/{label}" for label in ("low", "high")}
    url, report = link(tmp_path, addresses, missing_values={"high": 77}, missing="drop-images", seed=3)
    told = report.to_dict()["labels"]
    assert (told["low"]["range"], told["low"]["measured"], told["low"]["masked_pixels"]) == ([10, 65], False, 2)
    assert (told["high"]["range"], told["high"]["missing_values"]) == ([0, 255], [77])
    assert told["high"]["masked_pixels"] == 1
    images = Images.open(url)
    assert np.argwhere(~images.there("low")).tolist() == [[1, 1], [2, 3]]
    shares = images.read("low", [0])[0, ..., 0]
    np.testing.assert_allclose(shares, np.where(images.there("low"), values[0] / 110, 0), atol=2**-23)


def test_chunks_that_hold_nothing_but_missing_values_may_be_left_out(tmp_path):
    group = zarr.create_group(f"{tmp_path}/g.zarr")
    values = field(6, (8, 8, 8)).astype("f4")
    values[:, :4, :4] = np.nan
    for label in ("low", "high"):
        group.create_array(label, data=values, chunks=(8, 4, 4), fill_value=np.nan, dimension_names=("t", "y", "x"))
    assert len(list((tmp_path / "g.zarr" / "low").rglob("c/0/*/*"))) == 3
    addresses = {label: f"{tmp_path}/g.zarr/{label}" for label in ("low", "high")}
    url, report = link(tmp_path, addresses)
    assert report.masked == {"low": 16, "high": 16}
    made = weights_of(url, f"{tmp_path}/w.zarr")
    assert not made["coef"][:, :3, :3].any()
    assert made["coef"][:, 4:, 4:].all(axis=0).sum() == 8  # of the 9 inside, one has a corner that is missing


def test_sources_alone_are_made_finer_in_the_units_of_the_target(tmp_path):
    low, high = field(1, (N, 6, 7)), field(2, (N, 12, 14))
    high[:, 3:5] = np.nan
    addresses = climate(tmp_path, low=(low, {}), high=(high, {}))
    url, _ = link(tmp_path, addresses, ranges={"low": (100, 450), "high": (100, 450)})
    weights_of(url, f"{tmp_path}/w.zarr")
    made = []
    for name, labels, options in (("both", ("low", "high"), {}), ("alone", ("low",), {"scale": 2})):
        ranges = dict.fromkeys(labels, (100, 450))
        new = f"{tmp_path}/{name}.zarr"
        mrdist.link(new, {label: addresses[label] for label in labels}, dims=("t", "y", "x"), ranges=ranges, **options)
        mrdist.synthesize(f"{tmp_path}/w.zarr", new, out=f"{tmp_path}/made_{name}.zarr", workers=0)
        made.append(zarr.open_array(f"{tmp_path}/made_{name}.zarr/high", mode="r")[...])
    np.testing.assert_array_equal(*made)
    assert np.isnan(made[0][:, 3:5]).all()
    mrdist.link(f"{tmp_path}/other.zarr", {"low": addresses["low"]}, dims=("t", "y", "x"), scale=2)
    with pytest.raises(DataError, match="was learnt from values of low of 100 to 450, but"):
        mrdist.synthesize(f"{tmp_path}/w.zarr", f"{tmp_path}/other.zarr", out=f"{tmp_path}/x.zarr", workers=0)


def test_sums_of_other_ranges_are_not_mixed(land, tmp_path):
    options = {"source": "low", "target": "high", "workers": 0, "progress": False, "split": "all"}
    url, _ = link(tmp_path, land[0], ranges={"low": (100, 450), "high": (100, 450)})
    mrdist.accumulate(url, f"{tmp_path}/sums.zarr", **options)
    report = mrdist.solve(f"{tmp_path}/sums.zarr", f"{tmp_path}/w.zarr", alpha=0.4, workers=0, progress=False)
    trained = mrdist.train(url, f"{tmp_path}/t.zarr", source="low", target="high", split="all", workers=0, alpha=0.4)
    assert report.scores == trained.scores
    link(tmp_path, land[0], ranges={"low": (100, 451), "high": (100, 450)}, overwrite=True)
    with pytest.raises(MrdistError, match="holds the output of another accumulation"):
        mrdist.accumulate(url, f"{tmp_path}/sums.zarr", append=True, **options)
