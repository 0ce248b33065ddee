"""``mrdist ingest``: layouts, formats, several sources, and appending, by the real command."""

from __future__ import annotations

import os
import shutil
import zipfile
from pathlib import Path

import commands
import numpy as np
import pytest
from PIL import Image

import mrdist
from mrdist.datasets.alignment import align_take
from mrdist.datasets.discovery import discover
from mrdist.storage import Images, read_alignment, read_frame

PLAIN = ("--align", "none", "--workers", "0")
SIDE = 16


def picture(path, seed=0, size=(SIDE, SIDE), mode="RGB", **options):
    """Save a picture of even 4 x 4 tiles, which every format keeps; return its pixels."""
    path.parent.mkdir(parents=True, exist_ok=True)
    tiles = np.random.default_rng(seed).integers(20, 230, (size[1] // 4, size[0] // 4, 3), dtype=np.uint8)
    pixels = tiles.repeat(4, axis=0).repeat(4, axis=1)
    Image.fromarray(pixels).convert(mode).save(path, **options)
    return pixels


@pytest.fixture
def folders(tmp_path):
    """Return a factory of sources, one folder for each expression."""

    def make(name, people, labels=("neutral", "happy")):
        return tmp_path / name, {
            (person, label): picture(tmp_path / name / label / f"{person}.png", seed=[*name.encode(), n, k])
            for n, person in enumerate(people)
            for k, label in enumerate(labels)
        }

    return make


def assert_row(dataset, image, label, pixels):
    row = dataset["image"].values.tolist().index(image)
    np.testing.assert_array_equal(dataset[label].values[row], pixels)
    assert dataset["present"].values[row, dataset["label"].values.tolist().index(label)]


# --- layouts and formats -------------------------------------------------------------------------------


def test_kdef_with_an_angle_from_a_zip(tmp_path):
    for name in ("AF01NES", "AF01HAS", "AF01NEHL", "AF01HAHL", "BF01NEHL", "AM02NEHL", "AM02HAHL", "AM02XX"):
        picture(tmp_path / "KDEF" / f"{name}.JPG", seed=list(name.encode()), quality=100)
    with zipfile.ZipFile(tmp_path / "kdef.zip", "w") as file:
        for path in sorted((tmp_path / "KDEF").iterdir()):
            file.write(path, f"KDEF/{path.name}")
    out = tmp_path / "faces.zarr"
    found = commands.report("ingest", tmp_path / "kdef.zip", out, "--angle", "half-left", *PLAIN)
    dataset = mrdist.open_images(str(out))
    assert dataset["image"].values.tolist() == ["F01-A", "F01-B", "M02-A"]
    assert dataset["subject"].values.tolist() == ["F01", "F01", "M02"]
    assert set(dataset["dataset"].values) == {"kdef"}
    assert (found["labels"], found["present"], found["pairs"]) == (
        ["happy", "neutral"],
        {"happy": 2, "neutral": 3},
        2,
    )
    said = {entry["what"]: entry["reason"] for entry in found["left_out"]}
    assert said.pop(f"{tmp_path}/kdef.zip/KDEF/AM02XX.JPG").startswith("the name is not <session>")
    assert said.pop("F01-B/happy") == "the person has no photograph with this label"
    assert [reason.split(";")[0] for reason in said.values()] == ["its angle is front"]
    pixels = np.asarray(Image.open(tmp_path / "KDEF" / "AF01HAHL.JPG"))
    assert_row(dataset, "F01-A", "happy", pixels)
    sentence = commands.failure("ingest", tmp_path / "kdef.zip", tmp_path / "no.zarr", "--strict", *PLAIN)
    assert "AM02XX.JPG" in sentence
    assert not (tmp_path / "no.zarr").exists()


def test_side_by_side_with_given_splits(tmp_path):
    wide = {
        name: picture(tmp_path / "p" / f"{name}.png", n, (2 * SIDE, SIDE))
        for n, name in enumerate(("train/1", "test/1"))
    }
    out = tmp_path / "faces.zarr"
    rename = ("--rename", "left=happy", "--rename", "right=neutral")
    commands.succeed("ingest", tmp_path / "p", out, "--layout", "sides", *rename, *PLAIN)
    dataset = mrdist.open_images(str(out))
    assert dict(zip(dataset["image"].values, dataset["split"].values, strict=True)) == {
        "train/1": "train",
        "test/1": "test",
    }
    for name, pixels in wide.items():
        assert_row(dataset, name, "happy", pixels[:, :SIDE])
        assert_row(dataset, name, "neutral", pixels[:, SIDE:])


def test_formats(tmp_path):
    kinds = {
        "a.png": {},
        "b.bmp": {},
        "c.tif": {},
        "d.webp": {"lossless": True},
        "e.ppm": {},
        "f.tga": {},
        "g.jp2": {"irreversible": False},
        "h.gif": {"mode": "L"},
        "i.png": {"mode": "RGBA"},
    }
    pixels = {
        name[0]: picture(tmp_path / "in" / "neutral" / name, seed=n, **options)
        for n, (name, options) in enumerate(kinds.items())
    }
    film = tmp_path / "in" / "neutral" / "film.gif"
    Image.new("L", (SIDE, SIDE)).save(film, save_all=True, append_images=[Image.new("L", (SIDE, SIDE), 9)])
    (film.parent / "empty.png").touch()
    out = tmp_path / "faces.zarr"
    args = ("ingest", tmp_path / "in", out, "--layout", "folders", *PLAIN)
    found = commands.report(*args)
    assert {
        Path(entry["what"]).name: entry["reason"].split(": ")[0].split("film.gif ")[-1] for entry in found["left_out"]
    } == {
        "film.gif": "is an animation of 2 frames",
        "empty.png": f"Photograph {film.parent}/empty.png cannot be identified as an image; supported are JPEG, PNG, "
        "TIFF, BMP, GIF, WEBP, PPM, JPEG2000, TGA.",
    }
    dataset = mrdist.open_images(str(out))
    for name, expected in pixels.items():
        if name == "h":
            expected = np.asarray(Image.fromarray(expected).convert("L"))[..., np.newaxis].repeat(3, axis=2)
        assert_row(dataset, name, "neutral", expected)
    assert "empty.png" in commands.failure(*args, "--strict", "--overwrite")


def test_minmax_stretches_every_image_over_its_channels(folders, tmp_path):
    folder, pixels = folders("in", ["ann", "bob", "cid"])
    commands.succeed("ingest", folder, tmp_path / "out.zarr", "--normalize", "minmax", *PLAIN)
    dataset = mrdist.open_images(str(tmp_path / "out.zarr"))
    for (person, label), image in pixels.items():
        low, high = float(image.min()), float(image.max())
        assert_row(dataset, person, label, np.rint((image - low) / (high - low) * 255))
    assert commands.attributes(tmp_path / "out.zarr")["provenance"]["normalize"] == "minmax"
    assert "'z-score'" in commands.failure("ingest", folder, tmp_path / "o.zarr", "--normalize", "z-score", *PLAIN)


def test_folders_that_cannot_be_labels_fail_before_anything_is_read(folders, tmp_path):
    folder, _ = folders("in", ["ann"], labels=("very happy", "neutral"))
    for path in folder.rglob("*.png"):
        path.write_bytes(b"")
    args = ("ingest", folder, tmp_path / "out.zarr", "--size", "16", *PLAIN)
    assert "'very happy' cannot be a label" in commands.failure(*args)
    assert "ann.png" in commands.failure(*args, "--rename", "very happy=happy")


# --- several sources -----------------------------------------------------------------------------------


def test_sources_that_share_names_stay_apart(folders, tmp_path):
    one, ones = folders("one", ["ann", "bob"])
    two, twos = folders("two", ["ann", "eve"], labels=("neutral", "smiling"))
    out = tmp_path / "out.zarr"
    found = commands.report(
        "ingest", one, two, out, "--rename", "smiling=happy", "--dataset", "X", "--dataset", "Y", *PLAIN
    )
    assert (found["images"], found["pairs"], found["left_out"]) == (4, 4, [])
    dataset = mrdist.open_images(str(out))
    assert dataset["image"].values.tolist() == ["X/ann", "X/bob", "Y/ann", "Y/eve"]
    assert dataset["dataset"].values.tolist() == ["X", "X", "Y", "Y"]
    assert_row(dataset, "X/ann", "happy", ones["ann", "happy"])
    assert_row(dataset, "Y/ann", "happy", twos["ann", "smiling"])
    provenance = commands.attributes(out)["provenance"]
    assert provenance["sources"] == [{"dataset": "X", "layout": "folders"}, {"dataset": "Y", "layout": "folders"}]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--dataset", "X"), "one dataset for each of the 2 sources, got 1"),
        (("--dataset", "X", "--dataset", "X"), "two sources are called 'X'"),
        (("--layout", "folders", "--layout", "kdef"), "no photograph in the layout kdef"),
        (("--angle", "half-left"), "no photograph of angle 'half-left'"),
    ],
)
def test_options_of_several_sources(folders, tmp_path, options, said):
    sources = [folders(name, ["ann", "bob"])[0] for name in ("one", "two")]
    assert said in commands.failure("ingest", *sources, tmp_path / "out.zarr", *options, *PLAIN)
    assert not (tmp_path / "out.zarr").exists()


# --- appending -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("chunks", ["2,16,16", "4,8,8"])
def test_append(folders, tmp_path, chunks):
    one, ones = folders("one", ["ann", "bob", "cid"])
    two, twos = folders("two", ["ann", "eve"], labels=("neutral", "sad", "smiling"))
    out = tmp_path / "out.zarr"
    commands.succeed("ingest", one, out, "--chunks", chunks, *PLAIN)
    rows = Images.open(str(out)).fingerprint(("neutral", "happy"), np.arange(3))
    append = ("ingest", two, out, "--append", "--rename", "smiling=happy", "--workers", "0")
    found = commands.report(*append)
    assert (found["images"], found["images_added"], found["pairs"]) == (5, 2, 5)
    assert found["left_out"] == [{"what": "label sad of two", "reason": "the store has no such label (happy, neutral)"}]
    dataset, grown = mrdist.open_images(str(out)), commands.files(out)
    assert dataset["image"].values.tolist() == ["ann", "bob", "cid", "two/ann", "two/eve"]
    assert dataset["dataset"].values.tolist() == ["one"] * 3 + ["two"] * 2
    for (person, label), pixels in ones.items():
        assert_row(dataset, person, label, pixels)
    assert_row(dataset, "two/ann", "happy", twos["ann", "smiling"])
    assert_row(dataset, "two/eve", "neutral", twos["eve", "neutral"])
    assert dataset["photograph"].values[3].tolist() == ["smiling/ann.png", "neutral/ann.png"]
    assert Images.open(str(out)).fingerprint(("neutral", "happy"), np.arange(3)) == rows

    # nobody counts twice, and who is new is added to whom was there
    for source in (one, two):
        assert commands.report("ingest", source, out, "--append", "--workers", "0")["images_added"] == 0
    assert commands.files(out) == grown
    picture(one / "happy" / "dan.png", 7)
    assert commands.report("ingest", one, out, "--append", "--workers", "0")["images_added"] == 1
    assert mrdist.open_images(str(out))["image"].values[-1] == "dan"


def test_append_keeps_what_the_store_is(folders, tmp_path):
    one, _ = folders("one", ["ann", "bob", "cid"])
    two, _ = folders("two", ["eve"])
    out = tmp_path / "out.zarr"
    assert commands.report("ingest", one, out, "--append", "--color", "gray", *PLAIN)["images"] == 3
    before = commands.files(out)
    for options, said in {
        ("--size", "24"): f"cannot append with size 24: {out} has size 16",
        ("--color", "rgb"): "cannot append with color rgb",
        ("--align", "tps"): "cannot append with align tps",
        ("--normalize", "minmax"): "cannot append with normalize minmax",
        ("--overwrite",): "overwrite replaces it",
        ("--chunks", "1,8,8"): "append keeps the chunks of the store",
        ("--strict", "--rename", "happy=sad"): "no label 'sad'",
    }.items():
        assert said in commands.failure("ingest", two, out, "--append", "--workers", "0", *options)
    (two / "happy" / "eve.png").write_bytes(b"no image")
    (two / "neutral" / "eve.png").write_bytes(b"no image")
    assert "eve.png" in commands.failure("ingest", two, out, "--append", "--workers", "0")
    assert commands.files(out) == before
    assert {path.name for path in tmp_path.iterdir()} == {
        "one",
        "two",
        "out.zarr",
        "out.zarr.run",
    }  # says what was wrong


def test_a_killed_append_leaves_the_store_and_is_repeated(folders, tmp_path):
    one, ones = folders("one", [f"p{n}" for n in range(5)])
    two, _ = folders("two", [f"q{n}" for n in range(9)])
    out, quiet = tmp_path / "out.zarr", tmp_path / "quiet.zarr"
    commands.succeed("ingest", one, out, "--chunks", "2,4,4", *PLAIN)
    shutil.copytree(out, quiet)
    append = ("ingest", two, out, "--append", "--workers", "0")
    commands.killed(*append, at=("/happy/c/3/", 1))
    dataset = mrdist.open_images(str(out))
    assert dataset.sizes["image"] == 5
    for (person, label), pixels in ones.items():
        assert_row(dataset, person, label, pixels)
    assert commands.report(*append)["images_added"] == 9
    commands.succeed("ingest", two, quiet, "--append", "--workers", "0")
    assert commands.files(out) == commands.files(quiet)


@pytest.mark.slow
@pytest.mark.skipif("MRDIST_TEST_DATA" not in os.environ, reason="MRDIST_TEST_DATA is not set")
def test_who_is_appended_is_aligned_to_the_reference_of_the_store(tmp_path):
    london = Path(os.environ["MRDIST_TEST_DATA"]) / "london"
    people = sorted(path.stem.removesuffix("_03") for path in (london / "neutral_front").glob("*.tem"))[:4]
    for n, person in enumerate(people):
        for name in (
            f"neutral_front/{person}_03.jpg",
            f"neutral_front/{person}_03.tem",
            f"smiling_front/{person}_08.jpg",
        ):
            path = tmp_path / ("more" if n == 3 else "some") / name
            path.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(london / name, path)
    out = tmp_path / "out.zarr"
    commands.succeed("ingest", tmp_path / "some", out, "--size", 64, "--color", "gray", "--workers", "0")
    reference, means = read_frame(Images.open(str(out)))
    found = commands.report("ingest", tmp_path / "more", out, "--append", "--workers", "0")
    after, means_after = read_frame(Images.open(str(out)))
    np.testing.assert_array_equal(after, reference)
    np.testing.assert_array_equal(means_after, means)
    assert list(found["quality"]) == [f"more/{people[3]}"]
    (take,) = discover(tmp_path / "more").takes
    wanted = align_take(take, reference, size=64, color="gray").images
    for label in ("neutral", "smiling"):
        assert_row(mrdist.open_images(str(out)), f"more/{people[3]}", label, wanted[label])
    origin = read_alignment(Images.open(str(out)))
    assert np.isfinite(origin.warp[3]).all()
    assert origin.quality[3, 1, list(origin.measures).index("correlation")] > 0.8
