"""Images stores: one array a label, all sharing the image axis."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import Any

import numpy as np
import numpy.typing as npt
import zarr

from mrdist.arguments import Address
from mrdist.errors import DataError, LabelError, StoreFormatError
from mrdist.geometry import Block, Shape
from mrdist.storage.access.at_once import at_once
from mrdist.storage.access.chunks import chunk_keys, leaves_chunks_out
from mrdist.storage.access.straight import HELD
from mrdist.storage.access.urls import (
    StorageOptions,
    array_of,
    check_format,
    is_local,
    normalize_url,
    open_kind,
    redact,
    store_errors,
)
from mrdist.storage.images.layout import arrays_of_rows, labels_of, layout_problems
from mrdist.storage.images.linked import LinkedArray
from mrdist.storage.images.links import Link, LinkedStore
from mrdist.storage.images.pixels import ImageReader, crc_of_images, fingerprint

_RESUME = "run the command that makes it again, or finish it with mrdist.finish_images"
_OF_A_TRAINING = ("present", "split", "image", "kept_checksum", "face_mask")


@dataclass(frozen=True)
class Images:
    """An images store as a training sees it before it reads a pixel; coordinates are read on first use.

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
    _vouched: bool = True
    _linked: LinkedStore | None = None
    _sums: dict[str, npt.NDArray[np.int64]] = field(default_factory=dict, repr=False, compare=False)

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
            attribute = check_format(group, url)
            problems = list(layout_problems(url, group, attribute))
            if problems:
                more = f" {len(problems) - 1} more: mrdist check {redact(url)} lists all." if problems[1:] else ""
                raise StoreFormatError(problems[0] + more)
            labels, linked = labels_of(group, attribute), LinkedStore.of(attribute, redact(url))
            array = linked or array_of(group, labels[0])
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
                _vouched=not leaves_chunks_out(attribute),
                _linked=linked,
            )

    @cached_property
    def image(self) -> npt.NDArray[np.str_]:
        """Ids, shape (image,); row numbers if the store has no ids."""
        return self._strings("image", [str(row) for row in range(self.n_images)])

    @cached_property
    def subject(self) -> npt.NDArray[np.str_]:
        """Persons, shape (image,); if the store does not say, every image is of a person of its own."""
        return self._strings("subject", self.image)

    @cached_property
    def dataset(self) -> npt.NDArray[np.str_]:
        """Where they come from, shape (image,); empty where the store does not say."""
        return self._strings("dataset", [""] * self.n_images)

    @cached_property
    def split(self) -> npt.NDArray[np.str_]:
        """train, val or test, shape (image,); train where the store does not say."""
        return self._strings("split", ["train"] * self.n_images)

    @cached_property
    def present(self) -> npt.NDArray[np.bool_]:
        """Which images are there, shape (image, label); all where the store does not say."""
        values = self._values("present")
        return np.ones((self.n_images, len(self.labels)), bool) if values is None else values.astype(bool)

    @cached_property
    def face_mask(self) -> npt.NDArray[np.bool_]:
        """Which pixels are face, shape (y, x); all where the store does not say."""
        values = self._values("face_mask")
        return np.ones(self.shape, bool) if values is None else values.astype(bool)

    @cached_property
    def landmarks(self) -> npt.NDArray[np.float32] | None:
        """Points on the faces, shape (image, label, point, xy); None where the store has none.

        (x, y) in pixels of the image, pixel centres at integers; NaN where there is no image or no point was found.
        """
        return self._marks("landmarks")

    def landmarks_of(self, label: str, rows: npt.NDArray[np.int64]) -> npt.NDArray[np.float32] | None:
        """Return the landmarks of some images of a label, shape (image, point, xy); None where the store has none."""
        return None if self.landmarks is None else self.landmarks[rows, self.column(label)]

    @cached_property
    def landmark_confidence(self) -> npt.NDArray[np.float32] | None:
        """How sure the points are, 0..1, shape (image, label); None where the store has none."""
        return self._marks("landmark_confidence")

    @property
    def landmark_scheme(self) -> str | None:
        """Name of the meaning of the points, such as ``mediapipe-478``; None where the store has none."""
        array = None if "landmarks" in self.labels else self._group.get("landmarks")
        return str(array.attrs.get("scheme", f"points-{array.shape[2]}")) if isinstance(array, zarr.Array) else None

    def _marks(self, name: str) -> npt.NDArray[np.float32] | None:
        values = None if name in self.labels else self._values(name)
        return None if values is None else values.astype(np.float32, copy=False)

    @cached_property
    def checksum(self) -> npt.NDArray[np.uint32]:
        """CRC-32 of the pixels, shape (image, label), see `checksums`."""
        return self.checksums(self.labels, np.arange(self.n_images))

    @cached_property
    def kept_checksum(self) -> npt.NDArray[np.uint32] | None:
        """Checksums kept by the writer of the pixels; None where it keeps none, and in copies by other tools."""
        return self._values("checksum") if self._vouched and self._linked is None else None

    def read_at_once(self, *names: str) -> None:
        """Read small arrays, by default those of a training: one by one, each would wait for an object store."""
        at_once(partial(getattr, self, name) for name in names or _OF_A_TRAINING if name not in self.__dict__)

    def keys_of_rows(self, split: str) -> Iterator[str]:
        """Yield the keys of the objects that `rows` reads."""
        arrays = map(self._group.get, arrays_of_rows(split))
        return (key for array in arrays if isinstance(array, zarr.Array) for key in chunk_keys(array))

    def _values(self, name: str) -> npt.NDArray[Any] | None:
        with store_errors(self.url):
            array = self._group.get(name)
            return np.asarray(array[...]) if isinstance(array, zarr.Array) else None

    def _strings(self, name: str, default: Sequence[str] | npt.NDArray[np.str_]) -> npt.NDArray[np.str_]:
        values = self._values(name)
        return np.array([str(value) for value in (default if values is None else values)])

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
        self.read_at_once(*arrays_of_rows(split))
        chosen = self.present[:, [self.column(label) for label in labels]].all(axis=1)
        if split != "all":
            chosen &= self.split == split
        if not chosen.any():
            raise DataError(
                f"{redact(self.url)} has no image of split {split!r} with {' and '.join(labels)}; "
                "choose other labels or another split."
            )
        return np.flatnonzero(chosen)

    def link_of(self, label: str) -> Link | None:
        """Return where the pixels of a label lie and what they mean, None where the store holds them itself."""
        return None if self._linked is None else self._linked.links[self.labels[self.column(label)]]

    def pixels_per_value(self, label: str) -> int:
        """Return how many pixels, along rows and columns, a value of a label covers: more than 1 in coarser arrays."""
        link = self.link_of(label)
        return 1 if link is None else link.factor

    @property
    def value_itemsize(self) -> int:
        """Bytes that a value of a linked array takes besides its pixel while it is read, 0 if it is read as a pixel."""
        return max((array.value_itemsize for array in self.linked_arrays.values()), default=0)

    def there(self, label: str) -> npt.NDArray[np.bool_] | None:
        """Return the pixels, shape (y, x), of which some image has a value; None where every image has all."""
        return None if self._there is None else self._there[self.column(label)]

    def incomplete(self, label: str) -> npt.NDArray[np.bool_] | None:
        """Return the pixels, shape (y, x), that only some images of a label have; None where there are none such."""
        return None if self._incomplete is None else self._incomplete[self.column(label)]

    def check_whole(self, labels: Sequence[str], what: str, advice: str = "") -> None:
        """Make sure that no image misses pixels that others have.

        Parameters
        ----------
        labels
            Of the images.
        what
            What needs whole images.
        advice
            What to do besides linking them otherwise, ending in a comma.

        Raises
        ------
        DataError
            If one does.
        """
        masks = {label: self.incomplete(label) for label in labels}
        lacking = [label for label, mask in masks.items() if mask is not None and mask.any()]
        if lacking:
            raise DataError(
                f"{what} needs whole images, but pixels of {' and '.join(lacking)} are missing in some images of "
                f"{redact(self.url)}; {advice}{' or ' if advice else ''}link them with --missing drop-images."
            )

    @cached_property
    def _there(self) -> npt.NDArray[np.bool_] | None:
        return self._mask("there")

    @cached_property
    def _incomplete(self) -> npt.NDArray[np.bool_] | None:
        return self._mask("incomplete")

    def _mask(self, name: str) -> npt.NDArray[np.bool_] | None:
        values = None if self._linked is None else self._values(name)
        return None if values is None else values.astype(bool)

    @cached_property
    def linked_arrays(self) -> dict[str, LinkedArray]:
        """The arrays of the labels of a linked store; of another, none."""
        if self._linked is None:
            return {}
        return {
            label: LinkedArray(
                self._linked.links[label].seen_from(self.url),
                self.dtype,
                self.there(label),
                self.incomplete(label),
                self.present[:, column],
                self.storage_options,
            )
            for column, label in enumerate(self.labels)
        }

    def fingerprint(self, labels: Sequence[str], rows: npt.NDArray[np.int64]) -> str:
        """Return a hash of the pixels of these rows and labels, independent of the chunks."""
        checksum = self.checksums(labels, rows)
        return fingerprint(self.shape, self.n_channels, str(self.dtype), self.image[rows], checksum)

    def checksums(self, labels: Sequence[str], rows: npt.NDArray[np.int64]) -> npt.NDArray[np.uint32]:
        """Return the CRC-32 of the pixels of these rows and labels, shape (image, label).

        If the store does not keep them, this process reads it once. Of linked arrays no pixel is read: the numbers tell
        images of other arrays apart.
        """
        if self._linked is not None:
            linked = [self.linked_arrays[label].checksums(self.n_images)[rows] for label in labels]
            return np.stack(linked, axis=1)
        if self.kept_checksum is not None:
            return self.kept_checksum[rows][:, [self.column(label) for label in labels]]
        return np.stack([self._computed(label, rows) for label in labels], axis=1).astype(np.uint32)

    def _computed(self, label: str, rows: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        known = self._sums.setdefault(label, np.full(self.n_images, -1))
        for start, stop, chosen in self.slabs(rows[known[rows] < 0], self.chunks[0]):
            known[start + chosen] = crc_of_images(self.reader(), label, start, stop, self.shape, self.chunks[1])[chosen]
        return known[rows]

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

    def reader(self, *, nan: bool = False) -> ImageReader:
        """Return what reads pixels; a missing value that other images have is NaN with ``nan``, else an error."""
        return ImageReader(self.url, self._group, self.linked_arrays, nan=nan)

    @cached_property
    def reads_straight(self) -> bool:
        """Whether chunks are decoded where they are asked for, without zarr."""
        return all(map(self.reader().fetches, self.labels))

    @property
    def chunks_in_flight(self) -> int:
        """Chunks that a reader holds, at most, besides the pixels that it returns: as they are stored, and decoded."""
        if not self.reads_straight:
            return 2 * int(zarr.config.get("async.concurrency"))
        return 3 if is_local(self.url) else HELD + 3

    def read(self, label: str, rows: Iterable[int]) -> npt.NDArray[np.generic]:
        """Return whole images of a label, shape (image, y, x, channel); errors are those of `ImageReader.read`."""
        reader, frame = self.reader(), Block(0, 0, *self.shape)
        return np.concatenate([reader.read(label, row, row + 1, frame) for row in rows])
