"""`mrdist train --alpha cv`: hyperparameters chosen by cross-validation, from one pass over the images."""

from __future__ import annotations

import json
from types import SimpleNamespace

import commands
import numpy as np
import pytest
from matplotlib.figure import Figure
from places import chunks

import mrdist
from mrdist.geometry import ReceptiveField, common_field
from mrdist.planning import DEFAULT_MEMORY, SearchSizes, Workload, plan_training
from mrdist.plotting import plot_cv
from mrdist.storage.images.reader import ImageReader

BETWEEN = ("--source", "neutral", "--target", "happy")
HERE = ("--workers", "0")
ALPHAS = (0.01, 1.0, 100.0)
GRID = ("--alpha", "cv", "--alphas", ",".join(map(str, ALPHAS)), "--folds", 3, "--receptive-field", "1,3,5")
SIDE = 40
BLOCK = ("--block", "16,16")
N_BLOCKS = 9


@pytest.fixture(scope="module")
def stores(tmp_path_factory):
    """Faces, and the weights of an undisturbed search."""
    folder = tmp_path_factory.mktemp("search")
    found = SimpleNamespace(images=folder / "images.zarr", weights=folder / "weights.zarr")
    options = ("--images", 30, "--size", SIDE, "--labels", "neutral,happy", *HERE)
    commands.succeed("generate", found.images, *options)
    found.report = search(found.images, found.weights)
    return found


def search(images, weights, *options):
    return commands.report("train", images, weights, *BETWEEN, *GRID, *(options or HERE))


WEIGHTS = ("coef", "intercept", "offsets", "train_sse", "train_sst")


# --- what is chosen, and what is trained with it --------------------------------------------------------


def test_the_weights_are_those_of_a_training_with_what_was_chosen(stores, tmp_path):
    chosen = stores.report["cross_validation"]["chosen"]
    table = mrdist.open_weights(str(stores.weights)).cv
    mean = table["mse"].mean("fold").values
    field, alpha = np.unravel_index(mean.argmin(), mean.shape)
    assert chosen["receptive_field"] == table["receptive_field"][field]
    assert chosen["alpha"] == table["alpha"][alpha]
    assert chosen["mse"] == pytest.approx(mean[field, alpha], rel=1e-12)
    assert chosen["se"] == pytest.approx(float(table["se"][field, alpha]), rel=1e-12)
    options = ("--receptive-field", chosen["receptive_field"], "--alpha", chosen["alpha"])
    report = commands.report("train", stores.images, tmp_path / "w.zarr", *BETWEEN, *options, *HERE)
    assert chunks(stores.weights, *WEIGHTS) == chunks(tmp_path / "w.zarr", *WEIGHTS)
    assert report["scores"] == stores.report["scores"]
    trained = mrdist.open_weights(str(stores.weights))
    assert trained.predict(np.zeros((1, SIDE, SIDE, 3), dtype=np.uint8)).shape == (1, SIDE, SIDE, 3)
    assert commands.report("evaluate", stores.weights, stores.images)["splits"]


def test_info_tells_the_table(stores):
    found = commands.report("info", stores.weights)["cross_validation"]
    assert (found["folds"], found["seed"], found["rule"], found["alphas"]) == (3, 0, "min", list(ALPHAS))
    assert (found["receptive_field"], found["dilation"]) == ([1, 3, 5], [1, 1, 1])
    assert found["chosen"] == stores.report["cross_validation"]["chosen"]
    table = mrdist.open_weights(str(stores.weights)).cv
    assert [row["folds"] for row in found["table"]] == table["mse"].values.reshape(9, 3).tolist()
    best = min(found["table"], key=lambda row: row["mse"])
    assert best["mse"] == pytest.approx(found["chosen"]["mse"])
    assert "Cross-validation" in commands.succeed("info", stores.weights).stdout


def test_one_standard_error(stores, tmp_path):
    found = search(stores.images, tmp_path / "w.zarr", "--rule", "1se", *HERE)["cross_validation"]["chosen"]
    table = mrdist.open_weights(str(tmp_path / "w.zarr")).cv
    mean, se = table["mse"].mean("fold").values, table["se"].values
    best = np.unravel_index(mean.argmin(), mean.shape)
    near = mean <= mean[best] + se[best]
    field = int(near.any(axis=1).argmax())
    assert found["receptive_field"] == table["receptive_field"][field]
    assert found["alpha"] == table["alpha"].values[near[field]].max()


@pytest.mark.parametrize("color", ["shared", "separate"])
def test_every_pixel_its_own_alpha(stores, tmp_path, color):
    """Its weights are those of a training with that alpha, to the last bit; there is no better choice of alphas."""
    options = ("--rule", "pixel", "--color", color, "--receptive-field", "3")
    found = search(stores.images, tmp_path / "w.zarr", *options, *HERE)["cross_validation"]["chosen"]
    model = mrdist.open_weights(str(tmp_path / "w.zarr"))
    own = model.to_xarray()["alpha"].values
    assert own.shape == model.intercept.shape
    assert set(np.unique(own)) <= set(ALPHAS)
    assert len(np.unique(own)) > 1
    assert found["alpha"] is None
    assert found["mse"] <= float(model.cv["mse"].mean("fold").min())
    for number, alpha in enumerate(ALPHAS):
        url = tmp_path / f"{number}.zarr"
        options = ("--color", color, "--receptive-field", "3", "--alpha", alpha)
        commands.succeed("train", stores.images, url, *BETWEEN, *options, *HERE)
        other = mrdist.open_weights(str(url))
        np.testing.assert_array_equal(model.intercept[own == alpha], other.intercept[own == alpha])
        coef, expected = (np.moveaxis(weights.coef, -3, -1) for weights in (model, other))
        np.testing.assert_array_equal(coef[own == alpha], expected[own == alpha])
    assert commands.report("evaluate", tmp_path / "w.zarr", stores.images)["splits"]


@pytest.mark.parametrize(
    ("alphas", "edge"), [("0.001,0.002", "lower"), ("1e5,2e5", "lower"), ("1e-9,1e-8", "upper"), ("0.5", None)]
)
def test_the_edge_of_the_grid_is_told(stores, tmp_path, alphas, edge):
    options = ("--alpha", "cv", "--alphas", alphas, "--folds", 3, "--free-intercept", *HERE)
    done = commands.succeed("train", stores.images, tmp_path / "w.zarr", *BETWEEN, *options, "--json")
    chosen = json.loads(done.stdout)["cross_validation"]["chosen"]
    assert chosen["edge"] == edge
    assert (f"{edge} edge of the grid" in done.stderr) == (edge is not None)
    assert edge is None or f"alpha {chosen['alpha']:g}" in done.stderr


def test_the_table_is_drawn(stores, tmp_path):
    out = tmp_path / "cv.png"
    assert commands.report("plot", "cv", stores.weights, "--out", out) == {"picture": str(out)}
    assert out.stat().st_size > 10_000
    commands.succeed("train", stores.images, tmp_path / "w.zarr", *BETWEEN, *HERE)
    said = commands.failure("plot", "cv", tmp_path / "w.zarr", "--out", tmp_path / "no.png")
    assert "train with --alpha cv" in said


@pytest.mark.parametrize("alpha", [1.0, None])
def test_what_is_drawn(alpha):
    """A line for each field, and the choice: a ring, or a line of its own across the grid."""
    rows = [
        {"receptive_field": size, "dilation": 1, "alpha": a, "mse": 0.01 * size + abs(a - 1) / 100, "se": 0.002}
        for size in (3, 5)
        for a in (0.1, 1.0, 10.0)
    ]
    axes = Figure().subplots()
    plot_cv(rows, {"receptive_field": 3, "dilation": 1, "alpha": alpha, "mse": 0.03, "se": 0.002}, ax=axes)
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["3 x 3", "5 x 5"]
    drawn = {line.get_label(): line.get_ydata().tolist() for line in axes.get_lines()}
    assert drawn["5 x 5"] == pytest.approx([0.059, 0.05, 0.14])
    assert axes.get_ylim()[1] < 0.14, "what is hopeless does not flatten the others"
    (text,) = (text.get_text() for text in axes.texts)
    assert text == ("every pixel its own alpha" if alpha is None else "chosen: alpha 1")


# --- one reading, equal bytes ---------------------------------------------------------------------------


def test_images_are_read_as_often_as_by_one_training(stores, tmp_path, monkeypatch):
    read = ImageReader.read_into
    counted = []

    def count(self, out, *args):
        counted.append(out.nbytes)
        return read(self, out, *args)

    monkeypatch.setattr(ImageReader, "read_into", count)
    found = {}
    for name, options in (
        ("one", {"receptive_field": 5, "alpha": 1.0}),
        ("search", {"receptive_field": [1, 3, 5], "alpha": "cv", "alphas": ALPHAS, "folds": 4}),
    ):
        counted.clear()
        report = mrdist.train(
            str(stores.images), str(tmp_path / name), source="neutral", target="happy", workers=0, block=(16, 32),
            **options,
        )  # fmt: skip
        found[name] = report.bytes_read, sum(counted), len(counted)
    assert found["one"] == found["search"]
    assert found["one"][1] > 0


def test_chunks_and_the_order_of_the_grid(stores, tmp_path):
    images, weights = tmp_path / "images.zarr", tmp_path / "w.zarr"
    commands.succeed("rechunk", stores.images, images, "--chunks", "7,9,40", *HERE)
    grid = ("--alphas", ",".join(map(str, reversed(ALPHAS))), *HERE)
    search(images, weights, *grid)
    commands.assert_equal_bytes(weights, stores.weights)


@pytest.mark.slow
def test_killed_in_either_phase_it_goes_on(stores, tmp_path):
    weights = tmp_path / "w.zarr"
    begin = ("train", stores.images, weights, *BETWEEN, *GRID, *HERE)
    commands.killed(*begin, *BLOCK, at=("/search/progress/done/c/", 2))
    found = commands.report("info", weights)
    assert (found["complete"], found["phase"]) == (False, "cross-validation")
    assert (found["blocks"], found["blocks_done"]) == (N_BLOCKS, 2)
    said = commands.failure("evaluate", weights, stores.images)
    assert "not complete" in said
    said = commands.failure("train", stores.images, weights, *BETWEEN, "--alpha", 1, "--receptive-field", 5, *HERE)
    assert "holds the output of another training" in said
    said = commands.failure("train", stores.images, weights, *BETWEEN, *GRID, "--folds", 4, *HERE)
    assert "folds is 3 there and 4 here" in said

    commands.killed(*begin, at=("/w.zarr/progress/done/c/", 2))
    assert commands.report("info", weights)["complete"] is False
    report = search(stores.images, weights, *HERE)
    assert report["cross_validation"]["blocks_run"] == {"search": 0, "solve": N_BLOCKS - 2}
    assert report["bytes_read"] == 0
    commands.assert_equal_bytes(weights, stores.weights)
    again = search(stores.images, weights)
    assert again["already_complete"] is True
    assert again["cross_validation"]["chosen"] == stores.report["cross_validation"]["chosen"]


@pytest.mark.parametrize(
    "where", ["mrdist.storage.weights.masked.ArraySpec.holding", "mrdist.storage.weights.output.remove_progress"]
)
def test_stopped_between_two_steps_it_goes_on(stores, tmp_path, monkeypatch, where):
    """At the barrier, half-way through the choice; and at the very end, when all is written."""

    class StoppedError(Exception):
        pass

    def stop(*_):
        raise StoppedError

    def run():
        mrdist.train(
            str(stores.images), str(tmp_path / "w.zarr"), source="neutral", target="happy", alpha="cv", alphas=ALPHAS,
            folds=3, receptive_field=[1, 3, 5], workers=0,
        )  # fmt: skip

    with monkeypatch.context() as patch:
        patch.setattr(where, stop)
        with pytest.raises(StoppedError):
            run()
    run()
    commands.assert_equal_bytes(tmp_path / "w.zarr", stores.weights)


# --- what is refused ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--folds", 60), "folds is 60, but the images to train on show only 24 subject"),
        (("--folds", 1), "folds must be a whole number of at least 2"),
        (("--alphas", "1,-1"), "got -1.0"),
        (("--alphas", "1,2,1"), "holds 1 twice"),
        (("--rule", "max"), "rule must be one of min, 1se, pixel, got 'max'"),
        (("--receptive-field", "3,4"), "got 4"),
        (("--receptive-field", "3,21", "--dilation", "1,2"), "spans 41 pixels"),
        (("--max-memory", "160MB"), "choose fewer folds"),
        (("--alpha", "1"), "alphas ([0.01, 1.0, 100.0]) is an option of cross-validation"),
    ],
)
def test_what_is_refused_before_anything_runs(stores, tmp_path, options, message):
    weights = tmp_path / "w.zarr"
    assert message in commands.failure("train", stores.images, weights, *BETWEEN, *GRID, *options, *HERE)
    assert not weights.exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--folds", 3), "folds (3) is an option of cross-validation"),
        (("--rule", "min"), "rule (min) is an option of cross-validation"),
        (("--receptive-field", "3,5"), "receptive_field must be one number, got 3, 5"),
        (("--dilation", "1,2"), "dilation must be one number, got 1, 2"),
    ],
)
def test_options_of_a_search_need_one(stores, tmp_path, options, message):
    for command in (("train", stores.images, tmp_path / "w.zarr"), ("plan", stores.images)):
        workers = HERE if command[0] == "train" else ()
        assert message in commands.failure(*command, *BETWEEN, *options, *workers)


def test_a_text_that_is_no_number_is_a_usage_error(stores, tmp_path):
    wrong = (("--alpha", "auto"), ("--alphas", ","), ("--alphas", "1,nan"), ("--receptive-field", "3,4.5"))
    for options in wrong:
        commands.failure("train", stores.images, tmp_path / "w.zarr", *BETWEEN, *options, *HERE, code=2)


# --- the plan -------------------------------------------------------------------------------------------


def test_plans_know_a_search(stores):
    plan, one = (
        commands.report("plan", stores.images, *BETWEEN, *options) for options in (GRID, ("--receptive-field", 5))
    )
    assert plan["bytes_read"] == one["bytes_read"]
    assert plan["peak_memory"] > one["peak_memory"]
    assert plan["seconds"] > 0


def workload(n_folds, sizes=(3, 5, 7), **options):
    fields = tuple(ReceptiveField(size) for size in sizes)
    return Workload(
        (512, 512), 3, 1, (128, 64, 64, 3), 1000, 1000, common_field(fields), 1, 4, 32,
        search=SearchSizes(fields, 10, n_folds, **{"per_pixel": False, **options}),
    )  # fmt: skip


def test_memory_counts_every_fold():
    """The sums of a fold and those of all: 137 maps of four bytes a pixel; blocks shrink where these are many."""

    def peak(n_folds):
        work = workload(n_folds, (7,))
        return plan_training(work, max_memory=1 << 40, n_slots=1, block=(512, 512)).peak_memory

    assert peak(9) - peak(8) >= 137 * 4 * 512 * 512
    few, many = (plan_training(workload(n), max_memory=DEFAULT_MEMORY, n_slots=2) for n in (2, 40))
    assert np.prod(many.block) < np.prod(few.block)
    assert max(few.peak_memory, many.peak_memory) <= DEFAULT_MEMORY


def test_the_common_field_holds_every_tap():
    fields = [ReceptiveField(3, 2), ReceptiveField(5), ReceptiveField(3, 3), ReceptiveField(1, 7)]
    found = common_field(fields)
    assert found == ReceptiveField(7)
    for field in fields:
        found.check_contains(field)
    assert common_field([ReceptiveField(5, 2), ReceptiveField(3, 4)]) == ReceptiveField(5, 2)
    assert common_field([ReceptiveField(1)]) == ReceptiveField(1)
