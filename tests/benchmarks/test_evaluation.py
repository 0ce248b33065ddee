"""``mrdist evaluate`` of large colour faces: against the training whose weights it scores, in one run."""

import numpy as np
import pytest

import mrdist
from benchmarks.stores import BETWEEN

pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.mark.parametrize("workers", [0, 2])
def test_evaluation_against_training(meter, faces_store, tmp_path, workers):
    url, weights = faces_store(80, 512), str(tmp_path / "w.zarr")
    options = {"workers": workers, "progress": False}

    def train():
        mrdist.train(url, weights, **BETWEEN, **options, overwrite=True)

    def ours():
        return mrdist.evaluate(weights, url, **options)

    train()
    found = ours()["splits"]["train"]["frame"]["model"]["mse"]
    images = mrdist.open_images(url)
    model = mrdist.open_weights(weights)
    pairs = zip(*(images[BETWEEN[which]].values for which in ("source", "target")), strict=True)
    errors = [np.square(model.predict(x[None])[0].astype(np.float64) - y / 255).mean() for x, y in pairs]
    assert found == pytest.approx(np.mean(errors), rel=1e-12)
    seconds = meter.time(ours, {"train": train}, rounds=3)
    what = f"evaluate 80 x 512 x 512 x 3, {workers} workers"
    meter.tell(what, seconds["ours"], seconds["train"], "train", target="2")
