"""The one reader of pixels: rectangles of a run of images, from the store's own arrays or from linked ones."""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import zarr
from zarr.core.buffer import default_buffer_prototype

from mrdist.geometry import Block, Shape
from mrdist.storage.access.chunks import CheckedStore
from mrdist.storage.access.straight import Coming, StraightArray
from mrdist.storage.access.urls import array_of, store_errors
from mrdist.storage.images.linked import LinkedArray


class ImageReader:
    """Reads rectangles of pixels of a run of images; with ``nan``, missing values that other images have are NaN."""

    def __init__(
        self, url: str, group: zarr.Group, linked: Mapping[str, LinkedArray] | None = None, *, nan: bool = False
    ) -> None:
        self._url = url
        self._group = group
        self._linked = linked or {}
        self._nan = nan
        self._arrays: dict[str, tuple[zarr.Array[Any], StraightArray | None]] = {}
        self._coming: Coming | None = None

    def read(self, label: str, start: int, stop: int, block: Block) -> npt.NDArray[np.generic]:
        """Return images ``start..stop-1`` in ``block``, which lies inside the image, shape (image, y, x, channel).

        Raises
        ------
        MissingChunkError
            If a chunk is not there.
        StoreError
            If a chunk cannot be read or decoded.
        """
        if label in self._linked:
            linked = self._linked[label]
            pixels = np.empty((stop - start, *block.shape, linked.n_channels), dtype=linked.dtype)
            linked.read_into(pixels, start, block, nan=self._nan)
            return pixels
        array, _ = self._array(label)
        start, stop, _ = slice(start, stop).indices(array.shape[0])  # what lies beyond the last image is left out
        pixels = np.empty((max(0, stop - start), *block.shape, array.shape[3]), dtype=array.dtype)
        self.read_into(pixels, label, start, block)
        return pixels

    def read_into(self, out: npt.NDArray[np.generic], label: str, start: int, block: Block) -> None:
        """Fill ``out`` with the images from ``start`` on, as `read` returns them: no page of memory is new to it."""
        if label in self._linked:
            self._linked[label].read_into(out, start, block, nan=self._nan)
            return
        array, straight = self._array(label)
        with store_errors(f"{self._url}/{label}"):
            if straight is not None:
                straight.read_into(out, _place(array, start, start + len(out), block))
                return
            array.get_basic_selection(
                (slice(start, start + len(out)), *block.slices),
                out=default_buffer_prototype().nd_buffer.from_ndarray_like(out),  # type: ignore[arg-type]
            )

    def expect(self, label: str, start: int, stop: int, block: Block) -> None:
        """Have what `read_into` will be asked for fetched meanwhile, where that is possible; in the same order."""
        straight = None if label in self._linked else self._array(label)[1]
        if straight is not None:
            straight.expect(_place(self._array(label)[0], start, stop, block))

    def fetches(self, label: str) -> bool:
        """Whether `expect` has pixels of a label fetched, so that `read_into` but decodes them."""
        return label not in self._linked and self._array(label)[1] is not None

    def _array(self, label: str) -> tuple[zarr.Array[Any], StraightArray | None]:
        if label not in self._arrays:
            with store_errors(f"{self._url}/{label}"):
                array = array_of(self._group, label)
            if self._coming is None and isinstance(array.store, CheckedStore):
                self._coming = Coming(array.store)
            self._arrays[label] = array, StraightArray.of(array, self._coming)
        return self._arrays[label]


def _place(array: zarr.Array[Any], start: int, stop: int, block: Block) -> tuple[slice, ...]:
    return slice(start, stop), *block.slices, slice(0, array.shape[3])


def crc_of_images(
    reader: ImageReader, label: str, start: int, stop: int, shape: Shape, rows: int
) -> npt.NDArray[np.int64]:
    """Return the CRC-32 of whole images, read so many pixel rows at a time."""
    sums = [0] * (stop - start)
    for y in range(0, shape[0], rows):
        strips = reader.read(label, start, stop, Block(y, 0, min(y + rows, shape[0]), shape[1]))
        sums = [zlib.crc32(np.ascontiguousarray(strip).data, sum_) for strip, sum_ in zip(strips, sums, strict=True)]
    return np.array(sums, dtype=np.int64)


def fingerprint(
    shape: Shape, n_channels: int, dtype: str, image: npt.NDArray[np.str_], checksum: npt.NDArray[np.uint32]
) -> str:
    """Return a hash of images by their size, type, ids and the checksums of their pixels, shape (image, label)."""
    digest = hashlib.sha256(repr((shape, n_channels, dtype)).encode())
    digest.update("\n".join(image).encode())
    digest.update(np.ascontiguousarray(checksum).astype("<u4").tobytes())
    return digest.hexdigest()
