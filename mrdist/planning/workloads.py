"""The sizes that decide the cost of work, and quantities that do not depend on the cut."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

from mrdist.geometry import REMAINING_BYTES, ReceptiveField, Shape, pool_radius, pooled_bytes
from mrdist.planning.units import KERNEL_MEMORY

READS_IN_FLIGHT = 10  # chunks that zarr fetches and decodes at once


@dataclass(frozen=True)
class SearchSizes:
    """The sizes that decide the extra cost of a cross-validation.

    Attributes
    ----------
    fields, n_alphas, n_folds
        Of the grid.
    pools
        Of the grid: pixels on every side whose sums are pooled.
    per_pixel
        Whether every pixel chooses its penalty: the errors of all folds are then held at once.
    """

    fields: tuple[ReceptiveField, ...]
    n_alphas: int
    n_folds: int
    per_pixel: bool
    pools: tuple[int, ...] = (0,)


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
        Whether the sums are stored instead of solved: their lag maps reach beyond the block.
    n_sources, n_targets, n_mappings
        Labels that are sources, those that are targets only, and mappings between them that a block serves at once.
    n_inputs
        Channels that a system sees and predicts.
    pool
        Standard deviation in pixels over which sums are pooled, at most.
    n_incomplete
        Pixels of the image whose regressions may leave rows out.
    libraries
        Bytes of libraries that a worker loads for this method, of compiled kernels unless told otherwise.
    value_itemsize
        Bytes that a value of a linked array takes besides its pixel while it is read.
    straight
        Whether chunks are bytes that are decoded where they are summed, see `mrdist.storage.Images.reads_straight`.
    in_flight
        Chunks that a reader holds, see `mrdist.storage.Images.chunks_in_flight`.
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
    pool: int = 0
    n_incomplete: int = 0
    libraries: int = KERNEL_MEMORY
    value_itemsize: int = 0
    straight: bool = False
    in_flight: int = 2 * READS_IN_FLIGHT

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
        return self.field.halo if self.keeps_sums else pool_radius(self.pool)

    @property
    def n_rows(self) -> int:
        """Rows of every regression."""
        return self.n_images * (self.n_channels if self.n_groups == self.n_inputs == 1 else 1)


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
    pool
        Pixels on every side whose sums are pooled.
    n_incomplete
        Pixels of the image whose regressions may leave rows out, at most.
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
    pool: int = 0
    n_incomplete: int = 0


def count_maps(work: Workload | StoredSums) -> tuple[int, int]:
    """Return how many maps of all systems cover the window, and how many the block."""
    n_planes, n_pairs = work.n_groups * work.n_inputs, work.n_groups * work.n_inputs**2
    return n_pairs * work.field.n_lags + n_planes, n_pairs * work.field.n_offsets + 2 * n_planes


def left_out_bytes(work: Workload | StoredSums, pixels: int, field: ReceptiveField | None = None) -> int:
    """Return the bytes of the sums over the rows that so many pixels leave out, see `mrdist.left_out`, at most."""
    from mrdist.left_out import shapes_of_sums  # with its kernel, which plans alone do not need

    shapes = shapes_of_sums(field or work.field, n_groups=work.n_groups, n_inputs=work.n_inputs)
    return 8 * min(pixels, work.n_incomplete) * (2 + sum(map(prod, shapes.values())))


def remaining_bytes(work: Workload | StoredSums) -> int:
    """Return the bytes of what is solved again at a time, of two statistics, and of what it is made of."""
    return 10 * REMAINING_BYTES if work.n_incomplete else 0


def solution_bytes(work: Workload | StoredSums, pixels: int) -> int:
    """Return the bytes of the weights of so many pixels, as solved and as stored."""
    n_planes, n_taps = work.n_groups * work.n_inputs, work.n_inputs * work.n_offsets
    return n_planes * pixels * (n_taps + 3) * (8 + work.weight_itemsize)


def pooling_bytes(work: Workload | StoredSums) -> int:
    """Return the bytes of the systems that are pooled at a time, if any are."""
    return pooled_bytes(work.n_inputs * work.n_offsets) if work.pool else 0


def weight_bytes(work: Workload | StoredSums) -> int:
    """Return the bytes of all weights before compression."""
    n_planes, n_taps = work.n_groups * work.n_inputs, work.n_inputs * work.n_offsets
    n_mappings = work.n_mappings if isinstance(work, Workload) else 1
    n_rows = 8 if work.n_incomplete else 0
    return n_mappings * prod(work.shape) * (n_planes * ((n_taps + 1) * work.weight_itemsize + 16) + n_rows)


def chunk_bytes(workload: Workload) -> int:
    """Return the decoded bytes of a chunk of the images store."""
    return prod(workload.chunks) * workload.itemsize
