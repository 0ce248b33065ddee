"""Images stores: one array a label, all sharing the image axis."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import zarr
from zarr.core.buffer import default_buffer_prototype

from mrdist.arguments import Address, plain_arguments
from mrdist.errors import DataError, LabelError, StoreFormatError
from mrdist.geometry import Block, Shape
from mrdist.storage.urls import (
    StorageOptions,
    array_of,
    normalize_url,
    open_kind,
    redact,
    store_errors,
)

if TYPE_CHECKING:
    import xarray as xr

_RESUME = "run the command that makes it again"


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
    def open(cls, url: Address, storage_options: StorageOptions = None) -> Images:
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
            array = array_of(group, labels[0])
            for label in labels[1:]:
                other = array_of(group, label)
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
            return np.asarray(array_of(self._group, name)[...])

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
            return np.asarray(array_of(self._group, label)[start:stop, *block.slices])

    def read_into(self, out: npt.NDArray[np.generic], label: str, start: int, block: Block) -> None:
        """Fill ``out`` with the images from ``start`` on, as `read` returns them: no page of memory is new to it."""
        with store_errors(f"{self._url}/{label}"):
            array_of(self._group, label).get_basic_selection(
                (slice(start, start + len(out)), *block.slices),
                out=default_buffer_prototype().nd_buffer.from_ndarray_like(out),  # type: ignore[arg-type]
            )


@plain_arguments
def open_images(url: Address, storage_options: StorageOptions = None) -> xr.Dataset:
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
