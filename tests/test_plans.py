"""Plans of every method: they say what a training does, and refuse what it would refuse, in the same words."""

from __future__ import annotations

import subprocess
import sys
import tracemalloc
from types import SimpleNamespace

import commands
import numpy as np
import pytest
import zarr
from fastapi.testclient import TestClient

import mrdist
from mrdist.baselines.mean import TargetSums
from mrdist.errors import MrdistError
from mrdist.methods.option_table import OPTIONS
from mrdist.methods.registry import METHODS
from mrdist.moments import FIXED_POINT, to_integers
from mrdist.pipeline.judging.check import check_comparison
from mrdist.pipeline.training.check import check_training
from mrdist.planning import MIB
from mrdist.service.app import create_app
from mrdist.service.catalog import Catalog
from mrdist.service.settings import Settings

SIZE, N_IMAGES = 32, 12
LABELS = {"source": "neutral", "target": "happy"}
SEARCH = {
    "alpha": {"alpha": "cv", "alphas": [0.1, 1.0], "folds": 2},
    "nonzeros": {"nonzeros": [1, 2], "folds": 2},
}
ABOUT = ("face_mask", "mean_face", "mean_landmarks", "reference_points", "offsets")  # of any weights, and few bytes
TIMED = ("mr", "pixel", "mean")


def few(method):
    """Return what must be given so that few people are enough."""
    return commands.known(method, components=3, nonzeros=2)


def searching(method):
    """Return the options of a method's cross-validation, None where it has none."""
    known = METHODS[method].options
    return None if "folds" not in known else SEARCH["alpha" if "alphas" in known else "nonzeros"]


TRAININGS = {
    **{method: {"method": method, **few(method)} for method in METHODS},
    **{f"{method} cv": {"method": method, **found} for method in METHODS if (found := searching(method))},
    "mr fields": {"method": "mr", "receptive_field": [1, 3], **SEARCH["alpha"]},
    "mr pooled": {"method": "mr", "pool": 2, "prior": "identity"},
    "mr pools": {"method": "mr", "pool": [0, 1], "receptive_field": [1, 3], **SEARCH["alpha"]},
    "mr joint": {"method": "mr", "color": "joint"},
    "l2 separate": {"method": "l2", "color": "separate"},
    "l1 window": {"method": "l1", "window": 5},
    "l0 cv window": {"method": "l0", "window": 3, **SEARCH["nonzeros"]},
}


def typed(options):
    """Return options as the command line takes them."""
    texts = {name: ",".join(map(str, v)) if isinstance(v, list) else str(v) for name, v in options.items()}
    return [f"--{name.replace('_', '-')}={text}" for name, text in texts.items()]


@pytest.fixture(scope="module")
def stores(tmp_path_factory):
    """Faces in a service's catalogue, in chunks that blocks share."""
    catalog = Catalog.open(str(tmp_path_factory.mktemp("plans") / "catalog"))
    found = SimpleNamespace(catalog=catalog, images=catalog.url_of("datasets", "faces"))
    labels = ("neutral", "happy", "sad")
    mrdist.generate(found.images, images=N_IMAGES, size=SIZE, labels=labels, chunks=(5, 12, 32), workers=0)
    settings = Settings(requests_per_second=1e6, workers=0)
    found.client = TestClient(create_app(catalog, settings), base_url="http://127.0.0.1")
    return found


@pytest.mark.parametrize("name", TRAININGS)
def test_a_training_does_what_is_planned(stores, tmp_path, name):
    options = {**LABELS, **TRAININGS[name], "block": (16, 32), "workers": 0}
    plan = mrdist.plan(stores.images, **options)
    report = mrdist.train(stores.images, str(tmp_path / "w.zarr"), **options, progress=False)
    assert plan.block == (16, 32)
    assert (plan.n_blocks, plan.bytes_read) == (report.blocks, report.bytes_read)
    assert plan.amplification == plan.bytes_read / plan.bytes_needed
    assert plan.start_seconds == 0
    assert (plan.seconds is not None) == (options["method"] in TIMED)
    arrays = dict(zarr.open_group(tmp_path / "w.zarr", mode="r").arrays())
    written = sum(array.nbytes for key, array in arrays.items() if key not in ABOUT)
    if name in ("mr", "mr pooled", "mr joint", "pixel", "mean"):
        assert plan.bytes_written == written
    elif options["method"] != "l1":  # whose data decide how many weights there are
        assert written <= plan.bytes_written < 6 * written  # with what is kept for a later phase


@pytest.mark.parametrize("name", TRAININGS)
def test_python_the_command_and_the_service_plan_the_same(stores, name):
    options = {**LABELS, **TRAININGS[name]}
    plan = mrdist.plan(stores.images, **options, workers=0).to_dict()
    told = commands.report("plan", stores.images, "--workers=0", *typed(options))
    asked = {"verb": "train", "options": {"images": "faces", **options}}
    answer = stores.client.post("/api/v1/plans", json=asked)
    assert answer.status_code == 200, answer.text
    assert told.keys() == plan.keys()
    for key in plan.keys() - {"seconds", "total_seconds"}:
        value = list(plan[key]) if key == "block" else plan[key]
        assert told[key] == answer.json()[key] == value, key
    assert (told["seconds"] is None) == (answer.json()["seconds"] is None) == (plan["seconds"] is None)


def test_a_service_with_a_cluster_plans_its_workers(stores):
    address = "tls://127.0.0.1:8786"
    client = TestClient(create_app(stores.catalog, Settings(scheduler=address)), base_url="http://127.0.0.1")
    asked = {"verb": "train", "options": {"images": "faces", **LABELS}}
    answer = client.post("/api/v1/plans", json=asked).json()
    assert answer["where"] == f"on the workers of {address}"
    assert answer["memory"] == answer["peak_memory"] * answer["workers"] > 0


@pytest.mark.parametrize("name", TRAININGS)
def test_an_estimate_is_the_plan_of_a_store_of_that_size(stores, name):
    options = {**TRAININGS[name], "workers": 0}
    plan = mrdist.plan(stores.images, **LABELS, split="all", **options)
    supposed = {"pairs": N_IMAGES, "size": SIZE, "chunks": (5, 12, 32)}
    found = mrdist.estimate(**supposed, **options, price_per_hour=2.0)
    for key in plan.to_dict().keys() - {"seconds", "total_seconds"}:
        assert getattr(found.plan, key) == getattr(plan, key), key
    assert found.bytes_stored == 2 * N_IMAGES * SIZE * SIZE * 3
    assert found.requests >= plan.bytes_read // (5 * 12 * 32 * 3)
    assert (found.prices["workers"] is None) == (found.worker_hours is None) == (plan.seconds is None)


def test_what_is_not_estimated_is_told(stores):
    told = commands.succeed("plan", stores.images, *typed({**LABELS, "method": "l2"})).stdout
    assert told.count("not estimated") == 2
    supposed = ("--pairs", 20, "--size", 32, "--price-per-hour", 1)
    told = commands.succeed("plan", *supposed, "--method=l1", "--window=3").stdout
    assert told.count("not estimated") == 3
    assert commands.report("plan", *supposed, "--method=l1", "--window=3")["prices"] == {"workers": None}


def test_an_estimate_of_millions_has_a_limit():
    assert mrdist.estimate(pairs=10**6, size=16, method="l1", window=1, max_memory="1TiB").bytes_stored == 1536 * 10**6
    assert "pairs must be at most 10000000" in sentence_of(mrdist.estimate, pairs=10**7 + 1, size=16)


# --- refusals ---------------------------------------------------------------------------------------

REFUSED = [
    ({"source": "angry"}, "angry"),
    ({"color": "blue"}, "color"),
    ({"split": "exam"}, "split"),
    ({"dtype": "int8"}, "dtype"),
    ({"block": (0, 16)}, "block"),
    ({"max_memory": "1MiB"}, "max_memory is 1 MiB"),
    ({"alpha": -1.0}, "alpha"),
    ({"gamma": -1.0}, "gamma"),
    ({"components": 10**6}, "components"),
    ({"window": 4}, "window"),
    ({"nonzeros": 10**6}, "nonzeros"),
    ({"tolerance": -1.0}, "tolerance"),
    ({"receptive_field": SIZE + 2}, "receptive"),
    ({"folds": 10**6}, "folds"),
    ({"rule": "max"}, "rule"),
]


def sentence_of(verb, *args, **options):
    with pytest.raises(MrdistError) as raised:
        verb(*args, **options)
    return str(raised.value)


@pytest.mark.parametrize("method", METHODS)
def test_a_plan_refuses_in_the_words_of_the_training(stores, tmp_path, method):
    """Also an option that the method does not have."""
    out = str(tmp_path / "w.zarr")
    for wrong, word in REFUSED:
        search = searching(method) if set(wrong) & {"folds", "rule"} else None
        options = {**LABELS, "method": method, "workers": 0, **(search or few(method)), **wrong}
        sentence = sentence_of(mrdist.train, stores.images, out, **options)
        assert word in sentence
        assert sentence_of(mrdist.plan, stores.images, **options) == sentence
        assert sentence_of(check_training, stores.images, **options) == sentence
        asked = {"images": "faces", **options, "block": options.get("block") and list(options["block"])}
        del asked["workers"]
        answer = stores.client.post("/api/v1/plans", json={"options": asked})
        assert answer.status_code in (404, 422)
        foreign = wrong.keys() & OPTIONS.keys() - METHODS[method].options.keys()  # whose value is checked first there
        if "string_type" not in answer.text and wrong.keys().isdisjoint({"color", "split", "dtype", "rule", *foreign}):
            assert answer.json()["detail"] == sentence.replace(stores.images, "datasets/faces.zarr")


@pytest.mark.parametrize("method", METHODS)
def test_all_mappings_refuse_in_the_words_of_their_training(stores, tmp_path, method):
    out = str(tmp_path / "group")
    given = {"source": "neutral", "method": method, "workers": 0, **few(method)}
    for wrong in ({"source": "angry"}, {"split": "exam"}, {"max_memory": "1MiB"}, {"block": (0, 1)}, {"gamma": -1.0}):
        sentence = sentence_of(mrdist.train_mappings, stores.images, out, **{**given, **wrong})
        assert sentence_of(check_training, stores.images, **{**given, **wrong}) == sentence


@pytest.mark.parametrize("both_ways", [False, True])
@pytest.mark.parametrize("method", ["mr", "l2"])
def test_all_mappings_are_planned_as_they_are_trained(stores, tmp_path, method, both_ways):
    """Those that share their sums hold more than one alone."""
    given = {"source": "neutral", "method": method, "block": (16, 32), "workers": 0}
    cost = check_training(stores.images, **given, both_ways=both_ways)
    report = mrdist.train_mappings(stores.images, str(tmp_path / "group"), **given, both_ways=both_ways, progress=False)
    assert (cost.blocks, cost.bytes_read) == (report.blocks, report.bytes_read)
    del given["source"]
    one = mrdist.plan(stores.images, **LABELS, **given)
    assert cost.peak_memory > one.peak_memory if method == "mr" else cost.peak_memory == one.peak_memory
    labels = ("--source=neutral", "--mappings=all" if both_ways else "--target=all")
    found = commands.report("plan", stores.images, *labels, "--method", method, "--block=16,32", "--workers=0")
    assert found == cost.to_dict()


def test_a_comparison_is_checked_before_its_first_training(stores, tmp_path):
    """The method that cannot be trained is the last."""
    given = {**LABELS, "methods": ("mean", "mr"), "receptive_fields": (SIZE + 1,), "workers": 0}
    out = tmp_path / "out"
    sentence = sentence_of(mrdist.compare, stores.images, **given, out=str(out))
    assert not out.exists()
    assert sentence_of(check_comparison, stores.images, **given) == sentence
    little = {**given, "receptive_fields": (3,), "max_memory": "1MiB"}
    assert "max_memory is 1 MiB" in sentence_of(mrdist.compare, stores.images, **little, out=str(out))
    assert not out.exists()


# --- memory -----------------------------------------------------------------------------------------

_MEASURED = {"split": "all", "workers": 1, "max_memory": "8GiB", "progress": False}
_MANY = {
    "l1": {"alpha": 0.1},
    "l1 cv": {"alpha": "cv", "alphas": [0.1, 1.0], "folds": 2},
    "l0": {"nonzeros": 3},
    "l0 cv": {"nonzeros": [1, 2], "folds": 2},
}


@pytest.fixture(scope="module")
def large(tmp_path_factory):
    """Stores whose pixels take more memory than the libraries that read them: large images, and many."""
    folder = tmp_path_factory.mktemp("large")
    rng = np.random.default_rng(0)
    found = {}
    for name, n_images, size in (("large", 400, 128), ("many", 1000, 48)):
        faces = rng.integers(0, 256, (n_images, size, size, 3), dtype=np.uint8)
        found[name] = commands.write_store(folder / f"{name}.zarr", {"neutral": faces, "happy": faces[:, ::-1]})
    return found


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(
            name, marks=pytest.mark.slow if name in ("mr", "mr cv", "morph", "l1", "l2 separate") else pytest.mark.long
        )
        for name in TRAININGS
    ],
)
def test_the_planned_memory_is_enough_and_not_much_more(from_nothing, large, tmp_path, name, capsys):
    method = name.split()[0]
    options = {**LABELS, **_MEASURED, "method": method, **TRAININGS[name], **_MANY.get(name, {})}
    options |= {"components": 32} if method == "pca" else {}
    images = large["many" if method in ("l1", "l0") else "large"]
    plan = mrdist.plan(images, **{key: value for key, value in options.items() if key != "progress"})
    report = mrdist.train(images, str(tmp_path / "w.zarr"), **options)
    measured = report.peak_memory_bytes
    with capsys.disabled():
        print(f"\n{name}: planned {plan.peak_memory // MIB} MiB, measured {measured // MIB} MiB", end=" ")
    assert measured <= plan.peak_memory
    assert plan.peak_memory <= 1.5 * measured


@pytest.mark.parametrize("method", ["l1", "l0"])
def test_smaller_blocks_are_taken_where_larger_ones_do_not_fit(method):
    given = {"pairs": 40, "size": 128, "method": method, "window": 3, "workers": 1}
    large = mrdist.estimate(**given).plan
    small = mrdist.estimate(**given, max_memory=large.peak_memory - 1).plan
    assert (large.block, small.block) == ((32, 32), (16, 16))
    assert small.peak_memory < large.peak_memory


def test_no_worker_imports_scikit_learn():
    """It takes more memory than all that a small block works with."""
    modules = sorted({method.home[0] for method in METHODS.values()})
    code = f"import {', '.join(modules)}, sys; print([name for name in sys.modules if name.startswith('sklearn')])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def peak_of(function):
    """Return the most bytes that a call holds at a time."""
    tracemalloc.start()
    try:
        function()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_floats_become_integers_piece_by_piece():
    images = np.random.default_rng(0).random((3, 500, 400, 1), dtype=np.float32)
    expected = np.rint(images.astype(np.float64) * FIXED_POINT)
    np.testing.assert_array_equal(to_integers(images), expected)
    np.testing.assert_array_equal(to_integers(images[:, ::2, 1:]), expected[:, ::2, 1:])
    many = np.zeros((40, 500, 400, 1), dtype=np.float32)
    assert peak_of(lambda: to_integers(many)) < 1.2 * many.nbytes


@pytest.mark.parametrize("n_groups", [1, 3])
def test_a_mean_holds_few_images_as_wide_integers(n_groups):
    images = np.random.default_rng(0).integers(0, 256, (100, 40, 50, 3), dtype=np.uint8)
    empty = TargetSums.zeros((40, 50), n_groups, 255)
    assert peak_of(lambda: empty.add(images)) < 8 * images.nbytes
    found = empty.add(images)
    rows = np.moveaxis(images, 3, 1).astype(np.int64).reshape(-1, n_groups, 40, 50)
    np.testing.assert_array_equal(found.total, rows.sum(axis=0))
    np.testing.assert_array_equal(found.square, np.square(rows).sum(axis=0))
    assert found.n_rows == len(rows)
