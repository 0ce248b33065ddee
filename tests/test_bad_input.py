"""Whatever is wrong is told in one sentence with the offending value, and leaves nothing that looks whole."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from types import SimpleNamespace

import commands
import numpy as np
import pytest
import zarr
from PIL import Image

import mrdist

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
    constants = {"mrdist.execution._cluster._CONNECT_SECONDS": 1}
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


def not_a_store(folder, what):
    """Put something that mrdist did not write into a folder and return its path."""
    path = folder / "thing"
    if what == "folder":
        path.mkdir()
        (path / "notes.txt").write_text("mine")
    elif what == "file":
        path.write_text("mine")
    elif what == "zarr group":
        zarr.create_group(str(path)).create_array("data", data=np.arange(4))
    elif what == "zarr array":
        zarr.create_array(str(path), data=np.arange(4))
    return path


THINGS = ("nothing", "folder", "file", "zarr group", "zarr array")


@pytest.mark.parametrize("what", THINGS)
def test_no_such_store(stores, tmp_path, what):
    path = not_a_store(tmp_path, what)
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
    commands.damage(store, "format_version", lambda version: version + 98)
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


@pytest.mark.parametrize("what", ["folder", "file", "zarr group", "zarr array"])
@pytest.mark.parametrize("command", ["train", "generate", "ingest", "export"])
def test_foreign_outputs_are_never_removed(stores, photographs, tmp_path, command, what):
    path = not_a_store(tmp_path, what)
    before = path.read_text() if path.is_file() else commands.files(path)
    args = {
        "train": ("train", stores.images, path, *LABELS, *SERIAL),
        "generate": ("generate", path, "--images", 1, "--size", 16, "--labels", "happy", *SERIAL),
        "ingest": ("ingest", photographs(1), path, "--align", "none", *SERIAL),
        "export": ("export", stores.weights, path),
    }[command]
    for more in ((), ("--overwrite",)):
        assert str(path) in commands.failure(*args, *more)
        assert (path.read_text() if path.is_file() else commands.files(path)) == before


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
    sentence = commands.failure("synthesize", stores.weights, photograph, "--out", tmp_path / "made")
    assert str(photograph) in sentence
    assert said in sentence
    assert f"{SIZE} x {SIZE}" in sentence
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


# --- photographs ---------------------------------------------------------------------------------------


@pytest.fixture
def photographs(tmp_path):
    """Return a factory of folders in the London layout with made photographs of some people."""

    def make(people, size=32):
        rng = np.random.default_rng(people)
        for label, shot in (("neutral", "03"), ("smiling", "08")):
            place = tmp_path / "photographs" / f"{label}_front"
            place.mkdir(parents=True)
            for person in range(people):
                pixels = rng.integers(0, 256, (size, size, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(place / f"{person:03}_{shot}.jpg")
        return tmp_path / "photographs"

    return make


def ingest_args(folder, out, *options):
    return ("ingest", folder, out, "--align", "none", *SERIAL, *options)


def test_truncated_photograph_among_many(photographs, tmp_path):
    folder, out = photographs(5), tmp_path / "images.zarr"
    cut = folder / "smiling_front" / "002_08.jpg"
    cut.write_bytes(cut.read_bytes()[:400])

    assert str(cut) in commands.failure(*ingest_args(folder, out, "--strict"))
    assert not commands.is_whole(out)
    found = commands.report(*ingest_args(folder, out))
    assert [entry["what"] for entry in found["left_out"]] == [str(cut)]
    assert (found["images"], found["pairs"], found["present"]) == (5, 4, {"neutral": 5, "smiling": 4})
    assert str(cut) in commands.succeed(*ingest_args(folder, out, "--overwrite")).stderr
    present = mrdist.open_images(str(out))["present"].values
    assert present.tolist() == [[True, person != 2] for person in range(5)]


def test_person_in_one_expression(photographs, tmp_path):
    folder, out = photographs(5), tmp_path / "images.zarr"
    (folder / "neutral_front" / "003_03.jpg").unlink()
    found = commands.report(*ingest_args(folder, out))
    assert [entry["what"] for entry in found["left_out"]] == ["003/neutral"]
    assert found["pairs"] == 4
    labels = ("--source", "neutral", "--target", "smiling", "--split", "all")
    commands.succeed("train", out, tmp_path / "weights.zarr", *labels, *SERIAL)
    assert commands.attributes(tmp_path / "weights.zarr")["training"]["n_images"] == 4


def test_photographs_of_different_sizes(photographs, tmp_path):
    folder, out = photographs(3), tmp_path / "images.zarr"
    odd = folder / "neutral_front" / "001_03.jpg"
    Image.new("RGB", (40, 40)).save(odd)
    sentence = commands.failure(*ingest_args(folder, out))
    for said in (odd.name, "40 x 40", "32 x 32", "--size"):
        assert said in sentence
    assert not out.exists()
    assert commands.report(*ingest_args(folder, out, "--size", 24))["pairs"] == 3


def test_no_photographs(tmp_path):
    (tmp_path / "empty").mkdir()
    for folder in (tmp_path / "empty", tmp_path / "nowhere"):
        assert str(folder) in commands.failure(*ingest_args(folder, tmp_path / "images.zarr"))
    assert not (tmp_path / "images.zarr").exists()


@pytest.mark.parametrize(
    ("options", "offending"),
    [
        (("--layout", "paris"), "paris"),
        (("--color", "sepia"), "sepia"),
        (("--align", "magic"), "magic"),
        (("--rename", "grumpy=happy"), "grumpy"),
        (("--rename", "smiling=neutral"), "neutral"),
        (("--rename", "smiling=subject"), "subject"),
        (("--size", "3"), "3"),
    ],
)
def test_ingest_options(photographs, tmp_path, options, offending):
    out = tmp_path / "images.zarr"
    assert offending in commands.failure(*ingest_args(photographs(3), out, *options))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["photographs"]


@pytest.mark.parametrize("more", [(), ("--strict",)], ids=["lenient", "strict"])
def test_landmark_files_none_of_which_can_be_read(photographs, tmp_path, more):
    folder, out = photographs(3), tmp_path / "images.zarr"
    landmarks = [folder / "neutral_front" / f"{person:03}_03.tem" for person in range(3)]
    for path in landmarks:
        path.write_text("189\n1 2\nno numbers\n")
    sentence = commands.failure("ingest", folder, out, *SERIAL, *more)
    assert any(str(path) in sentence for path in landmarks)
    assert not out.exists()


@pytest.mark.slow
@pytest.mark.skipif("MRDIST_TEST_DATA" not in os.environ, reason="MRDIST_TEST_DATA is not set")
def test_unreadable_landmark_file_among_real_people(tmp_path):
    london = Path(os.environ["MRDIST_TEST_DATA"]) / "london"
    folder, out = tmp_path / "london", tmp_path / "images.zarr"
    people = sorted(path.stem for path in (london / "neutral_front").glob("*.tem"))[:4]
    for name in people:
        smiling = name.removesuffix("_03") + "_08.jpg"
        for path in (f"neutral_front/{name}.jpg", f"neutral_front/{name}.tem", f"smiling_front/{smiling}"):
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(london / path, folder / path)
    broken = folder / "neutral_front" / f"{people[1]}.tem"
    broken.write_text("\n".join(broken.read_text().splitlines()[:100]))

    args = ("ingest", folder, out, "--size", 64, "--color", "gray", *SERIAL)
    assert str(broken) in commands.failure(*args, "--strict")
    assert not commands.is_whole(out)
    found = commands.report(*args)
    assert [str(broken) in entry["reason"] for entry in found["left_out"]] == [True]
    assert found["pairs"] == 3
    assert people[1].removesuffix("_03") not in found["quality"]
