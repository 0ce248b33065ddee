"""What a training will read, write, hold in memory and take, before anything runs.

Blocks and bytes are arithmetic on integers; seconds rest on a short measurement (`Rates`).
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from math import prod

import numpy as np
import numpy.typing as npt

from mrdist.errors import MemoryLimitError, ParameterError
from mrdist.geometry import Block, ReceptiveField, Shape, block_grid

MIB = 1 << 20
DEFAULT_MEMORY = 2048 * MIB
BASE_MEMORY = 260 * MIB
"""Resident bytes of a worker process with its libraries before any work, measured."""
_SLAB_BYTES = 48 * MIB
_ROWS_IN_32_BITS = (2**32 - 1) // 255**2  # of bytes, see mrdist.moments
_READS_IN_FLIGHT = 10  # chunks that zarr fetches and decodes at once
_HOSTILE = 3.0  # times that pixels are decoded; windows of half the image's side reach 2.5 in four blocks
_SMALL_WINDOW = 32 * 32  # rechunking cuts no smaller windows than this,
_LARGE_WINDOW = 256 * 256  # no larger ones than this,
_LARGE_CHUNK = 4 * MIB  # and no larger chunks
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
    advice
        What the chunks of the images cost and what to do about it, or None where they are good to train from.
    seconds
        Expected time of the training, or None where nothing was measured (`plan_training`).
    """

    block: Shape
    n_blocks: int
    slab: int
    peak_memory: int
    bytes_read: int
    bytes_needed: int
    bytes_written: int
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
    ((256, 256), 4, 512)
    """
    unit = workload.weight_chunk
    whole = (_round_up(workload.shape[0], unit), _round_up(workload.shape[1], unit))
    candidates = _halvings(whole, unit)
    if block is not None:
        if min(block) < 1:
            raise ParameterError(f"block must be at least 1 x 1 pixels, got {block[0]} x {block[1]}.")
        candidates = [(min(_round_up(block[0], unit), whole[0]), min(_round_up(block[1], unit), whole[1]))]
    slabs = [(candidate, _slab(workload, candidate)) for candidate in candidates]
    slabs = [cut for cut in slabs if _peak_memory(workload, *cut) <= max_memory]
    if slabs:
        return _best([_plan(workload, *cut, n_slots) for cut in slabs], workload, n_slots)
    smallest = candidates[-1]
    slab = min(workload.chunks[0], 8)
    needed = _peak_memory(workload, smallest, slab)
    if needed <= max_memory:
        return _plan(workload, smallest, slab, n_slots)
    raise MemoryLimitError(
        f"a block of {smallest[0]} x {smallest[1]} pixels needs {-(-needed // MIB)} MiB in a worker "
        f"({BASE_MEMORY // MIB} MiB of them before any work), but max_memory is {max_memory // MIB} MiB; raise "
        "--max-memory, choose a smaller receptive field or rechunk the images."
    )


def _round_up(value: int, unit: int) -> int:
    return -(-value // unit) * unit


def _best(plans: list[Plan], workload: Workload, n_slots: int) -> Plan:
    """Choose among plans, largest block first: two blocks a worker, or what hostile chunks are decoded fastest for."""
    most = _count(workload.shape, (workload.weight_chunk, workload.weight_chunk))
    balanced = next((plan for plan in plans if plan.n_blocks >= min(2 * n_slots, most)), plans[-1])
    if balanced.advice is None:
        return balanced
    return min(plans, key=lambda plan: (plan.bytes_read / min(n_slots, plan.n_blocks), plan.bytes_read))


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
    n_rows = workload.n_images * (workload.n_channels if workload.n_groups == 1 else 1)
    statistics = (4 if workload.itemsize == 1 and n_rows <= _ROWS_IN_32_BITS else 8) * workload.n_groups * maps
    image = workload.n_channels * workload.itemsize
    # The slab as read, its padded copy, and the next slab that is being read meanwhile.
    slabs = slab * image * (3 * window + 2 * pixels)
    if workload.itemsize > 2:  # floats pass through float64 on their way to fixed point
        slabs += slab * workload.n_channels * (12 * window + 12 * pixels)
    rows, height, width, _ = workload.chunks
    chunks = -(-slab // rows) * (-(-block[0] // height) + 1) * (-(-block[1] // width) + 1)
    reading = min(_READS_IN_FLIGHT, chunks) * 2 * _chunk_bytes(workload)
    solution = workload.n_groups * pixels * (workload.field.n_offsets + 3) * (8 + workload.weight_itemsize)
    return BASE_MEMORY + statistics + max(slabs + reading, solution)


def _chunk_bytes(workload: Workload) -> int:
    return prod(workload.chunks) * workload.itemsize


def _bytes_stored(workload: Workload) -> int:
    """Return the decoded bytes of source and target, each once, with the images that are not trained on."""
    return 2 * workload.n_stored * workload.shape[0] * workload.shape[1] * workload.n_channels * workload.itemsize


def _plan(workload: Workload, block: Shape, slab: int, n_slots: int) -> Plan:
    image = workload.shape[0] * workload.shape[1]
    n_blocks, bytes_read = _count(workload.shape, block), _bytes_read(workload, block, slab)
    return Plan(
        block=block,
        n_blocks=n_blocks,
        slab=slab,
        peak_memory=_peak_memory(workload, block, slab),
        bytes_read=bytes_read,
        bytes_needed=2 * workload.n_images * image * workload.n_channels * workload.itemsize,
        bytes_written=workload.n_groups * image * ((workload.field.n_offsets + 1) * workload.weight_itemsize + 16),
        advice=_advice(workload, bytes_read, min(n_slots, n_blocks), n_slots),
    )


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
    images = _decoded_images(workload, slab)
    return _decoded_pixels(workload, block) * images * workload.n_channels * workload.itemsize


def _decoded_images(workload: Workload, slab: int) -> int:
    """Images of all chunks that the slabs touch."""
    rows, n = workload.chunks[0], workload.n_stored
    bounds = [(start, min(start + slab, n)) for start in range(0, n, slab)]
    return sum(min(_round_up(stop, rows), n) - start // rows * rows for start, stop in bounds)


def _decoded_pixels(workload: Workload, block: Block) -> int:
    """Pixels of all chunks that a block touches, source and target."""
    window = block.grown(workload.field.halo).clipped(workload.shape)
    return _touched(window, workload) + _touched(block, workload)


def _touched(part: Block, workload: Workload) -> int:
    """Pixels of all chunks that a rectangle touches."""
    height, width = workload.chunks[1:3]
    y0, y1 = part.y0 // height * height, min(_round_up(part.y1, height), workload.shape[0])
    x0, x1 = part.x0 // width * width, min(_round_up(part.x1, width), workload.shape[1])
    return (y1 - y0) * (x1 - x0)


@dataclass(frozen=True)
class Rates:
    """Measured speed of one process.

    Attributes
    ----------
    decode, decode_cpu
        Seconds, and seconds of all processors together, to read and decode a byte.
    accumulate
        Seconds per pixel, image and channel.
    solve
        Seconds per pixel and regression.
    """

    decode: float
    decode_cpu: float
    accumulate: float
    solve: float


def predict_seconds(workload: Workload, plan: Plan, rates: Rates, *, n_slots: int, n_processors: int) -> float:
    """Return the time that a training takes once its workers are there.

    A block reads the next slab while it accumulates the last one, as far as there are processors for both. What
    every worker takes to load its libraries and kernels before its first block, about a second, is not in it.

    Examples
    --------
    >>> work = Workload((512, 512), 1, 1, (256, 64, 64, 1), 1000, 1000, ReceptiveField(3), 1, 4, 32)
    >>> plan = plan_training(work, max_memory=DEFAULT_MEMORY, n_slots=2)
    >>> rates = Rates(decode=1e-9, decode_cpu=1e-9, accumulate=1e-9, solve=1e-7)
    >>> [round(predict_seconds(work, plan, rates, n_slots=n, n_processors=2), 2) for n in (1, 2)]
    [0.7, 0.48]
    """
    pixels = workload.shape[0] * workload.shape[1]
    accumulate = rates.accumulate * pixels * workload.n_images * workload.n_channels
    solve = rates.solve * pixels * workload.n_groups
    rounds = -(-plan.n_blocks // n_slots)
    alone = max(rates.decode * plan.bytes_read, accumulate) + solve
    return max(alone * rounds / plan.n_blocks, (rates.decode_cpu * plan.bytes_read + accumulate + solve) / n_processors)


def measure_kernels(workload: Workload, dtype: npt.DTypeLike) -> tuple[float, float]:
    """Measure accumulating and solving on a few rows of pixels, in some 0.2 s.

    Parameters
    ----------
    workload
        Sizes of images and field.
    dtype
        Of the images.

    Returns
    -------
    accumulate, solve : float
        As in `Rates`.
    """
    # numba takes a second to import, and who only copies or generates images plans nothing
    from mrdist.moments import SufficientStatistics, to_integers, unit_of
    from mrdist.solvers import solve

    shape = (min(workload.shape[0], 16), min(workload.shape[1], 160))
    window = (shape[0] + workload.field.reach, shape[1] + workload.field.reach)
    n_images, n_channels = min(workload.n_images, 256), workload.n_channels
    source = np.zeros((n_images, *window, n_channels), dtype=dtype)
    target = np.zeros((n_images, *shape, n_channels), dtype=dtype)
    statistics = SufficientStatistics.zeros(
        workload.field, shape, n_groups=workload.n_groups, unit=unit_of(source.dtype)
    )
    accumulate = _seconds(lambda: statistics.update(to_integers(source), to_integers(target)))
    pixels = shape[0] * shape[1]
    return (
        accumulate / (pixels * n_images * n_channels),
        _seconds(lambda: solve(statistics, 1.0)) / (pixels * workload.n_groups),
    )


def _seconds(call: Callable[[], object]) -> float:
    """Return the mean time of a call over 0.1 s, after a first one that loads what it needs."""
    call()
    started, n_calls = time.perf_counter(), 0
    while time.perf_counter() < started + 0.1:
        call()
        n_calls += 1
    return (time.perf_counter() - started) / n_calls
