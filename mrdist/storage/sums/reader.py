"""Statistics stores: the exact sums over images from which any smaller field and any alpha can be solved.

The leading axis, ``fold``, holds sums of disjoint sets of images. Appended images get entries of their own, so
appending never touches existing sums. The attribute ``parts`` alone says how many entries and images count: anything
beyond belongs to an unfinished addition, which readers do not see.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import zarr

from mrdist.arguments import Address, plain_arguments
from mrdist.geometry import Block, ReceptiveField, Shape
from mrdist.left_out import LeftOut
from mrdist.moments import SufficientStatistics
from mrdist.storage.access.straight import read_place
from mrdist.storage.access.urls import (
    StorageOptions,
    array_of,
    check_format,
    consolidate,
    find_store,
    normalize_url,
    open_group,
    open_kind,
    store_errors,
)
from mrdist.storage.images.datasets import read_dataset
from mrdist.storage.images.face_frame import FaceFrame
from mrdist.storage.images.mapped_images import MappedImages
from mrdist.storage.images.pixels import fingerprint
from mrdist.storage.making.progress import Progress, remove_progress
from mrdist.values import Color, unit_of

if TYPE_CHECKING:
    import xarray as xr

_RESUME = "run the same accumulate command again to resume it"
_ROWS_IN_32_BITS = (2**32 - 1) // 255**2  # of bytes, see mrdist.moments


@dataclass(frozen=True)
class Accumulation(MappedImages):
    """What all images of a statistics store have in common.

    Attributes
    ----------
    source, target
        Labels.
    receptive_field, dilation, color
        As in `mrdist.MaskedRegression`.
    dtype
        Of the images.
    height, width, n_channels
        Of the images.
    meaning
        Of linked images, what their pixels mean and how many no target has.
    drops_rows
        Whether pixels leave out the images in which a value that they need is missing.
    """

    source: str
    target: str
    receptive_field: int
    dilation: int
    color: Color
    dtype: str
    height: int
    width: int
    n_channels: int
    meaning: Mapping[str, Any] | None = None
    drops_rows: bool = False

    def to_dict(self) -> dict[str, Any]:
        """Return it fit for JSON: without the later ones, what it was before these."""
        later = {"meaning": None, "drops_rows": False}
        return {k: value for k, value in asdict(self).items() if k not in later or value != later[k]}

    @property
    def field(self) -> ReceptiveField:
        """The receptive field."""
        return ReceptiveField(self.receptive_field, self.dilation)

    @property
    def unit(self) -> int:
        """Integer that stands for 1.0."""
        return unit_of(self.dtype)

    @property
    def sum_dtype(self) -> np.dtype[Any]:
        """Integers of the stored sums."""
        return np.dtype(np.uint32 if self.unit == 255 else np.int64)

    def folds(self, n_images: int) -> list[slice]:
        """Cut images into runs whose sums fit into `sum_dtype`."""
        run = _ROWS_IN_32_BITS // self.rows_per_image if self.sum_dtype == np.uint32 else max(n_images, 1)
        return [slice(start, min(start + run, n_images)) for start in range(0, n_images, run)]


@dataclass(frozen=True)
class Part:
    """Images that were added to a statistics store in one go.

    Attributes
    ----------
    images
        Address of their store, without secrets.
    split
        Split that they were taken from.
    fingerprint
        Hash of their pixels.
    n_images, n_folds
        How many, and over how many entries of the store's leading axis they spread.
    """

    images: str
    split: str
    fingerprint: str
    n_images: int
    n_folds: int


@dataclass(frozen=True)
class Statistics:
    """A complete statistics store.

    Attributes
    ----------
    url, storage_options
        Where.
    accumulation
        What its images have in common.
    parts
        What was added, in order.
    chunks
        Height and width of a chunk of the largest sums in pixels.
    """

    url: str
    storage_options: StorageOptions = field(repr=False)
    accumulation: Accumulation
    parts: tuple[Part, ...]
    chunks: Shape
    _count: npt.NDArray[np.int64]
    _group: zarr.Group

    @classmethod
    def open(cls, url: Address, storage_options: StorageOptions = None) -> Statistics:
        """Open a complete statistics store.

        Raises
        ------
        StoreNotFoundError, StoreFormatError, StoreIncompleteError
            If there is none of this kind, of this format, or it is not finished.
        """
        url = normalize_url(url)
        group = open_kind(url, storage_options, "statistics", _RESUME)
        attributes = check_format(group, url)
        parts = tuple(Part(**part) for part in attributes["parts"])
        n_folds = sum(part.n_folds for part in parts)
        with store_errors(url):
            return cls(
                url=url,
                storage_options=storage_options,
                accumulation=Accumulation(**attributes["accumulation"]),
                parts=parts,
                chunks=(array_of(group, "lag").chunks[-2], array_of(group, "lag").chunks[-1]),
                _count=np.asarray(array_of(group, "count")[:n_folds]),
                _group=group,
            )

    @classmethod
    def find(cls, url: str, storage_options: StorageOptions = None) -> Statistics | None:
        """Open a statistics store, or return None if there is none or it was never finished."""
        attributes = find_store(url, storage_options)
        if attributes is None:
            return None
        if attributes["kind"] == "statistics" and not attributes.get("complete"):
            return None
        return cls.open(url, storage_options)

    @property
    def n_images(self) -> int:
        """Images in the store."""
        return sum(part.n_images for part in self.parts)

    @cached_property
    def image(self) -> npt.NDArray[np.str_]:
        """Ids of the images in it."""
        with store_errors(self.url):
            return np.array([str(name) for name in np.asarray(array_of(self._group, "image")[: self.n_images])])

    @cached_property
    def checksum(self) -> npt.NDArray[np.uint32]:
        """CRC-32 of every image's pixels, source and target, shape (image, 2)."""
        with store_errors(self.url):
            return np.asarray(array_of(self._group, "checksum")[: self.n_images])

    @property
    def face_frame(self) -> FaceFrame | None:
        """Where the faces lie in the images."""
        return FaceFrame.read(self.url, self._group)

    @property
    def n_folds(self) -> int:
        """Entries of the leading axis."""
        return len(self._count)

    @property
    def fingerprint(self) -> str:
        """Hash of the pixels of all images: equal to that of an images store that holds them in this order."""
        a = self.accumulation
        return fingerprint(a.shape, a.n_channels, a.dtype, self.image, self.checksum)

    def holds(self, image: npt.NDArray[np.str_], checksum: npt.NDArray[np.uint32]) -> npt.NDArray[np.bool_]:
        """Which of these images are in the store: those of equal id and equal pixels.

        Parameters
        ----------
        image
            Ids.
        checksum
            CRC-32 of the pixels of source and target, shape (image, 2).
        """
        known = {(name, *sums) for name, sums in zip(self.image.tolist(), self.checksum.tolist(), strict=True)}
        asked = zip(image.tolist(), checksum.tolist(), strict=True)
        return np.array([(name, *sums) in known for name, sums in asked], dtype=bool)

    def tidy(self) -> None:
        """Remove what an interrupted addition has left."""
        group = open_group(self.url, self.storage_options, write=True)
        if Progress.find(group) is not None:
            remove_progress(group)
            consolidate(group, self.url)

    def read(self, block: Block) -> SufficientStatistics:
        """Return the sums over all images for a block of output pixels."""
        window = block.grown(self.accumulation.field.halo)
        total = self._read_fold(0, block, window)
        for fold in range(1, self.n_folds):
            total = total.merge(self._read_fold(fold, block, window))
        return replace(total, left_out=self._read_left_out(block)) if self.accumulation.drops_rows else total

    def _read_left_out(self, block: Block) -> LeftOut:
        """Return the sums over the rows that pixels of a block leave out."""
        accumulation = self.accumulation
        with store_errors(self.url):
            array = array_of(self._group, "left_out")
            n_rows = np.asarray(array[: self.n_folds, 0, *block.slices])
            where = n_rows.any(axis=0)
            table = np.zeros((where.sum(), array.shape[1]), dtype=np.int64)
            for fold in range(self.n_folds if where.any() else 0):
                run = array.chunks[1]
                for first in range(0, array.shape[1], run):
                    table[:, first : first + run] += np.asarray(array[fold, first : first + run, *block.slices])[
                        :, where
                    ].T
        how = {"n_groups": accumulation.n_groups, "n_inputs": accumulation.n_inputs}
        return LeftOut.of_table(accumulation.field, np.argwhere(where), table, **how)

    def _read_fold(self, fold: int, block: Block, window: Block) -> SufficientStatistics:
        accumulation = self.accumulation
        with store_errors(self.url):
            return SufficientStatistics(
                field=accumulation.field,
                unit=accumulation.unit,
                n_rows=int(self._count[fold]) * accumulation.rows_per_image,
                lag=self._read("lag", fold, window),
                cross=self._read("cross", fold, block),
                source_sum=self._read("source_sum", fold, window),
                target_sum=self._read("target_sum", fold, block),
                target_square=self._read("target_square", fold, block),
            )

    def _read(self, name: str, fold: int, part: Block) -> npt.NDArray[Any]:
        """Return a rectangle of maps, shape (group, ..., y, x), zero outside the image."""
        inside = part.clipped(self.accumulation.shape)
        array = array_of(self._group, name)
        place = (slice(fold, fold + 1), *(slice(0, length) for length in array.shape[1:-2]), *inside.slices)
        maps: npt.NDArray[Any] = read_place(array, place)[0]
        if self.accumulation.color == "shared":
            maps = maps[np.newaxis]
        if inside == part:
            return maps
        beyond = ((inside.y0 - part.y0, part.y1 - inside.y1), (inside.x0 - part.x0, part.x1 - inside.x1))
        return np.pad(maps, [(0, 0)] * (maps.ndim - 2) + list(beyond))


@plain_arguments
def open_statistics(url: Address, storage_options: StorageOptions = None) -> xr.Dataset:
    """Open a statistics store as an xarray Dataset, lazily.

    Parameters
    ----------
    url
        Path or fsspec URL.
    storage_options
        Options of the fsspec filesystem.

    Returns
    -------
    xarray.Dataset
        ``lag (fold, shift, y, x)``, ``cross (fold, offset, y, x)``, ``source_sum``, ``target_sum`` and ``target_square
        (fold, y, x)``, with a ``channel`` after ``fold`` for separate colour; for joint colour ``lag`` and ``cross``
        have an axis ``pair`` instead, the ordered pairs of channels, ``channel * n_channels + partner``. ``count
        (fold)``, the images in every entry, and ``image``, ``checksum`` and ``fold_of_image`` of each image. Where
        pixels leave rows out, ``left_out (fold, sum, y, x)`` has their number and all sums over them, which the others
        hold, too.

    Raises
    ------
    StoreNotFoundError, StoreFormatError, StoreIncompleteError
        If there is none of this kind, of this format, or it is not finished.
    """
    group = open_kind(normalize_url(url), storage_options, "statistics", _RESUME)
    return read_dataset(group, normalize_url(url))
