"""Images read in bands of rows give the sums of images read whole."""

from __future__ import annotations

import itertools
import tracemalloc

import commands
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import mrdist
from mrdist.geometry import Block, ReceptiveField, block_grid
from mrdist.methods.masked.bands import BandReader
from mrdist.methods.masked.sums import sum_images, sum_mappings
from mrdist.moments import SufficientStatistics, padded_window
from mrdist.planning import Workload, band_cuts, band_height
from mrdist.planning.memory import band_bytes, rows_of_band

MAPS = ("lag", "cross", "source_sum", "target_sum", "target_square")


@pytest.fixture
def narrow_bands(monkeypatch):
    monkeypatch.setattr("mrdist.planning.bands.BAND_BYTES", 1)
    monkeypatch.setattr("mrdist.planning.bands.PART_BYTES", 1)


@given(st.integers(-20, 100), st.integers(1, 300), st.integers(1, 40), st.integers(0, 24))
def test_bands_end_between_chunks_and_reach_far_enough(start, rows, chunk, reach):
    height = band_height(chunk, 10**9, reach)
    assert height > reach
    assert height % chunk == 0
    cuts = band_cuts(start, start + rows, chunk, height)
    assert (cuts[0], cuts[-1]) == (start, start + rows)
    assert all(cut % chunk == 0 for cut in cuts[1:-1])
    lengths = np.diff(cuts)
    assert (lengths > 0).all()
    if len(lengths) > 1:
        assert (lengths[:-1] > reach).all()
        assert lengths[-1] > reach // 2


@pytest.mark.parametrize(
    "field", [ReceptiveField(1), ReceptiveField(3), ReceptiveField(3, 3), ReceptiveField(7)], ids=str
)
@pytest.mark.parametrize(
    ("dtype", "chunks"),
    [
        (np.uint8, (4, 16, 16)),  # summed where they were decoded
        (np.uint8, (2, 17, 20)),
        (np.uint8, (5, 8, 8)),
        (np.uint8, (11, 1, 9)),
        (np.float32, (3, 7, 50)),
    ],
    ids=str,
)
@pytest.mark.parametrize("block", [Block(16, 8, 52, 61), Block(32, 0, 57, 70)], ids=str)
@pytest.mark.parametrize("margin", [0, 1])
@pytest.mark.parametrize("ahead", [False, True])
def test_the_sums_of_bands_are_those_of_the_whole(
    ahead, margin, block, dtype, field, chunks, narrow_bands, small_images_store, monkeypatch
):
    monkeypatch.setattr("mrdist.methods.masked.bands.has_spare_processor", lambda: ahead)
    images = small_images_store(n_images=11, shape=(57, 70), n_channels=2, chunks=chunks, dtype=dtype).open()
    margin *= field.halo
    rows = np.array([0, 1, 4, 5, 6, 10])
    labels = ("neutral", "happy")
    reader = BandReader(images, [labels], field, block, 4, margin)
    assert reader.n_parts > reader.parts_of_a_band or block.shape[0] < 2 * field.reach + 26
    assert (reader.parts_of_a_band > 1) == (min(chunks[1:]) >= 16)
    found = sum_images(images, labels, rows, field, block, n_groups=1, slab=4, margin=margin)

    x, t = (images.reader().read(label, 0, 11, Block(0, 0, 57, 70))[rows] for label in labels)
    if dtype == np.float32:
        x, t = (np.rint(pixels.astype(np.float64) * 2**22).astype(np.int32) for pixels in (x, t))
    summed = block.grown(margin)
    wanted = SufficientStatistics.zeros(field, summed.shape, n_groups=1, unit=255 if dtype == np.uint8 else 2**22)
    target = padded_window(t[:, block.y0 : block.y1, block.x0 : block.x1], summed, (block.y0, block.x0))
    wanted = wanted.update(padded_window(x, summed.grown(field.halo)), target)
    assert found.n_rows == wanted.n_rows
    for name in MAPS[1:]:
        assert np.array_equal(getattr(found, name), getattr(wanted, name)), name
    for number, (dy, dx) in enumerate(field.lags):  # where both pixels lie in the window
        height, width = wanted.lag.shape[2:]
        part = (0, number, slice(0, height - dy), slice(max(0, -dx), min(width, width - dx)))
        assert np.array_equal(found.lag[part], wanted.lag[part])


@pytest.mark.parametrize("field", [ReceptiveField(1), ReceptiveField(3), ReceptiveField(3, 8)], ids=str)
@pytest.mark.parametrize("chunks", [(4, 16, 16), (12, 32, 24), (5, 8, 8), (40, 64, 96)], ids=str)
@pytest.mark.parametrize("block", [(16, 32), (48, 48), (64, 96)], ids=str)
@pytest.mark.parametrize("narrow", [True, False])
def test_a_reader_takes_no_more_memory_than_is_planned(narrow, block, chunks, field, small_images_store, monkeypatch):
    if narrow:
        monkeypatch.setattr("mrdist.planning.bands.BAND_BYTES", 1)
        monkeypatch.setattr("mrdist.planning.bands.PART_BYTES", 1)
    images = small_images_store(n_images=40, shape=(64, 96), chunks=chunks).open()
    work = Workload((64, 96), 3, 1, images.chunks, 40, 40, field, 1, 4, 16, straight=images.reads_straight, in_flight=3)
    slab = 24 if chunks[0] < 24 else 40
    BandReader(images, [("neutral", "happy")], field, Block(0, 0, 16, 16), slab)  # makes what zarr makes once
    for place in block_grid((64, 96), block):
        rows = rows_of_band(work, *(side + field.reach for side in place.shape), slab)
        planned = band_bytes(work, block, slab, rows)
        tracemalloc.start()
        reader = BandReader(images, [("neutral", "happy")], field, place, slab)
        taken, _ = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert reader.ahead
        assert taken < planned + 80_000, place  # of zarr's objects


@pytest.mark.parametrize(
    ("dtype", "chunks"), [(np.uint8, (3, 7, 50)), (np.uint8, (3, 16, 16)), (np.float32, (3, 7, 50))], ids=str
)
@pytest.mark.parametrize("margin", [0, 2])
def test_several_mappings_share_what_one_would_sum(margin, dtype, chunks, narrow_bands, small_images_store):
    labels = ("neutral", "happy", "sad")
    images = small_images_store(
        n_images=11, shape=(45, 30), n_channels=2, labels=labels, chunks=chunks, dtype=dtype
    ).open()
    field, block, rows = ReceptiveField(5), Block(16, 8, 40, 24), np.array([0, 1, 4, 5, 6, 10])
    mappings = [*itertools.product(labels, labels), ("happy", "neutral")]
    options = {"n_groups": 1, "slab": 4, "margin": margin}
    found = sum_mappings(images, mappings, rows, field, block, **options)
    assert len({id(sums.lag) for sums in found}) == len(labels)
    for sums, mapping in zip(found, mappings, strict=True):
        wanted = sum_images(images, mapping, rows, field, block, **options)
        assert sums.n_rows == wanted.n_rows
        for name in MAPS:
            assert np.array_equal(getattr(sums, name), getattr(wanted, name)), (mapping, name)


def test_training_in_parts_equals_training_at_once(narrow_bands, tmp_path, draw_images):
    pixels = {label: draw_images((9, 40, 33, 3), seed=seed) for seed, label in enumerate("ab")}
    url = commands.write_store(tmp_path / "images.zarr", pixels)
    mrdist.train(url, str(tmp_path / "w.zarr"), source="a", target="b", receptive_field=5, dtype="float64", workers=0)
    wanted = mrdist.MaskedRegression(receptive_field=5).fit(pixels["a"], pixels["b"])
    found = mrdist.open_weights(str(tmp_path / "w.zarr"))
    assert np.array_equal(found.coef, wanted.coef_)
    assert np.array_equal(found.intercept, wanted.intercept_)
