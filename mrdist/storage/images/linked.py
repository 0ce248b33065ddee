"""Labels whose pixels lie in an array of another program: read where they lie, in the units of images.

The one place where values become pixels: a value of the label's range becomes a share of it, rounded once to the
fixed-point unit of float images (`mrdist.moments.FIXED_POINT`), so that everything that reads images sums them exactly.
Integers that already are pixels (uint8, uint16, bool) stay what they are.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from functools import cached_property
from math import prod
from typing import Any

import numpy as np
import numpy.typing as npt
from zarr.core.buffer import default_buffer_prototype

from mrdist.errors import DataError, StoreError
from mrdist.geometry import Block, images_at_a_time
from mrdist.storage.access.foreign import ForeignArray, open_foreign
from mrdist.storage.access.listings import check_chunks
from mrdist.storage.access.remote import StorageOptions, is_local, redact
from mrdist.storage.access.urls import store_errors
from mrdist.storage.images.links import PIXELS, Link
from mrdist.values import FIXED_POINT, unit_of

Values = npt.NDArray[Any]


class LinkedArray:
    """Pixels of a label that lie in an array of another program.

    Parameters
    ----------
    link
        Where they lie.
    dtype
        Of the images of the store.
    there
        Which pixels have a value in some image, shape (y, x); None if all have one in every image.
    incomplete
        Which of these other images may miss, shape (y, x); None if they may miss none.
    present
        Which images are there; others may miss any pixel.
    options
        Further options of the filesystem, such as credentials.
    """

    def __init__(
        self,
        link: Link,
        dtype: npt.DTypeLike,
        there: npt.NDArray[np.bool_] | None = None,
        incomplete: npt.NDArray[np.bool_] | None = None,
        present: npt.NDArray[np.bool_] | None = None,
        options: StorageOptions = None,
    ) -> None:
        self.link = link
        self.dtype = np.dtype(dtype)
        self.there = there
        self.incomplete = incomplete
        self.present = present
        self._options = options

    @cached_property
    def foreign(self) -> ForeignArray:
        """The array, opened on first use.

        Raises
        ------
        StoreError
            If its metadata are not those that were linked.
        """
        link = self.link
        foreign = open_foreign(link.address, self._given, fill=link.fill, since=link.since)
        if link.fingerprint and foreign.fingerprint != link.fingerprint:
            raise StoreError(
                f"the array {redact(link.address)} has changed since it was linked: its shape, type, chunks or "
                "attributes are others; link it again."
            )
        return foreign

    @property
    def _given(self) -> dict[str, Any]:
        """Options of the filesystem."""
        return {**self.link.options, **({} if is_local(self.link.address) else self._options or {})}

    def _check_chunks(self, *, again: bool = False) -> None:
        """Make sure that an object store lists the chunks that were linked; a process asks about once a minute."""
        link = self.link
        if link.listing:
            check_chunks(link.address, self._given, link.listing, link.newest, again=again)

    def values(self, start: int, stop: int, block: Block) -> Values:
        """Return values as they lie in the array, in this machine's byte order, shape (image, y, x, channel).

        ``block`` is in pixels of the array, not of the store.
        """
        self._check_chunks()
        wanted = {"image": slice(start, stop), "y": block.slices[0], "x": block.slices[1]}
        place, axes = [], []
        for name in self.link.dims:
            chosen = self.link.select.get(name)
            part = wanted.get(name, slice(None))
            if isinstance(chosen, tuple):
                first, last = chosen
                part = slice(first + (part.start or 0), last if part.stop is None else first + part.stop)
            if isinstance(chosen, int):
                place.append(slice(chosen, chosen + 1))
            else:
                place.append(part)
                axes.append(name)
        with store_errors(self.link.address):
            values = np.asarray(self.foreign.array[tuple(place)])
        values = values.reshape([n for n, name in zip(values.shape, self.link.dims, strict=True) if name in axes])
        if "channel" not in axes:
            values, axes = values[..., None], [*axes, "channel"]
        values = values.transpose([axes.index(name) for name in PIXELS])
        return values.astype(values.dtype.newbyteorder("="), copy=False)

    def own_values(self, start: int, stop: int, block: Block) -> Values:
        """Return values in the label's own units in a block of pixels of the store, NaN where they are missing."""
        link, coarse = self.link, coarsened(block, self.link.factor)
        values = self.values(start, stop, coarse)
        missing = self.missing_in(values)
        if self.own_dtype.kind == "f":
            values = (values * np.float64(link.scale_factor) + link.add_offset).astype(self.own_dtype)
            if missing is not None:
                values[missing] = np.nan
        for axis in (1, 2) if link.factor > 1 else ():
            values = values.repeat(link.factor, axis=axis)
        part = block.seen_from(Block(coarse.y0 * link.factor, coarse.x0 * link.factor, block.y1, block.x1))
        return values[:, *part.slices]

    @property
    def own_dtype(self) -> np.dtype[Any]:
        """The dtype of values in the label's own units."""
        link, dtype = self.link, np.dtype(self.link.dtype).newbyteorder("=")
        if not link.may_miss and (link.scale_factor, link.add_offset) == (1.0, 0.0):
            return dtype
        return np.dtype(np.float64 if dtype.itemsize > 2 and dtype != np.float32 else np.float32)

    def missing_in(self, values: Values) -> npt.NDArray[np.bool_] | None:
        """Return which values stand for nothing, None where none can."""
        if not self.link.may_miss:
            return None
        missing: npt.NDArray[np.bool_] = np.isnan(values) if values.dtype.kind == "f" else np.zeros(values.shape, bool)
        for value in self.link.missing:
            missing |= values == np.asarray(value).astype(values.dtype)
        if self.link.valid is not None:
            missing |= (values < self.link.valid[0]) | (values > self.link.valid[1])
        return missing

    def read_into(self, out: Values, start: int, block: Block, *, nan: bool = False) -> None:
        """Fill ``out``, shape (image, y, x, channel), with pixels; with ``nan``, those that others have may be NaN.

        Raises
        ------
        DataError
            If a value is missing where others have one, or lies outside the range.
        """
        link = self.link
        if self._is_as_it_lies and out.dtype == self.dtype:
            self._check_chunks()
            place: tuple[Any, ...] = (slice(start, start + len(out)), *block.slices)
            target = out if "channel" in link.dims else out[..., 0]
            with store_errors(link.address):
                self.foreign.array.get_basic_selection(
                    place,
                    out=default_buffer_prototype().nd_buffer.from_ndarray_like(target),  # type: ignore[arg-type]
                )
            return
        coarse = coarsened(block, link.factor)
        for first, last in self._pieces(start, start + len(out), coarse):
            values = self.values(first, last, coarse)
            self._convert(values, out[first - start : last - start], first, block, coarse, nan=nan)

    @cached_property
    def _is_as_it_lies(self) -> bool:
        """Whether pixels are read without touching them."""
        link = self.link
        return (
            not link.may_miss
            and not link.select
            and link.factor == 1
            and link.dims == PIXELS[: len(link.dims)]
            and np.dtype(link.dtype) == self.dtype == link.pixel_dtype
        )

    @property
    def value_itemsize(self) -> int:
        """Bytes that a value takes while it becomes a pixel, with its copies; 0 where it is read as a pixel."""
        dtype = np.dtype(self.link.dtype)
        copies = (not dtype.isnative) + 2 * (dtype == np.float16)  # numba has no float16
        return 0 if self._is_as_it_lies else dtype.itemsize * (1 + copies)

    @property
    def n_channels(self) -> int:
        """Channels of an image."""
        link = self.link
        if "channel" not in link.dims:
            return 1
        first, last = link.select.get("channel", (0, self.foreign.array.shape[link.dims.index("channel")]))  # type: ignore[misc]
        return int(last - first)

    def _pieces(self, start: int, stop: int, block: Block) -> Iterator[tuple[int, int]]:
        """Cut a run of images into runs of whole chunks of a bounded size."""
        unit = self.foreign.chunks[self.link.dims.index("image")]
        chosen = self.link.select.get("image")
        shift = chosen[0] if isinstance(chosen, tuple) else 0
        image = prod(block.shape) * self.n_channels * self.value_itemsize
        run = -(-images_at_a_time(stop - start, unit, image) // unit) * unit
        first = start
        while first < stop:
            last = min(((first + shift) // unit * unit) + run - shift, stop)
            yield first, last
            first = last

    def _convert(self, values: Values, out: Values, start: int, block: Block, coarse: Block, *, nan: bool) -> None:
        link = self.link
        low, high = link.range
        if self.dtype.kind == "f" and self._all_inside(values, out):
            return
        part = block.seen_from(Block(coarse.y0 * link.factor, coarse.x0 * link.factor, block.y1, block.x1))
        for number, image in enumerate(values):
            missing = self.missing_in(image)
            lost = None
            if missing is not None and missing.any():
                lost = self._lost(missing, start + number, coarse, nan=nan)
            else:
                missing = None
            if self.dtype.kind == "f":
                with np.errstate(invalid="ignore", over="ignore"):
                    units = np.rint((image.astype(np.float64) - low) / (high - low) * FIXED_POINT)
                if missing is not None:
                    units[missing] = 0
                if not (units.min() >= 0 and units.max() <= FIXED_POINT):
                    self._refuse(image, missing, units, start + number, coarse)
                pixels: Values = (units / FIXED_POINT).astype(self.dtype)
                if lost is not None:
                    pixels[lost] = np.nan
            else:
                pixels = image * np.uint8(unit_of(np.uint8)) if image.dtype.kind == "b" else image
                if missing is not None:
                    pixels = np.where(missing, 0, pixels)
            if link.factor > 1:
                pixels = pixels.repeat(link.factor, axis=0).repeat(link.factor, axis=1)
            out[number] = pixels[part.slices]

    def _all_inside(self, values: Values, out: Values) -> bool:
        """Convert values fast; false if one is missing or leaves the range, or a value covers several pixels."""
        from mrdist._kernels.shares import to_shares  # numba, which a link does not need

        low, high = self.link.range
        rows = out.reshape(*out.shape[:2], -1)
        if self.link.factor > 1 or self.link.missing or self.link.valid or not np.may_share_memory(rows, out):
            return False
        numbers = values.astype(np.float32) if values.dtype == np.float16 else values  # numba has none
        return bool(to_shares(numbers.reshape(*out.shape[:2], -1), low, high - low, FIXED_POINT, rows))

    def _lost(
        self, missing: npt.NDArray[np.bool_], image: int, block: Block, *, nan: bool
    ) -> npt.NDArray[np.bool_] | None:
        """Return the values, shape (y, x), that an image misses and others have; ``block`` is in values of the array.

        Raises
        ------
        DataError
            If it may not miss them, or nobody has asked for NaN.
        """
        if self.present is not None and not self.present[image]:
            return None
        lost = np.asarray(missing.any(axis=2))
        factor = self.link.factor  # of the pixels of the store that a value covers, all are there or none
        if self.there is not None:
            lost &= self.there[::factor, ::factor][block.slices]
        known = lost if self.incomplete is None else lost & self.incomplete[::factor, ::factor][block.slices]
        if not lost.any():
            return None
        if nan and self.incomplete is not None and np.array_equal(known, lost):
            return lost
        y, x = np.argwhere(lost)[0] + (block.y0, block.x0)
        others = "" if self.there is None and self.incomplete is None else "that other images have, "
        advice = "leave out these images" if others else "link it without --missing none"
        if self.incomplete is not None:
            advice = "link it with --missing drop-images" if np.array_equal(known, lost) else "link it again"
        raise DataError(
            f"{redact(self.link.address)} misses {int(lost.sum())} values in image {image} (the first at y = {y}, "
            f"x = {x}) {others}but images must be whole; {advice}, or fill them."
        )

    def _refuse(
        self, values: Values, missing: npt.NDArray[np.bool_] | None, units: Values, image: int, block: Block
    ) -> None:
        outside = ~((units >= 0) & (units <= FIXED_POINT))
        if missing is not None:
            outside &= ~missing
        y, x, channel = np.argwhere(outside)[0]
        link, (low, high) = self.link, self.link.own_range
        value = link.scale_factor * float(values[y, x, channel]) + link.add_offset
        raise DataError(
            f"{int(outside.sum())} values of {redact(link.address)} leave the range {low:g} to {high:g}, the first, "
            f"{value:g}, in image {image} at y = {y + block.y0}, x = {x + block.x0}; link it with a wider --range."
        )

    @property
    def mark(self) -> str:
        """What tells its images from those of other arrays."""
        link = self.link
        return link.mark or f"{link.address} {link.fingerprint} {link.range} {link.select} {link.since}"

    def checksums(self, n_images: int) -> npt.NDArray[np.uint32]:
        """Return a number for each image that tells it from others of other arrays; no pixel is read.

        Raises
        ------
        StoreError
            If an object store lists other chunks than when the array was linked.
        """
        self._check_chunks(again=True)
        before = zlib.crc32(self.mark.encode())
        return np.array([zlib.crc32(str(image).encode(), before) for image in range(n_images)], dtype=np.uint32)


def coarsened(block: Block, factor: int) -> Block:
    """Return the values that cover a block of pixels."""
    return Block(block.y0 // factor, block.x0 // factor, -(-block.y1 // factor), -(-block.x1 // factor))
