"""What solving from a statistics store will read, write and hold in memory."""

from __future__ import annotations

from mrdist.geometry import Shape, block_grid, pool_radius
from mrdist.planning.cuts import Cut, fastest, find_blocks, too_large, touched
from mrdist.planning.effort import seconds_to_solve
from mrdist.planning.units import BASE_MEMORY, KERNEL_MEMORY
from mrdist.planning.workloads import (
    READS_IN_FLIGHT,
    StoredSums,
    count_maps,
    left_out_bytes,
    pooling_bytes,
    remaining_bytes,
    solution_bytes,
    weight_bytes,
)


def plan_solving(sums: StoredSums, *, max_memory: int, n_slots: int, block: Shape | None = None) -> Cut:
    """Choose the blocks for solving from a statistics store.

    Parameters and errors are those of `plan_training`.

    Returns
    -------
    Cut

    Examples
    --------
    >>> from mrdist.geometry import ReceptiveField
    >>> from mrdist.planning import DEFAULT_MEMORY
    >>> sums = StoredSums((512, 512), ReceptiveField(7), 1, 1, 4, (64, 64), 49, 4, 64)
    >>> plan_solving(sums, max_memory=DEFAULT_MEMORY, n_slots=2).block
    (256, 512)
    """
    blocks = find_blocks(sums.shape, sums.weight_chunk, block)
    cuts = [_cut_sums(sums, candidate) for candidate in blocks]
    fitting = [cut for cut in cuts if cut.peak_memory <= max_memory]
    if not fitting:
        raise too_large(blocks[-1], cuts[-1].peak_memory, max_memory, "accumulate a smaller receptive field")
    return fastest(fitting, n_slots)


def _cut_sums(sums: StoredSums, block: Shape) -> Cut:
    field, halo = sums.field, sums.field.halo
    blocks = block_grid(sums.shape, block)
    window_maps, block_maps = count_maps(sums)
    height, width = (side + 2 * pool_radius(sums.pool) for side in block)
    maps = window_maps * (height + field.reach) * (width + field.reach) + block_maps * height * width
    entry = sums.itemsize
    # The sums of an entry as read and padded, and the total to which they are added; or those and a smaller field's.
    left_out = left_out_bytes(sums, block[0] * block[1])
    statistics = (entry * maps + left_out) * (2 if sums.n_folds == 1 else 3)
    solving = solution_bytes(sums, block[0] * block[1]) + pooling_bytes(sums) + remaining_bytes(sums)
    lag_maps = field.n_lags * sums.n_inputs**2
    reading = READS_IN_FLIGHT * 2 * sums.chunks[0] * sums.chunks[1] * lag_maps * sums.itemsize
    decoded = sum(
        window_maps * touched(part.grown(halo + pool_radius(sums.pool)).clipped(sums.shape), sums.chunks, sums.shape)
        + block_maps * touched(part.lenders(sums.pool, sums.shape), sums.chunks, sums.shape)
        for part in blocks
    )
    bytes_read = sums.n_folds * entry * decoded
    return Cut(
        block=block,
        n_blocks=len(blocks),
        peak_memory=BASE_MEMORY + KERNEL_MEMORY + max(statistics + reading, (entry * maps + left_out) * 2 + solving),
        bytes_read=bytes_read,
        bytes_written=weight_bytes(sums),
        seconds_alone=seconds_to_solve(sums, bytes_read),
    )
