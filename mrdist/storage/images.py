"""Images stores: one array a label, all sharing the image axis."""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import zarr
from zarr.core.buffer import default_buffer_prototype

from mrdist.errors import DataError, LabelError, ParameterError, StoreFormatError
from mrdist.geometry import Block, Shape
from mrdist.storage.urls import (
    COMPRESSORS,
    FORMAT_VERSION,
    StorageOptions,
    check_format,
    clear_output,
    commit,
    create_group,
    normalize_url,
    open_group,
    open_kind,
    redact,
    store_errors,
    write_array,
    write_strings,
)

if TYPE_CHECKING:
    import xarray as xr

_DIMENSIONS = ("image", "y", "x", "channel")
_RESERVED = {*_DIMENSIONS, "subject", "dataset", "split", "label", "present", "checksum", "face_mask", "all"}
#: What `mrdist.storage.alignment` adds.
_RESERVED |= {"reference_points", "mean_face", "photograph", "photograph_size", "warp", "measure", "quality"}
_RESERVED |= {"point", "xy", "node_y", "node_x", "extent"}
_RESUME = "run the command that makes it again"
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
        if label in _RESERVED or not label.isidentifier():
            raise ParameterError(
                f"{label!r} cannot be a label: use letters, digits and underscores, and none of "
                f"{', '.join(sorted(_RESERVED))}."
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
                dimension_names=_DIMENSIONS,
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
        array = _array(group, label)
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
        _array(group, "present")[...] = present
        _array(group, "checksum")[...] = checksum
        write_array(group, "face_mask", face_mask, "y", "x")
        commit(group, url, {**check_format(group, url), "complete": True, "provenance": provenance})


@dataclass(frozen=True)
class Images:
    """What a training needs to know of an images store before it reads a pixel; coordinates are read when asked for.

    Attributes
    ----------
    labels
        Names of the arrays.
    n_images, shape, n_channels, dtype, chunks
        Of every label's array; chunks as (image, y, x, channel).
    """

    url: str
    storage_options: StorageOptions = field(repr=False)
    labels: tuple[str, ...]
    n_images: int
    shape: Shape
    n_channels: int
    dtype: np.dtype[Any]
    chunks: tuple[int, int, int, int]
    _group: zarr.Group

    @classmethod
    def open(cls, url: str, storage_options: StorageOptions = None) -> Images:
        """Open a complete images store.

        Raises
        ------
        StoreNotFoundError, StoreFormatError, StoreIncompleteError
            If there is none of this kind, of this format, or it is not finished.
        """
        url = normalize_url(url)
        group = open_kind(url, storage_options, "images", _RESUME)
        with store_errors(url):
            labels = tuple(group.attrs["mrdist"]["labels"])  # type: ignore[index, call-overload, arg-type]
            array = _array(group, labels[0])
            for label in labels[1:]:
                other = _array(group, label)
                if (other.shape, other.dtype) != (array.shape, array.dtype):
                    raise StoreFormatError(
                        f"all labels of {redact(url)} must agree, but {labels[0]!r} has shape {array.shape} and dtype "
                        f"{array.dtype} and {label!r} {other.shape} and {other.dtype}; write the store anew."
                    )
            return cls(
                url=url,
                storage_options=storage_options,
                labels=labels,
                n_images=array.shape[0],
                shape=(array.shape[1], array.shape[2]),
                n_channels=array.shape[3],
                dtype=np.dtype(array.dtype),
                chunks=(array.chunks[0], array.chunks[1], array.chunks[2], array.chunks[3]),
                _group=group,
            )

    @cached_property
    def image(self) -> npt.NDArray[np.str_]:
        """Ids."""
        return self._strings("image")

    @cached_property
    def subject(self) -> npt.NDArray[np.str_]:
        """Persons, shape (image,)."""
        return self._strings("subject")

    @cached_property
    def dataset(self) -> npt.NDArray[np.str_]:
        """Where they come from, shape (image,)."""
        return self._strings("dataset")

    @cached_property
    def split(self) -> npt.NDArray[np.str_]:
        """train, val or test, shape (image,)."""
        return self._strings("split")

    @cached_property
    def present(self) -> npt.NDArray[np.bool_]:
        """Which images are there, shape (image, label)."""
        return self._values("present")

    @cached_property
    def checksum(self) -> npt.NDArray[np.uint32]:
        """CRC-32 of the pixels, shape (image, label)."""
        return self._values("checksum")

    @cached_property
    def face_mask(self) -> npt.NDArray[np.bool_]:
        """Which pixels are face, shape (y, x)."""
        return self._values("face_mask")

    def _values(self, name: str) -> npt.NDArray[Any]:
        with store_errors(self.url):
            return np.asarray(_array(self._group, name)[...])

    def _strings(self, name: str) -> npt.NDArray[np.str_]:
        return np.array([str(value) for value in self._values(name)])

    def column(self, label: str) -> int:
        """Return the position of a label.

        Raises
        ------
        LabelError
            If there is none of this name.
        """
        if label not in self.labels:
            raise LabelError(f"{redact(self.url)} has no label {label!r}; it has {', '.join(self.labels)}.")
        return self.labels.index(label)

    def rows(self, labels: Sequence[str], split: str) -> npt.NDArray[np.int64]:
        """Return the rows present in all ``labels`` whose split is ``split`` (or any, for ``"all"``).

        Raises
        ------
        LabelError
            If a label does not exist.
        DataError
            If there is no such row.
        """
        chosen = self.present[:, [self.column(label) for label in labels]].all(axis=1)
        if split != "all":
            chosen &= self.split == split
        if not chosen.any():
            raise DataError(
                f"{redact(self.url)} has no image of split {split!r} with {' and '.join(labels)}; "
                "choose other labels or another split."
            )
        return np.flatnonzero(chosen)

    def fingerprint(self, labels: Sequence[str], rows: npt.NDArray[np.int64]) -> str:
        """Return a hash of the pixels of these rows and labels, however they are chunked."""
        checksum = self.checksums(labels, rows)
        return fingerprint(self.shape, self.n_channels, str(self.dtype), self.image[rows], checksum)

    def checksums(self, labels: Sequence[str], rows: npt.NDArray[np.int64]) -> npt.NDArray[np.uint32]:
        """Return the CRC-32 of the pixels of these rows and labels, shape (image, label)."""
        return self.checksum[rows][:, [self.column(label) for label in labels]]

    def slabs(self, rows: npt.NDArray[np.int64], n_images: int) -> Iterator[tuple[int, int, npt.NDArray[np.int64]]]:
        """Cut the image axis into runs of at most ``n_images``; chunks without any of ``rows`` are left out.

        Yields
        ------
        start, stop, chosen
            The run to read and the positions in it that were asked for.
        """
        unit = min(self.chunks[0], n_images)
        runs: list[tuple[int, int]] = []
        for first in (np.unique(rows // unit) * unit).tolist():
            end = min(first + unit, self.n_images)
            if runs and first == runs[-1][1] and end <= runs[-1][0] + n_images:
                runs[-1] = (runs[-1][0], end)
            else:
                runs.append((first, end))
        for start, stop in runs:
            yield start, stop, rows[np.searchsorted(rows, start) : np.searchsorted(rows, stop)] - start

    def n_read(self, rows: npt.NDArray[np.int64]) -> int:
        """Return the images in all chunks that hold any of ``rows``."""
        run = self.chunks[0]
        firsts = np.unique(rows // run) * run
        return int((np.minimum(firsts + run, self.n_images) - firsts).sum())

    def reader(self) -> ImageReader:
        """Return what reads pixels."""
        return ImageReader(self.url, self._group)


def fingerprint(
    shape: Shape, n_channels: int, dtype: str, image: npt.NDArray[np.str_], checksum: npt.NDArray[np.uint32]
) -> str:
    """Return a hash of images by their size, type, ids and the checksums of their pixels, shape (image, label)."""
    digest = hashlib.sha256(repr((shape, n_channels, dtype)).encode())
    digest.update("\n".join(image).encode())
    digest.update(np.ascontiguousarray(checksum).astype("<u4").tobytes())
    return digest.hexdigest()


class ImageReader:
    """Reads rectangles of pixels of a run of images."""

    def __init__(self, url: str, group: zarr.Group) -> None:
        self._url = url
        self._group = group

    def read(self, label: str, start: int, stop: int, block: Block) -> npt.NDArray[np.generic]:
        """Return images ``start..stop-1`` in ``block``, which lies inside the image, shape (image, y, x, channel).

        Raises
        ------
        MissingChunkError
            If a chunk is not there.
        StoreError
            If a chunk cannot be read or decoded.
        """
        with store_errors(f"{self._url}/{label}"):
            return np.asarray(_array(self._group, label)[start:stop, *block.slices])

    def read_into(self, out: npt.NDArray[np.generic], label: str, start: int, block: Block) -> None:
        """Fill ``out`` with the images from ``start`` on, as `read` returns them: no page of memory is new to it."""
        with store_errors(f"{self._url}/{label}"):
            _array(self._group, label).get_basic_selection(
                (slice(start, start + len(out)), *block.slices),
                out=default_buffer_prototype().nd_buffer.from_ndarray_like(out),  # type: ignore[arg-type]
            )


def _array(group: zarr.Group, name: str) -> zarr.Array[Any]:
    array = group[name]
    assert isinstance(array, zarr.Array)
    return array


def open_images(url: str, storage_options: StorageOptions = None) -> xr.Dataset:
    """Open an images store as an xarray Dataset, lazily.

    Parameters
    ----------
    url
        Path or fsspec URL.
    storage_options
        Options of the fsspec filesystem.

    Returns
    -------
    xarray.Dataset
        One variable a label with dimensions (image, y, x, channel) and the coordinates image, subject, dataset
        and split.

    Raises
    ------
    StoreNotFoundError, StoreFormatError, StoreIncompleteError
        If there is none of this kind, of this format, or it is not finished.
    """
    import xarray as xr  # brings pandas, which a worker does not need

    url = normalize_url(url)
    group = open_kind(url, storage_options, "images", _RESUME)
    dataset: xr.Dataset = xr.open_zarr(group.store, consolidated=True)
    dataset = dataset.assign_coords({name: dataset[name].load() for name in ("subject", "dataset", "split")})
    return dataset
