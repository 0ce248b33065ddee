"""`mrdist accumulate` and `solve`: the sums as a store, which grows and serves every alpha and smaller field."""

from __future__ import annotations

import json
import shutil
from types import SimpleNamespace

import commands
import numpy as np
import pytest
import zarr
from places import chunks

import mrdist
from mrdist.geometry import Block, ReceptiveField
from mrdist.storage import Statistics, create_images, finish_images, write_images
from mrdist.storage.sums.writer import StatisticsOutput

BETWEEN = ("--source", "neutral", "--target", "happy")
HERE = ("--workers", "0")
SIDE = 80
N_FIRST, N_ALL = 9, 14


@pytest.fixture(scope="module")
def stores(tmp_path_factory):
    """Two stores of the same people, one of which holds only the first, and the sums of both."""
    folder = tmp_path_factory.mktemp("statistics")
    found = SimpleNamespace(**{name: folder / f"{name}.zarr" for name in ("first", "all", "first_sums", "all_sums")})
    for name, n in (("first", N_FIRST), ("all", N_ALL)):
        options = ("--images", n, "--size", SIDE, "--labels", "neutral,happy", *HERE)
        commands.succeed("generate", getattr(found, name), *options)
        accumulate(getattr(found, name), getattr(found, f"{name}_sums"))
    return found


def accumulate(images, statistics, *options, field=5):
    return commands.report(
        "accumulate", images, statistics, *BETWEEN, "--receptive-field", field, "--split", "all", *options, *HERE
    )


def trained(images, weights, *options):
    commands.succeed("train", images, weights, *BETWEEN, "--split", "all", *options, *HERE)
    return chunks(weights)


def solved(statistics, weights, *options):
    commands.succeed("solve", statistics, weights, *options, *HERE)
    return chunks(weights)


# --- what is in the store ------------------------------------------------------------------------------


@pytest.mark.slow
def test_the_bytes_do_not_depend_on_how_the_work_is_cut(stores, two_workers, tmp_path):
    rechunked = tmp_path / "rechunked.zarr"
    commands.succeed("rechunk", stores.all, rechunked, "--chunks", "4,17,31", *HERE)
    for number, options in enumerate((("--block", "16,16"), ("--block", "32,80"))):
        accumulate(rechunked, tmp_path / f"{number}.zarr", *options)
        assert commands.files(tmp_path / f"{number}.zarr") == commands.files(stores.all_sums)
    options = (*BETWEEN, "--receptive-field", 5, "--split", "all", "--block", "16,16", "--scheduler", two_workers)
    commands.succeed("accumulate", stores.all, tmp_path / "two.zarr", *options)
    assert commands.files(tmp_path / "two.zarr") == commands.files(stores.all_sums)


def test_the_numbers_of_a_read_block(stores):
    statistics = Statistics.open(str(stores.all_sums))
    corner = statistics.read(Block(0, 64, 16, 80))
    assert corner.n_rows == 3 * N_ALL
    assert corner.lag.shape == (1, ReceptiveField(5).n_lags, 20, 20)
    assert not corner.lag[..., :2, :].any()  # above the image
    assert not corner.lag[..., -2:].any()  # right of it
    whole = statistics.read(Block(0, 0, SIDE, SIDE))
    assert np.array_equal(corner.cross, whole.cross[..., :16, 64:])


# --- solving from it -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("field", "alpha", "more"),
    [
        (5, 0.4, ()),
        (5, 0.01, ("--block", "16,48")),
        (3, 2.5, ("--dtype", "float64")),
        (1, 0.4, ("--free-intercept",)),
    ],
)
def test_solve_equals_train(field, alpha, more, stores, tmp_path):
    options = ("--receptive-field", field, "--alpha", alpha, *more)
    wanted = trained(stores.all, tmp_path / "t.zarr", *options)
    assert solved(stores.all_sums, tmp_path / "s.zarr", *options) == wanted
    ours, theirs = (commands.attributes(tmp_path / name) for name in ("s.zarr", "t.zarr"))
    assert ours.pop("provenance")["statistics"] == str(stores.all_sums)
    theirs.pop("provenance")
    assert ours == theirs


def test_a_dilated_field_inside_a_larger_one(stores, tmp_path):
    options = ("--receptive-field", 3, "--dilation", 2)
    wanted = trained(stores.all, tmp_path / "t.zarr", *options)
    assert solved(stores.all_sums, tmp_path / "s.zarr", *options) == wanted


def test_a_killed_solve_goes_on(stores, tmp_path):
    wanted = solved(stores.all_sums, tmp_path / "wanted.zarr")
    weights = tmp_path / "w.zarr"
    commands.killed("solve", stores.all_sums, weights, "--block", "16,16", *HERE, at=("/progress/done/c/", 2))
    assert "not complete" in commands.failure("export", weights, tmp_path / "csr.zarr")
    report = commands.report("solve", stores.all_sums, weights, *HERE)
    assert (report["blocks"], report["blocks_run"]) == (25, 23)
    assert chunks(weights) == wanted
    assert commands.report("solve", stores.all_sums, weights, *HERE)["already_complete"] is True


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--receptive-field", "7"), "receptive_field 7 with dilation 1"),
        (("--receptive-field", "3", "--dilation", "3"), "receptive_field 3 with dilation 3"),
        (("--alpha", "0"), "alpha must be a positive"),
        (("--dtype", "int8"), "dtype must be one of float32, float64, got 'int8'"),
        (("--max-memory", "1MB"), "max_memory is 0 MiB"),
    ],
)
def test_what_solve_refuses(options, message, stores, tmp_path):
    assert message in commands.failure("solve", stores.first_sums, tmp_path / "w.zarr", *options, *HERE)
    assert not (tmp_path / "w.zarr").exists()


def test_solve_wants_statistics(stores, tmp_path):
    said = commands.failure("solve", stores.first, tmp_path / "w.zarr", *HERE)
    assert f"{stores.first} is a store of images, not of statistics" in said


def test_a_lost_chunk_is_named(stores, tmp_path):
    statistics = tmp_path / "s.zarr"
    shutil.copytree(stores.first_sums, statistics)
    (statistics / "cross/c/0/0/0/0").unlink()
    assert "chunk cross/c/0/0/0/0 is missing" in commands.failure("solve", statistics, tmp_path / "w.zarr", *HERE)


# --- a store that grows --------------------------------------------------------------------------------


@pytest.fixture
def grown(stores, tmp_path):
    """A copy of the first people's sums."""
    statistics = tmp_path / "grown.zarr"
    shutil.copytree(stores.first_sums, statistics)
    return statistics


def test_appending_equals_all_at_once(stores, grown, tmp_path):
    report = commands.report("accumulate", stores.all, grown, "--append", "--split", "all", *HERE)
    assert (report["images"], report["images_added"]) == (N_ALL, N_ALL - N_FIRST)
    found = commands.report("info", grown)
    assert (found["complete"], found["images"], found["folds"]) == (True, N_ALL, 2)
    assert [(part["images"], part["n_images"]) for part in found["parts"]] == [
        (str(stores.first), N_FIRST),
        (str(stores.all), N_ALL - N_FIRST),
    ]
    dataset = mrdist.open_statistics(str(grown))
    assert dataset["image"].values.tolist() == mrdist.open_images(str(stores.all))["image"].values.tolist()
    assert dataset["fold_of_image"].values.tolist() == [0] * N_FIRST + [1] * (N_ALL - N_FIRST)
    assert solved(grown, tmp_path / "s.zarr") == trained(stores.all, tmp_path / "t.zarr", "--receptive-field", 5)


def test_appending_reads_the_new_images_only(stores, grown, tmp_path):
    """Even if the old ones are damaged."""
    images = tmp_path / "images.zarr"
    commands.succeed("rechunk", stores.all, images, "--chunks", f"{N_FIRST},80,80", *HERE)
    for label in ("neutral", "happy"):
        (images / label / "c/0/0/0/0").write_bytes(b"damaged")
    assert commands.report("accumulate", images, grown, "--append", "--split", "all", *HERE)["images_added"] == 5


def test_no_image_counts_twice(stores, grown):
    commands.succeed("accumulate", stores.all, grown, "--append", "--split", "all", *HERE)
    before = commands.files(grown)
    for images in (stores.first, stores.all):
        report = commands.report("accumulate", images, grown, "--append", "--split", "all", *HERE)
        assert (report["already_complete"], report["images"], report["images_added"]) == (True, N_ALL, 0)
    assert commands.files(grown) == before


def test_an_image_of_the_same_name_is_another_image(grown, tmp_path):
    others = tmp_path / "others.zarr"
    commands.succeed("generate", others, "--images", 3, "--size", SIDE, "--labels", "neutral,happy", "--seed", 1, *HERE)
    done = commands.succeed("accumulate", others, grown, "--append", "--split", "all", *HERE)
    assert "3 images have the ids of images in" in done.stderr
    assert commands.report("info", grown)["images"] == N_FIRST + 3


def test_appending_to_nothing_begins_a_store(stores, tmp_path):
    accumulate(stores.first, tmp_path / "s.zarr", "--append")
    assert commands.files(tmp_path / "s.zarr") == commands.files(stores.first_sums)


def test_other_images_are_not_mixed_in_unasked(stores, grown):
    before = commands.files(grown)
    said = commands.failure("accumulate", stores.all, grown, "--split", "all", *HERE)
    assert f"holds the sums of {N_FIRST} images, including {N_FIRST} of the {N_ALL} in {stores.all}" in said
    assert commands.files(grown) == before
    assert commands.report("accumulate", stores.first, grown, "--split", "all", *HERE)["already_complete"] is True
    report = accumulate(stores.all, grown, "--overwrite")
    assert (report["images"], report["images_added"]) == (N_ALL, N_ALL)
    assert commands.files(grown) == commands.files(stores.all_sums)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--receptive-field", "3"), "receptive_field is 5 there and 3 here"),
        (("--color", "separate"), "color is shared there and separate here"),
        (("--source", "happy", "--target", "neutral"), "source is neutral there and happy here"),
        (("--append", "--overwrite"), "give only one of them"),
        (("--split", "none"), "split must be one of"),
    ],
)
def test_what_appending_refuses(options, message, stores, grown):
    before = commands.files(grown)
    if "--append" not in options:
        options = ("--append", *options)
    assert message in commands.failure("accumulate", stores.all, grown, *options, *HERE)
    assert commands.files(grown) == before


def test_a_new_store_needs_labels(stores, tmp_path):
    said = commands.failure("accumulate", stores.first, tmp_path / "s.zarr", *HERE)
    assert "needs the labels source and target" in said


# --- whatever dies -------------------------------------------------------------------------------------


def kill_accumulate(images, statistics, *options):
    """Kill an accumulation in small blocks once two are done."""
    command = ("accumulate", images, statistics, "--split", "all", "--block", "16,16", *options, *HERE)
    commands.killed(*command, at=("/progress/done/c/", 2))
    assert commands.blocks_done(statistics) == 2


def test_a_killed_accumulation_goes_on(stores, tmp_path):
    statistics = tmp_path / "s.zarr"
    kill_accumulate(stores.all, statistics, *BETWEEN, "--receptive-field", "5")
    found = commands.report("info", statistics)
    assert (found["complete"], found["blocks"], found["blocks_done"]) == (False, 25, 2)
    said = commands.failure("solve", statistics, tmp_path / "w.zarr", *HERE)
    assert "not complete; run the same accumulate command again" in said
    said = commands.failure("accumulate", stores.first, statistics, *BETWEEN, "--receptive-field", 5, *HERE)
    assert "holds the output of another accumulation (images is " in said
    assert accumulate(stores.all, statistics)["blocks_run"] == 23
    assert commands.files(statistics) == commands.files(stores.all_sums)


def test_a_killed_addition_takes_nothing_away_and_goes_on(stores, grown, tmp_path):
    kill_accumulate(stores.all, grown, "--append")
    found = commands.report("info", grown)
    assert (found["complete"], found["images"], found["blocks_done"]) == (True, N_FIRST, 2)
    wanted = trained(stores.first, tmp_path / "first.zarr", "--receptive-field", 5)
    assert solved(grown, tmp_path / "before.zarr") == wanted
    assert mrdist.open_statistics(str(grown)).sizes["image"] == N_FIRST

    report = commands.report("accumulate", stores.all, grown, "--append", "--split", "all", *HERE)
    assert (report["blocks_run"], report["images"]) == (23, N_ALL)
    wanted = trained(stores.all, tmp_path / "all.zarr", "--receptive-field", 5)
    assert solved(grown, tmp_path / "after.zarr") == wanted


@pytest.mark.parametrize("begun", ["addition", "new store"])
def test_the_same_images_in_other_rows_begin_anew(begun, stores, grown, tmp_path):
    """What a killed run noted are rows of its store; they are others in a store of the new images alone."""
    old = mrdist.open_images(str(stores.all)).isel(image=slice(N_FIRST, None))
    alone = tmp_path / "alone.zarr"
    create_images(
        str(alone), labels=["neutral", "happy"], image=old["image"].values.tolist(),
        subject=old["subject"].values.tolist(), dataset=old["dataset"].values.tolist(),
        split=["val"] * (N_ALL - N_FIRST), shape=(SIDE, SIDE), n_channels=3,
    )  # fmt: skip
    pixels = [old[label].values for label in ("neutral", "happy")]
    sums = [write_images(str(alone), label, 0, p) for label, p in zip(("neutral", "happy"), pixels, strict=True)]
    finish_images(
        str(alone), present=np.ones((N_ALL - N_FIRST, 2), dtype=bool), checksum=np.stack(sums, axis=1),
        face_mask=np.ones((SIDE, SIDE), dtype=bool), provenance={},
    )  # fmt: skip
    first, statistics = (stores.all, grown) if begun == "addition" else (alone, tmp_path / "s.zarr")
    field = () if begun == "addition" else (*BETWEEN, "--receptive-field", "5")
    kill_accumulate(first, statistics, "--append", *field)
    if begun == "new store":  # as if the killed run had read the same images from elsewhere
        rows = zarr.open_array(statistics / "progress/rows", mode="r+")
        rows[:] = rows[:][::-1]
    report = commands.report("accumulate", alone, statistics, "--append", "--split", "all", *field, *HERE)
    assert report["blocks_run"] == report["blocks"]
    model = mrdist.MaskedRegression(receptive_field=5).fit(*pixels)
    if begun == "addition":
        images = mrdist.open_images(str(stores.first))
        model.partial_fit(images.neutral.values, images.happy.values)
    mrdist.solve(str(statistics), str(tmp_path / "w.zarr"), dtype="float64", workers=0)
    assert np.array_equal(mrdist.open_weights(str(tmp_path / "w.zarr")).coef, model.coef_)


def test_another_addition_replaces_a_killed_one(stores, grown, tmp_path):
    kill_accumulate(stores.all, grown, "--append")
    others = tmp_path / "others.zarr"
    commands.succeed("generate", others, "--images", 3, "--size", SIDE, "--labels", "neutral,happy", "--seed", 1, *HERE)
    for images, n in ((others, 3), (stores.all, N_ALL - N_FIRST)):
        report = commands.report("accumulate", images, grown, "--append", "--split", "all", *HERE)
        assert (report["blocks_run"], report["images_added"]) == (report["blocks"], n)
    model = mrdist.MaskedRegression(receptive_field=5)
    for url in (stores.first, others):
        images = mrdist.open_images(str(url))
        model.partial_fit(images.neutral.values, images.happy.values)
    rest = mrdist.open_images(str(stores.all)).isel(image=slice(N_FIRST, None))
    model.partial_fit(rest.neutral.values, rest.happy.values)
    mrdist.solve(str(grown), str(tmp_path / "w.zarr"), dtype="float64", workers=0)
    assert np.array_equal(mrdist.open_weights(str(tmp_path / "w.zarr")).coef, model.coef_)


def test_an_addition_stopped_at_its_very_end(stores, grown, monkeypatch):
    """The new images count as soon as they are noted; what the addition needed is swept by the next command."""

    class StoppedError(Exception):
        pass

    def stop(*_):
        raise StoppedError

    with monkeypatch.context() as patch:
        patch.setattr("mrdist.storage.sums.writer.remove_progress", stop)
        with pytest.raises(StoppedError):
            mrdist.accumulate(str(stores.all), str(grown), append=True, split="all", workers=0)
    assert (grown / "progress").exists()
    assert commands.report("info", grown)["images"] == N_ALL
    report = commands.report("accumulate", stores.all, grown, "--append", "--split", "all", *HERE)
    assert report["already_complete"] is True
    assert not (grown / "progress").exists()
    assert mrdist.open_statistics(str(grown)).sizes["image"] == N_ALL


def test_bad_images_leave_the_store_as_useful_as_it_was(tmp_path):
    rng = np.random.default_rng(0)
    good = {label: rng.random((6, 20, 20, 1), dtype=np.float32) for label in "ab"}
    bad = {label: rng.random((4, 20, 20, 1), dtype=np.float32) for label in "ab"}
    bad["b"][2, 10, 10] = np.nan
    stores = [
        commands.write_store(tmp_path / f"{name}.zarr", pixels) for name, pixels in (("good", good), ("bad", bad))
    ]
    statistics = tmp_path / "s.zarr"
    commands.succeed("accumulate", stores[0], statistics, "--source", "a", "--target", "b", *HERE)
    before = solved(statistics, tmp_path / "before.zarr")
    done = commands.run("accumulate", stores[1], statistics, "--append", *HERE)
    assert (done.returncode, done.stdout) == (1, "")
    assert "b hold NaN" in done.stderr
    assert solved(statistics, tmp_path / "after.zarr") == before


# --- pieces --------------------------------------------------------------------------------------------


def test_tasks_share_what_the_driver_decided(stores, tmp_path, monkeypatch):
    """The rows to sum come from the store in the making, not from another look at the images."""
    monkeypatch.setattr("mrdist.pipeline.training.accumulate._sum_block", lambda *_, **__: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        mrdist.accumulate(str(stores.all), str(tmp_path / "s.zarr"), source="neutral", target="happy", workers=0)
    output = StatisticsOutput.open(str(tmp_path / "s.zarr"), None)
    split = mrdist.open_images(str(stores.all))["split"].values
    assert [(fold, rows.tolist()) for fold, rows in output.folds()] == [(0, np.flatnonzero(split == "train").tolist())]
    group = json.loads((tmp_path / "s.zarr/zarr.json").read_text())
    assert group["attributes"]["mrdist"]["complete"] is False
    assert zarr.open_group(tmp_path / "s.zarr", mode="r")["lag"].shape[0] == 1
