"""Statistics stores: the exact sums over images from which any smaller field and any alpha is solved.

The leading axis, ``fold``, holds sums of disjoint sets of images; what was appended later has entries of its own, so
that appending never touches a sum that is there. The attribute ``parts`` is the one place that says how many entries
and images count: what lies beyond them belongs to an addition in the making, and readers do not see it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import zarr

from mrdist.geometry import Block, ReceptiveField, Shape
from mrdist.moments import Color, SufficientStatistics, unit_of
from mrdist.storage.face_frame import FaceFrame
from mrdist.storage.images import fingerprint
from mrdist.storage.mapped_images import MappedImages
from mrdist.storage.outputs import chunk_side
from mrdist.storage.progress import Progress, remove_progress
from mrdist.storage.urls import (
    COMPRESSORS,
    FORMAT_VERSION,
    StorageOptions,
    check_format,
    check_same,
    clear_output,
    consolidate,
    create_group,
    describe,
    normalize_url,
    open_group,
    open_kind,
    remove_partial_files,
    store_errors,
    write_array,
    write_strings,
)

if TYPE_CHECKING:
    import xarray as xr

_RESUME = "run the same accumulate command again to resume it"
_IDS_PER_CHUNK = 1 << 16
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
        Height and width of a chunk in pixels.
    """

    url: str
    storage_options: StorageOptions = field(repr=False)
    accumulation: Accumulation
    parts: tuple[Part, ...]
    chunks: Shape
    _count: npt.NDArray[np.int64]
    _group: zarr.Group

    @classmethod
    def open(cls, url: str, storage_options: StorageOptions = None) -> Statistics:
        """Open a complete statistics store.

        Raises
        ------
        StoreNotFoundError, StoreFormatError, StoreIncompleteError
            If there is none of this kind, of this format, or it is not finished.
        """
        url = normalize_url(url)
        group = open_kind(url, storage_options, "statistics", _RESUME)
        found = check_format(group, url)
        parts = tuple(Part(**part) for part in found["parts"])
        n_folds = sum(part.n_folds for part in parts)
        with store_errors(url):
            return cls(
                url=url,
                storage_options=storage_options,
                accumulation=Accumulation(**found["accumulation"]),
                parts=parts,
                chunks=(_array(group, "target_sum").chunks[-2], _array(group, "target_sum").chunks[-1]),
                _count=np.asarray(_array(group, "count")[:n_folds]),
                _group=group,
            )

    @classmethod
    def find(cls, url: str, storage_options: StorageOptions = None) -> Statistics | None:
        """Open a statistics store, or return None where there is nothing or one that was never finished."""
        try:
            found = describe(url, storage_options)
        except FileNotFoundError:
            return None
        if found["kind"] == "statistics" and not found.get("complete"):
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
            return np.array([str(name) for name in np.asarray(_array(self._group, "image")[: self.n_images])])

    @cached_property
    def checksum(self) -> npt.NDArray[np.uint32]:
        """CRC-32 of every image's pixels, source and target, shape (image, 2)."""
        with store_errors(self.url):
            return np.asarray(_array(self._group, "checksum")[: self.n_images])

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
        """Hash of the pixels of all images: that of an images store which holds them in this order."""
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
        """Remove what an addition has left that was stopped at its very end, or never came to it."""
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
        return total

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
        found = np.asarray(_array(self._group, name)[fold, ..., *inside.slices])
        if self.accumulation.color == "shared":
            found = found[np.newaxis]
        if inside == part:
            return found
        beyond = ((inside.y0 - part.y0, part.y1 - inside.y1), (inside.x0 - part.x0, part.x1 - inside.x1))
        return np.pad(found, [(0, 0)] * (found.ndim - 2) + list(beyond))


class StatisticsOutput:
    """A statistics store in the making, or one that images are being added to."""

    def __init__(self, url: str, group: zarr.Group, progress: Progress) -> None:
        self._url = url
        self._group = group
        self.progress = progress
        self.part = Part(**progress.task["part"])
        self.accumulation = Accumulation(**check_format(group, url)["accumulation"])

    @classmethod
    def open(cls, url: str, storage_options: StorageOptions) -> StatisticsOutput:
        """Open a store that `statistics_output` has begun."""
        group = open_group(url, storage_options, write=True)
        progress = Progress.find(group)
        assert progress is not None
        return cls(url, group, progress)

    def folds(self) -> Iterator[tuple[int, npt.NDArray[np.int64]]]:
        """Yield the entries to write, each with the rows of the images store that it sums."""
        rows = self.progress.rows
        for number, run in enumerate(self.accumulation.folds(len(rows))):
            yield self.progress.task["first_fold"] + number, rows[run]

    def write(self, fold: int, block: Block, statistics: SufficientStatistics) -> None:
        """Write the sums of one entry over whole chunks.

        Parameters
        ----------
        fold
            Entry of the leading axis.
        block
            Pixels to write.
        statistics
            Sums for the block grown by the field's halo, for which targets outside the block counted as zeros: the
            lag maps of the block's own pixels reach that far.
        """
        side = chunk_side(self.accumulation.shape)
        assert block.y0 % side == 0
        assert block.x0 % side == 0
        field = self.accumulation.field
        group = 0 if self.accumulation.color == "shared" else slice(None)
        with store_errors(self._url):
            for name, margin in (
                ("lag", field.reach),
                ("source_sum", field.reach),
                ("cross", field.halo),
                ("target_sum", field.halo),
                ("target_square", field.halo),
            ):
                own = tuple(slice(margin, margin + side) for side in block.shape)
                array = _array(self._group, name).with_config({"write_empty_chunks": True})
                array[fold, ..., *block.slices] = getattr(statistics, name)[group, ..., *own]

    def finish(
        self,
        image: Sequence[str],
        checksum: npt.NDArray[np.uint32],
        provenance: Mapping[str, Any],
        face_frame: FaceFrame,
    ) -> None:
        """Note which images were added and let them count.

        Parameters
        ----------
        image
            Their ids.
        checksum
            CRC-32 of the pixels of source and target, shape (image, 2).
        provenance
            Versions of packages.
        face_frame
            Where the faces lie in the images; the latest addition's counts.
        """
        with store_errors(self._url):
            found = check_format(self._group, self._url)
            face_frame.write(self._group)
            before = sum(part["n_images"] for part in found["parts"])
            after, first_fold = before + len(image), self.progress.task["first_fold"]
            runs = self.accumulation.folds(len(image))
            fold_of_image = np.repeat(np.arange(len(runs)), [run.stop - run.start for run in runs]) + first_fold
            for name, values in (
                ("image", np.array(image, dtype=np.dtypes.StringDType())),
                ("checksum", checksum),
                ("fold_of_image", fold_of_image),
            ):
                array = _array(self._group, name)
                array.resize((after, *array.shape[1:]))
                array.with_config({"write_empty_chunks": True})[before:after] = values
            count = _array(self._group, "count")
            count.resize((first_fold + len(runs),))
            count[first_fold:] = np.array([run.stop - run.start for run in runs])
            self._group.attrs["mrdist"] = {
                **found,
                "complete": True,
                "parts": [*found["parts"], asdict(self.part)],
                "provenance": dict(provenance),
            }
            remove_progress(self._group)
            consolidate(self._group, self._url)


def statistics_output(
    url: str,
    accumulation: Accumulation,
    part: Part,
    rows: npt.NDArray[np.int64],
    block: Shape,
    *,
    overwrite: bool,
    storage_options: StorageOptions = None,
) -> StatisticsOutput:
    """Begin a statistics store, add to a complete one, or resume what was begun with the same images.

    Parameters
    ----------
    url, storage_options
        Where.
    accumulation
        What the images have in common.
    part, rows
        The images to add, and their rows in the images store.
    block
        Height and width of a block; what is resumed keeps the grid it was begun with.
    overwrite
        Remove any store of mrdist that is there.

    Returns
    -------
    StatisticsOutput

    Raises
    ------
    StoreExistsError
        If another accumulation's output, or something else, is there.
    """
    url = normalize_url(url)
    try:
        found = None if overwrite else describe(url, storage_options)
    except FileNotFoundError:
        found = None
    if found is not None and found["kind"] == "statistics":
        group = open_group(url, storage_options, write=True)
        progress = Progress.find(group)
        if not found["complete"] and progress is not None:
            check_same(url, "accumulation", found["accumulation"], asdict(accumulation))
            check_same(
                url, "accumulation", {"images": progress.task["part"]["fingerprint"]}, {"images": part.fingerprint}
            )
        same = progress is not None and progress.task["part"]["fingerprint"] == part.fingerprint
        # The rows are those of the images store at hand, and the same images may lie in other rows of another store.
        if progress is not None and same and np.array_equal(progress.rows, rows):
            remove_partial_files(url)
            return StatisticsOutput(url, group, progress)
        if found["complete"]:
            with store_errors(url):
                return StatisticsOutput(url, group, _begin(group, accumulation, part, rows, block))
    clear_output(url, storage_options, kind="statistics", overwrite=overwrite)
    with store_errors(url):
        attributes: dict[str, Any] = {
            "kind": "statistics",
            "format_version": FORMAT_VERSION,
            "complete": False,
            "accumulation": asdict(accumulation),
            "parts": [],
        }
        group = create_group(url, storage_options, attributes)
        _create_arrays(group, accumulation)
        return StatisticsOutput(url, group, _begin(group, accumulation, part, rows, block))


def _begin(
    group: zarr.Group, accumulation: Accumulation, part: Part, rows: npt.NDArray[np.int64], block: Shape
) -> Progress:
    parts = group.attrs["mrdist"]["parts"]  # type: ignore[index, call-overload]
    first_fold = sum(part["n_folds"] for part in parts)  # type: ignore[union-attr, index, misc, call-overload]
    for name in _MAPS:
        array = _array(group, name)
        array.resize((first_fold + part.n_folds, *array.shape[1:]))
    return Progress.begin(group, accumulation.shape, block, rows, part=asdict(part), first_fold=first_fold)


_MAPS = ("lag", "cross", "source_sum", "target_sum", "target_square")


def _create_arrays(group: zarr.Group, accumulation: Accumulation) -> None:
    field, shape = accumulation.field, accumulation.shape
    side = min(chunk_side(shape), shape[0]), min(chunk_side(shape), shape[1])
    n_channels = accumulation.n_channels
    plane = {} if accumulation.color == "shared" else {"channel": n_channels}
    pair = {"pair": n_channels**2} if accumulation.color == "joint" else plane
    maps = {"lag": {"shift": field.n_lags}, "cross": {"offset": field.n_offsets}}
    for name in _MAPS:
        leading, axes = (pair, maps[name]) if name in maps else (plane, {})
        group.create_array(
            name,
            shape=(0, *leading.values(), *axes.values(), *shape),
            chunks=(1, *(1 for _ in leading), *axes.values(), *side),
            dtype=accumulation.sum_dtype,
            dimension_names=("fold", *leading, *axes, "y", "x"),
            compressors=COMPRESSORS,
        )
    write_array(group, "shifts", field.lags, "shift", "axis")
    write_array(group, "offsets", field.offsets, "offset", "axis")
    group.create_array(
        "count", shape=(0,), chunks=(1024,), dtype="int64", dimension_names=("fold",), compressors=COMPRESSORS
    )
    write_strings(group, "image", [], "image", _IDS_PER_CHUNK)
    for name, dtype, last in (("checksum", "uint32", (2,)), ("fold_of_image", "int64", ())):
        group.create_array(
            name,
            shape=(0, *last),
            chunks=(_IDS_PER_CHUNK, *last),
            dtype=dtype,
            dimension_names=("image", *("role" for _ in last)),
            compressors=COMPRESSORS,
        )


def _array(group: zarr.Group, name: str) -> zarr.Array[Any]:
    array = group[name]
    assert isinstance(array, zarr.Array)
    return array


def open_statistics(url: str, storage_options: StorageOptions = None) -> xr.Dataset:
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
        ``lag (fold, shift, y, x)``, ``cross (fold, offset, y, x)``, ``source_sum``, ``target_sum`` and
        ``target_square (fold, y, x)``, with a ``channel`` after ``fold`` for separate colour; for joint colour ``lag``
        and ``cross`` have there the ordered ``pair`` of channels, ``channel * n_channels + partner``. ``count (fold)``,
        the images in every entry, and ``image``, ``checksum`` and ``fold_of_image`` of each image.

    Raises
    ------
    StoreNotFoundError, StoreFormatError, StoreIncompleteError
        If there is none of this kind, of this format, or it is not finished.
    """
    import xarray as xr  # brings pandas, which a worker does not need

    group = open_kind(normalize_url(url), storage_options, "statistics", _RESUME)
    dataset: xr.Dataset = xr.open_zarr(group.store, consolidated=True)
    return dataset
