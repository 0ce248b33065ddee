"""What a training will read, write and hold in memory."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from math import prod
from typing import Any

from mrdist.geometry import Block, Shape, block_grid
from mrdist.planning.cuts import Cut, count_blocks, fastest, find_blocks, round_up, too_large, touched
from mrdist.planning.effort import seconds_to_train
from mrdist.planning.memory import ROWS_IN_32_BITS, choose_slab, peak_memory, total_bytes
from mrdist.planning.units import MIB
from mrdist.planning.workloads import Workload, chunk_bytes, count_maps, left_out_bytes, weight_bytes

_HOSTILE = 3.0  # times that pixels are decoded; windows of half the image's side reach 2.5 in four blocks
_SMALL_WINDOW = 32 * 32  # rechunking cuts no smaller windows than this,
_LARGE_WINDOW = 256 * 256  # no larger ones than this,
_LARGE_CHUNK = 4 * MIB  # and no larger chunks


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
    start_seconds
        Expected time until its workers are there, which is not in ``seconds``; 0 where there is no cluster.
    workers
        Processes that the training would start: 0 works in the process itself.
    where
        The same in words, and why.
    """

    slab: int
    bytes_needed: int
    advice: str | None
    seconds: float | None = None
    start_seconds: float | None = None
    workers: int | None = None
    where: str | None = None

    @property
    def total_seconds(self) -> float | None:
        """Expected time with the start of the workers, or None where it is not known."""
        return None if self.seconds is None or self.start_seconds is None else self.start_seconds + self.seconds

    @property
    def amplification(self) -> float:
        """Bytes read over bytes needed."""
        return self.bytes_read / self.bytes_needed

    def to_dict(self) -> dict[str, Any]:
        """Return what ``mrdist plan --json`` prints."""
        return {**asdict(self), "amplification": self.amplification, "total_seconds": self.total_seconds}


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
        If ``block`` is not a height and a width in pixels.
    MemoryLimitError
        If even the smallest block needs more than ``max_memory``.

    Examples
    --------
    >>> from mrdist.geometry import ReceptiveField
    >>> from mrdist.planning import DEFAULT_MEMORY
    >>> work = Workload((512, 512), 1, 1, (256, 64, 64, 1), 1000, 800, ReceptiveField(3), 1, 4, 32)
    >>> plan = plan_training(work, max_memory=DEFAULT_MEMORY, n_slots=2)
    >>> plan.block, plan.n_blocks, plan.slab
    ((256, 512), 2, 256)
    """
    blocks = find_blocks(workload.shape, workload.weight_chunk, block)
    cuts = [(candidate, choose_slab(workload, candidate, max_memory)) for candidate in blocks]
    plans = [_plan(workload, candidate, slab, n_slots) for candidate, slab in cuts if slab is not None]
    if plans:
        return fastest(plans, n_slots)
    smallest = blocks[-1]
    slab = min(workload.chunks[0], 8)
    needed = peak_memory(workload, smallest, slab)
    if needed <= max_memory:
        return _plan(workload, smallest, slab, n_slots)
    fewer = "fewer folds, " if workload.search else ""
    raise too_large(smallest, needed, max_memory, f"choose {fewer}a smaller receptive field, or rechunk the images")


def _plan(workload: Workload, block: Shape, slab: int, n_slots: int) -> Plan:
    image = workload.shape[0] * workload.shape[1]
    n_blocks, bytes_read = count_blocks(workload.shape, block), _bytes_read(workload, block, slab)
    return Plan(
        block=block,
        n_blocks=n_blocks,
        slab=slab,
        peak_memory=peak_memory(workload, block, slab),
        bytes_read=bytes_read,
        bytes_needed=workload.n_labels * workload.n_images * image * workload.n_channels * workload.itemsize,
        bytes_written=_bytes_written(workload, block, n_blocks),
        advice=_advice(workload, bytes_read, min(n_slots, n_blocks), n_slots),
        seconds_alone=seconds_to_train(workload, bytes_read),
    )


def _bytes_written(workload: Workload, block: Shape, n_blocks: int) -> int:
    if workload.keeps_sums:
        return _sum_bytes(workload)
    kept_for_later = n_blocks * total_bytes(workload, block) if workload.search else 0
    return weight_bytes(workload) + kept_for_later


def _sum_bytes(workload: Workload) -> int:
    n_folds, itemsize = (-(-workload.n_rows // ROWS_IN_32_BITS), 4) if workload.itemsize == 1 else (1, 8)
    sums = n_folds * sum(count_maps(workload)) * prod(workload.shape) * itemsize
    if not workload.n_incomplete:
        return sums
    whole = replace(workload, n_incomplete=prod(workload.shape))
    return sums + n_folds * left_out_bytes(whole, prod(workload.shape))


def _advice(workload: Workload, bytes_read: int, n_busy: int, n_slots: int) -> str | None:
    """Return what the chunks cost, if a copy with smaller ones would cost less."""
    rows, height, width, _ = workload.chunks
    half = tuple(round_up(-(-side // 2), workload.weight_chunk) for side in workload.shape)
    decoded = bytes_read / _bytes_stored(workload)
    in_four_blocks = _bytes_read(workload, (half[0], half[1]), rows) / _bytes_stored(workload)
    spans_the_image = in_four_blocks > _HOSTILE and height * width > _SMALL_WINDOW
    large = height * width > _LARGE_WINDOW or chunk_bytes(workload) > _LARGE_CHUNK
    if not (spans_the_image or (large and decoded > _HOSTILE)):
        return None
    return (
        f"chunks of {rows} x {height} x {width} (images, rows, columns) hold more than a block needs: this plan "
        f"decodes every image {decoded:.1f} times and keeps {n_busy} of {n_slots} workers busy, and four blocks would "
        f"decode it {in_four_blocks:.1f} times; copy the images with `mrdist rechunk IN OUT` and train from the copy."
    )


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


def count_requests(workload: Workload, plan: Plan) -> int:
    """Return how many chunks a training reads, each as often as blocks and slabs do: requests to an object store.

    Examples
    --------
    >>> from mrdist.geometry import ReceptiveField
    >>> from mrdist.planning import DEFAULT_MEMORY
    >>> work = Workload((512, 512), 1, 1, (256, 64, 64, 1), 1000, 1000, ReceptiveField(3), 1, 4, 32)
    >>> count_requests(work, plan_training(work, max_memory=DEFAULT_MEMORY, n_slots=1))
    512
    """
    rows, n = workload.chunks[0], workload.n_stored
    slabs = [(start, min(start + plan.slab, n)) for start in range(0, n, plan.slab)]
    runs = sum(-(-stop // rows) - start // rows for start, stop in slabs)
    return runs * sum(_chunks_of_block(workload, block) for block in block_grid(workload.shape, plan.block))


def _chunks_of_block(workload: Workload, block: Block) -> int:
    """Chunks of one run of images that a block touches, of all labels."""
    height, width = workload.chunks[1], workload.chunks[2]

    def count(part: Block) -> int:
        return (-(-part.y1 // height) - part.y0 // height) * (-(-part.x1 // width) - part.x0 // width)

    window = block.grown(workload.field.halo + workload.margin).clipped(workload.shape)
    of_target = block.lenders(workload.pool, workload.shape)
    return workload.n_sources * count(window) + workload.n_targets * count(of_target)


def _decoded_images(workload: Workload, slab: int) -> int:
    """Images of all chunks that the slabs touch."""
    rows, n = workload.chunks[0], workload.n_stored
    bounds = [(start, min(start + slab, n)) for start in range(0, n, slab)]
    return sum(min(round_up(stop, rows), n) - start // rows * rows for start, stop in bounds)


def _decoded_pixels(workload: Workload, block: Block) -> int:
    """Pixels of all chunks that a block touches, of all labels."""
    window = block.grown(workload.field.halo + workload.margin).clipped(workload.shape)
    chunks = workload.chunks[1], workload.chunks[2]
    targets = block.lenders(workload.pool, workload.shape)
    of_source, of_target = (touched(part, chunks, workload.shape) for part in (window, targets))
    return workload.n_sources * of_source + workload.n_targets * of_target
