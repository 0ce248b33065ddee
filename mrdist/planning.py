"""What a training will read, write and hold in memory, before anything runs: arithmetic on integers."""

from __future__ import annotations

import re
from dataclasses import dataclass

from mrdist.errors import MemoryLimitError, ParameterError
from mrdist.geometry import Block, ReceptiveField, Shape, block_grid

MIB = 1 << 20
DEFAULT_MEMORY = 2048 * MIB
BASE_MEMORY = 260 * MIB
"""Resident bytes of a worker process with its libraries before any work, measured."""
_SLAB_BYTES = 48 * MIB
_READS_IN_FLIGHT = 10  # chunks that zarr fetches and decodes at once
_UNITS = {"": 1, "k": 1000, "m": 1000**2, "g": 1000**3, "t": 1000**4}
_BINARY_UNITS = {"ki": 1 << 10, "mi": 1 << 20, "gi": 1 << 30, "ti": 1 << 40}


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
        The receptive field, and the number of independent regressions a pixel.
    weight_itemsize, weight_chunk
        Of the weights store: bytes of a number and side of a chunk in pixels.
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


@dataclass(frozen=True)
class Plan:
    """How a training will be cut, and what that costs.

    Attributes
    ----------
    block
        Height and width of a block of output pixels.
    n_blocks
        Number of tasks.
    slab
        Images read at a time.
    peak_memory
        Expected peak of resident bytes of one worker process.
    bytes_read
        Decoded bytes of all chunks that are read, with the halo's amplification.
    bytes_needed
        Decoded bytes of the training images, each counted once.
    bytes_written
        Bytes of the weights before compression.
    """

    block: Shape
    n_blocks: int
    slab: int
    peak_memory: int
    bytes_read: int
    bytes_needed: int
    bytes_written: int

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
    ((256, 256), 4, 512)
    """
    unit = workload.weight_chunk
    whole = (_round_up(workload.shape[0], unit), _round_up(workload.shape[1], unit))
    if block is not None:
        if min(block) < 1:
            raise ParameterError(f"block must be at least 1 x 1 pixels, got {block[0]} x {block[1]}.")
        candidates = [(min(_round_up(block[0], unit), whole[0]), min(_round_up(block[1], unit), whole[1]))]
    else:
        n_chunks = whole[0] // unit * (whole[1] // unit)
        enough = min(2 * n_slots, n_chunks)
        candidates = [c for c in _halvings(whole, unit) if _count(workload.shape, c) >= enough]
    for candidate in candidates:
        slab = _slab(workload, candidate)
        if _peak_memory(workload, candidate, slab) <= max_memory:
            return _plan(workload, candidate, slab)
    smallest = candidates[-1]
    slab = min(workload.chunks[0], 8)
    needed = _peak_memory(workload, smallest, slab)
    if needed <= max_memory:
        return _plan(workload, smallest, slab)
    raise MemoryLimitError(
        f"a block of {smallest[0]} x {smallest[1]} pixels needs {-(-needed // MIB)} MiB in a worker "
        f"({BASE_MEMORY // MIB} MiB of them before any work), but max_memory is {max_memory // MIB} MiB; raise "
        "--max-memory, choose a smaller receptive field or rechunk the images."
    )


def _round_up(value: int, unit: int) -> int:
    return -(-value // unit) * unit


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


def _slab(workload: Workload, block: Shape) -> int:
    """Whole chunks of images, as many as make a slab of some 48 MiB."""
    per_image = _window(workload, block) * workload.n_channels * workload.itemsize
    run = workload.chunks[0]
    return min(workload.n_stored, run * max(1, _SLAB_BYTES // (per_image * run)))


def _window(workload: Workload, block: Shape) -> int:
    return (block[0] + workload.field.reach) * (block[1] + workload.field.reach)


def _peak_memory(workload: Workload, block: Shape, slab: int) -> int:
    pixels, window = block[0] * block[1], _window(workload, block)
    maps = workload.field.n_lags * window + workload.field.n_offsets * pixels + window + 2 * pixels
    statistics = 8 * workload.n_groups * maps
    image = workload.n_channels * workload.itemsize
    # The slab as read, its padded copy, and the next slab that is being read meanwhile.
    slabs = slab * image * (3 * window + 2 * pixels)
    if workload.itemsize > 2:  # floats pass through float64 on their way to fixed point
        slabs += slab * workload.n_channels * (12 * window + 12 * pixels)
    rows, height, width, channels = workload.chunks
    chunk = rows * height * width * channels * workload.itemsize
    reading = min(_READS_IN_FLIGHT, -(-block[0] // height + 1) * -(-block[1] // width + 1)) * 2 * chunk
    solution = workload.n_groups * pixels * (workload.field.n_offsets + 3) * (8 + workload.weight_itemsize)
    return BASE_MEMORY + statistics + max(slabs + reading, solution)


def _plan(workload: Workload, block: Shape, slab: int) -> Plan:
    blocks = block_grid(workload.shape, block)
    image = workload.shape[0] * workload.shape[1]
    per_pixel = workload.n_channels * workload.itemsize
    weights = workload.n_groups * image * ((workload.field.n_offsets + 1) * workload.weight_itemsize + 16)
    return Plan(
        block=block,
        n_blocks=len(blocks),
        slab=slab,
        peak_memory=_peak_memory(workload, block, slab),
        bytes_read=sum(block_bytes(workload, b, slab) for b in blocks),
        bytes_needed=2 * workload.n_images * image * per_pixel,
        bytes_written=weights,
    )


def block_bytes(workload: Workload, block: Block, slab: int) -> int:
    """Return the decoded bytes of all chunks that a block's task reads, source and target.

    Parameters
    ----------
    workload
        Sizes of images, field and stores.
    block
        Output pixels.
    slab
        Images read at a time; a slab that ends inside a chunk decodes that chunk again for the next.
    """
    rows = workload.chunks[0]
    images = 0
    for start in range(0, workload.n_stored, slab):
        stop = min(start + slab, workload.n_stored)
        images += min(_round_up(stop, rows), workload.n_stored) - start // rows * rows
    window = block.grown(workload.field.halo).clipped(workload.shape)
    pixels = _touched(window, workload) + _touched(block, workload)
    return pixels * images * workload.n_channels * workload.itemsize


def _touched(part: Block, workload: Workload) -> int:
    """Pixels of all chunks that a rectangle touches."""
    height, width = workload.chunks[1:3]
    y0, y1 = part.y0 // height * height, min(_round_up(part.y1, height), workload.shape[0])
    x0, x1 = part.x0 // width * width, min(_round_up(part.x1, width), workload.shape[1])
    return (y1 - y0) * (x1 - x0)
