"""Everything that takes an images store takes a linked one, and makes of it what it makes of our own."""

from __future__ import annotations

import json

import commands
import numpy as np
import pytest
import zarr
from foreign_arrays import DIMS, own_store

import mrdist
from mrdist.methods.registry import METHODS
from mrdist.storage import Images

SHAPE = (24, 20, 18, 1)
PAIR = {"source": "low", "target": "high", "workers": 0, "progress": False}
OPTIONS = {
    "mr": {"alpha": "cv"},
    "pixel": {"alpha": "cv"},
    "l1": {"window": 3},
    "l0": {"window": 3, "nonzeros": 2},
    "pca": {"components": 4},
}
METHODS_WITHOUT_LANDMARKS = [name for name, method in METHODS.items() if not method.needs_landmarks]


@pytest.fixture(scope="module")
def stores(tmp_path_factory):
    """Float values that are linked, and a store of our own with the same pixels."""
    folder = tmp_path_factory.mktemp("verbs")
    rng = np.random.default_rng(5)
    group = zarr.open_group(f"{folder}/data.zarr", mode="w", zarr_format=2)
    for label in ("low", "high"):
        values = rng.normal(0, 9, SHAPE[:3]).cumsum(axis=1)
        group.create_array(label, data=values, chunks=(5, 7, 18))
    addresses = {label: f"{folder}/data.zarr/{label}" for label in ("low", "high")}
    mrdist.link(f"{folder}/linked.zarr", addresses, dims=DIMS[:3])
    images = Images.open(f"{folder}/linked.zarr")
    pixels = {label: images.read(label, range(SHAPE[0])) for label in addresses}
    own_store(f"{folder}/own.zarr", pixels)
    return f"{folder}/linked.zarr", f"{folder}/own.zarr"


def arrays_of(url):
    """Return the arrays of a store by path, NaN where there is none."""
    group = zarr.open_group(url, mode="r")
    return {path: np.asarray(node) for path, node in group.members(max_depth=None) if isinstance(node, zarr.Array)}


@pytest.mark.parametrize("method", METHODS_WITHOUT_LANDMARKS)
def test_every_method_learns_the_same(method, stores, tmp_path):
    made = []
    for number, images in enumerate(stores):
        mrdist.train(images, f"{tmp_path}/{number}.zarr", method=method, **OPTIONS.get(method, {}), **PAIR)
        made.append(arrays_of(f"{tmp_path}/{number}.zarr"))
    linked, own = made
    assert linked.keys() == own.keys()
    for path, values in linked.items():
        np.testing.assert_array_equal(values, own[path], err_msg=path)
    scores = [mrdist.evaluate(f"{tmp_path}/{n}.zarr", images, workers=0) for n, images in enumerate(stores)]
    ours, theirs = ({split: each["frame"]["model"] for split, each in one["splits"].items()} for one in scores)
    assert all(ours[split]["mse"] == theirs[split]["mse"] for split in theirs)


@pytest.mark.slow
@pytest.mark.parametrize("method", ["mr", "l2"])
def test_two_workers_write_the_bytes_of_none(method, stores, tmp_path):
    how = ("--source", "low", "--target", "high", "--method", method, "--alpha", 0.4, "--block", "16,18")
    for workers in (0, 2):
        commands.succeed("train", stores[0], tmp_path / f"{workers}.zarr", *how, "--workers", workers)
    commands.assert_equal_bytes(tmp_path / "2.zarr", tmp_path / "0.zarr")


def test_sums_solves_mappings_and_synthesis(stores, tmp_path):
    for name, images in zip(("linked", "own"), stores, strict=True):
        mrdist.accumulate(images, f"{tmp_path}/{name}_sums.zarr", **PAIR)
        again = mrdist.accumulate(images, f"{tmp_path}/{name}_sums.zarr", append=True, **PAIR)
        assert again.blocks_run == 0
        mrdist.solve(f"{tmp_path}/{name}_sums.zarr", f"{tmp_path}/{name}.zarr", alpha=0.4, workers=0, progress=False)
        mrdist.train_mappings(images, f"{tmp_path}/{name}_all", source="low", workers=0, progress=False)
    for made in ("{}.zarr", "{}_all/low-high"):
        linked, own = (arrays_of(f"{tmp_path}/{made.format(name)}") for name in ("linked", "own"))
        assert all(np.array_equal(linked[path], own[path]) for path in own)
    mrdist.synthesize(f"{tmp_path}/linked_all/low-high", stores[0], out=f"{tmp_path}/made.zarr", workers=0)
    mrdist.synthesize(f"{tmp_path}/own_all/low-high", stores[1], out=f"{tmp_path}/own_made.zarr", workers=0)
    low, high = mrdist.info(stores[0])["linked"]["arrays"]["high"]["range"]
    ours, theirs = (zarr.open_array(f"{tmp_path}/{name}.zarr/high", mode="r")[...] for name in ("made", "own_made"))
    np.testing.assert_allclose(ours, low + (high - low) * theirs.astype("f8"), rtol=0, atol=(high - low) * 1e-6)
    assert mrdist.check_images(f"{tmp_path}/made.zarr") == []


def test_commands(stores, tmp_path):
    linked, _ = stores
    told = json.loads(commands.succeed("plan", linked, "--source", "low", "--target", "high", "--json").stdout)
    assert told["n_blocks"] >= 1
    assert json.loads(commands.succeed("check", linked, "--json").stdout)["problems"] == []
    compared = ("--source", "low", "--target", "high", "--methods", "mr,pixel,identity", "--workers", 0)
    commands.succeed("compare", linked, *compared, "--out", tmp_path / "compared", "--split", "train")
    commands.succeed("report", tmp_path / "compared", "--out", tmp_path / "report.html")
    info = json.loads(commands.succeed("info", linked, "--json").stdout)
    assert (info["dtype"], info["images"], info["channels"]) == ("float32", SHAPE[0], 1)
    commands.succeed("rechunk", linked, tmp_path / "copied.zarr", "--chunks", "8,10,9", "--workers", 0)
    copied = Images.open(f"{tmp_path}/copied.zarr")
    np.testing.assert_array_equal(copied.read("low", [3]), Images.open(linked).read("low", [3]))
