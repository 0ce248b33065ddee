"""The contract of the command line, checked on the real commands."""

from __future__ import annotations

import json
import subprocess
import sys
from types import SimpleNamespace

import anndata.io
import commands
import numpy as np
import pytest
import scipy.sparse
import zarr
from PIL import Image
from skimage.metrics import mean_squared_error, peak_signal_noise_ratio, structural_similarity

import mrdist

LABELS = ("--source", "neutral", "--target", "happy")
N_IMAGES, SIZE = 30, 48


@pytest.fixture(scope="module")
def stores(tmp_path_factory):
    """Synthetic faces, and weights of shared and separate colour trained on them."""
    folder = tmp_path_factory.mktemp("cli")
    found = SimpleNamespace(images=str(folder / "images.zarr"), weights={}, reports={})
    options = ("--images", N_IMAGES, "--size", SIZE, "--labels", "neutral,happy", "--workers", 0)
    found.reports["generate"] = commands.report("generate", found.images, *options)
    for color in ("shared", "separate"):
        found.weights[color] = str(folder / f"{color}.zarr")
        command = ("train", found.images, found.weights[color], *LABELS, "--color", color, "--workers", 0)
        found.reports[color] = commands.report(*command)
    return found


@pytest.fixture(scope="module")
def pixels(stores):
    dataset = mrdist.open_images(stores.images)
    return SimpleNamespace(
        split=dataset["split"].values,
        neutral=dataset["neutral"].values,
        happy=dataset["happy"].values,
        face=dataset["face_mask"].values,
    )


@pytest.fixture(scope="module")
def estimators(pixels):
    train = pixels.split == "train"
    return {
        color: mrdist.MaskedRegression(color=color).fit(pixels.neutral[train], pixels.happy[train])
        for color in ("shared", "separate")
    }


# --- the whole -----------------------------------------------------------------------------------------


def modules_of(code):
    """Return the modules that a fresh interpreter has loaded after ``code``."""
    code = f"import json, sys\n{code}\nprint(json.dumps(sorted(sys.modules)), file=sys.stderr)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(json.loads(done.stderr.splitlines()[-1]))


@pytest.mark.parametrize(
    "code",
    [
        "import mrdist",
        "from mrdist.cli import main\nsys.argv = ['mrdist', '--help']\ntry:\n    main()\nexcept SystemExit: pass",
    ],
    ids=["import", "help"],
)
def test_starting_is_cheap(code):
    loaded = modules_of(code)
    assert "mrdist" in loaded
    assert loaded.isdisjoint({"dask", "distributed", "zarr", "xarray", "numba", "scipy", "skimage", "matplotlib"})


def test_help_names_every_command():
    out = commands.succeed("--help").stdout
    for name in ("generate", "ingest", "info", "plan", "train", "synthesize", "evaluate", "export", "demo"):
        assert f"\n  {name} " in out
    assert commands.succeed("--version").stdout.split()[-1] == mrdist.__version__


@pytest.mark.parametrize(
    ("args", "offending"),
    [
        (("trian", "a", "b"), "trian"),
        (("train", "a.zarr"), "WEIGHTS"),
        (("train", "a.zarr", "b.zarr", "--target", "happy"), "--source"),
        (("train", "a.zarr", "b.zarr", *LABELS, "--alpha", "much"), "much"),
        (("train", "a.zarr", "b.zarr", *LABELS, "--block", "16"), "16"),
        (("generate", "a.zarr", "--images", "many"), "many"),
        (("generate", "a.zarr", "--images", "2", "--chunks", "2,0,8"), "2,0,8"),
        (("ingest", "src", "a.zarr", "--rename", "smiling"), "smiling"),
        (("generate", "a.zarr", "--images", "2", "--seed", "-1"), "-1"),
        (("synthesize", "w.zarr", "--out", "made"), "INPUTS"),
    ],
)
def test_usage_errors_exit_with_2(tmp_path, args, offending):
    assert offending in commands.failure(*args, code=2, cwd=tmp_path)
    assert list(tmp_path.iterdir()) == []


# --- generate, info, plan ------------------------------------------------------------------------------


def test_generate_is_the_same_for_any_workers_and_decided_by_the_seed(tmp_path):
    options = ("--images", 7, "--size", 32, "--labels", "neutral,happy", "--chunks", "2,16,16")
    found = {}
    for name, more in {
        "serial": ("--workers", 0),
        "seeded": ("--workers", 0, "--seed", 0),
        "two": ("--workers", 2),
        "other": ("--workers", 0, "--seed", 1),
    }.items():
        commands.succeed("generate", tmp_path / name, *options, *more)
        found[name] = commands.files(tmp_path / name) | {"root": (tmp_path / name / "zarr.json").read_bytes()}
    assert found["serial"] == found["seeded"] == found["two"]
    assert all(found["serial"][name] != found["other"][name] for name in found["serial"] if "neutral/c/" in name)


def test_generate_reports(stores):
    assert stores.reports["generate"]["images"] == N_IMAGES
    assert stores.reports["generate"]["labels"] == ["neutral", "happy"]


def test_generate_writes_all_seven_labels_in_gray(tmp_path):
    url = tmp_path / "gray.zarr"
    labels = commands.report("generate", url, "--images", 1, "--size", 16, "--color", "gray", "--workers", 0)["labels"]
    dataset = mrdist.open_images(str(url))
    assert len(labels) == 7
    assert {dataset[label].shape for label in labels} == {(1, 16, 16, 1)}


def test_info(stores):
    images = commands.report("info", stores.images)
    assert (images["kind"], images["format_version"], images["complete"]) == ("images", 1, True)
    assert images["present"] == {"neutral": N_IMAGES, "happy": N_IMAGES}
    assert images["splits"] == {"test": 3, "train": 24, "val": 3}
    weights = commands.report("info", stores.weights["shared"])
    assert (weights["kind"], weights["complete"]) == ("weights", True)
    assert weights["training"]["alpha"] == 0.4
    table = commands.succeed("info", stores.images).stdout
    assert str(N_IMAGES) in table
    assert "format_version" in table


def test_names_are_printed_as_they_are(small_images_store, tmp_path):
    name = "a[b]:star:.zarr"
    small_images_store(name)
    assert commands.cold("info", name, cwd=tmp_path).stdout.split()[0] == name


def test_plan_writes_nothing_and_says_what_train_then_reads(stores, tmp_path):
    options = (*LABELS, "--workers", 1, "--block", "16,32")
    plan = commands.report("plan", stores.images, *options, cwd=tmp_path)
    assert list(tmp_path.iterdir()) == []
    assert plan["block"] == [16, 32]
    assert plan["n_blocks"] == 6
    done = commands.report("train", stores.images, tmp_path / "weights.zarr", *options)
    assert (done["blocks"], done["bytes_read"]) == (plan["n_blocks"], plan["bytes_read"])
    assert 0 < done["peak_memory_bytes"] <= plan["peak_memory"]


# --- train ---------------------------------------------------------------------------------------------


def test_train_reports(stores, estimators, pixels):
    found = stores.reports["shared"]
    assert found["already_complete"] is False
    assert found["blocks"] == found["blocks_run"] > 0
    assert found["bytes_read"] > 0
    assert found["seconds"]["start"] == 0 < found["seconds"]["run"]
    train = pixels.split == "train"
    prediction = estimators["shared"].predict(pixels.neutral[train])
    mse = np.square(prediction - pixels.happy[train] / 255).mean()
    assert found["scores"]["mse"] == pytest.approx(mse, rel=1e-9)
    assert set(found["scores"]) == {"mse", "r2"}


def test_train_stores_the_estimators_weights(stores, estimators):
    for color, url in stores.weights.items():
        model = mrdist.open_weights(url)
        np.testing.assert_array_equal(model.coef, estimators[color].coef_.astype(np.float32))
        np.testing.assert_array_equal(model.intercept, estimators[color].intercept_.astype(np.float32))


def test_train_again(stores, tmp_path):
    url = tmp_path / "weights.zarr"
    command = ("train", stores.images, url, *LABELS, "--workers", 0)
    commands.succeed(*command)
    before = commands.files(url)
    times = {path: path.stat().st_mtime_ns for path in url.rglob("*")}

    done = commands.succeed(*command)
    assert "already complete" in done.stdout
    again = commands.report(*command, "--block", "16,16")
    assert (again["already_complete"], again["blocks_run"]) == (True, 0)
    assert again["scores"] == stores.reports["shared"]["scores"]
    for option, value, name in (
        ("--alpha", "2.5", "alpha"),
        ("--receptive-field", "5", "receptive_field"),
        ("--split", "all", "images"),
    ):
        sentence = commands.failure(*command, option, value)
        assert str(url) in sentence
        assert f"({name} is " in sentence
        assert value in sentence or name == "images"
    assert {path: path.stat().st_mtime_ns for path in url.rglob("*")} == times

    assert commands.report(*command, "--alpha", "2.5", "--overwrite")["already_complete"] is False
    assert commands.attributes(url)["training"]["alpha"] == 2.5
    assert commands.files(url) != before
    assert commands.report(*command, "--overwrite")["already_complete"] is False
    assert commands.files(url) == before


# --- synthesize ----------------------------------------------------------------------------------------


def test_synthesize_writes_pictures_of_the_inputs_size(stores, pixels, tmp_path):
    inputs = []
    for row in (0, 1):
        inputs.append(tmp_path / f"person.{row}.png")
        Image.fromarray(pixels.neutral[row]).save(inputs[-1])
    out = tmp_path / "made" / "here"
    found = commands.report("synthesize", stores.weights["shared"], *inputs, "--out", out)
    pictures = [out / "person.0.png", out / "person.1.png"]
    assert found["written"] == dict(zip(map(str, inputs), map(str, pictures), strict=True))
    assert found["left_out"] == []
    assert sorted(out.iterdir()) == pictures
    expected = mrdist.open_weights(stores.weights["shared"]).predict(pixels.neutral[:2])
    for picture, wanted in zip(pictures, expected, strict=True):
        with Image.open(picture) as file:
            assert file.size == (SIZE, SIZE)
            np.testing.assert_array_equal(np.asarray(file), np.rint(wanted.clip(0, 1) * 255).astype(np.uint8))


def test_synthesize_leaves_out_what_it_cannot_use_unless_strict(stores, pixels, tmp_path):
    good, bad = tmp_path / "good.png", tmp_path / "bad.png"
    Image.fromarray(pixels.neutral[0]).save(good)
    bad.write_text("no picture")
    command = ("synthesize", stores.weights["shared"], bad, good, "--out", tmp_path / "made")
    assert str(bad) in commands.failure(*command, "--strict")
    assert list((tmp_path / "made").iterdir()) == []
    found = commands.report(*command)
    assert list(found["written"]) == [str(good)]
    assert [entry["what"] for entry in found["left_out"]] == [str(bad)]
    assert str(bad) in commands.succeed(*command).stderr


# --- evaluate ------------------------------------------------------------------------------------------


def scores_of(prediction, target, region):
    """MSE, PSNR, SSIM and R2 in the region by NumPy and scikit-image; SSIM where its whole window lies inside."""
    inner = np.zeros_like(region)
    inner[5:-5, 5:-5] = region[5:-5, 5:-5]
    pairs = list(zip(target, prediction, strict=True))
    ssim = [
        structural_similarity(
            t, p, data_range=1, gaussian_weights=True, use_sample_covariance=False, channel_axis=-1, full=True
        )[1][inner].mean()
        for t, p in pairs
    ]
    truth, values = target[:, region], prediction[:, region]
    varies = np.ptp(truth, axis=0) > 0
    total = np.square(truth - truth.mean(axis=0)).sum(axis=0)[varies]
    return {
        "mse": np.mean([mean_squared_error(t[region], p[region]) for t, p in pairs]),
        "psnr": np.mean([peak_signal_noise_ratio(t[region], p[region], data_range=1) for t, p in pairs]),
        "ssim": np.mean(ssim),
        "r2": np.mean(1 - np.square(truth - values).sum(axis=0)[varies] / total),
    }


@pytest.mark.parametrize("color", ["shared", "separate"])
def test_evaluate_equals_independent_scores(stores, pixels, color):
    found = commands.report("evaluate", stores.weights[color], stores.images, "--split", "test", "--split", "val")
    assert list(found["splits"]) == ["test", "val"]
    assert 0 < pixels.face.sum() < pixels.face.size
    model = mrdist.open_weights(stores.weights[color])
    for split, regions in found["splits"].items():
        chosen = pixels.split == split
        target = pixels.happy[chosen] / 255
        mappings = {
            "model": model.predict(pixels.neutral[chosen]).astype(np.float64),
            "identity": pixels.neutral[chosen] / 255,
        }
        assert set(regions) == {"frame", "face"}
        for name, region in (("frame", np.ones_like(pixels.face)), ("face", pixels.face)):
            for mapping, prediction in mappings.items():
                expected = scores_of(prediction, target, region)
                assert regions[name][mapping] == pytest.approx(expected, rel=1e-6), (split, name, mapping)


def test_evaluate_scores_all_splits_by_default_and_the_same_on_workers(stores, two_workers):
    evaluate = ("evaluate", stores.weights["shared"], stores.images)
    serial, far = commands.report(*evaluate), commands.report(*evaluate, "--scheduler", two_workers)
    assert (serial.pop("workers"), far.pop("workers")) == (0, None)
    assert two_workers in far.pop("where") != serial.pop("where")
    assert far == serial
    assert set(serial["splits"]) == {"train", "val", "test"}
    table = commands.succeed(*evaluate, "--split", "test").stdout
    assert f"{serial['splits']['test']['frame']['model']['mse']:.5f}" in table
    assert "identity" in table


# --- export --------------------------------------------------------------------------------------------


def assert_is(matrix, expected):
    assert matrix.shape == expected.shape == (SIZE**2, SIZE**2 + 1)
    matrix, expected = scipy.sparse.csr_array(matrix), expected.astype(np.float32)
    for part in ("indptr", "indices", "data"):
        np.testing.assert_array_equal(getattr(matrix, part), getattr(expected, part))


@pytest.mark.parametrize("color", ["shared", "separate"])
def test_export_as_zarr_opens_with_anndata(stores, estimators, tmp_path, color):
    url = tmp_path / "sparse.zarr"
    found = commands.report("export", stores.weights[color], url, "--format", "csr-zarr")
    assert found == {"written": [str(url)], "format": "csr-zarr"}
    expected = estimators[color].to_scipy()
    group = zarr.open_group(str(url), mode="r")
    if color == "shared":
        assert_is(anndata.io.sparse_dataset(group).to_memory(), expected)
    else:
        assert sorted(group.group_keys()) == ["channel_0", "channel_1", "channel_2"]
        for channel, matrix in enumerate(expected):
            assert_is(anndata.io.sparse_dataset(group[f"channel_{channel}"]).to_memory(), matrix)
    assert commands.report("info", url)["kind"] == "csr"


@pytest.mark.parametrize("color", ["shared", "separate"])
def test_export_as_npz_opens_with_scipy(stores, estimators, tmp_path, color):
    out = tmp_path / "sparse.npz"
    found = commands.report("export", stores.weights[color], out, "--format", "npz")
    expected = estimators[color].to_scipy()
    expected = expected if isinstance(expected, list) else [expected]
    assert sorted(map(str, tmp_path.iterdir())) == found["written"]
    assert len(found["written"]) == len(expected)
    for file, matrix in zip(found["written"], expected, strict=True):
        assert_is(scipy.sparse.load_npz(file), matrix)


# --- demo ----------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_demo(tmp_path):
    out = tmp_path / "demo"
    found = commands.report("demo", "--out", out, "--workers", 0)
    assert {"images", "weights", "faces", "picture", "scores"} <= set(found)
    scores = found["scores"]["splits"]["test"]
    for region in ("frame", "face"):
        assert scores[region]["model"]["mse"] < 0.25 * scores[region]["identity"]["mse"]
    assert mrdist.open_weights(found["weights"]).shape == (128, 128)
    with Image.open(found["picture"]) as picture:
        assert min(picture.size) > 400
    assert len(list((out / "faces").glob("*.png"))) == 6


def test_every_command_is_reached_by_its_name():
    """The table of rooms is written by hand: a command that it leaves out would not exist."""
    import pkgutil
    from importlib import import_module

    import click

    import mrdist.cli
    from mrdist.cli.main import commands as group

    rooms = [import_module(f"mrdist.cli.{room.name}") for room in pkgutil.iter_modules(mrdist.cli.__path__)]
    made = [value for room in rooms for value in vars(room).values() if isinstance(value, click.Command)]
    below = [command for value in made if isinstance(value, click.Group) for command in value.commands.values()]
    defined = {id(value) for value in made} - {id(value) for value in below if value not in group.commands.values()}
    assert {id(value) for value in group.commands.values()} == defined - {id(group)}
