"""Stores of images that zarr or xarray alone have written: what they need, what they may lack, what is said of them."""

import re
import warnings

import commands
import numpy as np
import pytest
import xarray as xr
import zarr

import mrdist
import mrdist.errors
from mrdist.errors import MissingChunkError, ParameterError, StoreExistsError, StoreFormatError
from mrdist.storage import Images, Statistics, create_images, finish_images, write_images

N_IMAGES, SHAPE = 6, (16, 24, 1)
TRAINING = {"source": "neutral", "target": "happy", "workers": 0, "progress": False}
LEAST = {"mrdist": {"kind": "images"}}


def draw(seed=0, dtype=np.uint8):
    rng = np.random.default_rng(seed)
    if np.dtype(dtype).kind == "f":
        return rng.uniform(0.1, 1, (N_IMAGES, *SHAPE)).astype(dtype)
    return rng.integers(1, 256, (N_IMAGES, *SHAPE)).astype(dtype)


def write(url, attributes=LEAST, labels=("neutral", "happy"), **arrays):
    """Write a group with zarr alone, in its own chunks and without gathering its metadata."""
    group = zarr.create_group(str(url), attributes=attributes)
    for seed, label in enumerate(labels):
        group.create_array(label, data=draw(seed), chunks=(4, 8, 8, 1))
    for name, values in arrays.items():
        values = np.asarray(values)
        group.create_array(name, data=values.astype(np.dtypes.StringDType()) if values.dtype.kind == "U" else values)
    return str(url)


def write_whole(url, **more):
    """Write the same images as `write` does with the functions that are there for it."""
    people = [str(n) for n in range(N_IMAGES)]
    run, *_ = create_images(
        url, labels=("happy", "neutral"), image=people, shape=SHAPE[:2], n_channels=1, chunks=(4, 8, 8)
    )
    for seed, label in enumerate(("neutral", "happy")):
        for start in range(0, N_IMAGES, run):
            write_images(url, label, start, draw(seed)[start : start + run])
    finish_images(url, **more)
    return str(url)


def test_the_least_that_is_needed(tmp_path):
    url = write(tmp_path / "least.zarr")
    assert mrdist.check_images(url) == []
    images = Images.open(url)
    assert images.labels == ("happy", "neutral")
    assert images.image.tolist() == images.subject.tolist() == ["0", "1", "2", "3", "4", "5"]
    assert set(images.split) == {"train"}
    assert set(images.dataset) == {""}
    assert images.present.all()
    assert images.face_mask.all()
    assert mrdist.info(url)["present"] == {"happy": 6, "neutral": 6}
    dataset = mrdist.open_images(url)
    assert {"image", "subject", "dataset", "split"} <= set(dataset.coords)
    np.testing.assert_array_equal(dataset["happy"], draw(1))


def test_what_is_left_out_changes_no_weights_and_no_fingerprint(tmp_path):
    """Checksums that are not kept are those of the pixels: the same training goes on over either store."""
    bare, whole = write(tmp_path / "bare.zarr"), write_whole(tmp_path / "whole.zarr")
    np.testing.assert_array_equal(Images.open(bare).checksum, Images.open(whole).checksum)
    weights = tmp_path / "weights.zarr"
    assert not mrdist.train(bare, weights, alpha=0.4, **TRAINING).already_complete
    assert mrdist.train(whole, weights, alpha=0.4, **TRAINING).already_complete
    sums = tmp_path / "sums.zarr"
    mrdist.accumulate(bare, sums, **TRAINING)
    assert mrdist.accumulate(whole, sums, append=True, workers=0).already_complete  # the same images, known by pixels
    assert Statistics.open(sums).n_images == N_IMAGES


def test_every_verb_reads_the_least(tmp_path):
    url = write(tmp_path / "least.zarr", split=["train"] * 4 + ["test"] * 2)
    weights = tmp_path / "weights.zarr"
    mrdist.plan(url, source="neutral", target="happy", workers=0)
    for method, options in {"l2": {}, "pixel": {}, "l0": {"nonzeros": np.int64(2)}}.items():
        mrdist.train(url, tmp_path / f"{method}.zarr", method=method, **options, **TRAINING)
    mrdist.train(url, weights, alpha="cv", folds=2, alphas=np.array([0.1, 1.0]), **TRAINING)
    assert np.isfinite(mrdist.evaluate(weights, url)["splits"]["test"]["face"]["model"]["mse"])
    mrdist.rechunk(url, tmp_path / "copy.zarr", chunks=[2, 16, 16], workers=0)
    assert mrdist.check_images(tmp_path / "copy.zarr") == []
    mrdist.synthesize(weights, url, tmp_path / "made.zarr", workers=0)
    assert mrdist.check_images(tmp_path / "made.zarr") == []


@pytest.mark.filterwarnings("ignore:The data type .* does not have a Zarr V3 specification")  # zarr's, of the text
def test_a_store_by_xarray_alone(tmp_path):
    """As an xarray user writes one: numbers for ids, fixed-width text, and a black chunk that is left out."""
    pixels = draw(1)
    pixels[:, :8] = 0
    dataset = xr.Dataset(
        {
            "neutral": (("image", "y", "x", "channel"), draw()),
            "happy": (("image", "y", "x", "channel"), pixels),
        },
        coords={"image": np.arange(N_IMAGES), "subject": ("image", np.array(list("aabbcc")))},
        attrs={"mrdist": {"kind": "images", "missing_chunks": "fill_value"}},
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        dataset.to_zarr(tmp_path / "faces.zarr", encoding={"happy": {"chunks": (3, 8, 8, 1)}}, consolidated=False)
    assert not (tmp_path / "faces.zarr" / "happy" / "c" / "0" / "0" / "0" / "0").exists()
    assert mrdist.check_images(tmp_path / "faces.zarr") == []
    np.testing.assert_array_equal(mrdist.open_images(tmp_path / "faces.zarr")["happy"], pixels)
    mrdist.train(tmp_path / "faces.zarr", tmp_path / "weights.zarr", alpha=0.4, **TRAINING)
    # Without a word that chunks are left out, one that is not there may be a loss.
    group = zarr.open_group(str(tmp_path / "faces.zarr"), use_consolidated=False)
    group.attrs["mrdist"] = {"kind": "images"}
    assert re.search(r"chunk happy/c/\d/0/\d/0 is missing", mrdist.check_images(tmp_path / "faces.zarr")[0])
    with pytest.raises(MissingChunkError, match="write_empty_chunks=True"):
        mrdist.train(tmp_path / "faces.zarr", tmp_path / "more.zarr", alpha=0.4, **TRAINING)
    assert not (tmp_path / "more.zarr").exists()  # noticed before anything was begun


IMAGES = {"kind": "images"}
BOTH = {"mrdist": IMAGES | {"labels": ["neutral", "happy"]}}
WRONG = {
    "no arrays": ({"labels": ()}, "has no array of images"),
    "label": ({"attributes": {"mrdist": IMAGES | {"labels": ["neutral", "sad"]}}}, "lacks the array 'sad'"),
    "present": ({"present": np.ones(6, bool)}, "has shape (6,), but must have (6, 2) for the axes (image, label)"),
    "mask": ({"face_mask": np.ones((8, 8), bool)}, "has shape (8, 8), but must have (16, 24) for the axes (y, x)"),
    "checksum": ({"checksum": np.ones((6, 3), np.uint32)}, "has shape (6, 3), but must have (6, 2)"),
    "subject": ({"subject": np.arange(5)}, "has shape (5,), but must have (6,) for the axes (image)"),
    "gray": (
        {"attributes": BOTH, "labels": ("neutral",), "happy": np.zeros((6, 16, 24), np.uint8)},
        "give gray images a last axis of length 1",
    ),
    "other size": ({"labels": ("neutral",), "happy": np.ones((6, 16, 16, 1), np.uint8)}, "all labels of"),
    "dtype": ({"labels": ("neutral",), "happy": np.ones((6, 16, 24, 1), np.int16)}, "but images must be uint8"),
    "kind": ({"attributes": {"mrdist": {"kind": "weights"}}}, "is a store of weights, not of images"),
    "incomplete": ({"attributes": {"mrdist": IMAGES | {"complete": False}}}, "is not complete"),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_what_is_wrong_is_told_before_anything_is_begun(wrong, tmp_path):
    made, sentence = WRONG[wrong]
    url = write(tmp_path / "images.zarr", **made)
    problems = mrdist.check_images(url)
    assert all(url in problem for problem in problems)
    assert any(sentence in problem for problem in problems)
    for verb in (
        lambda out: mrdist.train(url, out, alpha=0.4, **TRAINING),
        lambda out: mrdist.train(url, out, method="l2", **TRAINING),
        lambda out: mrdist.accumulate(url, out, **TRAINING),
        lambda out: mrdist.rechunk(url, out, workers=0),
        lambda _: mrdist.open_images(url),
    ):
        with pytest.raises(mrdist.errors.StoreError) as refused:
            verb(tmp_path / "out.zarr")
        assert str(refused.value).startswith(problems[0].partition(";")[0])
        assert not (tmp_path / "out.zarr").exists()


def test_all_that_is_wrong_is_told_at_once(tmp_path):
    url = write(
        tmp_path / "images.zarr",
        {"mrdist": {"kind": "images", "labels": ["neutral", "happy", "sad"]}},
        present=np.ones((6, 2), bool),
        face_mask=np.ones((8, 8), bool),
    )
    problems = mrdist.check_images(url)
    assert len(problems) == 3
    assert all(problem.endswith(".") and url in problem for problem in problems)
    with pytest.raises(StoreFormatError, match="2 more: mrdist check"):
        Images.open(url)
    told = commands.warm("check", url)
    assert (told.returncode, told.stdout.splitlines()) == (1, problems)


def test_values_are_checked_too(tmp_path):
    url = write(
        tmp_path / "images.zarr",
        split=["train", "train", "tst", "train", "test", "test"],
        subject=["a", "b", "c", "d", "a", "e"],
        image=["0", "1", "1", "2", "3", "4"],
        checksum=np.ones((6, 2), np.uint32),
    )
    problems = " ".join(mrdist.check_images(url))
    for part in (
        "'tst'; use train, val or test",
        "duplicate ids: '1'",
        "several splits: 'a'",
        "do not match 'checksum'",
    ):
        assert part in problems
    assert "do not match" not in " ".join(mrdist.check_images(url, pixels=False))
    pixels = draw(0, np.float32)
    pixels[4, 3, 3] = np.nan
    group = zarr.create_group(str(tmp_path / "floats.zarr"), attributes=LEAST)
    group.create_array("neutral", data=pixels, chunks=(2, 8, 24, 1))
    group.create_array("happy", data=draw(1, np.float32) * 255)
    problems = " ".join(mrdist.check_images(tmp_path / "floats.zarr"))
    assert "of label 'neutral'" in problems
    assert "float images must lie in 0..1" in problems
    assert problems.count("label 'happy'") == 1


def test_the_command_says_that_nothing_is_wrong(tmp_path):
    url = write_whole(tmp_path / "whole.zarr")
    told = commands.warm("check", url)
    assert (told.returncode, told.stdout) == (0, f"{url}: no problem found\n")


def test_finishing_computes_what_is_not_given(tmp_path):
    whole = Images.open(write_whole(tmp_path / "whole.zarr"))
    import zlib

    wanted = [[zlib.crc32(draw(seed)[n].tobytes()) for seed in (1, 0)] for n in range(N_IMAGES)]
    np.testing.assert_array_equal(whole.kept_checksum, wanted)


def test_finishing_what_was_not_written_is_an_error(tmp_path):
    create_images(tmp_path / "half.zarr", labels=["happy"], image=["a"], shape=(8, 8), n_channels=1)
    with pytest.raises(MissingChunkError):
        finish_images(tmp_path / "half.zarr")


@pytest.mark.parametrize(
    ("start", "images", "part"),
    [
        (0, np.zeros((4, 16, 24, 1), np.float32), "must be uint8"),
        (0, np.zeros((4, 16, 24), np.uint8), "must have the axes"),
        (0, np.zeros((4, 24, 16, 1), np.uint8), "do not fit"),
        (4, np.zeros((4, 16, 24, 1), np.uint8), "do not fit"),
        (-4, np.zeros((4, 16, 24, 1), np.uint8), "do not fit"),
        (1, np.zeros((4, 16, 24, 1), np.uint8), "begin at a multiple of 4"),
        (0, np.zeros((3, 16, 24, 1), np.uint8), "begin at a multiple of 4"),
    ],
)
def test_images_that_do_not_fit_are_not_written(start, images, part, tmp_path):
    url = tmp_path / "images.zarr"
    create_images(url, labels=["happy"], image=list("abcdef"), shape=SHAPE[:2], n_channels=1, chunks=(4, 8, 8))
    with pytest.raises(ParameterError, match=part):
        write_images(url, "happy", start, images)
    assert not (url / "happy" / "c").exists()


def test_coordinates_of_nothing_but_fill_values_are_there(tmp_path):
    """Ids, splits and marks that are empty, zero or false all over are chunks like any other."""
    url = write_whole(
        tmp_path / "whole.zarr", present=np.zeros((N_IMAGES, 2), bool), face_mask=np.zeros(SHAPE[:2], bool)
    )
    dataset = mrdist.open_images(url)
    assert set(dataset["dataset"].values) == {""}
    assert not dataset["present"].any()
    assert not dataset["face_mask"].any()
    assert [problem.partition(" of ")[0] for problem in mrdist.check_images(url)] == ["no image"] * 2


@pytest.mark.parametrize("label", ["sad", "subject", "../happy", "", 5, None])
def test_a_label_that_the_store_lacks_is_not_written(label, tmp_path):
    create_images(tmp_path / "images.zarr", labels=["happy"], image=["a"], shape=SHAPE[:2], n_channels=1)
    with pytest.raises(ParameterError, match="label must be one of happy"):
        write_images(tmp_path / "images.zarr", label, 0, np.zeros((1, *SHAPE), np.uint8))


def test_images_of_a_complete_store_stay_as_they_are(tmp_path):
    url = tmp_path / "whole.zarr"
    write_whole(url)
    with pytest.raises(StoreExistsError, match="complete"):
        write_images(url, "happy", 0, np.zeros((N_IMAGES, *SHAPE), np.uint8))
    assert mrdist.check_images(url) == []


@pytest.mark.parametrize(
    "wrong",
    [
        {"labels": []},
        {"labels": "happy"},
        {"labels": ["happy", "happy"]},
        {"labels": [5]},
        {"image": []},
        {"image": "abc"},
        {"subject": 5},
        *({"shape": shape} for shape in [(0, 8), (-1, 8), 8, ("8", 8), (8,), (8.0, 8), (8, 8, 1)]),
        *({"chunks": chunks} for chunks in [(8, 8), "8,8,8", (8.0, 8, 8), (0, 8, 8)]),
        {"n_channels": 0},
        {"dtype": "much"},
        {"storage_options": "x"},
    ],
)
def test_what_no_store_can_be_made_of_replaces_nothing(wrong, tmp_path):
    url = tmp_path / "whole.zarr"
    write_whole(url)
    given = {"labels": ["happy"], "image": ["a"], "shape": (8, 8), "n_channels": 1, "overwrite": True, **wrong}
    with pytest.raises(ParameterError, match=next(iter(wrong))[:5]):
        create_images(url, **given)
    assert mrdist.check_images(url) == []
