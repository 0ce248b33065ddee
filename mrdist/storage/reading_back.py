"""Verify what an interrupted run has left: a done marker says that a block was written, not that it is still there.

Since then, a power failure, a disk or an object store may have lost or damaged chunks. Every chunk ends with a
checksum, so to read it is to verify it. All functions here read what belongs to one block of a store in the making, and
raise MissingChunkError or DamagedChunkError if it is missing or not what was written.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import zarr

from mrdist.geometry import Block
from mrdist.storage.access.urls import StorageOptions, open_as_is, store_errors
from mrdist.storage.images.face_frame import DIMENSIONS
from mrdist.storage.making.progress import Progress, find_search
from mrdist.storage.weights.cross_validation import SearchOutput
from mrdist.storage.weights.sparse import kept_parts


def read_back(url: str, options: StorageOptions, index: int, block: Block) -> None:
    """Read a block's chunks of all arrays over the pixels, of a store of any kind and layout."""
    with store_errors(url):
        group = open_as_is(url, options)
        progress = Progress.find(group)
        assert progress is not None
        first_fold = progress.task.get("first_fold", 0)
        for array, names in _arrays(group, progress):
            # the face frame is written after all blocks, and again by the run that completes the store
            if {"y", "x"} <= set(names) and array.basename not in DIMENSIONS:
                of_axis: dict[str, Any] = dict(zip("yx", block.slices, strict=True))
                first, *rest = (of_axis.get(name, slice(None)) for name in names)
                # fold by fold, as they were written: all of them might not fit into memory
                for place in range(first_fold, array.shape[0]) if names[0] == "fold" else (first,):
                    array[(place, *rest)]
        for part in kept_parts(group, index):
            part[...]


def read_back_search(url: str, options: StorageOptions, index: int, block: Block) -> None:
    """Read what the first phase of a cross-validation has kept of a block."""
    with store_errors(url):
        group = open_as_is(url, options)
        progress = find_search(group)
        assert progress is not None
        SearchOutput(url, group, progress).read_back(index, block)


def read_back_sums(url: str, options: StorageOptions, index: int, block: Block) -> None:
    """Read what the first pass of a method that sees the whole image has kept of a block."""
    with store_errors(url):
        group = open_as_is(url, options)
        progress = Progress.find(group)
        assert progress is not None
        for array, names in _arrays(group, progress):
            if names[:1] == ("image",):
                array[:, *block.slices]
        sums = group["progress/gram"]
        assert isinstance(sums, zarr.Group)
        for name, array in sums.arrays():
            if name != "summed":
                array[index]


def _arrays(group: zarr.Group, progress: Progress) -> Iterator[tuple[zarr.Array[Any], Sequence[str]]]:
    """Yield what blocks were written to, arrays of the store or their parts, each with the names of its axes."""
    for name, array in group.arrays():
        written = progress.array(group, name) if name in progress.apart else array
        yield written, tuple(array.metadata.to_dict().get("dimension_names") or ())  # type: ignore[arg-type]
