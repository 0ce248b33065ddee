"""A statistics store holds the sums of the equations, as integers that never overflow."""

from __future__ import annotations

import commands
import numpy as np
import pytest
from places import chunks

import mrdist

HERE = ("--workers", "0")


@pytest.mark.parametrize("color", ["shared", "separate", "joint"])
def test_the_store_holds_the_sums_of_the_equations(color, tmp_path, draw_images):
    x, t = (draw_images((5, 19, 23, 2), seed=seed) for seed in (0, 1))
    images = commands.write_store(tmp_path / "images.zarr", {"a": x, "b": t})
    options = ("--source", "a", "--target", "b", "--receptive-field", 3, "--dilation", 2, "--color", color)
    commands.succeed("accumulate", images, tmp_path / "s.zarr", *options, *HERE)
    found = mrdist.open_statistics(str(tmp_path / "s.zarr"))
    x, t = x.astype(np.int64), t.astype(np.int64)
    axes = (0, 3) if color == "shared" else (0,)

    def shifted(pixels, dy, dx):
        out = np.zeros_like(pixels)
        height, width = pixels.shape[1:3]
        ys, xs = (slice(max(0, -d), min(n, n - d)) for d, n in ((dy, height), (dx, width)))
        ys_from, xs_from = (slice(max(0, d), min(n, n + d)) for d, n in ((dy, height), (dx, width)))
        out[:, ys, xs] = pixels[:, ys_from, xs_from]
        return out

    def total(products):
        sums = products.sum(axis=axes)
        return sums if color == "shared" else np.moveaxis(sums, -1, 0)

    stacked = 0 if color == "shared" else 1

    def paired(a, b):
        if color != "joint":
            return total(a * b)
        return np.stack([(a[..., k] * b[..., m]).sum(axis=0) for k in range(2) for m in range(2)])

    assert np.array_equal(found["lag"][0], np.stack([paired(x, shifted(x, *d)) for d in found.shifts.values], stacked))
    assert np.array_equal(
        found["cross"][0], np.stack([paired(t, shifted(x, *o)) for o in found.offsets.values], stacked)
    )
    for name, sums in (("source_sum", x), ("target_sum", t), ("target_square", t * t)):
        assert np.array_equal(found[name][0], total(sums))
    assert found["count"].values.tolist() == [5]
    assert found["image"].values.tolist() == [f"image-{n}" for n in range(5)]
    assert found["lag"].dtype == np.uint32


@pytest.mark.parametrize("color", ["shared", "separate", "joint"])
def test_float_images(color, tmp_path):
    rng = np.random.default_rng(0)
    pixels = {label: rng.random((6, 20, 20, 3), dtype=np.float32) for label in "ab"}
    images = commands.write_store(tmp_path / "images.zarr", pixels)
    options = ("--source", "a", "--target", "b", "--color", color)
    commands.succeed("accumulate", images, tmp_path / "sums.zarr", *options, *HERE)
    commands.succeed("train", images, tmp_path / "t.zarr", *options, *HERE)
    commands.succeed("solve", tmp_path / "sums.zarr", tmp_path / "s.zarr", *HERE)
    assert chunks(tmp_path / "s.zarr") == chunks(tmp_path / "t.zarr")
    assert mrdist.open_statistics(str(tmp_path / "sums.zarr"))["lag"].dtype == np.int64


def test_sums_too_large_for_an_entry_take_several(tmp_path, monkeypatch, draw_images):
    monkeypatch.setattr("mrdist.storage.sums.reader._ROWS_IN_32_BITS", 10)  # three images of three channels
    pixels = {label: draw_images((8, 20, 20, 3), seed=seed) for seed, label in enumerate("ab")}
    images = commands.write_store(tmp_path / "images.zarr", pixels)
    statistics, weights = str(tmp_path / "s.zarr"), str(tmp_path / "w.zarr")
    mrdist.accumulate(images, statistics, source="a", target="b", workers=0)
    assert mrdist.open_statistics(statistics)["count"].values.tolist() == [3, 3, 2]
    mrdist.solve(statistics, weights, workers=0)
    mrdist.train(images, str(tmp_path / "t.zarr"), source="a", target="b", workers=0)
    assert chunks(weights) == chunks(tmp_path / "t.zarr")
