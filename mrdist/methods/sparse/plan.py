"""How training l1 and l0 is cut into blocks, and what it holds in memory."""

from __future__ import annotations

from mrdist.baselines.omp import shared_bytes
from mrdist.baselines.sparse import TILE_SIDE, window_of
from mrdist.errors import MemoryLimitError
from mrdist.geometry import Block, Shape, block_grid
from mrdist.planning import BASE_MEMORY, MIB, Cut, whole_block
from mrdist.storage import Images
from mrdist.storage.outputs import chunk_side
from mrdist.storage.sparse_weights import SparseTraining

_SIDE = 32  # of a block in pixels, where there are enough of them for all workers
_WORK = 96 * MIB  # a tile's correlations, working sets and Gram matrix


def plan_sparse(
    images: Images, training: SparseTraining, *, max_memory: int, n_slots: int, block: Shape | None = None
) -> Cut:
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
    Cut

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
        if len(blocks) >= 2 * n_slots:
            break
    needed = max(_memory(images, training, part) for part in blocks)
    if needed > max_memory:
        what = "the whole source images" if training.window is None else f"windows of {training.window} pixels"
        raise MemoryLimitError(
            f"training by {training.method} on {what} of {training.n_images} pairs of {training.height} x "
            f"{training.width} pixels needs {-(-needed // MIB)} MiB in a worker ({BASE_MEMORY // MIB} MiB of them "
            f"before any work), but max_memory is {max_memory // MIB} MiB; raise --max-memory or limit the inputs by a "
            "smaller --window."
        )
    pixels = sum(_pixels(window_of(part, training.window, images.shape)) + _pixels(part) for part in blocks)
    n_read = images.n_read(images.rows((training.source, training.target), training.split))
    return Cut(
        block=chosen,
        n_blocks=len(blocks),
        peak_memory=needed,
        bytes_read=n_read * pixels * images.n_channels * images.dtype.itemsize,
        bytes_written=training.n_groups * training.n_pixels * (training.most_nonzeros or training.n_images) * 8,
    )


def _memory(images: Images, training: SparseTraining, block: Block) -> int:
    inputs = window_of(block, training.window, images.shape)
    pixel = images.n_channels * images.dtype.itemsize
    # the pixels of all pairs, and a run of stored images as it is read and decoded
    held = (_pixels(inputs) + _pixels(block)) * pixel * (training.n_images + 2 * images.chunks[0])
    n_columns = _pixels(inputs)
    if training.window is not None:
        n_columns = min(n_columns, (TILE_SIDE + training.window - 1) ** 2)
    n_rows = training.n_images * (images.n_channels if training.color == "shared" else 1)
    columns = n_columns * n_rows * (8 + 8 + 4)  # centred, on the way there, and in float32
    if training.folds is not None:  # once more as integers, those of the other folds and of one
        columns += n_columns * n_rows * 2 * images.dtype.itemsize
    gram = shared_bytes(n_columns, training.most_nonzeros) if training.most_nonzeros else 0
    return BASE_MEMORY + _WORK + held + columns + gram


def _pixels(block: Block) -> int:
    return block.shape[0] * block.shape[1]
