"""What a training will read, write and hold in memory, before anything runs: arithmetic on integers."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import prod
from typing import TypeVar

from mrdist.errors import MemoryLimitError, ParameterError
from mrdist.geometry import Block, ReceptiveField, Shape, block_grid

MIB = 1 << 20
DEFAULT_MEMORY = 2048 * MIB
BASE_MEMORY = 220 * MIB
"""Resident bytes of a worker process with its libraries before any work, measured."""
_BAND_BYTES = 12 * MIB  # pixels of one label that a task reads at a time, where a row of chunks is not more
_SLAB_IMAGES = 64  # with fewer at a time, moving the sums takes longer than the products
_ROWS_IN_32_BITS = (2**32 - 1) // 255**2  # of bytes, see mrdist.moments
_READS_IN_FLIGHT = 10  # chunks that zarr fetches and decodes at once
_HARDLY = 1.05
_HOSTILE = 3.0  # times that pixels are decoded; windows of half the image's side reach 2.5 in four blocks
_SMALL_WINDOW = 32 * 32  # rechunking cuts no smaller windows than this,
_LARGE_WINDOW = 256 * 256  # no larger ones than this,
_LARGE_CHUNK = 4 * MIB  # and no larger chunks
_UNITS = {"": 1, "k": 1000, "m": 1000**2, "g": 1000**3, "t": 1000**4}
_BINARY_UNITS = {"ki": 1 << 10, "mi": 1 << 20, "gi": 1 << 30, "ti": 1 << 40}


AnyCut = TypeVar("AnyCut", bound="Cut")


def parse_bytes(text: str | int) -> int:
    """Return a number of bytes.

    Raises
    ------
    ParameterError
        If ``text`` is not a positive number with an optional unit.

    Examples
    --------
    >>> parse_bytes("2GiB"), parse_bytes("600MB"), parse_bytes(4096)
    (2147483648, 600000000, 4096)
    """
    match = re.fullmatch(r"\s*([0-9]*\.?[0-9]+)\s*([kmgt]i?)?b?\s*", str(text).lower())
    size = int(float(match[1]) * (_UNITS | _BINARY_UNITS)[match[2] or ""]) if match else 0
    if size <= 0:
        raise ParameterError(f"max_memory must be a positive size such as 2GiB or 600MB, got {text!r}.")
    return size


@dataclass(frozen=True)
class SearchSizes:
    """The sizes that decide what a cross-validation costs beyond a training.

    Attributes
    ----------
    fields, n_alphas, n_folds
        Of the grid.
    per_pixel
        Whether every pixel chooses its penalty: the errors of all folds are then held at once.
    """

    fields: tuple[ReceptiveField, ...]
    n_alphas: int
    n_folds: int
    per_pixel: bool


@dataclass(frozen=True)
class Workload:
    """The sizes that decide the cost of a training.

    Attributes
    ----------
    shape, n_channels, itemsize
        Of the images.
    chunks
        Chunk shape of the images store, (image, y, x, channel).
    n_stored, n_images
        Images in the store, and those to train on.
    field, n_groups
        The receptive field, and the number of independent systems a pixel.
    weight_itemsize, weight_chunk
        Of the weights store: bytes of a number and side of a chunk in pixels.
    keeps_sums
        Whether the sums are stored instead of being solved: their lag maps reach beyond the block.
    n_sources, n_targets, n_mappings
        Labels that are sources, those that are targets only, and mappings between them that a block serves at once.
    n_inputs
        Channels that a system sees and predicts.
    search
        Of a cross-validation, if there is one.
    """

    shape: Shape
    n_channels: int
    itemsize: int
    chunks: tuple[int, int, int, int]
    n_stored: int
    n_images: int
    field: ReceptiveField
    n_groups: int
    weight_itemsize: int
    weight_chunk: int
    keeps_sums: bool = False
    n_sources: int = 1
    n_targets: int = 1
    n_mappings: int = 1
    n_inputs: int = 1

    @property
    def n_labels(self) -> int:
        """Labels that are read."""
        return self.n_sources + self.n_targets

    search: SearchSizes | None = None

    @property
    def n_folds(self) -> int:
        """Sums that a block holds side by side while images are read."""
        return self.search.n_folds if self.search else 1

    @property
    def n_offsets(self) -> int:
        """Taps of the weights."""
        return self.field.n_offsets

    @property
    def margin(self) -> int:
        """Pixels beyond the block for which sums are taken, on every side."""
        return self.field.halo if self.keeps_sums else 0

    @property
    def n_rows(self) -> int:
        """Rows of every regression."""
        return self.n_images * (self.n_channels if self.n_groups == self.n_inputs == 1 else 1)


@dataclass(frozen=True)
class Cut:
    """How work on an image will be cut into blocks, and what that costs.

    Attributes
    ----------
    block
        Height and width of a block of output pixels.
    n_blocks
        Number of tasks.
    peak_memory
        Expected peak of resident bytes of one worker process.
    bytes_read
        Decoded bytes of all chunks that are read, with the halo's amplification.
    bytes_written
        Bytes of the output before compression.
    """

    block: Shape
    n_blocks: int
    peak_memory: int
    bytes_read: int
    bytes_written: int


@dataclass(frozen=True)
class Plan(Cut):
    """How a training will be cut, and what that costs.

    Besides what `Cut` has:

    Attributes
    ----------
    slab
        Images read at a time.
    bytes_needed
        Decoded bytes of the training images, each counted once.
    advice
        What the chunks of the images cost and what to do about it, or None where they are good to train from.
    seconds
        Expected time of the training, or None where nothing was measured (`mrdist.calibration`).
    """

    slab: int
    bytes_needed: int
    advice: str | None
    seconds: float | None = None

    @property
    def amplification(self) -> float:
        """Bytes read over bytes needed."""
        return self.bytes_read / self.bytes_needed


def plan_training(workload: Workload, *, max_memory: int, n_slots: int, block: Shape | None = None) -> Plan:
    """Choose block and slab.

    Parameters
    ----------
    workload
        Sizes of images, field and stores.
    max_memory
        Limit on the resident bytes of one worker process.
    n_slots
        Tasks that run at once; enough blocks are made to keep them busy.
    block
        Height and width to use instead of the planner's choice, rounded up to whole chunks of the weights store.

    Returns
    -------
    Plan

    Raises
    ------
    ParameterError
        If ``block`` is not positive.
    MemoryLimitError
        If even the smallest block needs more than ``max_memory``.

    Examples
    --------
    >>> work = Workload((512, 512), 1, 1, (256, 64, 64, 1), 1000, 800, ReceptiveField(3), 1, 4, 32)
    >>> plan = plan_training(work, max_memory=DEFAULT_MEMORY, n_slots=2)
    >>> plan.block, plan.n_blocks, plan.slab
    ((256, 512), 2, 256)
    """
    candidates = _candidates(workload.shape, workload.weight_chunk, block)
    cuts = [(candidate, _slab(workload, candidate, max_memory)) for candidate in candidates]
    plans = [_plan(workload, candidate, slab, n_slots) for candidate, slab in cuts if slab is not None]
    if plans:
        return _fastest(plans, n_slots)
    smallest = candidates[-1]
    slab = min(workload.chunks[0], 8)
    needed = _peak_memory(workload, smallest, slab)
    if needed <= max_memory:
        return _plan(workload, smallest, slab, n_slots)
    fewer = "fewer folds, " if workload.search else ""
    raise _too_large(smallest, needed, max_memory, f"choose {fewer}a smaller receptive field or rechunk the images")


@dataclass(frozen=True)
class StoredSums:
    """The sizes that decide the cost of solving from a statistics store.

    Attributes
    ----------
    shape
        Of the images.
    field, n_groups
        The receptive field of the store, and the number of independent systems a pixel.
    n_folds, itemsize, chunks
        Of the sums: entries of the leading axis, bytes of a number, height and width of a chunk.
    n_offsets, weight_itemsize, weight_chunk
        Of the weights: taps, bytes of a number and side of a chunk in pixels.
    n_inputs
        Channels that a system sees and predicts.
    """

    shape: Shape
    field: ReceptiveField
    n_groups: int
    n_folds: int
    itemsize: int
    chunks: Shape
    n_offsets: int
    weight_itemsize: int
    weight_chunk: int
    n_inputs: int = 1


def plan_solving(sums: StoredSums, *, max_memory: int, n_slots: int, block: Shape | None = None) -> Cut:
    """Choose the blocks for solving from a statistics store.

    Parameters and errors are those of `plan_training`.

    Returns
    -------
    Cut

    Examples
    --------
    >>> sums = StoredSums((512, 512), ReceptiveField(7), 1, 1, 4, (64, 64), 49, 4, 64)
    >>> plan_solving(sums, max_memory=DEFAULT_MEMORY, n_slots=2).block
    (256, 512)
    """
    candidates = _candidates(sums.shape, sums.weight_chunk, block)
    cuts = [_cut_sums(sums, candidate) for candidate in candidates]
    fitting = [cut for cut in cuts if cut.peak_memory <= max_memory]
    if not fitting:
        raise _too_large(candidates[-1], cuts[-1].peak_memory, max_memory, "accumulate a smaller receptive field")
    return _fastest(fitting, n_slots)


def _cut_sums(sums: StoredSums, block: Shape) -> Cut:
    field, halo = sums.field, sums.field.halo
    blocks = block_grid(sums.shape, block)
    window_maps, block_maps = _maps(sums)
    pixels = block[0] * block[1]
    maps = window_maps * (block[0] + field.reach) * (block[1] + field.reach) + block_maps * pixels
    entry = sums.itemsize
    # The sums of an entry as read and padded, and the total to which they are added; or those and a smaller field's.
    statistics = entry * maps * (2 if sums.n_folds == 1 else 3)
    lag_maps = field.n_lags * sums.n_inputs**2
    reading = _READS_IN_FLIGHT * 2 * sums.chunks[0] * sums.chunks[1] * lag_maps * sums.itemsize
    decoded = sum(
        window_maps * _touched(part.grown(halo).clipped(sums.shape), sums.chunks, sums.shape)
        + block_maps * _touched(part, sums.chunks, sums.shape)
        for part in blocks
    )
    return Cut(
        block=block,
        n_blocks=len(blocks),
        peak_memory=BASE_MEMORY + max(statistics + reading, entry * maps * 2 + _solution(sums, pixels)),
        bytes_read=sums.n_folds * entry * decoded,
        bytes_written=_weight_bytes(sums),
    )


def _maps(work: Workload | StoredSums) -> tuple[int, int]:
    """Return how many maps of all systems cover the window, and how many the block."""
    n_planes, n_pairs = work.n_groups * work.n_inputs, work.n_groups * work.n_inputs**2
    return n_pairs * work.field.n_lags + n_planes, n_pairs * work.field.n_offsets + 2 * n_planes


def _solution(work: Workload | StoredSums, pixels: int) -> int:
    n_planes, n_taps = work.n_groups * work.n_inputs, work.n_inputs * work.n_offsets
    return n_planes * pixels * (n_taps + 3) * (8 + work.weight_itemsize)


def _weight_bytes(work: Workload | StoredSums) -> int:
    n_planes, n_taps = work.n_groups * work.n_inputs, work.n_inputs * work.n_offsets
    n_mappings = work.n_mappings if isinstance(work, Workload) else 1
    return n_mappings * n_planes * prod(work.shape) * ((n_taps + 1) * work.weight_itemsize + 16)


def _too_large(block: Shape, needed: int, max_memory: int, instead: str) -> MemoryLimitError:
    return MemoryLimitError(
        f"a block of {block[0]} x {block[1]} pixels needs {-(-needed // MIB)} MiB in a worker "
        f"({BASE_MEMORY // MIB} MiB of them before any work), but max_memory is {max_memory // MIB} MiB; raise "
        f"--max-memory, {instead}."
    )


def _candidates(shape: Shape, unit: int, block: Shape | None) -> list[Shape]:
    """Blocks to choose from, largest first: whole chunks of the output."""
    whole = (_round_up(shape[0], unit), _round_up(shape[1], unit))
    if block is None:
        return _halvings(whole, unit)
    if min(block) < 1:
        raise ParameterError(f"block must be at least 1 x 1 pixels, got {block[0]} x {block[1]}.")
    return [(min(_round_up(block[0], unit), whole[0]), min(_round_up(block[1], unit), whole[1]))]


def _round_up(value: int, unit: int) -> int:
    return -(-value // unit) * unit


def _fastest(cuts: Sequence[AnyCut], n_slots: int) -> AnyCut:
    """Choose the cut that is read soonest, and of those that hardly differ the one that reads least."""
    soonest = min(_read_by_one_slot(cut, n_slots) for cut in cuts)
    soon = [cut for cut in cuts if _read_by_one_slot(cut, n_slots) <= _HARDLY * soonest]
    return min(soon, key=lambda cut: cut.bytes_read)


def _read_by_one_slot(cut: Cut, n_slots: int) -> float:
    """Bytes that one slot reads, which grow with the blocks' halos and shrink with the number of slots at work."""
    return cut.bytes_read / cut.n_blocks * -(-cut.n_blocks // n_slots)


def _halvings(whole: Shape, unit: int) -> list[Shape]:
    """Blocks from the whole image down to one chunk, the longer side halved each time."""
    height, width = whole
    found = [(height, width)]
    while height > unit or width > unit:
        if height >= width:
            height = _round_up(-(-height // 2), unit)
        else:
            width = _round_up(-(-width // 2), unit)
        found.append((height, width))
    return found


def _count(shape: Shape, block: Shape) -> int:
    return -(-shape[0] // block[0]) * -(-shape[1] // block[1])


def _slab(workload: Workload, block: Shape, max_memory: int) -> int | None:
    """Whole chunks of images: as many as fill a band of rows, fewer where that is too much, None where one is."""
    height, width = _window(workload, block)
    run = workload.chunks[0]
    band = run * min(height, workload.chunks[1]) * width * workload.n_channels * workload.itemsize
    fewest = workload.n_folds * _SLAB_IMAGES
    slab = min(_round_up(workload.n_stored, run), run * max(1, _BAND_BYTES // band, fewest // run))
    while slab >= run:
        if _peak_memory(workload, block, slab) <= max_memory:
            return slab
        slab = slab // 2 // run * run
    return None


def _window(workload: Workload, block: Shape) -> Shape:
    around = workload.field.reach + 2 * workload.margin
    return block[0] + around, block[1] + around


def _peak_memory(workload: Workload, block: Shape, slab: int) -> int:
    margin, (height, width) = 2 * workload.margin, _window(workload, block)
    pixels = (block[0] + margin) * (block[1] + margin)
    statistics = _total_bytes(workload, block)
    slab = min(slab, workload.n_stored)
    image = workload.n_channels * workload.itemsize
    reach = workload.field.reach
    rows = min(height, 3 * band_height(workload.chunks[1], slab * width * image, reach) // 2 + reach)
    bands = 2 * workload.n_labels * slab * image * rows * width  # one is read while the last one is summed
    if workload.n_mappings > 1:  # what is a source and a target is copied in two bands
        bands += 2 * workload.n_sources * slab * image * rows * width
    if workload.itemsize > 2:  # floats are copied and pass through float64 on their way to fixed point
        bands += workload.n_labels * slab * workload.n_channels * 16 * rows * width
    chunks = -(-slab // workload.chunks[0]) * (-(-width // workload.chunks[2]) + 1)
    reading = min(_READS_IN_FLIGHT, chunks) * 2 * _chunk_bytes(workload)
    solution = 0 if workload.keeps_sums else _solution(workload, pixels)
    if workload.search is None:
        return BASE_MEMORY + statistics + max(bands + reading, solution)
    summing = workload.n_folds * statistics + bands + reading
    validating = (workload.n_folds + 1) * statistics + _search_bytes(workload, workload.search, block)
    return BASE_MEMORY + max(summing, validating, 2 * statistics + solution)


def _total_bytes(workload: Workload, block: Shape, field: ReceptiveField | None = None) -> int:
    """Return the bytes of a block's sums over all images, for the field or a smaller one."""
    work = workload if field is None else replace(workload, field=field)
    margin, (height, width) = 2 * work.margin, _window(work, block)
    window_maps, block_maps = _maps(work)
    narrow = work.itemsize == 1 and (work.keeps_sums or work.n_rows <= _ROWS_IN_32_BITS)
    maps = work.n_sources * window_maps * height * width
    maps += work.n_mappings * block_maps * (block[0] + margin) * (block[1] + margin)
    return (4 if narrow else 8) * maps


def _search_bytes(workload: Workload, search: SearchSizes, block: Shape) -> int:
    """Return the bytes of what a block needs besides the sums of its folds and their total."""
    others = [field for field in search.fields if field != workload.field]  # their sums are copied from the whole
    copies = [3 * _total_bytes(workload, block, field) for field in others]  # of the total, a fold and the rest
    rest = [_total_bytes(workload, block)] if workload.field in search.fields else []
    n_maps = search.n_alphas * ((search.n_folds if search.per_pixel else 0) + 2) + 2
    return max(copies + rest) + 8 * n_maps * workload.n_groups * workload.n_inputs * block[0] * block[1]


def _chunk_bytes(workload: Workload) -> int:
    return prod(workload.chunks) * workload.itemsize


def _bytes_stored(workload: Workload) -> int:
    """Return the decoded bytes of all labels, each once, with the images that are not trained on."""
    return (
        workload.n_labels
        * workload.n_stored
        * workload.shape[0]
        * workload.shape[1]
        * workload.n_channels
        * workload.itemsize
    )


def band_height(chunk: int, row_bytes: int, reach: int) -> int:
    """Return how many rows of a slab a task reads at a time: whole rows of chunks, more than the lags reach.

    Parameters
    ----------
    chunk
        Rows of a chunk.
    row_bytes
        Bytes of one row of all images of the slab.
    reach
        Of the field, in rows.
    """
    return max(_BAND_BYTES // row_bytes // chunk * chunk, _round_up(reach + 1, chunk))


def band_cuts(start: int, stop: int, chunk: int, height: int) -> list[int]:
    """Cut rows ``start..stop-1`` into bands of ``height`` rows or a little more, between two rows of chunks.

    Examples
    --------
    >>> band_cuts(-1, 257, 64, 64), band_cuts(63, 130, 64, 64)
    ([-1, 64, 128, 192, 257], [63, 130])
    """
    cuts = [start]
    while (cut := _round_up(cuts[-1] + height, chunk)) + height // 2 < stop:
        cuts.append(cut)
    return [*cuts, stop]


def _plan(workload: Workload, block: Shape, slab: int, n_slots: int) -> Plan:
    image = workload.shape[0] * workload.shape[1]
    n_blocks, bytes_read = _count(workload.shape, block), _bytes_read(workload, block, slab)
    return Plan(
        block=block,
        n_blocks=n_blocks,
        slab=slab,
        peak_memory=_peak_memory(workload, block, slab),
        bytes_read=bytes_read,
        bytes_needed=workload.n_labels * workload.n_images * image * workload.n_channels * workload.itemsize,
        bytes_written=_bytes_written(workload, block, n_blocks),
        advice=_advice(workload, bytes_read, min(n_slots, n_blocks), n_slots),
    )


def _bytes_written(workload: Workload, block: Shape, n_blocks: int) -> int:
    if workload.keeps_sums:
        return _sum_bytes(workload)
    kept_for_later = n_blocks * _total_bytes(workload, block) if workload.search else 0
    return _weight_bytes(workload) + kept_for_later


def _sum_bytes(workload: Workload) -> int:
    n_folds, itemsize = (-(-workload.n_rows // _ROWS_IN_32_BITS), 4) if workload.itemsize == 1 else (1, 8)
    return n_folds * sum(_maps(workload)) * prod(workload.shape) * itemsize


def _advice(workload: Workload, bytes_read: int, n_busy: int, n_slots: int) -> str | None:
    """Return what the chunks cost, if a copy with smaller ones would cost less."""
    rows, height, width, _ = workload.chunks
    half = tuple(_round_up(-(-side // 2), workload.weight_chunk) for side in workload.shape)
    decoded = bytes_read / _bytes_stored(workload)
    in_four_blocks = _bytes_read(workload, (half[0], half[1]), rows) / _bytes_stored(workload)
    spans_the_image = in_four_blocks > _HOSTILE and height * width > _SMALL_WINDOW
    large = height * width > _LARGE_WINDOW or _chunk_bytes(workload) > _LARGE_CHUNK
    if not (spans_the_image or (large and decoded > _HOSTILE)):
        return None
    return (
        f"chunks of {rows} x {height} x {width} (images, rows, columns) hold more than a block needs: this plan "
        f"decodes every image {decoded:.1f} times and keeps {n_busy} of {n_slots} workers busy, and four blocks would "
        f"decode it {in_four_blocks:.1f} times; copy the images with `mrdist rechunk IN OUT` and train from the copy."
    )


def _bytes_read(workload: Workload, block: Shape, slab: int) -> int:
    pixels = sum(_decoded_pixels(workload, part) for part in block_grid(workload.shape, block))
    return pixels * _decoded_images(workload, slab) * workload.n_channels * workload.itemsize


def block_bytes(workload: Workload, block: Block, slab: int) -> int:
    """Return the decoded bytes of all chunks that a block's task reads, of all labels.

    Parameters
    ----------
    workload
        Sizes of images, field and stores.
    block
        Output pixels.
    slab
        Images read at a time; a slab that ends inside a chunk decodes that chunk again for the next.
    """
    images = _decoded_images(workload, slab)
    return _decoded_pixels(workload, block) * images * workload.n_channels * workload.itemsize


def _decoded_images(workload: Workload, slab: int) -> int:
    """Images of all chunks that the slabs touch."""
    rows, n = workload.chunks[0], workload.n_stored
    bounds = [(start, min(start + slab, n)) for start in range(0, n, slab)]
    return sum(min(_round_up(stop, rows), n) - start // rows * rows for start, stop in bounds)


def _decoded_pixels(workload: Workload, block: Block) -> int:
    """Pixels of all chunks that a block touches, of all labels."""
    window = block.grown(workload.field.halo + workload.margin).clipped(workload.shape)
    chunks = workload.chunks[1], workload.chunks[2]
    of_source, of_target = (_touched(part, chunks, workload.shape) for part in (window, block))
    return workload.n_sources * of_source + workload.n_targets * of_target


def _touched(part: Block, chunks: Shape, shape: Shape) -> int:
    """Pixels of all chunks that a rectangle touches."""
    height, width = chunks
    y0, y1 = part.y0 // height * height, min(_round_up(part.y1, height), shape[0])
    x0, x1 = part.x0 // width * width, min(_round_up(part.x1, width), shape[1])
    return (y1 - y0) * (x1 - x0)
