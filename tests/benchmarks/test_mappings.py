"""Twelve mappings between seven expressions: all at once against one after the other."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from benchmarks.stores import mrdist
from mrdist.datasets.synthetic import LABELS
from mrdist.geometry import ReceptiveField
from mrdist.moments import SufficientStatistics

NEUTRAL, *OTHERS = LABELS
PAIRS = [pair for label in OTHERS for pair in ((NEUTRAL, label), (label, NEUTRAL))]
N_PEOPLE = 250


@pytest.fixture(scope="module")
def url(tmp_path_factory):
    found = str(tmp_path_factory.mktemp("mappings") / "faces.zarr")
    mrdist("generate", found, f"--images={N_PEOPLE}", "--size=128")
    return found


@pytest.mark.parametrize("size", [3, 7])
def test_all_mappings_against_one_after_the_other(meter, url, tmp_path, size):
    options = [f"--receptive-field={size}", "--split=all", "--workers=2", "--overwrite"]
    together, apart = [], []

    def ours():
        together.append([mrdist("train", url, tmp_path / "all", f"--source={NEUTRAL}", "--mappings=all", *options)])

    def singles():
        apart.append(
            [mrdist("train", url, tmp_path / f"{a}-{b}", f"--source={a}", f"--target={b}", *options) for a, b in PAIRS]
        )

    ours()
    seconds = meter.time(ours, {"apart": singles}, rounds=1)
    for a, b in PAIRS:
        for path in Path(tmp_path / f"{a}-{b}").rglob("c/*"):
            assert path.is_dir() or path.read_bytes() == (tmp_path / "all" / path.relative_to(tmp_path)).read_bytes()
    what = f"12 mappings, {N_PEOPLE} x 128 x 128 x 3, r={size}"
    meter.tell(f"{what}, all commands", seconds["ours"], seconds["apart"], "12 trainings")

    def total(runs, number):
        return np.array([sum(number(report) for report in reports) for reports in runs])

    meter.tell(
        f"{what}, run",
        total(together[1:], lambda report: report["seconds"]["run"]),
        total(apart, lambda report: report["seconds"]["run"]),
        "12 trainings",
    )
    read = (total(runs, lambda report: report["bytes_read"]) for runs in (together[1:], apart))
    meter.tell(f"{what}, decoded", *read, "12 trainings", unit="B")


@pytest.mark.usefixtures("one_core")
@pytest.mark.parametrize("size", [3, 7])
def test_shared_sums(meter, size):
    """Six targets of one source: sums with and without the source's own taken once."""
    rng = np.random.default_rng(0)
    field, n = ReceptiveField(size), 200
    source = rng.integers(0, 256, (n, 128 + field.reach, 128 + field.reach, 3), dtype=np.uint8)
    targets = rng.integers(0, 256, (6, n, 128, 128, 3), dtype=np.uint8)
    empty = SufficientStatistics.zeros(field, (128, 128), n_groups=1, unit=255)
    shared, alone = ([empty.merge(empty) for _ in targets] for _ in range(2))

    def ours():
        shared[0] = shared[0].update(source, targets[0])
        for number in range(1, len(targets)):
            shared[number] = shared[number].update(source, targets[number], like=shared[0])

    def apart():
        for number, target in enumerate(targets):
            alone[number] = alone[number].update(source, target)

    ours()
    apart()
    seconds = meter.time(ours, {"apart": apart}, rounds=5)
    assert all(np.array_equal(one.lag, other.lag) for one, other in zip(shared, alone, strict=True))
    what = f"sums of 6 targets of one source, {n} x 128 x 128 x 3, r={size}"
    meter.tell(what, seconds["ours"], seconds["apart"], "6 mappings apart")
