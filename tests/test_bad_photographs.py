"""Photographs that cannot be ingested are told by name; the others are, unless asked to be strict."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import commands
import pytest
from photographs import write_photographs
from PIL import Image

import mrdist

SERIAL = ("--workers", "0")


@pytest.fixture
def photographs(tmp_path):
    """Return a factory of folders of made photographs of some people."""
    return lambda people: write_photographs(tmp_path / "photographs", people)


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
