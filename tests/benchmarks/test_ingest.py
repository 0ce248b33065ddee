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


@pytest.mark.parametrize(("align", "n_times"), [("tps", 1), ("none", 4)])
def test_two_workers_ingest_twice_as_much(meter, tmp_path, align, n_times):
    running = {1: [], 2: []}

    def ingest(workers):
        london = Path(os.environ["MRDIST_TEST_DATA"]) / "london"
        report = mrdist.ingest(
            [london] * n_times,
            str(tmp_path / f"{workers}.zarr"),
            dataset=[f"copy-{n}" for n in range(n_times)],
            size=128,
            align=align,
            workers=workers,
            overwrite=True,
        )
        running[workers].append(report.run_seconds)
        return sum(report.present.values())

    n_images = ingest(2)
    running[2].clear()
    seconds = meter.time(lambda: ingest(2), {"one": lambda: ingest(1)}, rounds=1)
    for label in ("neutral", "smiling"):
        images = [mrdist.open_images(str(tmp_path / f"{n}.zarr"))[label].values for n in (1, 2)]
        np.testing.assert_array_equal(*images)
    what = f"ingest {n_images} photographs, align {align}: two workers"
    meter.tell(what, n_images / seconds["ours"], n_images / seconds["one"], "one worker", unit="/s", target="near 2")
    one, two = (n_images / np.array(running[n]) for n in (1, 2))
    meter.tell("  once they run", two, one, "one worker", unit="/s", target="near 2")
