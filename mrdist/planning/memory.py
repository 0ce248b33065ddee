"""What a block of a training holds in memory."""

from __future__ import annotations

from dataclasses import replace
from math import prod

from mrdist.geometry import ReceptiveField, Shape, images_at_a_time
from mrdist.planning.bands import BAND_BYTES, band_height, most_chunks, part_width, whole_chunks
from mrdist.planning.cuts import round_up
from mrdist.planning.units import BASE_MEMORY
from mrdist.planning.workloads import (
    SearchSizes,
    Workload,
    chunk_bytes,
    count_maps,
    left_out_bytes,
    pooling_bytes,
    remaining_bytes,
    solution_bytes,
)

ROWS_IN_32_BITS = (2**32 - 1) // 255**2  # of bytes, see mrdist.moments
_SLAB_IMAGES = 64  # with fewer at a time, moving the sums takes longer than the products


def choose_slab(workload: Workload, block: Shape, max_memory: int) -> int | None:
    """Whole chunks of images: as many as fill a band of rows, fewer where that is too much, None where one is."""
    height, width = _window(workload, block)
    run = workload.chunks[0]
    band = run * min(height, workload.chunks[1]) * width * workload.n_channels * workload.itemsize
    fewest = workload.n_folds * _SLAB_IMAGES
    slab = min(round_up(workload.n_stored, run), run * max(1, BAND_BYTES // band, fewest // run))
    while slab >= run:
        if peak_memory(workload, block, slab) <= max_memory:
            return slab
        slab = slab // 2 // run * run
    return None


def _window(workload: Workload, block: Shape) -> Shape:
    around = workload.field.reach + 2 * workload.margin
    return block[0] + around, block[1] + around


def peak_memory(workload: Workload, block: Shape, slab: int) -> int:
    """Return the peak of resident bytes of a worker that trains a block."""
    height, width = _window(workload, block)
    statistics = total_bytes(workload, block)
    slab = min(slab, workload.n_stored)
    rows = rows_of_band(workload, height, width, slab)
    bands = band_bytes(workload, block, slab, rows)
    if workload.itemsize > 1:  # put together of those that were asked for, and passed through float64
        bands += workload.n_labels * slab * workload.n_channels * (8 + workload.itemsize) * rows * width
        if workload.itemsize > 2:  # on their way to fixed point
            bands += workload.n_labels * slab * workload.n_channels * 4 * rows * width
    values = workload.value_itemsize * workload.n_channels * rows * width  # of linked arrays, before they are pixels
    bands += values * images_at_a_time(slab, workload.chunks[0], values)
    if workload.n_incomplete:  # which values are missing
        bands += workload.n_labels * slab * (1 + workload.n_channels) * rows * width
    chunks = -(-slab // workload.chunks[0]) * (-(-width // workload.chunks[2]) + 1)
    decoded = max(chunk_bytes(workload), prod(workload.chunks) * workload.value_itemsize)
    reading = min(workload.in_flight, 2 * workload.n_labels * chunks + 1) * decoded  # those of two bands at most
    pixels = block[0] * block[1]
    if workload.keeps_sums:
        solution = 2 * left_out_bytes(workload, pixels)  # without the margin, and as they are written
    else:
        solution = solution_bytes(workload, pixels) + pooling_bytes(workload) + remaining_bytes(workload)
    base = BASE_MEMORY + workload.libraries
    if workload.search is None:
        return base + statistics + max(bands + reading, solution)
    summing = workload.n_folds * statistics + bands + reading
    validating = (workload.n_folds + 1) * statistics + _search_bytes(workload, workload.search, block)
    return base + max(summing, validating, 2 * statistics + solution)


def rows_of_band(workload: Workload, height: int, width: int, slab: int) -> int:
    """Return the most rows of a band with those that lie within reach."""
    row = slab * width * workload.n_channels * workload.itemsize
    return min(height, 3 * band_height(workload.chunks[1], row, workload.field.reach) // 2 + workload.field.reach)


def band_bytes(workload: Workload, block: Shape, slab: int, rows: int) -> int:
    """Return the bytes of the pixels that are held while one part of a band is read and the last one is summed."""
    reach, around, (_, width) = workload.field.reach, workload.field.halo + workload.margin, _window(workload, block)
    of_image = workload.n_labels * workload.n_channels * workload.itemsize
    run, chunk_height, chunk_width, _ = workload.chunks
    kept = 3 * reach * width * slab * of_image  # above the band, the last one and the next one
    if not (workload.straight and whole_chunks(workload.chunks, workload.n_stored, workload.n_channels, slab)):
        return 2 * rows * width * slab * of_image + kept
    of_row = workload.n_channels * workload.itemsize * slab
    height = band_height(chunk_height, of_row * width, reach)
    of_part = part_width(chunk_width, of_row * height, reach)
    n_rows = most_chunks(block[0], workload.shape[0], around, chunk_height, height)
    n_columns = 2 * most_chunks(block[1], workload.shape[1], around, chunk_width, of_part)
    n_columns += -(-2 * reach // chunk_width) if of_part < width else 0
    return n_rows * chunk_height * n_columns * chunk_width * round_up(slab, run) * of_image + kept


def total_bytes(workload: Workload, block: Shape, field: ReceptiveField | None = None) -> int:
    """Return the bytes of a block's sums over all images, for the field or a smaller one."""
    work = workload if field is None else replace(workload, field=field)
    margin, (height, width) = 2 * work.margin, _window(work, block)
    window_maps, block_maps = count_maps(work)
    narrow = work.itemsize == 1 and (work.keeps_sums or work.n_rows <= ROWS_IN_32_BITS)
    maps = work.n_sources * window_maps * height * width
    maps += work.n_mappings * block_maps * (block[0] + margin) * (block[1] + margin)
    fields = [work.field] if work.search is None or field is not None else {work.field, *work.search.fields}
    left_out = sum(left_out_bytes(work, block[0] * block[1], each) for each in fields)
    return (4 if narrow else 8) * maps + work.n_mappings * left_out


def _search_bytes(workload: Workload, search: SearchSizes, block: Shape) -> int:
    """Return the bytes of what a block needs besides the sums of its folds and their total."""
    others = [field for field in search.fields if field != workload.field]  # their sums are copied from the whole
    copies = [3 * total_bytes(workload, block, field) for field in others]  # of the total, a fold and the rest
    own = 2 if workload.pool else 1  # without margins, those of a fold are copied
    rest = [own * total_bytes(workload, block)] if workload.field in search.fields else []
    n_maps = search.n_alphas * ((search.n_folds if search.per_pixel else 0) + 2) + 2
    return (
        max(copies + rest)
        + pooling_bytes(workload)
        + remaining_bytes(workload)
        + 8 * n_maps * workload.n_groups * workload.n_inputs * block[0] * block[1]
    )
