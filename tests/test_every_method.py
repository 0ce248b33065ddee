"""The contract of all methods: the same bytes however the work is cut, whoever does it and whenever it is killed."""

from __future__ import annotations

import commands
import numpy as np
import pytest

import mrdist
from mrdist.methods.registry import METHODS

LABELS = ("--source", "neutral", "--target", "happy")
SERIAL = ("--workers", 0)
SHAPE = (20, 24)
BLOCK = ("--block", "16,16")
N_BLOCKS = 4
SEARCH = ("--alpha", "cv", "--alphas", "0.1,1", "--folds", 3)

TRAININGS = {
    **dict.fromkeys(METHODS, ()),
    **{f"{name} cv": SEARCH for name, method in METHODS.items() if "alphas" in method.options},
    "mr": ("--receptive-field", 5),
    "mr joint": ("--method", "mr", "--color", "joint"),
    "mr pooled": ("--pool", 1, "--prior", "identity"),
    "mr cv": (*SEARCH, "--receptive-field", "1,3"),
    "mr cv pooled": (*SEARCH, "--receptive-field", "1,3", "--pool", "0,1,2", "--rule", "pixel"),
    "kernel cv": (*SEARCH, "--color", "separate"),
    "pca": ("--components", 4),
    "l1": ("--alpha", 0.1),
    "l1 window": ("--alpha", 0.05, "--window", 5, "--color", "separate"),
    "l1 cv": ("--alpha", "cv", "--alphas", "0.1,1", "--folds", 2, "--window", 3),
    "l0": ("--nonzeros", 2),
    "l0 window": ("--nonzeros", 3, "--window", 5, "--dtype", "float64"),
    "l0 cv": ("--nonzeros", "1,2", "--folds", 2, "--window", 3),
}

# Objects whose writing belongs to a step of a training.
SEARCHED = "/search/progress/done/c/"
SUMMED = "/progress/gram/summed/c/"
WARPED = "/w.zarr/warping/done/c/"
OPERATORS = "/progress/operators/errors/c/"
ERRORS = "/progress/errors/c/"
CHOSEN = "/cv/zarr.json"
SOLVED = "/w.zarr/progress/done/c/"
LAID_OUT = "/w.zarr/indices/c/"
PASSES = (SEARCHED, SUMMED, ERRORS, WARPED, SOLVED)  # over all images: no part of one is done twice
STEPS_OF = {  # by the folder of the methods; the steps of a search are left out where there is none
    "masked": [SEARCHED, CHOSEN, SOLVED],
    "whole": [SUMMED, CHOSEN, OPERATORS, SOLVED],
    "reduced_rank": [SUMMED, CHOSEN, OPERATORS, SOLVED],
    "sparse": [ERRORS, CHOSEN, SOLVED, LAID_OUT],
    "morph": [WARPED, SEARCHED, CHOSEN, SOLVED],
}


def steps_of(name):
    method, *how = name.split()
    if method == "mean":
        return [SOLVED]
    steps = STEPS_OF[METHODS[method].home[0].split(".")[2]]
    return [step for step in steps if "cv" in how or step not in (SEARCHED, ERRORS, CHOSEN)]


STEPS = {name: steps_of(name) for name in TRAININGS}


# One of each kind is tried in every run of the tests, the others with the long ones.
QUICK = {"mr", "mr cv", "mr cv pooled", "l2 cv", "pca", "mean", "l1 window", "l0 cv", "rrr", "morph"}


def case(name, *more):
    return pytest.param(name, *more, marks=() if name in QUICK else pytest.mark.long)


def command(name, images, weights):
    return ("train", images, weights, *LABELS, "--method", name.split()[0], *TRAININGS[name])


@pytest.fixture(scope="module")
def images(tmp_path_factory, draw_images):
    """The same random pixels in chunks that blocks share and in whole images."""
    folder = tmp_path_factory.mktemp("methods")
    pixels = {label: draw_images((12, *SHAPE, 3), seed=seed) for seed, label in enumerate(("neutral", "happy"))}
    url = commands.write_store(folder / "images.zarr", pixels)
    mrdist.rechunk(url, str(folder / "rechunked.zarr"), chunks=(5, 20, 24), workers=0)
    return folder


@pytest.fixture(scope="module")
def whole(images):
    """Return the weights of an undisturbed training in one block, on the other chunks."""

    def train(name):
        weights = images / f"{name}.zarr"
        if not weights.exists():
            report = commands.report(*command(name, images / "rechunked.zarr", weights), "--block", "32,32", *SERIAL)
            assert report["blocks"] == 1
        return weights

    return train


@pytest.mark.parametrize("name", [case(name) for name in TRAININGS])
def test_blocks_and_chunks(name, images, whole, tmp_path):
    report = commands.report(*command(name, images / "images.zarr", tmp_path / "w.zarr"), *BLOCK, *SERIAL)
    assert report["blocks"] == report["blocks_run"] == N_BLOCKS
    commands.assert_equal_bytes(tmp_path / "w.zarr", whole(name))


@pytest.mark.parametrize("name", [case(name) for name in TRAININGS])
def test_workers(name, images, whole, two_workers, tmp_path):
    commands.succeed(*command(name, images / "images.zarr", tmp_path / "w.zarr"), *BLOCK, "--scheduler", two_workers)
    commands.assert_equal_bytes(tmp_path / "w.zarr", whole(name))


@pytest.mark.parametrize(("name", "step"), [case(name, step) for name, steps in STEPS.items() for step in steps])
def test_killed_and_resumed(name, step, images, whole, tmp_path):
    """Killed in a step, the same command does what is left, ends with the same bytes and has then nothing to do."""
    weights = tmp_path / "w.zarr"
    train = (*command(name, images / "images.zarr", weights), *SERIAL)
    n = {SOLVED: 3, SUMMED: 3, SEARCHED: 3}.get(step, 1)
    commands.killed(*train, *BLOCK, at=(step, n))
    found = commands.report("info", weights)
    assert (found["complete"], found["blocks"]) == (False, N_BLOCKS)
    assert "not complete; run the command that makes it again to resume it" in commands.failure(
        "evaluate", weights, images / "images.zarr"
    )

    passed = [earlier for earlier in STEPS[name][: STEPS[name].index(step)] if earlier in PASSES]
    again = (passed[-1], 1) if passed else (step, N_BLOCKS - n + 1) if n > 1 else None
    report = commands.report(*train, die_at=again)
    solved = {SOLVED: n, LAID_OUT: N_BLOCKS}.get(step, 0)
    assert (report["blocks"], report["blocks_run"]) == (N_BLOCKS, N_BLOCKS - solved)
    commands.assert_equal_bytes(weights, whole(name))
    assert commands.report(*train)["already_complete"] is True


@pytest.mark.slow
@pytest.mark.parametrize("what", ["face_mask/zarr.json", "train_sse/c/", "train_sst/c/"])
@pytest.mark.parametrize("name", TRAININGS)
def test_killed_while_it_is_completed(name, what, images, whole, tmp_path):
    """Neither an array of the face frame that has no chunk yet nor one half put together makes blocks damaged."""
    train = (*command(name, images / "images.zarr", tmp_path / "w.zarr"), *SERIAL)
    commands.killed(*train, *BLOCK, at=(f"/w.zarr/{what}", 1))
    assert commands.report(*train)["blocks_run"] == 0
    commands.assert_equal_bytes(tmp_path / "w.zarr", whole(name))


@pytest.mark.slow
@pytest.mark.parametrize("name", TRAININGS)
def test_labels_may_have_the_names_of_what_is_inside(name, whole, draw_images, tmp_path):
    renamed = {"neutral": "summed", "happy": "progress"}
    pixels = {label: draw_images((12, *SHAPE, 3), seed=seed) for seed, label in enumerate(renamed.values())}
    url = commands.write_store(tmp_path / "images.zarr", pixels)
    train = command(name, url, tmp_path / "w.zarr")
    commands.succeed(*(renamed.get(word, word) if isinstance(word, str) else word for word in train), *SERIAL)
    ours, theirs = (mrdist.open_weights(each).to_xarray() for each in (tmp_path / "w.zarr", whole(name)))
    for array in theirs.data_vars:
        np.testing.assert_array_equal(ours[array].values, theirs[array].values)
