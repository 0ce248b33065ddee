"""How an evaluation will be cut, and what that costs."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

from mrdist.geometry import Block, Shape, block_grid, images_at_a_time
from mrdist.planning.cuts import Cut, count_blocks, fastest, find_blocks, round_up, too_large, touched
from mrdist.planning.effort import APPLIED, DECODE_SECONDS, PRODUCT_SECONDS
from mrdist.planning.units import COMPILING_MEMORY, MIB
from mrdist.planning.workloads import READS_IN_FLIGHT

SCORED_CELL = 128
"""Side in pixels of the squares whose sums are kept apart: the order of summation does not depend on the blocks."""
SCORED_BATCH = 8
"""Images that are predicted at a time."""
_FEWEST_IMAGES = 8  # of a slab
_SCORE_SECONDS = 5e-8  # of a value and a mapping
_SCRATCH = 40 * MIB  # floats of an image's cell, compared with its target in float64


@dataclass(frozen=True)
class ScoringSizes:
    """The sizes that decide the cost of an evaluation.

    Attributes
    ----------
    shape, n_channels, itemsize
        Of the images.
    chunks
        Chunk shape of the images store, (image, y, x, channel).
    n_stored, n_images
        Images in the store, and those to score.
    n_splits, n_mappings
        Splits that are scored apart, and mappings that are compared with the targets.
    margin, reach
        Pixels around a block, on every side, that scores need, and further rows and columns that the mapping needs.
    numbers_per_pixel
        Of the weights.
    value_itemsize
        Bytes that a value of a linked array takes besides its pixel while it is read.
    may_miss
        Whether images may miss values.
    """

    shape: Shape
    n_channels: int
    itemsize: int
    chunks: tuple[int, int, int, int]
    n_stored: int
    n_images: int
    n_splits: int
    n_mappings: int
    margin: int
    reach: int
    numbers_per_pixel: int
    value_itemsize: int = 0
    may_miss: bool = False


@dataclass(frozen=True)
class ScoringPlan(Cut):
    """How an evaluation will be cut, and what that costs.

    Besides what `Cut` has:

    Attributes
    ----------
    slab
        Images read at a time.
    """

    slab: int


def plan_scoring(sizes: ScoringSizes, *, max_memory: int, n_slots: int) -> ScoringPlan:
    """Choose block and slab.

    Parameters
    ----------
    sizes
        Of images and weights.
    max_memory
        Limit on the resident bytes of one worker process.
    n_slots
        Tasks that run at once; enough blocks are made to keep them busy.

    Raises
    ------
    MemoryLimitError
        If even the smallest block needs more than ``max_memory``.

    Examples
    --------
    >>> from mrdist.planning import DEFAULT_MEMORY
    >>> sizes = ScoringSizes((512, 512), 3, 1, (80, 64, 64, 3), 80, 80, 3, 2, 5, 2, 10)
    >>> plan = plan_scoring(sizes, max_memory=DEFAULT_MEMORY, n_slots=2)
    >>> plan.block, plan.n_blocks, plan.slab
    ((256, 512), 2, 80)
    """
    slab = min(sizes.chunks[0], sizes.n_stored)
    blocks = find_blocks(sizes.shape, SCORED_CELL, None)
    plans = [_plan(sizes, block, slab) for block in blocks]
    fitting = [plan for plan in plans if plan.peak_memory <= max_memory]
    if fitting:
        return fastest(fitting, n_slots)
    plan = plans[-1]  # no chunk fits whole: each is decoded as often as it is cut
    while plan.peak_memory > max_memory and slab > _FEWEST_IMAGES:
        slab = max(_FEWEST_IMAGES, slab // 2)
        plan = _plan(sizes, plan.block, slab)
    if plan.peak_memory > max_memory:
        raise too_large(plan.block, plan.peak_memory, max_memory, "copy the images with `mrdist rechunk`")
    return plan


def _plan(sizes: ScoringSizes, block: Shape, slab: int) -> ScoringPlan:
    image = sizes.n_channels * sizes.itemsize
    pixels = sum(
        touched(_grown(part, sizes, reach), (sizes.chunks[1], sizes.chunks[2]), sizes.shape)
        for part in block_grid(sizes.shape, block)
        for reach in (sizes.reach, 0)
    )
    repeated = -(-round_up(min(sizes.chunks[0], sizes.n_stored), slab) // slab) if slab < sizes.chunks[0] else 1
    bytes_read = pixels * sizes.n_stored * image * repeated
    scored = sizes.n_images * prod(sizes.shape)
    return ScoringPlan(
        block=block,
        n_blocks=count_blocks(sizes.shape, block),
        peak_memory=_peak_memory(sizes, block, slab),
        bytes_read=bytes_read,
        bytes_written=0,
        seconds_alone=DECODE_SECONDS * bytes_read
        + _SCORE_SECONDS * scored * sizes.n_channels * sizes.n_mappings
        + APPLIED * PRODUCT_SECONDS * scored * sizes.numbers_per_pixel,
        slab=slab,
    )


def _grown(block: Block, sizes: ScoringSizes, reach: int) -> Block:
    if reach >= max(sizes.shape):
        return Block(0, 0, *sizes.shape)
    return block.grown(sizes.margin + -(-reach // 2)).clipped(sizes.shape)


def _peak_memory(sizes: ScoringSizes, block: Shape, slab: int) -> int:
    """Return the peak of resident bytes of a worker that scores a block."""

    def widened(part: Shape, reach: int) -> int:
        if reach >= max(sizes.shape):
            return prod(sizes.shape)
        return prod(min(one + 2 * sizes.margin + reach, side) for one, side in zip(part, sizes.shape, strict=True))

    cell = (min(SCORED_CELL, block[0]), min(SCORED_CELL, block[1]))
    n_cells = count_blocks(block, cell)
    image = sizes.n_channels * sizes.itemsize
    images = 2 * slab * image * (widened(block, sizes.reach) + widened(block, 0))  # as read, and those asked for
    if sizes.may_miss:  # which values are missing
        images += slab * (1 + sizes.n_channels) * (widened(block, sizes.reach) + widened(block, 0))
    n_chunks = -(-block[0] // sizes.chunks[1] + 1) * -(-block[1] // sizes.chunks[2] + 1)
    reading = min(READS_IN_FLIGHT, n_chunks) * 2 * prod(sizes.chunks) * max(sizes.itemsize, sizes.value_itemsize)
    values = sizes.n_channels * sizes.value_itemsize * widened(block, sizes.reach)
    reading += values * images_at_a_time(slab, sizes.chunks[0], values)
    weights = 8 * sizes.numbers_per_pixel * n_cells * widened(cell, 0)
    sums = 32 * sizes.n_splits * sizes.n_mappings * sizes.n_channels * prod(block)
    batch = SCORED_BATCH * sizes.n_channels * (16 * widened(cell, sizes.reach) + 24 * widened(cell, 0))
    per_image = 32 * sizes.n_mappings * sizes.n_images * n_cells
    return COMPILING_MEMORY + _SCRATCH + images + reading + weights + sums + batch + per_image
