"""Chunks read straight into place: what zarr reads, and the same refusals."""

from __future__ import annotations

import shutil
from itertools import pairwise
from pathlib import Path

import faulty_s3
import fsspec
import numpy as np
import pytest
import zarr
from hypothesis import given
from hypothesis import strategies as st
from numcodecs.zstd import compress
from zarr.codecs import BloscCodec, BytesCodec, Crc32cCodec, GzipCodec, ZstdCodec

import mrdist
from mrdist.errors import DamagedChunkError, MissingChunkError, StoreError
from mrdist.execution._process import in_slot
from mrdist.geometry import Block, ReceptiveField
from mrdist.methods.masked.bands import BandReader
from mrdist.methods.masked.sums import sum_images
from mrdist.storage import Images
from mrdist.storage.access.straight import HELD, Coming, StraightArray, read_place
from mrdist.storage.access.urls import open_as_is, store_errors

CODECS = {
    "none": (),
    "checksum": (Crc32cCodec(),),
    "zstd": (ZstdCodec(level=1),),
    "own": (ZstdCodec(level=1), Crc32cCodec()),
    "fast": (ZstdCodec(level=-5, checksum=True), Crc32cCodec()),
    "twice": (GzipCodec(level=1), ZstdCodec(level=1), Crc32cCodec()),
    "lz4": (BloscCodec(cname="lz4", typesize=1), Crc32cCodec()),
    "gzip": (GzipCodec(level=1),),
}
SOUND = "own"


@pytest.fixture(scope="module", params=["disk", "memory"])
def folder(request, tmp_path_factory):
    """The address of an empty folder on a disk, and of one that is read as object stores are."""
    if request.param == "disk":
        yield str(tmp_path_factory.mktemp("straight"))
    else:
        yield "memory://straight"
        fsspec.filesystem("memory").rm("/straight", recursive=True)


def write(url, values, chunks, codecs, **how):
    """Write an array ``x``; return a group that reads it, and the array."""
    filesystem, path = fsspec.url_to_fs(url)
    if filesystem.exists(path):
        filesystem.rm(path, recursive=True)
    group = zarr.open_group(url, mode="w")
    group.create_array("x", data=values, chunks=chunks, compressors=codecs, config={"write_empty_chunks": True}, **how)
    return open_as_is(url)["x"]


def read(array, place, coming=None):
    """Read a rectangle straight."""
    straight = StraightArray.of(array, coming)
    assert straight is not None
    out = np.full([part.stop - part.start for part in place], 77).astype(array.dtype)
    with store_errors("x"):
        straight.read_into(out, place)
    return out


@st.composite
def arrays(draw):
    """Draw an array, its chunks, and a rectangle of it."""
    shape = [draw(st.integers(1, 9)) for _ in range(draw(st.integers(2, 4)))]
    chunks = [draw(st.integers(1, 9)) for _ in shape]
    ends = [sorted(draw(st.sets(st.integers(0, n), min_size=2, max_size=2))) for n in shape]
    dtype = draw(st.sampled_from(["u1", "u2", "i2", "f4", "f8", "?"]))
    values = np.random.default_rng(draw(st.integers(0, 99))).integers(0, 250, shape).astype(dtype)
    return values, tuple(chunks), tuple(slice(*end) for end in ends)


@given(case=arrays(), codecs=st.sampled_from(sorted(CODECS)), expected=st.booleans())
def test_any_rectangle_is_what_zarr_reads(folder, case, codecs, expected):
    values, chunks, place = case
    array = write(f"{folder}/any", values, chunks, CODECS[codecs])
    coming = Coming(array.store)
    if expected:
        StraightArray.of(array, coming).expect(place)
    pixels = read(array, place, coming)
    assert pixels.dtype == array[place].dtype
    np.testing.assert_array_equal(pixels, array[place])
    np.testing.assert_array_equal(pixels, values[place])
    np.testing.assert_array_equal(read_place(array, place), values[place])


def test_what_lies_beyond_the_last_image_is_left_out(small_images_store):
    images = small_images_store(n_images=5, shape=(6, 4), n_channels=1, chunks=(3, 4, 4), dtype=np.uint8).open()
    everything, frame = images.reader().read("happy", 0, 5, Block(0, 0, 6, 4)), Block(0, 0, 6, 4)
    for start, stop in ((3, 9), (5, 9), (8, 9), (8, 5), (2, 2)):
        np.testing.assert_array_equal(images.reader().read("happy", start, stop, frame), everything[start:stop])


def test_an_empty_rectangle_touches_no_chunk(folder):
    array = write(f"{folder}/empty", np.ones((4, 4), "u1"), (2, 2), CODECS[SOUND])
    spoil(f"{folder}/empty", "0/0", None)
    assert read(array, (slice(1, 1), slice(0, 2))).shape == (0, 2)


def test_more_chunks_than_are_held_come_in_any_order(folder):
    values = np.arange(4 * HELD, dtype="u2")[:, None]
    array = write(f"{folder}/many", values, (1, 1), CODECS[SOUND])
    coming = Coming(array.store)
    straight = StraightArray.of(array, coming)
    straight.expect((slice(0, 4 * HELD), slice(0, 1)))
    for begin, end in reversed(list(pairwise(range(0, 4 * HELD + 1, HELD)))):  # not as they were expected
        np.testing.assert_array_equal(read(array, (slice(begin, end), slice(0, 1)), coming), values[begin:end])


def test_reads_of_an_object_store_are_in_flight_from_the_first_moment():
    values = np.arange(2 * HELD, dtype="u2")[:, None]
    with faulty_s3.serve("straight") as s3:
        array = write("s3://straight/x.zarr", values, (1, 1), CODECS[SOUND])
        s3.seconds, s3.busiest = 0.1, 0
        np.testing.assert_array_equal(read(array, (slice(0, 2 * HELD), slice(0, 1))), values)
        s3.seconds = 0.0
    assert HELD - 2 <= s3.busiest <= HELD


def test_a_store_tells_how_many_chunks_a_reader_holds(small_images_store):
    made = small_images_store(n_images=3, shape=(8, 8))
    assert (made.open().reads_straight, made.open().chunks_in_flight) == (True, 3)
    with faulty_s3.serve("held"):
        mrdist.rechunk(made.url, "s3://held/x.zarr", chunks=(2, 4, 8), workers=0)
        assert Images.open("s3://held/x.zarr").chunks_in_flight == HELD + 3


@pytest.mark.parametrize(
    "how",
    [
        {"shards": (4, 4)},
        {"filters": [zarr.codecs.TransposeCodec(order=(1, 0))]},
        {"serializer": BytesCodec(endian="big")},
    ],
    ids=lambda how: next(iter(how)),
)
def test_other_layouts_are_left_to_zarr(folder, how):
    values = np.arange(16, dtype="u2").reshape(4, 4)
    array = write(f"{folder}/other", values, (2, 2), CODECS[SOUND], **how)
    assert StraightArray.of(array) is None
    np.testing.assert_array_equal(array[...], values)
    np.testing.assert_array_equal(read_place(array, (slice(1, 3), slice(0, 4))), values[1:3])


def spoil(folder, name, content):
    """Replace a chunk, or remove it."""
    filesystem, path = fsspec.url_to_fs(f"{folder}/x/c/{name}")
    if content is None:
        filesystem.rm(path)
    else:
        filesystem.pipe_file(path, content)


EVERYTHING = (slice(0, 4), slice(0, 4))


def both(array):
    """What reads an array straight, and by zarr."""

    def by_zarr():
        with store_errors("x"):
            return array[...]

    return {"straight": lambda: read(array, EVERYTHING), "zarr": by_zarr}


@pytest.mark.parametrize("way", ["straight", "zarr"])
def test_a_missing_chunk_is_an_error(folder, way):
    array = write(f"{folder}/missing", np.ones((4, 4), "u1"), (2, 2), CODECS[SOUND])
    spoil(f"{folder}/missing", "1/0", None)
    with pytest.raises(MissingChunkError, match=r"chunk x/c/1/0 is missing from .*/?missing; restore it"):
        both(array)[way]()


@pytest.mark.parametrize("way", ["straight", "zarr"])
def test_a_missing_chunk_of_a_store_that_leaves_them_out_is_the_fill_value(folder, way):
    url = f"{folder}/left-out"
    write(url, np.ones((4, 4), "u1"), (2, 2), CODECS[SOUND], fill_value=9)
    zarr.open_group(url).attrs["mrdist"] = {"kind": "images", "missing_chunks": "fill_value"}
    spoil(url, "1/0", None)
    pixels = both(open_as_is(url)["x"])[way]()
    assert (pixels[2:, :2] == 9).all()
    assert (pixels[:2] == 1).all()


@pytest.mark.parametrize("way", ["straight", "zarr"])
@pytest.mark.parametrize("content", [b"", b"abc", b"abcdefgh", None], ids=["empty", "short", "other", "flipped"])
def test_a_chunk_that_differs_from_its_checksum_is_damaged(folder, way, content):
    url = f"{folder}/damaged"
    array = write(url, np.ones((4, 4), "u1"), (2, 2), CODECS[SOUND])
    filesystem, path = fsspec.url_to_fs(f"{url}/x/c/0/1")
    stored = bytearray(filesystem.cat_file(path))
    stored[-5] ^= 1
    spoil(url, "0/1", bytes(stored) if content is None else content)
    with pytest.raises(DamagedChunkError, match=r"chunk x/c/0/1 of .*damaged is damaged \(.*read 5 times\)"):
        both(array)[way]()


@pytest.mark.parametrize("way", ["straight", "zarr"])
@pytest.mark.parametrize(
    ("codecs", "content"),
    [("zstd", compress(b"abc")), ("zstd", compress(b"abcde")), ("zstd", b"no frame at all"), ("none", b"abc")],
    ids=["too few", "too many", "no frame", "uncompressed"],
)
def test_what_cannot_be_decoded_is_refused(folder, way, codecs, content):
    url = f"{folder}/undecoded"
    array = write(url, np.ones((4, 4), "u1"), (2, 2), CODECS[codecs])
    spoil(url, "0/1", content)
    with pytest.raises(StoreError, match=r"a chunk of x cannot be decoded"):
        both(array)[way]()


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_a_slot_of_a_worker_sums_the_same_through_one_buffer(dtype, small_images_store, monkeypatch):
    monkeypatch.setattr("mrdist.planning.bands.BAND_BYTES", 1)
    images = small_images_store(n_images=11, shape=(45, 30), n_channels=2, chunks=(5, 8, 8), dtype=dtype).open()
    labels, field, block = ("neutral", "happy"), ReceptiveField(3, 3), Block(0, 8, 45, 24)
    assert BandReader(images, [labels], field, block, 5, ahead=False).n_parts > 2

    def summed():
        return sum_images(images, labels, np.arange(11), field, block, n_groups=1, slab=5)

    monkeypatch.setattr("mrdist.methods.masked.bands.has_spare_processor", lambda: True)
    ahead = summed()
    monkeypatch.undo()
    monkeypatch.setattr("mrdist.planning.bands.BAND_BYTES", 1)
    with in_slot():
        alone = summed()
    for name in ("lag", "cross", "source_sum", "target_sum", "target_square"):
        np.testing.assert_array_equal(getattr(alone, name), getattr(ahead, name))


def test_a_frame_that_tells_no_size_is_decoded(folder):
    url, content = f"{folder}/untold", b"abcd"
    array = write(url, np.ones((4, 4), "u1"), (2, 2), CODECS["zstd"])
    block = (1 | len(content) << 3).to_bytes(3, "little") + content  # the last one, of plain bytes
    spoil(url, "0/1", b"\x28\xb5\x2f\xfd" + b"\x00\x00" + block)
    np.testing.assert_array_equal(read(array, EVERYTHING), array[...])
    assert read(array, EVERYTHING)[:2, 2:].tobytes() == content


def test_a_disk_chunk_that_is_sound_at_the_second_look_is_read(tmp_path, monkeypatch):
    url = str(tmp_path / "passing")
    array = write(url, np.ones((4, 4), "u1"), (2, 2), CODECS[SOUND])
    chunk = Path(url, "x", "c", "0", "0")
    sound = tmp_path / "sound"
    shutil.copy(chunk, sound)
    chunk.write_bytes(b"damaged")
    looks, opened = [], Path.open

    def heal(self, *args, **more):
        if self == chunk:
            looks.append(self)
            if len(looks) == 3:
                shutil.copy(sound, chunk)
        return opened(self, *args, **more)

    monkeypatch.setattr(Path, "open", heal)
    assert (read(array, EVERYTHING) == 1).all()
    assert len(looks) == 3
