"""`mrdist rechunk`: the same pixels in other chunks, and weights that do not notice."""

from __future__ import annotations

import json
import math
from pathlib import Path

import commands
import numpy as np
import pytest
import zarr
from hypothesis import given
from hypothesis import strategies as st

import mrdist
from mrdist.errors import MissingChunkError, ParameterError, StoreError, StoreIncompleteError
from mrdist.pipeline.ingesting.rechunk import tile_shape
from mrdist.storage import describe

N_IMAGES, SIZE = 20, 48
LABELS = ("--source", "neutral", "--target", "happy")


@pytest.fixture(scope="module")
def hostile(tmp_path_factory):
    """Faces stored one whole image to a chunk."""
    url = str(tmp_path_factory.mktemp("rechunk") / "hostile.zarr")
    options = ("--images", N_IMAGES, "--size", SIZE, "--labels", "neutral,happy", "--chunks", f"1,{SIZE},{SIZE}")
    commands.succeed("generate", url, *options, "--workers", 0)
    return url


def same(found, wanted):
    """Two images stores hold the same in other chunks."""
    a, b = zarr.open_group(found, mode="r"), zarr.open_group(wanted, mode="r")
    assert sorted(a) == sorted(b)
    for name in b:
        assert a[name].dtype == b[name].dtype, name
        assert np.array_equal(a[name][...], b[name][...]), name
    assert describe(found) == describe(wanted)


@pytest.mark.parametrize("workers", [0, 2])
def test_the_copy_holds_the_same_in_good_chunks(workers, hostile, tmp_path):
    copy = tmp_path / "copy.zarr"
    found = commands.report("rechunk", hostile, copy, "--workers", workers)
    same(str(copy), hostile)
    assert found["chunks"] == [N_IMAGES, 32, 32, 3]
    assert list(zarr.open_group(copy, mode="r")["happy"].chunks) == found["chunks"]
    assert found["bytes_read"] == 2 * N_IMAGES * SIZE * SIZE * 3  # every image is decoded once
    assert (found["images"], found["labels"]) == (N_IMAGES, ["neutral", "happy"])


def test_weights_and_fingerprint_are_equal(hostile, tmp_path):
    copy, ours, theirs = tmp_path / "copy.zarr", tmp_path / "ours.zarr", tmp_path / "theirs.zarr"
    commands.succeed("rechunk", hostile, copy, "--chunks", "7,20,17", "--workers", 0)
    for images, weights in ((copy, ours), (hostile, theirs)):
        commands.succeed("train", images, weights, *LABELS, "--workers", 0)
    commands.assert_equal_bytes(ours, theirs)
    assert commands.attributes(ours)["training"]["images"] == commands.attributes(theirs)["training"]["images"]


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
@pytest.mark.parametrize("chunks", [None, (1, 20, 24), (3, 7, 24), (10, 5, 5), (99, 99, 99)])
def test_any_dtype_into_any_chunks(dtype, chunks, small_images_store, tmp_path):
    store = small_images_store(dtype=dtype)
    report = mrdist.rechunk(store.url, str(tmp_path / "copy.zarr"), chunks=chunks, workers=0)
    same(report.url, store.url)
    if chunks is not None:
        assert report.chunks == (*(min(c, s) for c, s in zip(chunks, (10, 20, 24), strict=True)), 3)
    images = mrdist.open_images(report.url)
    assert images["dataset"].values.tolist() == ["random"] * 10


# --- what a task holds and decodes ---------------------------------------------------------------------

sizes = st.tuples(st.integers(1, 60), st.integers(1, 40), st.integers(1, 40))


def decoded_pixels(shape, read, tile):
    """Pixels of the chunks that each tile touches, one chunk at a time."""
    total = 1
    for size, chunk, extent in zip(shape, read, tile, strict=True):
        touched = 0
        for start in range(0, size, extent):
            chunks = {n // chunk for n in range(start, min(start + extent, size))}
            touched += sum(min(chunk, size - k * chunk) for k in chunks)
        total *= touched
    return total


@given(shape=sizes, read=sizes, written=sizes, limit=st.integers(1, 200_000))
def test_a_tile_is_whole_chunks_within_the_limit(shape, read, written, limit):
    written = tuple(map(min, written, shape))
    if math.prod(written) > limit:
        with pytest.raises(ParameterError, match=rf"holds {math.prod(written)} pixels.* may hold {limit}; choose"):
            tile_shape(shape, read, written, limit)
        return
    tile, pixels_read = tile_shape(shape, read, written, limit)
    assert math.prod(tile) <= limit
    for extent, chunk, size in zip(tile, written, shape, strict=True):
        assert extent % chunk == 0 or extent == size
    assert pixels_read == decoded_pixels(shape, read, tile)
    assert pixels_read <= decoded_pixels(shape, read, written)


def test_a_task_holds_no_more_for_more_or_larger_images():
    limit = 64 << 20
    tiles = [
        tile_shape(shape, (1, *shape[1:]), (64, 64, 64), limit)[0]
        for shape in ((10**3, 512, 512), (10**6, 512, 512), (10**3, 8192, 8192))
    ]
    assert tiles[0] == tiles[1] == (64, 512, 512)
    assert math.prod(tiles[2]) <= limit


# --- refusals ------------------------------------------------------------------------------------------


def test_a_store_is_not_rechunked_into_itself(hostile):
    sentence = commands.failure("rechunk", hostile, hostile + "/", "--overwrite")
    assert f"would overwrite its input {hostile}" in sentence
    assert mrdist.open_images(hostile).sizes["image"] == N_IMAGES


def test_a_complete_output_is_replaced_only_if_asked(hostile, small_images_store):
    store = small_images_store()
    sentence = commands.failure("rechunk", hostile, store.url, "--workers", 0)
    assert "already holds images; use --overwrite" in sentence
    assert np.array_equal(mrdist.open_images(store.url)["happy"], store.pixels["happy"])
    commands.succeed("rechunk", hostile, store.url, "--workers", 0, "--overwrite")
    same(store.url, hostile)


def test_chunks_too_large_for_a_task_leave_the_output_alone(tmp_path):
    images, copy = tmp_path / "images.zarr", tmp_path / "copy.zarr"
    commands.write_store(images, {"a": np.zeros((4, 8, 8, 1), dtype=np.uint8)})
    root = json.loads((images / "zarr.json").read_text())  # as if the images were large
    root["consolidated_metadata"]["metadata"]["a"]["shape"] = [4, 2**14, 2**14, 1]
    root["consolidated_metadata"]["metadata"]["face_mask"]["shape"] = [2**14, 2**14]
    (images / "zarr.json").write_text(json.dumps(root))
    sentence = commands.failure("rechunk", images, copy, "--chunks", "99,16384,16384", "--workers", 0)
    assert f"a chunk of 4 images x 16384 x 16384 pixels holds {2**30} pixels" in sentence
    assert f"may hold {2**28}; choose smaller chunks" in sentence
    assert not copy.exists()


def test_no_images_no_copy(tmp_path, small_images_store):
    assert "there is no zarr group" in commands.failure("rechunk", tmp_path / "none.zarr", tmp_path / "copy.zarr")
    store = small_images_store(finish=False)
    with pytest.raises(StoreIncompleteError, match="not complete"):
        mrdist.rechunk(store.url, str(tmp_path / "copy.zarr"), workers=0)
    assert not (tmp_path / "copy.zarr").exists()


def test_a_missing_chunk_is_told_and_the_copy_can_be_made_later(small_images_store, tmp_path):
    store, copy = small_images_store(), tmp_path / "copy.zarr"
    chunk = Path(store.url) / "neutral/c/1/2/0/0"
    pixels = chunk.read_bytes()
    chunk.unlink()
    with pytest.raises(MissingChunkError, match="neutral/c/1/2/0/0 is missing"):
        mrdist.rechunk(store.url, str(copy), workers=0)
    assert not commands.is_whole(copy)
    chunk.write_bytes(pixels[:-9])
    with pytest.raises(StoreError, match=r"chunk neutral/c/1/2/0/0 of .* is damaged"):
        mrdist.rechunk(store.url, str(copy), workers=0)
    chunk.write_bytes(pixels)
    commands.succeed("rechunk", store.url, copy, "--workers", 0)
    same(str(copy), store.url)
