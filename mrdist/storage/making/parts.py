"""Parts of arrays whose chunks are larger than a block: kept apart by tasks, and put together when all are done.

Two tasks never write one file, so a task whose block is not made of whole chunks of an array writes into an array of
the same shape whose chunks make up blocks. Chunks of a store depend on its arrays alone, blocks on memory and workers.
"""

from __future__ import annotations

from collections.abc import Iterable
from math import gcd
from typing import Any

import numpy as np
import zarr

from mrdist.geometry import Shape, block_grid
from mrdist.storage.access.chunks import UNCOMPRESSED

_BYTES = 32 << 20  # that are put together at a time, or a chunk


def cut_by(block: Shape, arrays: Iterable[zarr.Array[Any]]) -> list[zarr.Array[Any]]:
    """Return the arrays over the pixels, axes ``y`` and ``x``, of which a block of this size cuts chunks."""
    return [array for array in arrays if "y" in _axes(array) and not _is_made_of_chunks(block, array)]


def _is_made_of_chunks(block: Shape, array: zarr.Array[Any]) -> bool:
    y = _axes(array).index("y")
    of_pixels = zip(block, array.chunks[y : y + 2], array.shape[y : y + 2], strict=True)
    return all(own % chunk == 0 or own >= side for own, chunk, side in of_pixels)


def keep_apart(room: zarr.Group, arrays: Iterable[zarr.Array[Any]], block: Shape) -> None:
    """Make room in a group for the parts of arrays; none of a block is larger than a chunk."""
    for array in arrays:
        y = _axes(array).index("y")
        of_pixels = zip(block, array.chunks[y : y + 2], array.shape[y : y + 2], strict=True)
        sides = (min(own, side) if chunk >= side else gcd(own, chunk) for own, chunk, side in of_pixels)
        room.create_array(
            array.basename,
            shape=array.shape,
            chunks=(*array.chunks[:y], *sides, *array.chunks[y + 2 :]),
            dtype=array.dtype,
            dimension_names=_axes(array),
            compressors=UNCOMPRESSED,
            config={"write_empty_chunks": True},
        )


def put_together(parts: zarr.Array[Any], array: zarr.Array[Any], first: int = 0) -> None:
    """Write an array from its parts, whole chunks at a time; of one with folds, those from ``first``."""
    y = _axes(array).index("y")
    shape: Shape = (array.shape[y], array.shape[y + 1])
    (height, width), lead = array.chunks[y : y + 2], array.chunks[:y]
    pixel = array.dtype.itemsize * int(np.prod(lead + array.chunks[y + 2 :]))
    width *= max(1, _BYTES // (pixel * height * width))
    if width >= shape[1]:
        height *= max(1, _BYTES // (pixel * height * shape[1]))
    for place in np.ndindex(*(-(-side // chunk) for side, chunk in zip(array.shape[:y], lead, strict=True))):
        before = tuple(slice(n * chunk, (n + 1) * chunk) for n, chunk in zip(place, lead, strict=True))
        if _axes(array)[0] == "fold" and before[0].start < first:
            continue
        for block in block_grid(shape, (height, width)):
            array[*before, *block.slices] = parts[*before, *block.slices]


def _axes(array: zarr.Array[Any]) -> tuple[str, ...]:
    return tuple(array.metadata.to_dict().get("dimension_names") or ())  # type: ignore[arg-type]
