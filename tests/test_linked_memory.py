"""Plans of linked stores hold room for values before they are pixels, whatever their dtype, byte order and chunks."""

from __future__ import annotations

import numpy as np
import pytest
import zarr

import mrdist
from mrdist.planning import MIB

SHAPE = (400, 128, 128, 3)
LABELS = {"source": "low", "target": "high"}
CASES = {
    "bytes as they lie": ("<u1", (64, 64, 64, 3), {}),
    "bytes with a range": ("<u1", (64, 64, 64, 3), {"ranges": {"low": (0, 300), "high": (0, 300)}}),
    "floats": ("<f4", (64, 64, 64, 3), {}),
    "half floats": ("<f2", (64, 64, 64, 3), {}),
    "doubles, most significant byte first": (">f8", (64, 64, 64, 3), {}),
    "doubles, all images in a chunk": ("<f8", (400, 32, 32, 3), {}),
}


def link(folder, dtype, chunks, options):
    group, rng = zarr.open_group(f"{folder}/data.zarr", mode="w", zarr_format=2), np.random.default_rng(0)
    for label in LABELS.values():
        array = group.create_array(label, shape=SHAPE, chunks=chunks, dtype=dtype)
        array[...] = rng.integers(0, 256, SHAPE).astype(dtype)
    addresses = {label: f"{folder}/data.zarr/{label}" for label in LABELS.values()}
    dims = ("image", "y", "x", "channel")
    return mrdist.link(f"{folder}/linked.zarr", addresses, dims=dims, missing="none", **options).url


@pytest.mark.parametrize(
    "case", [pytest.param(case, marks=pytest.mark.slow if "byte first" in case else pytest.mark.long) for case in CASES]
)
def test_the_planned_memory_is_enough_and_not_much_more(case, from_nothing, tmp_path, capsys):
    url = link(tmp_path, *CASES[case])
    options = {**LABELS, "split": "all", "workers": 1, "max_memory": "8GiB"}
    plan = mrdist.plan(url, **options)
    measured = mrdist.train(url, str(tmp_path / "w.zarr"), **options, progress=False).peak_memory_bytes
    with capsys.disabled():
        print(f"\n{case}: planned {plan.peak_memory // MIB} MiB, measured {measured // MIB} MiB", end=" ")
    assert measured <= plan.peak_memory
    assert plan.peak_memory <= 1.6 * measured  # what values are before they are pixels is never all there at once


@pytest.mark.parametrize("method", ["mr", "l2", "pca", "mean"])  # the others hold far more than they read
def test_wider_values_are_planned_with_more_memory(method, tmp_path):
    """The pixels of all are floats of the same size; ``evaluate`` and ``synthesize`` plan with the same number."""
    planned, given = [], {"components": 3} if method == "pca" else {}
    for dtype in ("<f4", ">f8"):
        group = zarr.open_group(f"{tmp_path}/{dtype}.zarr", mode="w", zarr_format=2)
        for label in LABELS.values():
            group.create_array(label, shape=(40, 64, 64), chunks=(40, 64, 64), dtype=dtype, fill_value=1)
        addresses = {label: f"{tmp_path}/{dtype}.zarr/{label}" for label in LABELS.values()}
        ranges = dict.fromkeys(addresses, (0, 2))
        url = f"{tmp_path}/{dtype}-linked.zarr"
        mrdist.link(url, addresses, dims=("image", "y", "x"), ranges=ranges, missing="none", missing_chunks="fill")
        planned.append(mrdist.plan(url, **LABELS, method=method, split="all", workers=0, **given).peak_memory)
    assert planned[0] < planned[1]
