"""Cross-validation against one training, and against its solves and forms alone."""

import os
from pathlib import Path

import numpy as np
import pytest

from benchmarks.stores import full, mrdist, train
from mrdist.geometry import Block, ReceptiveField
from mrdist.methods.masked.sums import sum_folds
from mrdist.paths import validation_errors
from mrdist.selection import assign_folds
from mrdist.storage import Images

ALPHAS = np.geomspace(1e-3, 1e2, 10).round(6)
SIZES = (3, 5, 7)
GRID = ("--alpha=cv", "--folds=5", f"--alphas={','.join(map(str, ALPHAS))}", "--receptive-field=3,5,7")


def folds_of(url):
    images = Images.open(url)
    rows = np.arange(images.n_images)
    fold = assign_folds(images.subject, 5, 0)
    return sum_folds(
        images, ("neutral", "happy"), rows, fold, ReceptiveField(7), Block(0, 0, *images.shape), n_groups=1, slab=512
    )


def solves_and_forms(folds):
    """What no cross-validation of these candidates can avoid, from sums that are there."""
    total = folds[0]
    for fold in folds[1:]:
        total = total.merge(fold)
    pairs = [
        (total.subtract(fold).restrict(ReceptiveField(size)), fold.restrict(ReceptiveField(size)))
        for size in SIZES
        for fold in folds
    ]
    return lambda: [validation_errors(*pair, ALPHAS) for pair in pairs]


@pytest.mark.usefixtures("one_core")
@pytest.mark.parametrize(
    ("n_images", "side"), [(1000, 128), pytest.param(10_000, 64, marks=full)], ids=["1000 x 128", "10000 x 64"]
)
def test_search_against_one_training(meter, faces_store, tmp_path, n_images, side):
    url = faces_store(n_images, side)
    weights = tmp_path / "w.zarr"
    one, search = [], []
    alone = solves_and_forms(folds_of(url))
    alone()

    def run_one():
        one.append(train(url, weights, "--receptive-field=7", "--workers=0"))

    def run_search():
        search.append(train(url, weights, *GRID, "--workers=0"))

    run_search()
    search.clear()
    seconds = meter.time(run_search, {"alone": alone, "one": run_one}, rounds=3)
    assert {report["bytes_read"] for report in search} == {report["bytes_read"] for report in one}
    ours, theirs = (np.array([report["seconds"]["run"] for report in reports]) for reports in (search, one))
    what = f"10 alphas x 5 folds x r=3,5,7, {n_images} pairs rgb {side} x {side}"
    meter.tell(what, ours, theirs, "a training, r=7", target="<= 2.5" if side == 64 else "")
    meter.tell("of it beyond the training", ours - theirs, seconds["alone"], "solves and forms alone", target="<= 1.5")


@pytest.mark.skipif("MRDIST_TEST_DATA" not in os.environ, reason="set MRDIST_TEST_DATA to the folder with london/")
def test_search_on_real_pairs(meter, tmp_path):
    url, weights = str(tmp_path / "london.zarr"), tmp_path / "w.zarr"
    mrdist("ingest", Path(os.environ["MRDIST_TEST_DATA"]) / "london", url, "--size=128", "--color=gray")
    pair = ("--source=neutral", "--target=smiling", "--split=all", "--overwrite", "--workers=2")
    found = []
    meter.time(lambda: found.append(mrdist("train", url, weights, *pair, *GRID)), rounds=3)
    seconds = np.array([report["seconds"]["run"] for report in found])
    meter.tell("10 alphas x 5 folds x r=3,5,7, 80 real pairs gray 128 x 128, 2 workers", seconds, target="<= 8 s")
