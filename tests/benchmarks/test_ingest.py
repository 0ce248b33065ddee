"""``mrdist ingest`` of real photographs: images a second of one worker and of two."""

import os
from pathlib import Path

import numpy as np
import pytest

import mrdist

pytestmark = [
    pytest.mark.filterwarnings("ignore"),
    pytest.mark.skipif("MRDIST_TEST_DATA" not in os.environ, reason="MRDIST_TEST_DATA is not set"),
]


@pytest.mark.parametrize("align", ["tps", "none"])
def test_two_workers_ingest_twice_as_much(meter, tmp_path, align):
    def ingest(workers):
        def run():
            london = Path(os.environ["MRDIST_TEST_DATA"]) / "london"
            return mrdist.ingest(
                london, tmp_path / f"{workers}.zarr", size=128, align=align, workers=workers, overwrite=True
            )

        return run

    one, two = ingest(1), ingest(2)
    n_images = sum(two().present.values())
    seconds = meter.time(two, {"one": one}, rounds=1 if align == "tps" else 3)
    for label in ("neutral", "smiling"):
        images = [mrdist.open_images(str(tmp_path / f"{n}.zarr"))[label].values for n in (1, 2)]
        np.testing.assert_array_equal(*images)
    rates = {name: n_images / s for name, s in seconds.items()}
    what = f"ingest {n_images} photographs, align {align}: two workers"
    meter.tell(what, rates["ours"], rates["one"], "one worker", unit="/s", target="near 2")
