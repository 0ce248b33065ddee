"""How training l1 and l0 is cut into blocks, and what it holds in memory."""

from __future__ import annotations

from itertools import groupby
from math import prod

import numpy as np

from mrdist.analysis import spread_pixels
from mrdist.baselines.lasso import SLICE
from mrdist.baselines.omp import shared_bytes
from mrdist.baselines.sparse import TILE_SIDE, window_of
from mrdist.errors import MemoryLimitError
from mrdist.geometry import Block, Shape, block_grid, images_at_a_time
from mrdist.planning import BASE_MEMORY, KERNEL_MEMORY, MIB, Plan, whole_block
from mrdist.planning.cuts import touched
from mrdist.planning.effort import DECODE_SECONDS, PRODUCT_SECONDS
from mrdist.storage import Images
from mrdist.storage.weights.output import chunk_side
from mrdist.storage.weights.sparse import SparseTraining

_SIDE = 32  # of a block in pixels, where there are enough of them for all workers
_ROUNDS = 400  # of coordinate descent over all columns, most of them in l1's working sets alone
_SCATTERED = 15  # products of l0's columns one by one take so much longer than those of matrices
_TARGETS = 256  # output pixels that stand for all in a cross-validation
_POOL = 96 * MIB  # of l1: columns in the working sets of a tile, and their Gram matrix; data decide how many
_BASE = BASE_MEMORY + KERNEL_MEMORY
_PURSUIT = 40 * MIB  # of the larger kernels of pursuits, and what they leave behind: measured
_CORRELATIONS = 4  # of a tile with a slice of columns, as products and while they are compared


def plan_sparse(
    images: Images, training: SparseTraining, *, max_memory: int, n_slots: int, block: Shape | None = None
) -> Plan:
    """Choose the blocks.

    Parameters
    ----------
    images, training
        What is trained.
    max_memory, n_slots
        Limit on the resident bytes of a worker, and the tasks that run at once.
    block
        Height and width of a block, rounded up to whole chunks of the error maps.

    Returns
    -------
    Plan

    Raises
    ------
    ParameterError
        If ``block`` is not a height and a width in pixels.
    MemoryLimitError
        If the source images, or the windows of a block, do not fit into ``max_memory``.
    """
    unit = chunk_side(images.shape)
    for wanted in [(max(_SIDE, unit),) * 2, (unit, unit)] if block is None else [block]:
        chosen = whole_block(images.shape, unit, wanted)
        blocks = block_grid(images.shape, chosen)
        needed = max(_memory(images, training, part) for part in blocks)
        if len(blocks) >= 2 * n_slots and needed <= max_memory:
            break
    if needed > max_memory:
        what = "the whole source images" if training.window is None else f"windows of {training.window} pixels"
        raise MemoryLimitError(
            f"training by {training.method} on {what} of {training.n_images} pairs of {training.height} x "
            f"{training.width} pixels needs {-(-needed // MIB)} MiB in a worker ({_BASE // MIB} MiB of them "
            f"before any work), but max_memory is {max_memory // MIB} MiB; raise --max-memory or limit the inputs by a "
            "smaller --window."
        )
    decoded = sum(
        _touched(images, window_of(part, training.window, images.shape)) + _touched(images, part) for part in blocks
    )
    pixel = images.n_channels * images.dtype.itemsize
    bytes_read = decoded * _stored_bytes(images, training) + search_bytes(images, training)
    return Plan(
        block=chosen,
        n_blocks=len(blocks),
        slab=images.chunks[0],
        peak_memory=needed,
        bytes_read=bytes_read,
        bytes_needed=2 * training.n_images * training.n_pixels * pixel,
        bytes_written=_bytes_written(training),
        advice=None,
        seconds_alone=DECODE_SECONDS * bytes_read + _solving_seconds(training),
    )


def _solving_seconds(training: SparseTraining) -> float:
    """Return what one process takes for all regressions, with those of a cross-validation."""
    n_columns = training.n_pixels if training.window is None else min(training.window**2, training.n_pixels)
    n_rows = training.n_images * (training.n_channels if training.color == "shared" else 1)
    rounds = _SCATTERED * training.most_nonzeros or _ROUNDS
    n_fits = training.n_groups * (training.n_pixels + _TARGETS * (training.folds or 0) * len(training.alphas or [1]))
    return PRODUCT_SECONDS * rounds * n_columns * n_rows * n_fits


def sample_rows(shape: Shape) -> list[list[Block]]:
    """Return the output pixels of a cross-validation, row by row: a row is a task, for any number of workers."""
    places = (divmod(pixel, shape[1]) for pixel in spread_pixels(shape, _TARGETS).tolist())
    pixels = (Block(y, x, y + 1, x + 1) for y, x in places)
    return [list(row) for _, row in groupby(pixels, key=lambda pixel: pixel.y0)]


def search_bytes(images: Images, training: SparseTraining) -> int:
    """Return the decoded bytes of all chunks that a cross-validation reads, 0 without one.

    A task reads the inputs of a row of pixels at once where all see the same, else those of each pixel.
    """
    if training.folds is None:
        return 0
    pixels = 0
    for row in sample_rows(images.shape):
        for pixel in row[:1] if training.window is None else row:
            pixels += _touched(images, window_of(pixel, training.window, images.shape))
        pixels += sum(_touched(images, pixel) for pixel in row)
    return pixels * _stored_bytes(images, training)


def _bytes_written(training: SparseTraining) -> int:
    """Return the bytes of the matrix, twice since its rows are kept until it is laid out, and of the error maps.

    How many weights l1 finds depends on the data: it is taken for as many as there are images, or inputs.
    """
    n_columns = training.n_pixels if training.window is None else min(training.window**2, training.n_pixels)
    n_weights = training.most_nonzeros or min(training.n_images, n_columns)
    row = (n_weights + 1) * (np.dtype(training.dtype).itemsize + 4) + 8
    return training.n_groups * training.n_pixels * (2 * row + 16)


def _touched(images: Images, part: Block) -> int:
    return touched(part, images.chunks[1:3], images.shape)


def _stored_bytes(images: Images, training: SparseTraining) -> int:
    """Return the bytes of a pixel of all images that are decoded."""
    n_read = images.n_read(images.rows((training.source, training.target), training.split))
    return n_read * images.n_channels * images.dtype.itemsize


def _memory(images: Images, training: SparseTraining, block: Block) -> int:
    inputs = window_of(block, training.window, images.shape)
    image = images.n_channels * images.dtype.itemsize * _pixels(inputs)
    chunk = prod(images.chunks) * max(images.dtype.itemsize, images.value_itemsize)
    values = images.n_channels * images.value_itemsize * _pixels(inputs)
    # runs of chunks as they are read and decoded, and all of them put together
    reading = 2 * training.n_images * image + min(images.chunks[0], images.n_images) * image
    reading += images.chunks_in_flight * chunk + values * images_at_a_time(images.n_images, images.chunks[0], values)
    pixels = (_pixels(inputs) + _pixels(block)) * images.n_channels * images.dtype.itemsize * training.n_images
    return (
        _BASE + (_PURSUIT if training.most_nonzeros else 0) + max(reading, pixels + _columns(images, training, inputs))
    )


def _columns(images: Images, training: SparseTraining, inputs: Block) -> int:
    """Return the bytes of the columns of a regression and of what is solved from them."""
    n_columns = _pixels(inputs)
    if training.window is not None:
        n_columns = min(n_columns, (TILE_SIDE + training.window - 1) ** 2)
    n_rows = training.n_images * (images.n_channels if training.color == "shared" else 1)
    # centred, and for pursuits in float32 too; those before them are still there
    centred, as_read = 12 if training.most_nonzeros else 8, images.dtype.itemsize
    entry = centred * (2 if training.window is not None or training.n_groups > 1 else 1) + as_read
    if training.folds is not None:  # those of all folds but one, and as integers once more
        entry = max(entry, -(-2 * centred * (training.folds - 1) // training.folds) + 2 * as_read)
    columns = n_columns * n_rows * entry
    n_targets = TILE_SIDE**2
    targets = 4 * n_targets * n_rows * 8 + _CORRELATIONS * n_targets * min(n_columns, SLICE) * 8
    if training.most_nonzeros:
        basis = n_targets * min(training.most_nonzeros, n_rows) * n_rows * 8
        return columns + targets + basis + shared_bytes(n_columns, training.most_nonzeros)
    return columns + targets + min(_POOL, 3 * n_columns * (n_rows + n_columns) * 8)


def _pixels(block: Block) -> int:
    return block.shape[0] * block.shape[1]
