"""Many penalties and several fields from the statistics of one pass, on one core."""

import numpy as np
import pytest

from benchmarks.stores import full, synthetic
from mrdist.geometry import ReceptiveField
from mrdist.moments import SufficientStatistics
from mrdist.paths import solve_path, validation_errors
from mrdist.solvers import solve

ALPHAS = np.geomspace(1e-3, 1e2, 10)
SIDE = 128
SLAB = 250

pytestmark = [pytest.mark.usefixtures("one_core"), pytest.mark.filterwarnings("ignore")]


@pytest.fixture(scope="module")
def slab():
    """Return a factory of pairs of faces: window of a field, target."""

    def make(n_images, color, field):
        picture = synthetic(SIDE, color)
        source, target = (np.stack([picture(label, n) for n in range(n_images)]) for label in ("neutral", "happy"))
        halo = (field.halo, field.halo)
        return np.pad(source, ((0, 0), halo, halo, (0, 0))), target

    return make


def accumulated(statistics, window, target, n_images):
    for start in range(0, n_images, len(target)):
        n = min(len(target), n_images - start)
        statistics = statistics.update(window[:n], target[:n])
    return statistics


def empty(field):
    return SufficientStatistics.zeros(field, (SIDE, SIDE), n_groups=1, unit=255)


@pytest.mark.parametrize("n_images", [500, pytest.param(2000, marks=full)])
def test_ten_penalties_and_three_fields_against_one_pass(meter, slab, n_images):
    field = ReceptiveField(7)
    fields = [ReceptiveField(size) for size in (3, 5, 7)]
    window, target = slab(SLAB, "rgb", field)
    total = accumulated(empty(field), window, target, n_images)
    held_out = accumulated(empty(field), window, target, SLAB)
    training = total.subtract(held_out)

    def search():
        return [validation_errors(training.restrict(f), held_out.restrict(f), ALPHAS) for f in fields]

    for f, errors in zip(fields, search(), strict=True):
        path = solve_path(total.restrict(f), ALPHAS[:2])
        assert np.allclose(path.coef[1], solve(total.restrict(f), ALPHAS[1]).coef, rtol=0, atol=1e-9)
        assert (errors.sse >= 0).all()

    seconds = meter.time(search, {"pass": lambda: accumulated(empty(field), window, target, n_images)}, rounds=5)
    meter.tell(
        f"pass over {n_images} pairs rgb + 10 alphas x r=3,5,7",
        seconds["pass"] + seconds["ours"],
        seconds["pass"],
        "the pass, r=7",
        target="<= 2.5" if n_images == 2000 else "",
    )
    meter.tell("of it a pixel, all alphas and fields", seconds["ours"] / SIDE**2, target="15 us")


@pytest.mark.parametrize("size", [3, 5, 7])
def test_ten_penalties_against_solves_of_each(meter, slab, size):
    field = ReceptiveField(size)
    statistics = accumulated(empty(field), *slab(200, "gray", field), 200)
    validation_errors(statistics, statistics, ALPHAS)

    seconds = meter.time(
        lambda: validation_errors(statistics, statistics, ALPHAS),
        {"solve": lambda: solve(statistics, 0.4), "one": lambda: solve_path(statistics, [0.4])},
    )
    per_pixel = {name: value / SIDE**2 for name, value in seconds.items()}
    meter.tell(f"errors of 10 alphas a pixel, r={size}", per_pixel["ours"], 10 * per_pixel["solve"], "10 solves")
    meter.tell(f"path of 1 alpha a pixel, r={size}", per_pixel["one"], per_pixel["solve"], "1 solve")


@pytest.mark.parametrize(("n_images", "color"), [(200, "gray"), (500, "rgb"), pytest.param(2000, "rgb", marks=full)])
@pytest.mark.parametrize("size", [3, 7])
def test_shares_of_accumulation_and_solve(meter, slab, size, n_images, color):
    field = ReceptiveField(size)
    window, target = slab(min(n_images, SLAB), color, field)
    statistics = accumulated(empty(field), window, target, n_images)
    solve(statistics, 0.4)

    seconds = meter.time(
        lambda: solve(statistics, 0.4), {"sums": lambda: accumulated(empty(field), window, target, n_images)}, rounds=5
    )
    meter.tell(f"solve, {n_images} pairs {color}, r={size}", seconds["ours"], seconds["sums"], "their sums")
