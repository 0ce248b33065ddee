"""How training on whole images is cut into blocks, and what it holds in memory."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import prod

import numpy as np

from mrdist.errors import MemoryLimitError
from mrdist.geometry import Shape, block_grid, images_at_a_time
from mrdist.planning import BASE_MEMORY, MIB, Plan, whole_block
from mrdist.planning.effort import DECODE_SECONDS, PRODUCT_SECONDS
from mrdist.storage import Images
from mrdist.storage.weights.output import chunk_side
from mrdist.storage.weights.whole import GlobalTraining

_DECOMPOSED = 100  # an eigenvalue decomposition against a product of matrices of its size
_HEAP = 24 * MIB  # that lie between arrays, and copies of large chunks that are written: measured
_TILE_BYTES = 4096 * 8  # of a row, see mrdist.baselines.dual


@dataclass(frozen=True)
class GlobalSizes:
    """The sizes that decide the cost of a training on whole images.

    Attributes
    ----------
    training
        What is trained.
    chunks, itemsize, n_stored
        Of the images: chunk shape, bytes of a number, and images in all chunks that are read.
    summed
        Labels whose inner products are summed.
    value_itemsize
        Bytes that a value of a linked array takes besides its pixel while it is read.
    in_flight
        Chunks that a reader holds, see `mrdist.storage.Images.chunks_in_flight`.
    """

    training: GlobalTraining
    chunks: tuple[int, int, int, int]
    itemsize: int
    n_stored: int
    summed: int
    value_itemsize: int
    in_flight: int

    @classmethod
    def of(cls, images: Images, rows_read: int, training: GlobalTraining, summed: int) -> GlobalSizes:
        """Return the sizes of a training on an images store of which ``rows_read`` images are decoded."""
        sizes = images.chunks, images.dtype.itemsize, rows_read, summed, images.value_itemsize, images.chunks_in_flight
        return cls(training, *sizes)

    @property
    def labels(self) -> int:
        """How many times a label is read: for its inner products, and for the weights, of components the source too."""
        return self.summed + 1 + (self.training.components is not None)

    @property
    def matrices(self) -> int:
        """Bytes of a matrix of the training rows, a group each."""
        return 8 * self.training.n_groups * self.training.n_rows**2

    def peak_memory(self, block: Shape) -> int:
        """Return the expected peak of resident bytes of a process that works on blocks of this size."""
        training, side = self.training, chunk_side(self.training.shape)
        image = training.n_channels * self.itemsize
        pixels = prod(block)
        # a block's images and once more by row; floats as integers too, and both labels where both are summed
        copies = 2 + (self.itemsize > 2 or self.summed > 1)
        copies += training.components is None  # which keeps the images, too
        run = min(self.chunks[0], self.n_stored)
        held = pixels * image * (copies * training.n_images + run)
        values = pixels * training.n_channels * self.value_itemsize
        reading = self.in_flight * prod(self.chunks) * max(self.itemsize, self.value_itemsize)
        reading += values * images_at_a_time(run, self.chunks[0], values)
        kept = 3 if training.components is not None else 6  # measured
        summing = 3 * training.n_rows * _TILE_BYTES + (kept + self.summed) * self.matrices
        itemsize = np.dtype(training.dtype).itemsize
        rows = min(block[0], max(side, training.rows_of_a_chunk))
        strip = training.n_groups * training.n_components * rows * block[1] * itemsize
        small = training.n_groups * pixels * (16 + itemsize)
        tile = 8 * side**2 * (2 * training.n_rows + 3 * training.n_components)
        solving = 3 * strip + small + tile + 2 * self.matrices
        writing = 4 * strip + _HEAP
        return BASE_MEMORY + held + reading + writing + max(summing, solving)

    def bytes_written(self, n_blocks: int) -> int:
        """Return the bytes of the weights, and of the inner products of every block that they are solved from."""
        training, itemsize = self.training, np.dtype(self.training.dtype).itemsize
        codes = training.n_components * itemsize
        maps = training.n_groups * (codes + itemsize + 16)
        if training.components is None:
            basis, solved = training.n_images * training.n_channels * self.itemsize, self.matrices
        else:
            basis, solved = training.n_groups * codes, 0
        return prod(training.shape) * (maps + basis) + solved + n_blocks * self.summed * self.matrices

    def seconds(self, bytes_read: int) -> float:
        """Return what one process takes: inner products, decompositions of all rows and of those of folds, weights."""
        training = self.training
        products = self.labels * training.n_groups * training.n_rows**2 * prod(training.shape)
        n_solved = training.n_groups * (1 + (training.folds or 0))
        decomposing = _DECOMPOSED * n_solved * self.summed * training.n_rows**3
        return DECODE_SECONDS * bytes_read + PRODUCT_SECONDS * (products + decomposing)

    @property
    def barrier_memory(self) -> int:
        """Return what this process holds between the passes: sums, eigenvectors, their workspace and those of folds."""
        return BASE_MEMORY + 4 * (1 + self.summed) * self.matrices


def plan_global(sizes: GlobalSizes, *, max_memory: int, n_slots: int, block: Shape | None = None) -> Plan:
    """Choose the blocks: the largest that fit and keep all slots at work.

    Parameters
    ----------
    sizes
        Of images and training.
    max_memory
        Limit on the resident bytes of one process.
    n_slots
        Tasks that run at once.
    block
        Height and width to use instead, rounded up to whole chunks of the weights store.

    Returns
    -------
    Plan

    Raises
    ------
    ParameterError
        If ``block`` is not a height and a width in pixels.
    MemoryLimitError
        If even the smallest block, or the matrices of the training rows, need more than ``max_memory``.
    """
    training = sizes.training
    if sizes.barrier_memory > max_memory:
        raise MemoryLimitError(
            f"the matrices of {training.n_rows} training rows need {-(-sizes.barrier_memory // MIB)} MiB between the "
            f"two passes ({BASE_MEMORY // MIB} MiB of them before any work), but max_memory is {max_memory // MIB} "
            "MiB; raise --max-memory or train on fewer images."
        )
    side = chunk_side(training.shape)
    blocks = _blocks(training.shape, side) if block is None else [whole_block(training.shape, side, block)]
    cuts = [_cut(sizes, each) for each in blocks]
    fitting = [cut for cut in cuts if cut.peak_memory <= max_memory]
    if not fitting:
        smallest = cuts[-1]
        raise MemoryLimitError(
            f"a block of {smallest.block[0]} x {smallest.block[1]} pixels of {training.n_images} images needs "
            f"{-(-smallest.peak_memory // MIB)} MiB in a worker ({BASE_MEMORY // MIB} MiB of them before any work), "
            f"but max_memory is {max_memory // MIB} MiB; raise --max-memory, train on fewer images or rechunk them."
        )
    return next((cut for cut in fitting if cut.n_blocks >= 2 * n_slots), fitting[-1])


def _blocks(shape: Shape, side: int) -> Iterator[Shape]:
    """Blocks of whole chunks, largest first: whole rows as long as they are more than one chunk high."""
    height, width = whole_block(shape, side, shape)
    yield height, width
    while height > side or width > side:
        if height > side:
            height = -(-height // 2 // side) * side
        else:
            width = -(-width // 2 // side) * side
        yield height, width


def _cut(sizes: GlobalSizes, block: Shape) -> Plan:
    training = sizes.training
    image = training.n_channels * sizes.itemsize
    (height, width), decoded = sizes.chunks[1:3], 0
    blocks = block_grid(training.shape, block)
    for part in blocks:
        y0, x0 = part.y0 // height * height, part.x0 // width * width
        y1, x1 = -(-part.y1 // height) * height, -(-part.x1 // width) * width
        decoded += (min(y1, training.height) - y0) * (min(x1, training.width) - x0)
    bytes_read = sizes.labels * decoded * sizes.n_stored * image
    return Plan(
        block=block,
        n_blocks=len(blocks),
        slab=min(sizes.chunks[0], sizes.n_stored),
        peak_memory=sizes.peak_memory(block),
        bytes_read=bytes_read,
        bytes_needed=2 * prod(training.shape) * training.n_images * image,
        bytes_written=sizes.bytes_written(len(blocks)),
        advice=None,
        seconds_alone=sizes.seconds(bytes_read),
    )
