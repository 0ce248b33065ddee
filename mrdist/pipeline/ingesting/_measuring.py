"""One pass over arrays of other programs: their least and largest values, and where values are missing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import prod

import numpy as np
import numpy.typing as npt

from mrdist.errors import DataError
from mrdist.execution import Scheduler, open_executor
from mrdist.geometry import Block, block_grid
from mrdist.running.driving import run_tasks, tracked
from mrdist.storage import Link, LinkedArray, Sizes, StorageOptions, redact
from mrdist.values import FIXED_POINT

_TASK_BYTES = 64 << 20


@dataclass
class Measured:
    """What was found of a label.

    Attributes
    ----------
    low, high
        Least and largest value, as they lie in the array.
    of_pixel, of_image
        Images in which a pixel is missing, shape (y, x), and pixels that are missing in an image.
    """

    low: float
    high: float
    of_pixel: npt.NDArray[np.int64]
    of_image: npt.NDArray[np.int64]


@dataclass(frozen=True)
class _Part:
    """Some values of a label."""

    label: str
    link: Link
    options: StorageOptions = field(repr=False)
    start: int
    stop: int
    block: Block


def measure_arrays(
    links: Mapping[str, Link],
    sizes: Mapping[str, Sizes],
    options: StorageOptions,
    *,
    workers: int | None,
    scheduler: Scheduler | None,
    max_memory: int,
    progress: bool | None,
) -> dict[str, Measured]:
    """Read every value of some labels once."""
    parts = [part for label, link in links.items() for part in _parts(label, link, sizes[label], options)]
    found = {
        label: Measured(
            np.inf,
            -np.inf,
            np.zeros(sizes[label].shape[1:3], dtype=np.int64),
            np.zeros(sizes[label].shape[0], dtype=np.int64),
        )
        for label in links
    }
    if not parts:
        return found
    with (
        open_executor(
            workers=workers, scheduler=scheduler, n_tasks=len(parts), max_memory=max_memory, module=__name__
        ) as executor,
        tracked(len(parts), 0, "part", show=progress, phase="measuring") as advance,
    ):
        for part, (low, high, of_pixel, of_image) in run_tasks(
            executor, _measure, parts, name="measure", describe=lambda p: f"{p.label} {p.start}:{p.stop}, {p.block}"
        ):
            one = found[part.label]
            one.low, one.high = min(one.low, low), max(one.high, high)
            one.of_pixel[part.block.slices] += of_pixel
            one.of_image[part.start : part.stop] += of_image
            advance(1, "")
    return found


def _parts(label: str, link: Link, sizes: Sizes, options: StorageOptions) -> list[_Part]:
    """Cut a label's values into whole chunks of a bounded size."""
    n, height, width, n_channels = sizes.shape
    run, tall, wide, _ = sizes.chunks
    itemsize = np.dtype(link.dtype).itemsize * n_channels
    columns = min(width, max(1, _TASK_BYTES // (itemsize * run * tall * wide)) * wide)
    rows = min(height, max(1, _TASK_BYTES // (itemsize * run * columns * tall)) * tall)
    images = min(n, max(1, _TASK_BYTES // (itemsize * prod((rows, columns)) * run)) * run)
    blocks = block_grid((height, width), (rows, columns))
    return [
        _Part(
            label,
            link,
            options,
            first,
            min(first + images, n),
            block,
        )
        for first in range(0, n, images)
        for block in blocks
    ]


def _measure(part: _Part) -> tuple[float, float, npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    array = LinkedArray(part.link, np.float32, options=part.options)
    low, high = np.inf, -np.inf
    of_pixel = np.zeros(part.block.shape, dtype=np.int64)
    of_image = np.zeros(part.stop - part.start, dtype=np.int64)
    for number, image in enumerate(array.values(part.start, part.stop, part.block)):
        missing = array.missing_in(image)
        values = image if missing is None or not missing.any() else image[~missing]
        if values.size:
            low, high = min(low, float(values.min())), max(high, float(values.max()))
        if missing is not None:
            lost = missing.any(axis=2)
            of_pixel += lost
            of_image[number] = lost.sum()
    return low, high, of_pixel, of_image


def find_missing(
    links: Mapping[str, Link], measured: Mapping[str, Measured], shape: tuple[int, int, int, int], missing: str
) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_] | None, npt.NDArray[np.bool_] | None]:
    """Return which images are there, shape (image, label); which pixels; and which of them some images miss.

    Pixels have the shape (label, y, x), None where all are there and none is missed.
    """
    present = np.ones((shape[0], len(links)), dtype=bool)
    there = np.ones((len(links), *shape[1:3]), dtype=bool)
    incomplete = np.zeros_like(there)
    for number, (label, one) in enumerate(links.items()):
        if label not in measured or missing == "none" or not measured[label].of_pixel.any():
            continue
        of_pixel, of_image = measured[label].of_pixel, measured[label].of_image
        absent = of_image == of_pixel.size
        n_there = int((~absent).sum())
        if not n_there:
            raise DataError(f"{redact(one.address)} holds nothing but missing values; link another array.")
        nowhere = of_pixel - absent.sum() == n_there
        lacking = ~absent & (of_image > nowhere.sum())
        some = (of_pixel > absent.sum()) & ~nowhere
        if lacking.any() and missing == "error":
            y, x = np.argwhere(some)[0]
            raise DataError(
                f"{int(some.sum())} pixels of {redact(one.address)} are missing in some images and not in others (the "
                f"first at y = {y}, x = {x}; {int(lacking.sum())} of {shape[0]} images lack some); leave these "
                "images out for the pixels concerned with --missing drop-rows, or altogether with --missing "
                "drop-images; or fill them."
            )
        present[:, number] = ~absent
        if missing == "drop-rows":
            incomplete[number] = some.repeat(one.factor, axis=0).repeat(one.factor, axis=1)
        else:
            present[:, number] &= ~lacking
        there[number] = (~nowhere).repeat(one.factor, axis=0).repeat(one.factor, axis=1)
    return present, None if there.all() else there, incomplete if incomplete.any() else None


def measured_range(measured: Measured, link: Link) -> tuple[float, float]:
    low, high = measured.low, measured.high
    if not np.isfinite([low, high]).all():
        raise DataError(
            f"{redact(link.address)} holds infinite values or nothing but missing ones, so that its range cannot be "
            "measured; clean it."
        )
    return (low, high) if low < high else (low, low + 1)


def check_range(link: Link, measured: Measured) -> None:
    low, high = sorted(link.range)
    half = (high - low) / FIXED_POINT / 2
    if np.isfinite(measured.low) and (measured.low < low - half or measured.high > high + half):
        found = sorted(link.scale_factor * value + link.add_offset for value in (measured.low, measured.high))
        given = link.own_range
        raise DataError(
            f"{redact(link.address)} holds values from {found[0]:g} to {found[1]:g}, which leave the range "
            f"{given[0]:g} to {given[1]:g}; link it with a wider --range."
        )
