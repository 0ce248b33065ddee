"""What a report calls start and what run, what a plan says of both, and defaults that fit few people."""

from __future__ import annotations

import json
import pickle
import shutil
import time
from functools import partial
from importlib import import_module
from pathlib import Path

import commands
import numpy as np
import pytest
from PIL import Image
from sklearn.model_selection import GridSearchCV

import mrdist
from mrdist.errors import DataError, ParameterError, StoreFormatError
from mrdist.execution import open_executor
from mrdist.methods.choosing import choose_options, work_of
from mrdist.methods.lesson import Lesson
from mrdist.methods.registry import METHODS
from mrdist.planning import predict_start
from mrdist.running.phases import Work
from mrdist.running.tasks import Place, RunOptions
from mrdist.scoring import neg_mean_squared_error
from mrdist.service.routes.comparisons import Comparison
from mrdist.storage import Images, create_images, finish_images, write_images, write_landmarks
from mrdist.storage.images.writer import write_rows

SLOW = 0.3
SHAPE = (12, 16)
TRAINING = {"source": "neutral", "target": "happy", "workers": 0, "progress": False}
SPLIT = ["train"] * 4 + ["val", "test"]


def write(url, dtype=np.uint8, n_people=6):
    """Write photographs of noise, with the values of ``dtype``, of six people."""
    people = [f"p{n}" for n in range(n_people)]
    create_images(
        url,
        labels=("neutral", "happy"),
        image=people,
        subject=people,
        split=SPLIT,
        shape=SHAPE,
        n_channels=1,
        dtype=dtype,
    )
    noise = np.random.default_rng(0).integers(1, 256, (2, n_people, *SHAPE, 1))
    for label, pixels in zip(("neutral", "happy"), noise, strict=True):
        write_images(url, label, 0, (pixels / 255 if np.dtype(dtype).kind == "f" else pixels).astype(dtype))
    write_landmarks(url, commands.drawn_landmarks(n_people, *SHAPE))
    finish_images(url)
    return url


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    return write(str(tmp_path_factory.mktemp("starts") / "images.zarr"))


def sleep():
    """Prepare nothing, slowly."""
    time.sleep(SLOW)


def prepare_slowly(monkeypatch, seconds):
    """Have every work take so long to prepare."""
    for method in METHODS.values():
        import_module(method.home[0])
    kinds = [Work]
    for kind in kinds:
        kinds.extend(kind.__subclasses__())
        monkeypatch.setattr(kind, "prepare", property(lambda _: partial(time.sleep, seconds)))


# --- start and run ----------------------------------------------------------------------------------


def searches(*options):
    """Every method with its defaults, and with those of the options to search for that it knows."""
    return [
        pytest.param(method, search, id=" ".join([method, *search]))
        for method, known in METHODS.items()
        for search in ({}, *({name: "cv"} for name in options if name in known.options))
    ]


@pytest.mark.parametrize(("method", "options"), searches("alpha"))
def test_what_prepares_workers_holds_nothing_of_the_work(images, method, options):
    """It is sent to all of them, and may be logged; options of storage may be secret."""
    opened = Images.open(images, {"auto_mkdir": False})
    split = {"split": "train", "color": "shared", "dtype": "float32"}
    lesson = Lesson.of(opened, method=method, source="neutral", target="happy", **split)
    run = RunOptions(Place("", {"secret": "hidden"}), None, 0, None, 1 << 31, 1, 0, None, False, False)
    work = work_of(lesson, run, choose_options(method, options))
    sent = pickle.dumps(work.prepare)
    assert len(sent) < 200
    assert b"auto_mkdir" not in sent


@pytest.mark.parametrize(("method", "options"), searches("alpha"))
def test_preparing_belongs_to_run(images, tmp_path, monkeypatch, method, options):
    prepare_slowly(monkeypatch, SLOW)
    report = mrdist.train(images, tmp_path / "w.zarr", method=method, **options, **TRAINING)
    assert report.start_seconds == 0
    assert report.run_seconds > report.prepare_seconds >= SLOW
    assert report.to_dict()["seconds"] == {"start": 0, "run": report.run_seconds}


@pytest.mark.slow
def test_workers_prepare_while_this_process_does_and_beside_their_first_task():
    with open_executor(workers=1, n_tasks=1, max_memory=1 << 30, prepare=sleep) as executor:
        assert executor.prepare_seconds < SLOW  # what is left of it when the worker has started
        assert list(executor.run(str, [7], name="text")) == [(7, "7")]
    with open_executor(workers=1, n_tasks=1, max_memory=1 << 30) as executor:
        assert executor.start_seconds > executor.prepare_seconds
        assert executor.prepare_seconds < SLOW


def test_compared_trainings_are_not_charged_with_compiling(images, tmp_path, monkeypatch):
    prepare_slowly(monkeypatch, 2)
    found = mrdist.compare(
        images, source="neutral", target="happy", methods=("mean",), out=tmp_path, workers=0, progress=False
    )
    assert found["methods"][0]["train_seconds"] < 2


# --- plans ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("workers", [0, 1, 3])
def test_a_plan_tells_the_start(images, workers):
    options = ("--source=neutral", "--target=happy", f"--workers={workers}")
    plan = commands.report("plan", images, *options)
    assert (plan["start_seconds"] == 0) == (workers == 0)
    assert plan["total_seconds"] == plan["start_seconds"] + plan["seconds"]
    assert "seconds until the workers are ready, about" in commands.succeed("plan", images, *options).stdout
    supposed = commands.report("plan", "--pairs=20", "--size=32", f"--workers={workers}")
    assert supposed["start_seconds"] == (0 if workers == 0 else 1.5)  # each with a processor of its own
    assert supposed["total_seconds"] == supposed["start_seconds"] + supposed["seconds"]


def test_no_more_workers_start_than_there_are_blocks():
    assert (
        predict_start(8, 1, n_processors=2) == predict_start(1, 9, n_processors=2) < predict_start(8, 8, n_processors=2)
    )
    assert predict_start(None, 9, n_processors=4) == predict_start(4, 9, n_processors=4)


# --- defaults of few people -------------------------------------------------------------------------


@pytest.mark.parametrize(("method", "search"), searches("alpha", "nonzeros"))
def test_every_method_trains_four_people_by_default(images, tmp_path, method, search):
    report = mrdist.train(images, tmp_path / "w.zarr", method=method, **search, **TRAINING)
    assert report.blocks_run == report.blocks
    assert mrdist.train(images, tmp_path / "w.zarr", method=method, **search, **TRAINING).already_complete


@pytest.mark.parametrize(
    ("options", "largest"),
    [({"method": "pca", "components": 4}, 3), ({"method": "l0", "nonzeros": 4}, 3), ({"alpha": "cv", "folds": 5}, 4)],
)
def test_what_is_given_is_refused_beyond_the_people(images, tmp_path, options, largest):
    with pytest.raises(ParameterError, match=rf"{next(reversed(options.values()))}"):
        mrdist.train(images, tmp_path / "w.zarr", **options, **TRAINING)
    name = next(reversed(options))
    mrdist.train(images, tmp_path / "w.zarr", **{**options, name: largest}, **TRAINING)


def test_the_default_is_the_largest_that_fits(images, tmp_path):
    for method in METHODS:
        if largest := commands.known(method, components=3, nonzeros=3):
            mrdist.train(images, tmp_path / method, method=method, **TRAINING)
            assert mrdist.train(images, tmp_path / method, method=method, **largest, **TRAINING).already_complete


# --- what is said of stores -------------------------------------------------------------------------


def test_complete_comparisons_are_told_once(images, tmp_path):
    command = ("compare", images, "--source=neutral", "--target=happy", "--methods=mean,pixel,l2", "--alpha=0.4")
    command = (*command, "--out", tmp_path, "--workers=0")
    assert "already complete" not in commands.succeed(*command).stderr
    assert commands.succeed(*command).stderr.count("already complete") == 1


@pytest.mark.parametrize("value", [np.nan, 1.5])
@pytest.mark.parametrize("label", ["neutral", "happy"])
def test_evaluate_names_the_store_of_bad_floats(images, tmp_path, value, label):
    weights, floats = tmp_path / "w.zarr", write(str(tmp_path / "floats.zarr"), np.float32)
    mrdist.train(floats, weights, **TRAINING)
    pixels = np.full((6, *SHAPE, 1), 0.5, np.float32)
    pixels[5, 3, 3] = value
    write_rows(floats, label, 0, pixels)  # of a complete store: damage that no writer of ours would do
    with pytest.raises(DataError, match=rf"images {label} of \S*floats\.zarr hold"):
        mrdist.evaluate(weights, floats, splits=["test"], workers=0, progress=False)


@pytest.mark.parametrize("name", ["image", "subject", "dataset", "split", "present"])
def test_nothing_is_appended_where_its_name_would_be_lost(tmp_path, name):
    url = write(str(tmp_path / "images.zarr"))
    shutil.rmtree(Path(url) / name)
    root = Path(url) / "zarr.json"
    metadata = json.loads(root.read_text())
    del metadata["consolidated_metadata"]["metadata"][name]
    root.write_text(json.dumps(metadata))
    for label in ("neutral", "happy"):
        (tmp_path / "src" / label).mkdir(parents=True)
        Image.fromarray(np.zeros(SHAPE, np.uint8)).save(tmp_path / "src" / label / "new.png")
    options = {"align": "none", "workers": 0, "progress": False}
    with pytest.raises(StoreFormatError, match=f"has no {name} .*mrdist rechunk"):
        mrdist.ingest(tmp_path / "src", url, append=True, **options)
    assert len(mrdist.open_images(url).image) == 6
    copy = str(tmp_path / "copy.zarr")
    mrdist.rechunk(url, copy, workers=0, progress=False)
    mrdist.ingest(tmp_path / "src", copy, append=True, **options)
    assert len(mrdist.open_images(copy).image) == 7


def test_the_service_hands_on_verdicts_and_people():
    table = {"split": "test", "source": "a", "target": "b", "methods": [], "people": ["p1"], "verdicts": {"mse": "mr"}}
    told = Comparison.model_validate({**table, "name": "n", "complete": True}).model_dump()
    assert {name: told[name] for name in table} == table


# --- NumPy's numbers --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "plain"),
    [
        ({"receptive_field": np.int64(5), "dilation": np.int32(2)}, {"receptive_field": 5, "dilation": 2}),
        ({"alpha": np.float32(2)}, {"alpha": 2.0}),
        (
            {"alpha": "cv", "alphas": np.array([0.1, 1.0]), "folds": np.int64(2), "seed": np.uint8(1)},
            {"alpha": "cv", "alphas": (0.1, 1.0), "folds": 2, "seed": 1},
        ),
        ({"penalize_intercept": np.True_}, {"penalize_intercept": True}),
    ],
)
def test_an_estimator_takes_the_numbers_of_numpy(given, plain):
    X, Y = np.random.default_rng(1).integers(0, 256, (2, 6, *SHAPE, 1), dtype=np.uint8)
    ours, theirs = (mrdist.MaskedRegression(**options).fit(X, Y) for options in (given, plain))
    np.testing.assert_array_equal(ours.coef_, theirs.coef_)
    np.testing.assert_array_equal(ours.intercept_, theirs.intercept_)
    assert neg_mean_squared_error(ours, X, Y) == neg_mean_squared_error(theirs, X, Y)


def test_a_grid_of_arrays_is_searched():
    X, Y = np.random.default_rng(1).integers(0, 256, (2, 6, *SHAPE, 1), dtype=np.uint8)
    grid = {"receptive_field": np.array([1, 3]), "alpha": np.array([0.1, 1.0])}
    search = GridSearchCV(mrdist.MaskedRegression(), grid, scoring=neg_mean_squared_error, cv=2).fit(X, Y)
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()
