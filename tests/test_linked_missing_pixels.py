"""What is made and judged of images that miss values: NaN where a prediction would need one, and no score."""

from __future__ import annotations

import json
import os

import commands
import missing_rows as rows
import numpy as np
import pytest
import zarr
from missing_rows import PAIR

import mrdist
from mrdist.errors import DataError, MemoryLimitError
from mrdist.geometry import Block
from mrdist.pipeline.judging.learning_curve import learning_curve
from mrdist.storage import Images

N, HEIGHT, WIDTH = 24, 23, 27
SPLIT = ["train"] * 16 + ["test"] * 8
LONELY = (12, 14)
"""A pixel whose target only images of the test have."""


@pytest.fixture(scope="module")
def learnt(tmp_path_factory):
    """A store that misses values, its weights, and what the oracle makes of its sources, in shares."""
    folder = tmp_path_factory.mktemp("pixels")
    low, high = rows.draw(11, (N, HEIGHT, WIDTH), 0.04)
    high[:16, *LONELY] = np.nan
    url = rows.link(folder, rows.write(folder, low, high), split=SPLIT)
    mrdist.train(url, f"{folder}/w.zarr", dtype="float64", alpha=0.1, **PAIR)
    low, high = (rows.shares(values[..., None]) for values in (low, high))
    land = rows.nowhere(low), rows.nowhere(high)
    coef, intercept, _ = rows.naive(low[:16], high[:16], 0.1, land=land)
    made = rows.predict(low, land[0], coef, intercept)
    made[:, land[1]] = np.nan
    return url, f"{folder}/w.zarr", low[..., 0], high[..., 0], made


def test_a_prediction_that_needs_a_missing_value_is_missing(learnt, tmp_path):
    url, weights, _, _, expected = learnt
    mrdist.synthesize(weights, url, out=f"{tmp_path}/made.zarr", workers=0)
    made = zarr.open_array(f"{tmp_path}/made.zarr/high", mode="r")[..., 0]
    np.testing.assert_array_equal(np.isnan(made), np.isnan(expected))
    np.testing.assert_allclose(made, -64 + 128 * np.clip(expected, 0, 1), atol=2e-5)
    assert np.isnan(made[:, *LONELY]).all()
    assert mrdist.check_images(f"{tmp_path}/made.zarr") == mrdist.check_images(url) == []
    np.testing.assert_array_equal(mrdist.open_images(f"{tmp_path}/made.zarr")["high"][..., 0], made)
    again = rows.pixels_of(f"{tmp_path}/made.zarr", "high")[..., 0]
    lost = np.isnan(expected).all(axis=0)
    np.testing.assert_allclose(again[:, ~lost], np.clip(expected, 0, 1)[:, ~lost], atol=1e-6)


def test_a_pixel_without_rows_is_not_a_number(learnt):
    weights = zarr.open_group(learnt[1], mode="r")
    assert weights["n_rows"][LONELY] == 0
    assert np.isnan(weights["intercept"][LONELY])
    assert not weights["coef"][:, *LONELY].any()
    assert np.isnan(weights["intercept"][...]).sum() == 1
    made = mrdist.open_weights(learnt[1]).predict(np.zeros((1, HEIGHT, WIDTH), dtype=np.float32))
    assert np.argwhere(np.isnan(made[0])).tolist() == [list(LONELY)]


@pytest.mark.parametrize("split", ["train", "test"])
def test_scores_count_what_is_there(learnt, split):
    url, weights, low, high, made = learnt
    inside = np.array(SPLIT) == split
    scores = mrdist.evaluate(weights, url, splits=[split], workers=0)["splits"][split]["frame"]
    errors = (made - high)[inside]
    identity = np.where(np.isnan(errors), np.nan, (low - high)[inside])
    for name, each in (("model", errors), ("identity", identity)):
        of_image = np.nanmean(each**2, axis=(1, 2))
        assert scores[name]["mse"] == pytest.approx(of_image.mean(), rel=1e-6)
        assert scores[name]["psnr"] == pytest.approx((-10 * np.log10(of_image)).mean(), rel=1e-6)
    truth = np.where(np.isnan(errors), np.nan, high[inside])
    mean = np.nansum(truth, axis=0) / np.maximum(np.isfinite(truth).sum(axis=0), 1)
    sst = np.nansum((truth - mean) ** 2, axis=0)
    varies = sst > 1e-12
    r2 = (1 - np.nansum(errors**2, axis=0)[varies] / sst[varies]).mean()
    assert scores["model"]["r2"] == pytest.approx(r2, rel=1e-6)
    intercept = zarr.open_array(f"{weights}/intercept", mode="r")[...] + 0 * errors
    of_weights, of_intercept = (np.nansum(np.abs(each)) for each in (made[inside] - intercept, intercept))
    assert scores["intercept_share"] == pytest.approx(of_intercept / (of_weights + of_intercept), rel=1e-6)


def test_scores_of_whole_images_do_not_change_when_others_miss_values(learnt, tmp_path):
    _, weights, *_ = learnt
    rng = np.random.default_rng(2)
    low, high = rng.integers(-60, 60, (2, N, HEIGHT, WIDTH)).astype("f8")
    made = []
    for name in ("whole", "holes"):
        if name == "holes":
            low[:16, 3:5], high[:16, 7, 7] = np.nan, np.nan
        new = rows.link(tmp_path, rows.write(tmp_path, low, high, name=name), name=f"i{name}", split=SPLIT)
        made.append(mrdist.evaluate(weights, new, splits=["test"], workers=0)["splits"])
    np.testing.assert_equal(*made)


def test_evaluation_in_blocks_on_workers(learnt, two_workers):
    url, weights, *_ = learnt
    here = mrdist.evaluate(weights, url, workers=0)
    there = mrdist.evaluate(weights, url, scheduler=two_workers, progress=False)
    np.testing.assert_equal(here["splits"], there["splits"])


def test_what_needs_whole_images_says_so_before_it_writes(learnt, tmp_path):
    url, *_ = learnt
    sentence = r"needs whole images, but pixels of low and high are missing in some images of .*images\.zarr"
    out = f"{tmp_path}/out"
    with pytest.raises(DataError, match=sentence):
        mrdist.compare(url, source="low", target="high", out=out, workers=0)
    with pytest.raises(DataError, match=sentence):
        learning_curve(url, source="low", target="high")
    with pytest.raises(DataError, match=r"low misses \d+ values in image 0 .* that other images have, but images must"):
        Images.open(url).read("low", [0])
    whole = rows.link(tmp_path, rows.write(tmp_path, *rows.draw(1, (N, HEIGHT, WIDTH), 0)), name="whole", split=SPLIT)
    mrdist.train(whole, f"{tmp_path}/l2.zarr", method="l2", **PAIR)
    with pytest.raises(DataError, match=r"l2\.zarr, trained by l2, needs whole images, but pixels of low are missing"):
        mrdist.synthesize(f"{tmp_path}/l2.zarr", url, out=out, workers=0)
    assert not (tmp_path / "out").exists()


def test_a_value_that_went_missing_since_is_told(learnt, tmp_path):
    low, high = rows.draw(12, (N, 9, 9), 0.02)
    low[0, 4, 4], low[1:, 4, 4] = 5, 6
    addresses = rows.write(tmp_path, low, high)
    url = rows.link(tmp_path, addresses)
    array, chunk = zarr.open_array(addresses["low"], mode="r+"), tmp_path / "data.zarr/low/1.0.0"
    before = chunk.stat()
    array[7, 4, 4] = np.nan
    os.utime(chunk, ns=(before.st_atime_ns, before.st_mtime_ns))  # as if it had been so all along
    with pytest.raises(DataError, match=r"low misses .* in image 7 .*but images must be whole; link it again"):
        Images.open(url).reader(nan=True).read("low", 7, 8, Block(4, 4, 5, 5))


def test_commands(tmp_path):
    low, high = rows.draw(13, (N, 9, 9), 0.05)
    high[:, 4, 4] = 7.0
    addresses = rows.write(tmp_path, low, high)
    labels = [f"--label={label}={address}" for label, address in addresses.items()]
    how = ("--dims", "image,y,x", "--missing")
    refused = commands.warm("link", tmp_path / "i.zarr", *labels, *how, "error")
    assert refused.returncode == 1
    assert "leave these images out for the pixels concerned with --missing drop-rows, or altogether" in refused.stderr
    told = json.loads(commands.succeed("link", tmp_path / "i.zarr", *labels, *how, "drop-rows", "--json").stdout)
    some = np.isnan(low).any(axis=0) & ~np.isnan(low).all(axis=0)
    assert told["labels"]["low"]["incomplete_pixels"] == some.sum()
    assert told["labels"]["low"]["masked_pixels"] == np.isnan(low).all(axis=0).sum()
    pair = ("--source", "low", "--target", "high", "--workers", 0)
    plan = json.loads(commands.succeed("plan", tmp_path / "i.zarr", *pair, "--json").stdout)
    commands.succeed("train", tmp_path / "i.zarr", tmp_path / "w.zarr", *pair)
    arrays = rows.arrays_of(f"{tmp_path}/w.zarr")
    written = sum(arrays[name].nbytes for name in ("coef", "intercept", "n_rows", "train_sse", "train_sst"))
    assert plan["bytes_written"] == written


def test_plans_count_the_rows_that_are_left_out(learnt):
    options = {"source": "low", "target": "high", "workers": 0, "receptive_field": 7}
    url = learnt[0]
    with_holes = mrdist.plan(url, **options).peak_memory
    pixels = HEIGHT * WIDTH
    gram = 8 * pixels * 49 * 50 // 2
    assert with_holes > gram
    with pytest.raises(MemoryLimitError):
        mrdist.plan(url, max_memory=with_holes - gram, block=(32, 32), **options)
