"""Whatever is wrong is told in one sentence with the offending value, and leaves nothing that looks whole."""

from __future__ import annotations

import shutil
from pathlib import Path
from types import SimpleNamespace

import commands
import numpy as np
import pytest
from photographs import write_photographs
from PIL import Image
from places import STRANGERS, content, put

LABELS = ("--source", "neutral", "--target", "happy")
SERIAL = ("--workers", "0")
SIZE = 48


@pytest.fixture(scope="module")
def stores(tmp_path_factory):
    """Good stores: do not change them."""
    folder = tmp_path_factory.mktemp("stores")
    found = SimpleNamespace(folder=folder)
    for name, size, color in (("images", SIZE, "rgb"), ("gray", SIZE, "gray"), ("small", 32, "rgb")):
        setattr(found, name, folder / f"{name}.zarr")
        options = ("--images", 12, "--size", size, "--color", color, "--labels", "neutral,happy")
        commands.succeed("generate", folder / f"{name}.zarr", *options, *SERIAL)
    found.weights = folder / "weights.zarr"
    commands.succeed("train", found.images, found.weights, *LABELS, *SERIAL)
    return found


@pytest.fixture
def copy(stores, tmp_path):
    """Return a factory of copies of a good store, to be damaged."""

    def make(name):
        return Path(shutil.copytree(getattr(stores, name), tmp_path / f"{name}.zarr"))

    return make


def train_fails(images, weights, *options, labels=LABELS, more=SERIAL, how=commands.run, **how_else):
    """Return the sentence with which a training fails that must not leave whole weights."""
    sentence = commands.failure("train", images, weights, *labels, *more, *options, how=how, **how_else)
    assert not commands.is_whole(weights)
    return sentence


# --- options -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "offending"),
    [
        (("--receptive-field", "4"), "4"),
        (("--receptive-field", "-3"), "-3"),
        (("--receptive-field", "49"), "49"),
        (("--receptive-field", "5", "--dilation", "12"), "12"),
        (("--dilation", "0"), "0"),
        (("--alpha", "-0.5"), "-0.5"),
        (("--alpha", "0"), "got 0"),
        (("--alpha", "nan"), "nan"),
        (("--alpha", "inf"), "inf"),
        (("--color", "blue"), "blue"),
        (("--split", "exam"), "exam"),
        (("--dtype", "int8"), "int8"),
        (("--max-memory", "100MB"), "95 MiB"),
        (("--max-memory", "plenty"), "plenty"),
    ],
)
def test_train_options(stores, tmp_path, options, offending):
    weights = tmp_path / "weights.zarr"
    assert offending in train_fails(stores.images, weights, *options)
    assert not weights.exists()


@pytest.mark.parametrize("command", ["train", "generate", "evaluate"])
def test_workers(stores, tmp_path, command):
    out = tmp_path / "out.zarr"
    args = {
        "train": ("train", stores.images, out, *LABELS),
        "generate": ("generate", out, "--images", 2, "--size", 16, "--labels", "happy"),
        "evaluate": ("evaluate", stores.weights, stores.images),
    }[command]
    assert "-2" in commands.failure(*args, "--workers", "-2")
    both = commands.failure(*args, "--workers", "3", "--scheduler", "tcp://127.0.0.1:9")
    assert "3" in both
    assert "tcp://127.0.0.1:9" in both
    assert not commands.is_whole(out)


@pytest.mark.parametrize(
    "args",
    [
        ("generate", "memory://a.zarr", "--images", "2", "--size", "16"),
        ("train", "memory://a.zarr", "memory://b.zarr", *LABELS),
        ("train", "IMAGES", "memory://b.zarr", *LABELS),
    ],
)
def test_memory_urls_need_one_process(stores, args):
    args = [str(stores.images) if arg == "IMAGES" else arg for arg in args]
    for more in (("--workers", "2"), ("--scheduler", "tcp://127.0.0.1:9"), ()):
        assert "memory://" in commands.failure(*args, *more)


@pytest.mark.parametrize("address", ["tcp://127.0.0.1:9", "nowhere"])
def test_unreachable_scheduler(stores, tmp_path, address):
    weights = tmp_path / "weights.zarr"
    constants = {"mrdist.execution._scheduler.CONNECT_SECONDS": 1}
    assert address in train_fails(stores.images, weights, more=("--scheduler", address), constants=constants)
    if weights.exists():
        assert commands.report("info", weights)["complete"] is False
        assert "not complete" in commands.failure("synthesize", weights, "x.png", "--out", tmp_path)


@pytest.mark.parametrize(
    ("options", "offending"),
    [
        (("--images", "0"), "0"),
        (("--images", "2", "--size", "-8"), "-8"),
        (("--images", "2", "--size", "9999"), "9999"),
        (("--images", "2", "--labels", "happy,grumpy"), "grumpy"),
        (("--images", "2", "--labels", "happy,happy"), "happy"),
        (("--images", "2", "--color", "sepia"), "sepia"),
    ],
)
def test_generate_options(tmp_path, options, offending):
    url = tmp_path / "images.zarr"
    assert offending in commands.failure("generate", url, *options, *SERIAL)
    assert not url.exists()


# --- addresses and kinds -------------------------------------------------------------------------------


@pytest.mark.parametrize("what", ["nothing", *STRANGERS])
def test_no_such_store(stores, tmp_path, what):
    path = tmp_path / "thing"
    put(path, what)
    for args in (
        ("info", path),
        ("train", path, tmp_path / "weights.zarr", *LABELS, *SERIAL),
        ("evaluate", path, stores.images),
        ("export", path, tmp_path / "sparse.zarr"),
    ):
        assert str(path) in commands.failure(*args)
    assert set(tmp_path.iterdir()) <= {path}


def test_unknown_protocol(tmp_path):
    assert "gopher://" in commands.failure("info", "gopher://host/faces.zarr")


def test_kinds_are_not_mixed_up(stores, tmp_path):
    photograph = tmp_path / "face.png"
    Image.new("RGB", (SIZE, SIZE)).save(photograph)
    weights, images = str(stores.weights), str(stores.images)
    for wrong, kind, args in (
        (weights, "weights", ("train", weights, tmp_path / "out.zarr", *LABELS, *SERIAL)),
        (weights, "weights", ("plan", weights, *LABELS)),
        (weights, "weights", ("evaluate", weights, weights)),
        (images, "images", ("evaluate", images, images)),
        (images, "images", ("synthesize", images, photograph, "--out", tmp_path / "out")),
        (images, "images", ("export", images, tmp_path / "out.zarr")),
    ):
        sentence = commands.failure(*args)
        assert f"{wrong} is a store of {kind}" in sentence
    assert list(tmp_path.iterdir()) == [photograph]


@pytest.mark.parametrize(("name", "command"), [("images", "train"), ("weights", "export")])
def test_newer_format(copy, tmp_path, name, command):
    store = copy(name)
    commands.damage(store, "format_version", lambda _: 99)
    more = (*LABELS, *SERIAL) if command == "train" else ()
    for args in ((command, store, tmp_path / "out.zarr", *more), ("info", store)):
        sentence = commands.failure(*args)
        assert str(store) in sentence
        assert "version 99" in sentence
    assert not (tmp_path / "out.zarr").exists()


def test_unknown_label(stores, tmp_path):
    for labels, offending in ((("neutral", "angry"), "angry"), (("Neutral", "happy"), "Neutral")):
        sentence = train_fails(
            stores.images, tmp_path / "weights.zarr", labels=("--source", labels[0], "--target", labels[1])
        )
        assert f"no label {offending!r}" in sentence
        assert "neutral, happy" in sentence
    assert not (tmp_path / "weights.zarr").exists()


def test_incomplete_stores_are_refused(copy, stores, tmp_path):
    images, weights = copy("images"), copy("weights")
    for store in (images, weights):
        commands.damage(store, "complete", lambda _: False)
        assert commands.report("info", store)["complete"] is False
    for store, args in (
        (images, ("train", images, tmp_path / "out.zarr", *LABELS, *SERIAL)),
        (weights, ("evaluate", weights, stores.images)),
        (weights, ("export", weights, tmp_path / "out.zarr")),
    ):
        assert f"{store} is not complete" in commands.failure(*args)


# --- outputs that are there ----------------------------------------------------------------------------


@pytest.mark.parametrize("what", STRANGERS)
@pytest.mark.parametrize("command", ["train", "generate", "ingest", "export"])
def test_foreign_outputs_are_never_removed(stores, tmp_path, command, what):
    path = tmp_path / "thing"
    put(path, what)
    before = content(path)
    photographs = write_photographs(tmp_path / "photographs", 1)
    args = {
        "train": ("train", stores.images, path, *LABELS, *SERIAL),
        "generate": ("generate", path, "--images", 1, "--size", 16, "--labels", "happy", *SERIAL),
        "ingest": ("ingest", photographs, path, "--align", "none", *SERIAL),
        "export": ("export", stores.weights, path),
    }[command]
    for more in ((), ("--overwrite",)):
        assert str(path) in commands.failure(*args, *more)
        assert content(path) == before


def test_foreign_npz_stays(stores, tmp_path):
    out = tmp_path / "sparse.npz"
    out.write_text("mine")
    assert str(out) in commands.failure("export", stores.weights, out, "--format", "npz")
    assert out.read_text() == "mine"


@pytest.mark.parametrize("command", ["train", "export"])
def test_an_input_is_never_overwritten_by_its_own_output(copy, command):
    store = copy({"train": "images", "export": "weights"}[command])
    before = commands.files(store)
    more = (*LABELS, *SERIAL) if command == "train" else ()
    assert str(store) in commands.failure(command, store, store, *more, "--overwrite")
    assert commands.files(store) == before


def test_demo_does_not_replace_a_store_that_it_did_not_make(copy):
    store = copy("small")
    before = commands.files(store)
    store = store.rename(store.with_name("images.zarr"))
    assert str(store) in commands.failure("demo", "--out", store.parent, *SERIAL)
    assert commands.files(store) == before


# --- damaged and unfit images --------------------------------------------------------------------------


def chunk_of(store, name):
    return max((store / name / "c").rglob("*"), key=lambda path: (path.is_file(), path))


@pytest.mark.parametrize("how", ["missing", "cut", "changed"])
def test_damaged_chunk_of_images(copy, stores, tmp_path, how):
    store = copy("images")
    spoil(chunk_of(store, "neutral"), how)
    for sentence in (
        train_fails(store, tmp_path / "weights.zarr", how=commands.cold),
        commands.failure("evaluate", stores.weights, store),
    ):
        assert f"{store}" in sentence
        assert "neutral" in sentence
        assert "chunk" in sentence
    shutil.copytree(stores.images, store, dirs_exist_ok=True)
    assert commands.report("train", store, tmp_path / "weights.zarr", *LABELS, *SERIAL)["already_complete"] is False
    commands.assert_equal_bytes(tmp_path / "weights.zarr", stores.weights)


@pytest.mark.parametrize("how", ["missing", "cut", "changed"])
def test_damaged_chunk_of_weights(copy, stores, tmp_path, how):
    store = copy("weights")
    spoil(chunk_of(store, "coef"), how)
    photograph = tmp_path / "face.png"
    Image.new("RGB", (SIZE, SIZE)).save(photograph)
    for args in (
        ("synthesize", store, photograph, "--out", tmp_path / "made"),
        ("evaluate", store, stores.images),
        ("export", store, tmp_path / "sparse.zarr"),
    ):
        sentence = commands.failure(*args)
        assert f"{store}" in sentence
        assert "coef" in sentence
        assert "chunk" in sentence
    assert not (tmp_path / "made").exists()
    assert not (tmp_path / "sparse.zarr").exists()


def spoil(chunk, how):
    """Remove a chunk's file, cut it off or change a byte in its middle."""
    encoded = bytearray(chunk.read_bytes())
    chunk.unlink()
    if how == "cut":
        chunk.write_bytes(encoded[: len(encoded) // 2])
    elif how == "changed":
        encoded[len(encoded) // 2] ^= 0xFF
        chunk.write_bytes(encoded)


@pytest.mark.parametrize(("value", "said"), [(np.nan, "NaN"), (1.5, "1.5"), (-0.25, "-0.25"), (np.inf, "inf")])
def test_floats_outside_their_range(tmp_path, value, said):
    rng = np.random.default_rng(0)
    pixels = {label: rng.random((6, 16, 16, 1), dtype=np.float32) for label in ("neutral", "happy")}
    pixels["happy"][3, 7, 9] = value
    url = commands.write_store(tmp_path / "floats.zarr", pixels)
    sentence = train_fails(url, tmp_path / "weights.zarr")
    assert url in sentence
    assert said in sentence
    assert "happy" in sentence


def test_no_pairs(tmp_path):
    rng = np.random.default_rng(0)
    pixels = {label: rng.integers(0, 256, (4, 16, 16, 1), dtype=np.uint8) for label in ("neutral", "happy")}
    present = np.array([[True, False], [False, True]] * 2)
    url = commands.write_store(tmp_path / "unpaired.zarr", pixels, present=present)
    weights = tmp_path / "weights.zarr"
    for split in ("train", "test", "all"):
        sentence = train_fails(url, weights, "--split", split)
        assert url in sentence
        assert f"{split!r} with neutral and happy" in sentence
    assert not weights.exists()


@pytest.mark.parametrize(("name", "theirs"), [("small", "32 x 32"), ("gray", "1")])
def test_evaluate_on_images_of_another_shape(stores, name, theirs):
    sentence = commands.failure("evaluate", stores.weights, getattr(stores, name))
    assert str(stores.weights) in sentence
    assert str(getattr(stores, name)) in sentence
    assert f"{SIZE} x {SIZE}" in sentence
    assert theirs in sentence


def test_evaluate_on_images_without_the_labels(stores, tmp_path):
    pixels = np.zeros((2, SIZE, SIZE, 3), dtype=np.uint8)
    url = commands.write_store(tmp_path / "sad.zarr", {"neutral": pixels, "sad": pixels})
    sentence = commands.failure("evaluate", stores.weights, url)
    assert "no label 'happy'" in sentence
    assert "neutral, sad" in sentence


@pytest.mark.parametrize(("size", "said"), [((40, 48), "40 x 48"), ((96, 96), "96 x 96")])
def test_synthesize_photographs_of_another_size(stores, tmp_path, size, said):
    photograph = tmp_path / "face.png"
    Image.new("RGB", size).save(photograph)
    command = ("synthesize", stores.weights, photograph, "--out", tmp_path / "made")
    sentence = commands.failure(*command, constants=commands.NO_DETECTOR)
    assert str(photograph) in sentence
    assert said in sentence
    assert f"{SIZE} x {SIZE}" in sentence
    assert f"of {said} pixels shows no face" in commands.failure(*command)
    assert list((tmp_path / "made").iterdir()) == []


def test_synthesize_what_is_not_there(stores, tmp_path):
    photograph = tmp_path / "nobody.png"
    sentence = commands.failure("synthesize", stores.weights, photograph, "--out", tmp_path / "made")
    assert str(photograph) in sentence


def test_synthesize_never_writes_over_its_input(stores, tmp_path):
    photograph = tmp_path / "face.png"
    Image.new("RGB", (SIZE, SIZE), (9, 8, 7)).save(photograph)
    before = photograph.read_bytes()
    for out in (tmp_path, tmp_path / "made" / ".."):
        assert str(photograph) in commands.failure("synthesize", stores.weights, photograph, "--out", out)
        assert photograph.read_bytes() == before
