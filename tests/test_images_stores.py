"""Images stores: what is written comes back, and what is there is neither mistaken nor removed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import xarray as xr
import zarr
from places import STRANGERS, content, put

from mrdist import open_images, open_weights
from mrdist.errors import (
    DataError,
    LabelError,
    MissingChunkError,
    ParameterError,
    StoreError,
    StoreExistsError,
    StoreFormatError,
    StoreIncompleteError,
    StoreNotFoundError,
)
from mrdist.geometry import Block
from mrdist.storage import Images, create_images, describe
from mrdist.storage.access.urls import clear_output

WHOLE = Block(0, 0, 20, 24)


@pytest.fixture
def store(small_images_store):
    return small_images_store()


def read(images, label="neutral", block=WHOLE):
    return images.reader().read(label, 0, images.n_images, block)


def set_attributes(url, **changed):
    group = zarr.open_group(url, mode="r+")
    group.attrs["mrdist"] = {**group.attrs["mrdist"], **changed}


# ---------------------------------------------------------------- images


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
@pytest.mark.parametrize("n_channels", [1, 3])
def test_images_come_back_as_they_were(n_channels, dtype, small_images_store):
    store = small_images_store(n_channels=n_channels, dtype=dtype)
    images = store.open()
    assert (images.labels, images.shape, images.n_channels) == (("neutral", "happy"), (20, 24), n_channels)
    assert images.dtype == dtype
    assert images.chunks == (4, 8, 16, n_channels)
    assert images.image.tolist() == [f"image-{n}" for n in range(10)]
    assert images.subject[3] == "person-1"
    assert np.array_equal(images.present, store.present)
    assert images.face_mask.sum() == 16 * 20
    for label, pixels in store.pixels.items():
        assert np.array_equal(read(images, label), pixels)
        part = images.reader().read(label, 3, 9, Block(5, 7, 18, 24))
        assert np.array_equal(part, pixels[3:9, 5:18, 7:24])
        assert np.array_equal(images.read(label, [8, 2]), pixels[[8, 2]])


def test_xarray_sees_a_dataset(store):
    dataset = open_images(store.url)
    assert dict(dataset.sizes) == {"image": 10, "y": 20, "x": 24, "channel": 3, "label": 2}
    for label, pixels in store.pixels.items():
        assert dataset[label].dims == ("image", "y", "x", "channel")
        assert np.array_equal(dataset[label], pixels)
    assert {"image", "subject", "dataset", "split", "label"} <= set(dataset.coords)
    assert dataset.image.values[9] == "image-9"
    assert dataset.label.values.tolist() == ["neutral", "happy"]
    train = dataset.happy[(dataset.split == "train").values]
    assert train.sizes["image"] == 6


def test_plain_xarray_and_zarr_open_it(store):
    dataset = xr.open_zarr(store.url)
    assert dataset["neutral"].dims == ("image", "y", "x", "channel")
    group = zarr.open_group(store.url, mode="r")
    assert np.array_equal(group["happy"][2], store.pixels["happy"][2])


def test_a_black_image_is_written_and_not_missing(small_images_store):
    black = {label: np.zeros((10, 20, 24, 3), dtype=np.uint8) for label in ("neutral", "happy")}
    assert not read(small_images_store(pixels=black).open()).any()


def test_a_missing_chunk_is_named(store):
    (Path(store.url) / "neutral/c/1/2/0/0").unlink()
    images = store.open()
    with pytest.raises(MissingChunkError, match=r"neutral/c/1/2/0/0 is missing"):
        read(images)
    assert np.array_equal(read(images, block=Block(0, 0, 16, 24)), store.pixels["neutral"][:, :16])
    assert np.array_equal(read(images, "happy"), store.pixels["happy"])


@pytest.mark.parametrize("position", [0, 10, -1])
def test_a_damaged_chunk_is_an_error(position, store):
    chunk = Path(store.url) / "neutral/c/1/2/0/0"
    damaged = bytearray(chunk.read_bytes())
    damaged[position] ^= 0xFF
    chunk.write_bytes(damaged)
    with pytest.raises(StoreError, match=r"neutral.*restore it from a copy"):
        read(store.open())


@pytest.mark.parametrize("n_bytes", [0, 5, 100])
def test_a_truncated_chunk_is_an_error(n_bytes, store):
    chunk = Path(store.url) / "happy/c/0/0/1/0"
    chunk.write_bytes(chunk.read_bytes()[:n_bytes])
    with pytest.raises(StoreError, match=r"happy.*restore it from a copy"):
        read(store.open(), "happy")


@pytest.mark.parametrize("opener", [Images.open, open_images, open_weights, describe])
def test_a_newer_format_is_refused(opener, store):
    set_attributes(store.url, format_version=99)
    with pytest.raises(StoreFormatError, match=r"format version 99, but this mrdist reads up to 1; upgrade"):
        opener(store.url)


@pytest.mark.parametrize("opener", [Images.open, open_images, open_weights, describe])
@pytest.mark.parametrize("what", ["nothing", *STRANGERS])
def test_what_is_no_store_of_mrdist_is_refused(what, opener, tmp_path):
    put(tmp_path / "it.zarr", what)
    error = StoreNotFoundError if what in ("nothing", "folder", "file") else StoreFormatError
    with pytest.raises(error, match=r"it\.zarr"):
        opener(str(tmp_path / "it.zarr"))


def test_a_store_of_another_kind_is_refused(store):
    with pytest.raises(StoreFormatError, match="is a store of images, not of weights"):
        open_weights(store.url)


@pytest.mark.parametrize("opener", [Images.open, open_images])
def test_an_incomplete_store_is_refused(opener, small_images_store):
    store = small_images_store(finish=False)
    assert describe(store.url)["complete"] is False
    with pytest.raises(StoreIncompleteError, match="not complete; run the command that makes it again"):
        opener(store.url)


def test_an_unknown_label_lists_those_there_are(store):
    images = store.open()
    for use in (images.column, lambda label: images.rows([label, "happy"], "all")):
        with pytest.raises(LabelError, match="no label 'sad'; it has neutral, happy") as caught:
            use("sad")
        assert isinstance(caught.value, KeyError)


def test_rows_are_the_pairs_of_a_split(store):
    images = store.open()
    assert images.rows(["neutral", "happy"], "train").tolist() == [0, 1, 2, 5, 6, 7]
    assert images.rows(["neutral"], "test").tolist() == [4, 9]
    assert images.rows(["neutral", "happy"], "test").tolist() == [4]  # row 9 has no happy image
    assert images.rows(["neutral", "happy"], "all").tolist() == list(range(9))
    with pytest.raises(DataError, match="no image of split 'dev' with neutral and happy"):
        images.rows(["neutral", "happy"], "dev")


@pytest.mark.parametrize(
    "label", ["image", "split", "face_mask", "checksum", "y", "a/b", "very happy", "", "..", "1st"]
)
def test_labels_that_cannot_be_names_are_refused(label, small_images_store, tmp_path):
    with pytest.raises(ParameterError, match="cannot be a label"):
        small_images_store(labels=("neutral", label))
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize("chunks", [(0, 4, 4), (4, -1, 4)])
def test_chunks_without_pixels_are_refused(chunks, small_images_store):
    with pytest.raises(ParameterError, match="chunks must be positive"):
        small_images_store(chunks=chunks)


def fingerprint(store, rows=(0, 1, 5), labels=("neutral", "happy")):
    return store.open().fingerprint(labels, np.array(rows))


def test_the_fingerprint_knows_only_the_pixels_of_its_rows(small_images_store):
    store = small_images_store("a.zarr")
    pixels = {label: images.copy() for label, images in store.pixels.items()}
    assert fingerprint(small_images_store("b.zarr", chunks=(7, 20, 5))) == fingerprint(store)
    pixels["happy"][2] = 0  # another row
    assert fingerprint(small_images_store("c.zarr", pixels=pixels)) == fingerprint(store)
    pixels["happy"][5, 19, 23, 2] ^= 1
    changed = small_images_store("d.zarr", pixels=pixels)
    assert fingerprint(changed) != fingerprint(store)
    assert fingerprint(changed, labels=("neutral",)) == fingerprint(store, labels=("neutral",))
    others = [fingerprint(store), fingerprint(store, labels=("happy", "neutral")), fingerprint(store, rows=(0, 1))]
    assert len(set(others)) == 3


@pytest.mark.parametrize("slab", [1, 4, 10, 99])
def test_slabs_hold_every_row_asked_for_once(slab, store):
    rows = np.array([0, 1, 5, 9])
    found = list(store.open().slabs(rows, slab))
    assert np.concatenate([start + chosen for start, _, chosen in found]).tolist() == rows.tolist()
    for start, stop, chosen in found:
        assert 0 <= start < stop <= 10
        assert stop - start <= slab
        assert ((chosen >= 0) & (chosen < stop - start)).all()


def test_slabs_leave_out_chunks_without_a_row(small_images_store):
    images = small_images_store(chunks=(2, 8, 8)).open()
    rows = np.array([2, 6, 7, 9])
    assert [(start, stop) for start, stop, _ in images.slabs(rows, 4)] == [(2, 4), (6, 10)]
    assert images.n_read(rows) == 6


# ---------------------------------------------------------------- outputs


@pytest.mark.parametrize("overwrite", [False, True])
@pytest.mark.parametrize("what", STRANGERS)
def test_what_is_not_mrdists_is_never_removed(what, overwrite, tmp_path):
    path = tmp_path / "it.zarr"
    put(path, what)
    before = content(path)
    with pytest.raises(StoreExistsError, match="not a store of mrdist; remove it yourself"):
        clear_output(str(path), None, kind="images", overwrite=overwrite)
    assert content(path) == before


@pytest.mark.parametrize(
    ("finish", "kind", "overwrite", "goes"),
    [
        (True, "images", False, False),
        (True, "weights", False, False),
        (True, "images", True, True),
        (True, "weights", True, True),
        (False, "images", False, True),
        (False, "weights", False, False),
        (False, "weights", True, True),
    ],
)
def test_only_unfinished_stores_of_the_kind_go_unasked(finish, kind, overwrite, goes, small_images_store):
    url = small_images_store(finish=finish).url
    before = content(url)
    if goes:
        clear_output(url, None, kind=kind, overwrite=overwrite)
        assert not Path(url).exists()
    else:
        with pytest.raises(StoreExistsError, match="already holds images; use --overwrite"):
            clear_output(url, None, kind=kind, overwrite=overwrite)
        assert content(url) == before


def test_an_empty_folder_is_no_obstacle(tmp_path):
    clear_output(str(tmp_path / "nothing"), None, kind="images", overwrite=False)
    (tmp_path / "empty").mkdir()
    clear_output(str(tmp_path / "empty"), None, kind="images", overwrite=False)


def test_a_newer_store_of_mrdist_is_not_removed(store):
    set_attributes(store.url, format_version=99)
    before = content(store.url)
    with pytest.raises(StoreExistsError):
        clear_output(store.url, None, kind="images", overwrite=True)
    assert content(store.url) == before


def test_overwriting_replaces_all(store):
    create_images(
        store.url, labels=["sad"], image=["a"], subject=["a"], dataset=["a"], split=["train"], shape=(4, 4),
        n_channels=1, overwrite=True,
    )  # fmt: skip
    assert describe(store.url)["labels"] == ["sad"]
    assert not (Path(store.url) / "neutral").exists()
