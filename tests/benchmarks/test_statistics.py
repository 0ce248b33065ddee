"""Sums as a store: what it costs to keep them, to add to them and to solve from them, beside training anew."""

import numpy as np
import pytest

from benchmarks.stores import PAIR, bytes_on_disk, mrdist, synthetic, train, write_store

pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.mark.parametrize("size", [3, 7])
def test_keeping_and_solving_against_training(meter, faces_store, tmp_path, size):
    url, sums, weights = faces_store(256, 256), tmp_path / "s.zarr", tmp_path / "w.zarr"
    kept, solved, trained = [], [], []

    def run():
        kept.append(mrdist("accumulate", url, sums, f"--receptive-field={size}", *PAIR, "--workers=0", "--overwrite"))
        solved.append(mrdist("solve", sums, weights, "--workers=0", "--overwrite"))

    meter.time(run, {"train": lambda: trained.append(train(url, weights, f"--receptive-field={size}", "--workers=0"))})
    run_of = [np.array([report["seconds"]["run"] for report in reports]) for reports in (kept, solved, trained)]
    what = f"256 x 256 x 256 x 3, r={size}"
    share = bytes_on_disk(sums) / bytes_on_disk(url)
    meter.tell(f"accumulate {what} ({share:.2f} of the images' bytes)", run_of[0], run_of[2], "train")
    meter.tell(f"solve {what}", run_of[1], run_of[2], "train")


def test_adding_against_summing_all_again(meter, tmp_path):
    picture = synthetic(256, "rgb")
    first, more = (write_store(str(tmp_path / f"{n}.zarr"), n, picture) for n in (128, 160))
    sums, options = tmp_path / "s.zarr", [*PAIR, "--receptive-field=3", "--workers=0"]
    added, anew = [], []

    def again():
        anew.append(mrdist("accumulate", more, sums, *options, "--overwrite"))
        mrdist("accumulate", first, sums, *options, "--overwrite")

    meter.time(lambda: added.append(mrdist("accumulate", more, sums, *options, "--append")), {"anew": again}, rounds=3)
    assert added[0]["images_added"] == 32
    run_of = [np.array([report["seconds"]["run"] for report in reports]) for reports in (added, anew)]
    meter.tell("accumulate --append 32 of 160 images", *run_of, "all 160")
