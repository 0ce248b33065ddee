"""Images stores in the making: created, written window by window and completed."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import zarr

from mrdist.arguments import Address, plain_arguments
from mrdist.codecs import check_codec
from mrdist.errors import ParameterError, StoreExistsError
from mrdist.geometry import Block, Shape
from mrdist.storage.access.arrays import ArraySpec, create_arrays, write_array, write_strings
from mrdist.storage.access.urls import (
    StorageOptions,
    array_of,
    beginning,
    check_format,
    clear_output,
    commit,
    normalize_url,
    open_as_is,
    open_group,
    redact,
    store_errors,
)
from mrdist.storage.images.layout import DIMENSIONS, RESERVED, check_sizes
from mrdist.storage.images.pixels import ImageReader, crc_of_images
from mrdist.values import unit_of

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
    check_sizes("chunks", chunks, "images, rows and columns")
    return min(chunks[0], n_images), min(chunks[1], shape[0]), min(chunks[2], shape[1]), n_channels


def check_labels(labels: Any) -> None:
    """Make sure that labels can be names of arrays.

    Raises
    ------
    ParameterError
        If there are none, or one is a reserved name, no identifier or there twice.
    """
    if not labels:
        raise ParameterError("labels must be a list of at least one name, got none.")
    for n, label in enumerate(labels):
        if label in labels[:n]:
            raise ParameterError(f"labels holds {label!r} twice; give every label once.")
        if label in RESERVED or not str(label).isidentifier():
            raise ParameterError(
                f"{label!r} cannot be a label: use letters, digits and underscores, and none of "
                f"{', '.join(sorted(RESERVED))}."
            )


@plain_arguments
def create_images(
    url: Address,
    *,
    labels: Sequence[str],
    image: Sequence[str],
    subject: Sequence[str] | None = None,
    dataset: Sequence[str] | None = None,
    split: Sequence[str] | None = None,
    shape: Shape,
    n_channels: int = 3,
    dtype: npt.DTypeLike = np.uint8,
    chunks: tuple[int, int, int] | None = None,
    codec: str | None = None,
    overwrite: bool = False,
    storage_options: StorageOptions = None,
) -> tuple[int, int, int, int]:
    """Create an images store without pixels; `write_images` and `finish_images` complete it.

    Parameters
    ----------
    url, storage_options
        Path or fsspec URL, and options of the fsspec filesystem.
    labels
        Expressions, one array each.
    image
        Ids of the rows, all different. All labels share the rows: row n of ``neutral`` and row n of ``happy`` are a
        pair.
    subject, dataset, split
        Per row: the person, by default a person for each row; where it comes from, by default nothing; and one of
        train, val and test, by default train.
    shape
        Height and width in pixels.
    n_channels
        3 for RGB, 1 for gray.
    dtype
        uint8, uint16 (0 is black, the largest value white) or a float, whose pixels lie in 0..1.
    chunks
        Images, rows and columns of a chunk, see `chunk_shape`.
    codec
        Of the chunks, one of `mrdist.codecs.CODECS`; ``"zstd:1"`` by default.
    overwrite
        Replace a complete store.

    Returns
    -------
    tuple of int
        The chunk shape (image, y, x, channel).

    Raises
    ------
    ParameterError
        If a label is a reserved name, ``chunks`` are not positive, there is no such ``codec``, or the rows' lists
        differ in length.
    DataError
        If images of this dtype have no agreed meaning.
    StoreExistsError
        If ``url`` holds something else, or a complete store and ``overwrite`` is False.

    Examples
    --------
    Twelve people of random pixels, without and with a smile:

    >>> import tempfile
    >>> import mrdist
    >>> url, rng = tempfile.mkdtemp() + "/faces.zarr", np.random.default_rng(0)
    >>> people, labels = [f"person-{n}" for n in range(12)], ("neutral", "happy")
    >>> run, *_ = mrdist.create_images(url, labels=labels, image=people, shape=(32, 32), n_channels=1)
    >>> for label in labels:
    ...     for start in range(0, 12, run):  # whole chunks of the image axis
    ...         pixels = rng.integers(0, 256, (min(run, 12 - start), 32, 32, 1), dtype=np.uint8)
    ...         checksum = mrdist.write_images(url, label, start, pixels)
    >>> mrdist.finish_images(url)
    >>> mrdist.open_images(url)["happy"].shape
    (12, 32, 32, 1)
    """
    url = normalize_url(url)
    codec = check_codec(codec)
    check_labels(labels)
    check_sizes("shape", shape, "rows and columns")
    if n_channels < 1:
        raise ParameterError(f"n_channels must be at least 1, got {n_channels}.")
    try:
        unit_of(dtype)
    except TypeError:
        raise ParameterError(f"dtype must be uint8, uint16 or a float, got {dtype!r}.") from None
    n_images = len(image)
    if not n_images:
        raise ParameterError("image must have at least one id, got none.")
    subject = image if subject is None else subject
    dataset = [""] * n_images if dataset is None else dataset
    split = ["train"] * n_images if split is None else split
    for name, values in (("subject", subject), ("dataset", dataset), ("split", split)):
        if len(values) != n_images:
            raise ParameterError(f"{name} must have one entry for each of the {n_images} images, got {len(values)}.")
    shape_of_chunk = chunk_shape(n_images, shape, n_channels, np.dtype(dtype).itemsize, chunks)
    clear_output(url, storage_options, kind="images", overwrite=overwrite)
    with beginning(url, storage_options, "images", codec=codec, labels=list(labels)) as group:
        group.attrs["coordinates"] = "subject dataset split"
        for name, values in (("image", image), ("subject", subject), ("dataset", dataset), ("split", split)):
            write_strings(group, name, values, "image", n_images)
        write_strings(group, "label", labels, "label", len(labels))
        of_each = {"image": n_images, "label": len(labels)}
        create_arrays(group, [ArraySpec("present", of_each, np.bool_), ArraySpec("checksum", of_each, np.uint32)])
        pixels = dict(zip(DIMENSIONS, (n_images, *shape, n_channels), strict=True))
        create_arrays(group, [ArraySpec(label, pixels, dtype, shape_of_chunk) for label in labels])
    return shape_of_chunk


@plain_arguments
def write_images(
    url: Address, label: str, start: int, images: npt.NDArray[np.generic], storage_options: StorageOptions = None
) -> npt.NDArray[np.uint32]:
    """Write rows ``start, start + 1, ...`` of a label and return the checksum of each image.

    Several processes may write at once, each its own rows.

    Parameters
    ----------
    url, storage_options
        A store that `create_images` has made.
    label
        One of its labels.
    start
        The first row, at which a chunk of the image axis begins.
    images
        Shape (image, y, x, channel) and dtype of the store, up to the end of a chunk or of the store.

    Returns
    -------
    uint32 array of shape (image,)
        CRC-32 of each image's bytes, for `finish_images`.

    Raises
    ------
    ParameterError
        If the images do not fit the store, or the rows not its chunks, or there is no such label.
    StoreExistsError
        If the store is complete.
    StoreError
        If the store cannot be written.

    Examples
    --------
    See `create_images`.
    """
    images, url = np.asarray(images), normalize_url(url)
    if images.ndim != len(DIMENSIONS):
        raise ParameterError(f"images must have the axes ({', '.join(DIMENSIONS)}), got shape {images.shape}.")
    with store_errors(url):
        attribute = check_format(open_group(url, storage_options), url)
    if attribute["complete"]:
        raise StoreExistsError(
            f"{redact(url)} is complete, and its images stay as they are; write another store, or this one anew with "
            "mrdist.create_images(..., overwrite=True)."
        )
    if label not in attribute["labels"]:
        raise ParameterError(f"label must be one of {', '.join(attribute['labels'])} for {redact(url)}, got {label!r}.")
    return write_rows(url, label, start, images, storage_options)


def write_rows(
    url: str, label: str, start: int, images: npt.NDArray[np.generic], storage_options: StorageOptions = None
) -> npt.NDArray[np.uint32]:
    """Do what `write_images` does, also in a store that readers see as complete while it grows."""
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

    Raises
    ------
    ParameterError
        If it does not, or the pixels do not fit the store.
    """
    stop = start + len(pixels)
    with store_errors(url):
        group = open_group(url, storage_options, write=True)
        array = array_of(group, label)
        _check_fit(f"{redact(url)}/{label}", array, start, block, pixels)
        array = array.with_config({"write_empty_chunks": True})
        array[start:stop, *block.slices] = pixels


def _check_fit(place: str, array: zarr.Array[Any], start: int, block: Block, pixels: npt.NDArray[np.generic]) -> None:
    bounds = ((start, start + len(pixels)), (block.y0, block.y1), (block.x0, block.x1))
    if pixels.dtype != array.dtype:
        raise ParameterError(f"images for {place} must be {array.dtype}, as the store is, got {pixels.dtype}.")
    if pixels.shape[1:] != (*block.shape, array.shape[3]) or any(
        first < 0 or last > size for (first, last), size in zip(bounds, array.shape, strict=False)
    ):
        raise ParameterError(
            f"images of shape {pixels.shape} from row {start} on do not fit {place}, which has the shape {array.shape}."
        )
    for axis, (first, last), chunk, size in zip(DIMENSIONS, bounds, array.chunks, array.shape, strict=False):
        if first % chunk or (last % chunk and last != size):
            raise ParameterError(
                f"images for {place} must fill whole chunks, which have {chunk} along the axis {axis}, got "
                f"{first} to {last - 1}; begin at a multiple of {chunk} and end before one, or at {size - 1}."
            )


@plain_arguments
def finish_images(
    url: Address,
    *,
    present: npt.NDArray[np.bool_] | None = None,
    checksum: npt.NDArray[np.uint32] | None = None,
    face_mask: npt.NDArray[np.bool_] | None = None,
    provenance: dict[str, Any] | None = None,
    storage_options: StorageOptions = None,
) -> None:
    """Write what is known only after all pixels and mark the store complete.

    Parameters
    ----------
    url, storage_options
        A store that `create_images` has made and `write_images` has filled.
    present
        Which images are there, shape (image, label); all by default. Absent images need pixels, too, but their values
        do not matter.
    checksum
        What `write_images` has returned, shape (image, label). By default the store is read once more for it.
    face_mask
        Which pixels are face, shape (y, x); all by default.
    provenance
        Where the images come from, fit for JSON.

    Raises
    ------
    ParameterError
        If an array has another shape.
    StoreError
        If the store cannot be written, or some of its images were never written.

    Examples
    --------
    See `create_images`.
    """
    url = normalize_url(url)
    with store_errors(url):
        group = open_group(url, storage_options, write=True)
        labels: list[str] = check_format(group, url)["labels"]
        images = array_of(group, labels[0])
        n_images, *shape = images.shape[:3]
        present = np.ones((n_images, len(labels)), dtype=bool) if present is None else np.asarray(present)
        face_mask = np.ones(shape, dtype=bool) if face_mask is None else np.asarray(face_mask)
        if checksum is None:
            reader, run = ImageReader(url, open_as_is(url, storage_options)), images.chunks[0]
            sums = [
                crc_of_images(reader, label, start, min(start + run, n_images), (shape[0], shape[1]), images.chunks[1])
                for label in labels
                for start in range(0, n_images, run)
            ]
            checksum = np.concatenate(sums).reshape(len(labels), n_images).T.astype(np.uint32)
        for name, values, wanted in (
            ("present", present, (n_images, len(labels))),
            ("checksum", np.asarray(checksum), (n_images, len(labels))),
            ("face_mask", face_mask, tuple(shape)),
        ):
            if values.shape != wanted:
                raise ParameterError(f"{name} of {redact(url)} must have shape {wanted}, got {values.shape}.")
        for name, values in (("present", present), ("checksum", checksum)):
            array_of(group, name).with_config({"write_empty_chunks": True})[...] = values
        write_array(group, "face_mask", face_mask, "y", "x")
        commit(group, url, {**check_format(group, url), "complete": True, "provenance": provenance or {}})
