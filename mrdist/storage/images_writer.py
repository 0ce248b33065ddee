"""Images stores in the making: created, written window by window and completed."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from mrdist.errors import ParameterError
from mrdist.geometry import Block, Shape
from mrdist.storage.images_layout import DIMENSIONS, RESERVED
from mrdist.storage.urls import (
    COMPRESSORS,
    FORMAT_VERSION,
    StorageOptions,
    array_of,
    check_format,
    clear_output,
    commit,
    create_group,
    open_group,
    store_errors,
    write_array,
    write_strings,
)

_MAX_CHUNK = 2 << 20  # decoded bytes: large enough for object storage, small enough for a block's memory
_MAX_RUN = 128 << 20  # whole images that a writing task may hold to fill its chunks,
_MIN_RUN = 16  # or four times as much for so many: a kernel that meets few images at a time moves sums most of its time


def default_chunks(n_images: int, shape: Shape, n_channels: int, itemsize: int) -> tuple[int, int, int, int]:
    """Return a chunk shape good to train from: many images of a small window.

    A task that writes must own whole chunks, so the images of one chunk are bounded by the memory they take
    whole; the window then fills the chunk up to 2 MiB.

    Examples
    --------
    >>> default_chunks(1000, (512, 512), 3, 1)
    (128, 64, 64, 3)
    """
    image_bytes = shape[0] * shape[1] * n_channels * itemsize
    run = min(256, max(4, min(_MIN_RUN, 4 * _MAX_RUN // image_bytes), _MAX_RUN // image_bytes))
    run = min(max(n_images, 1), 1 << (run.bit_length() - 1))
    side = min(int((_MAX_CHUNK / (run * n_channels * itemsize)) ** 0.5), max(shape) // 2)  # of a small image a part
    # a power of two, as the chunks of the weights have, so that blocks end where chunks do
    side = min(256, max(32, 1 << (side.bit_length() - 1)))
    return run, min(side, shape[0]), min(side, shape[1]), n_channels


def chunk_shape(
    n_images: int, shape: Shape, n_channels: int, itemsize: int, chunks: tuple[int, int, int] | None = None
) -> tuple[int, int, int, int]:
    """Return `default_chunks`, or ``chunks`` (images, rows and columns) cut down to the arrays' size.

    Raises
    ------
    ParameterError
        If a number of ``chunks`` is not positive.

    Examples
    --------
    >>> chunk_shape(10, (32, 48), 3, 1, (64, 64, 16))
    (10, 32, 16, 3)
    """
    if chunks is None:
        return default_chunks(n_images, shape, n_channels, itemsize)
    if min(chunks) < 1:
        raise ParameterError(f"chunks must be positive, got {chunks}.")
    return min(chunks[0], n_images), min(chunks[1], shape[0]), min(chunks[2], shape[1]), n_channels


def check_labels(labels: Sequence[str]) -> None:
    """Make sure that labels can be names of arrays.

    Raises
    ------
    ParameterError
        If one is a reserved name or no identifier.
    """
    for label in labels:
        if label in RESERVED or not label.isidentifier():
            raise ParameterError(
                f"{label!r} cannot be a label: use letters, digits and underscores, and none of "
                f"{', '.join(sorted(RESERVED))}."
            )


def create_images(
    url: str,
    *,
    labels: Sequence[str],
    image: Sequence[str],
    subject: Sequence[str],
    dataset: Sequence[str],
    split: Sequence[str],
    shape: Shape,
    n_channels: int,
    dtype: npt.DTypeLike = np.uint8,
    chunks: tuple[int, int, int] | None = None,
    overwrite: bool = False,
    storage_options: StorageOptions = None,
) -> tuple[int, int, int, int]:
    """Create an images store without pixels; `write_images` and `finish_images` complete it.

    Parameters
    ----------
    url, storage_options
        Where.
    labels
        Expressions, one array each.
    image, subject, dataset, split
        Per row: id, person, source and one of train, val and test.
    shape
        Height and width in pixels.
    chunks
        Images, rows and columns of a chunk, see `chunk_shape`.
    overwrite
        Replace a complete store.

    Returns
    -------
    tuple of int
        The chunk shape (image, y, x, channel).

    Raises
    ------
    ParameterError
        If a label is a reserved name or ``chunks`` are not positive.
    StoreExistsError
        If there is something at ``url`` that may not be replaced.
    """
    check_labels(labels)
    n_images = len(image)
    full = (n_images, *shape, n_channels)
    shape_of_chunk = chunk_shape(n_images, shape, n_channels, np.dtype(dtype).itemsize, chunks)
    clear_output(url, storage_options, kind="images", overwrite=overwrite)
    attributes = {
        "kind": "images",
        "format_version": FORMAT_VERSION,
        "complete": False,
        "labels": list(labels),
    }
    with store_errors(url):
        group = create_group(url, storage_options, attributes)
        group.attrs["coordinates"] = "subject dataset split"
        for name, values in (("image", image), ("subject", subject), ("dataset", dataset), ("split", split)):
            write_strings(group, name, values, "image", n_images)
        write_strings(group, "label", labels, "label", len(labels))
        for name, kind in (("present", "bool"), ("checksum", "uint32")):
            group.create_array(
                name,
                shape=(n_images, len(labels)),
                chunks=(max(n_images, 1), len(labels)),
                dtype=kind,
                dimension_names=("image", "label"),
                compressors=COMPRESSORS,
                config={"write_empty_chunks": True},
            )
        for label in labels:
            group.create_array(
                label,
                shape=full,
                chunks=shape_of_chunk,
                dtype=np.dtype(dtype),
                dimension_names=DIMENSIONS,
                compressors=COMPRESSORS,
                config={"write_empty_chunks": True},
            )
    return shape_of_chunk


def write_images(
    url: str, label: str, start: int, images: npt.NDArray[np.generic], storage_options: StorageOptions = None
) -> npt.NDArray[np.uint32]:
    """Write rows ``start, start + 1, ...`` of a label and return the checksum of each image."""
    write_window(url, label, start, Block(0, 0, *images.shape[1:3]), images, storage_options)
    return np.array([zlib.crc32(np.ascontiguousarray(image).tobytes()) for image in images], dtype=np.uint32)


def write_window(
    url: str,
    label: str,
    start: int,
    block: Block,
    pixels: npt.NDArray[np.generic],
    storage_options: StorageOptions = None,
) -> None:
    """Write the pixels in ``block`` of rows ``start, start + 1, ...`` of a label.

    The window must fill whole chunks (or reach the end) along all axes, since two tasks must never share a chunk.
    """
    stop = start + len(pixels)
    with store_errors(url):
        group = open_group(url, storage_options, write=True)
        array = array_of(group, label)
        bounds = ((start, stop), (block.y0, block.y1), (block.x0, block.x1))
        for (first, last), chunk, size in zip(bounds, array.chunks, array.shape, strict=False):
            assert first % chunk == 0
            assert last % chunk == 0 or last == size
        array = array.with_config({"write_empty_chunks": True})
        array[start:stop, *block.slices] = pixels


def finish_images(
    url: str,
    *,
    present: npt.NDArray[np.bool_],
    checksum: npt.NDArray[np.uint32],
    face_mask: npt.NDArray[np.bool_],
    provenance: dict[str, Any],
    storage_options: StorageOptions = None,
) -> None:
    """Write what is known only after all pixels and mark the store complete."""
    with store_errors(url):
        group = open_group(url, storage_options, write=True)
        array_of(group, "present")[...] = present
        array_of(group, "checksum")[...] = checksum
        write_array(group, "face_mask", face_mask, "y", "x")
        commit(group, url, {**check_format(group, url), "complete": True, "provenance": provenance})
