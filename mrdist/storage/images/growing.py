"""Growing an images store: whatever interrupts it, readers see either the old store or the new one.

Readers use the consolidated metadata of the root, so the arrays can grow behind it. A chunk that old and new images
share is replaced by one that holds the same old images, and the last write replaces the root.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import zarr

from mrdist.errors import StoreFormatError
from mrdist.geometry import Block
from mrdist.storage.access.urls import check_format, commit, open_group, redact, remove_partial_files, store_errors
from mrdist.storage.images.reader import Images
from mrdist.storage.images.writer import write_rows

_KEPT = ("image", "subject", "dataset", "split", "present")


@dataclass(frozen=True)
class Addition:
    """New images that lie in one run of chunks of a store.

    Attributes
    ----------
    start
        Row of the first image of the run.
    n_old
        Images of the run that are in the store already.
    first, last
        The new ones among all new images, the last not included.
    """

    start: int
    n_old: int
    first: int
    last: int


def additions(images: Images, n_new: int) -> Iterator[Addition]:
    """Cut new images into runs that fill chunks: to 6 images in chunks of 4, 7 more come as 2, 4 and 1."""
    run, total = images.chunks[0], images.n_images + n_new
    for start in range(images.n_images // run * run, total, run):
        n_old = max(images.n_images - start, 0)
        first = start + n_old - images.n_images
        yield Addition(start, n_old, first, min(start + run, total) - images.n_images)


def check_growth(images: Images) -> None:
    """Make sure that a store has room for what is kept of every image.

    Raises
    ------
    StoreFormatError
        If it lacks an array for that, as one written by hand may.
    """
    with store_errors(images.url):
        there = {name for name, _ in _per_image(open_group(images.url, images.storage_options))}
    missing = [name for name in (*_KEPT, *images.labels) if name not in there]
    if missing:
        raise StoreFormatError(
            f"{redact(images.url)} has no {' and no '.join(missing)} with the dimension image, so nothing can be "
            f"appended; copy it with `mrdist rechunk {redact(images.url)} OUT` and append to the copy."
        )


def begin_growth(images: Images, n_new: int) -> None:
    """Make room for new images, also after an interrupted growth; no reader notices."""
    remove_partial_files(images.url)
    with store_errors(images.url):
        group = open_group(images.url, images.storage_options, write=True)
        for _, array in _per_image(group):
            array.resize((images.n_images + n_new, *array.shape[1:]))


def write_addition(
    images: Images, label: str, addition: Addition, new: npt.NDArray[np.generic]
) -> npt.NDArray[np.uint32]:
    """Write new images beside the old ones of their chunks and return the checksum of each."""
    old = images.reader().read(label, addition.start, addition.start + addition.n_old, Block(0, 0, *images.shape))
    both = np.concatenate([old, new]) if addition.n_old else new
    return write_rows(images.url, label, addition.start, both, images.storage_options)[addition.n_old :]


def finish_growth(
    images: Images, values: Mapping[str, Sequence[Any] | npt.NDArray[Any]], provenance: Mapping[str, Any]
) -> None:
    """Write what the store keeps of every image, and then let readers see it.

    Parameters
    ----------
    images
        The store as it was.
    values
        By the name of the array, one for each new image; arrays that the store lacks are not written.
    provenance
        Of the store from now on.
    """
    with store_errors(images.url):
        group = open_group(images.url, images.storage_options, write=True)
        for name, array in _per_image(group):
            if name not in images.labels:
                array = array.with_config({"write_empty_chunks": True})
                new = values[name]
                is_text = array.dtype.kind in "TO"
                array[images.n_images :] = np.array(new, dtype=np.dtypes.StringDType()) if is_text else np.asarray(new)
        commit(group, images.url, {**check_format(group, images.url), "provenance": dict(provenance)})


def _per_image(group: zarr.Group) -> Iterator[tuple[str, zarr.Array[Any]]]:
    for name, array in group.arrays():
        names = array.metadata.to_dict().get("dimension_names") or ()
        if next(iter(names), None) == "image":  # type: ignore[arg-type]
            yield name, array
