"""Link the arrays of other programs into an images store that holds no pixels."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from mrdist.arguments import Address, plain_arguments, shown
from mrdist.errors import DataError, ParameterError
from mrdist.execution import Scheduler
from mrdist.pipeline.ingesting._link_rows import PERIODS, SPLITS, Column, rows_of
from mrdist.pipeline.ingesting._measuring import check_range, find_missing, measure_arrays, measured_range
from mrdist.planning import DEFAULT_MEMORY
from mrdist.running.driving import driving, hold
from mrdist.running.workers import check_workers
from mrdist.storage import (
    LinkedStore,
    Sizes,
    StorageOptions,
    check_apart,
    check_labels,
    check_output,
    describe_array,
    is_local,
    normalize_url,
    redact,
    write_link,
)
from mrdist.values import FIXED_POINT

MISSING = ("error", "drop-rows", "drop-images", "none")


@dataclass(frozen=True)
class LinkReport:
    """What was linked.

    Attributes
    ----------
    url
        The images store.
    linked
        Where the arrays lie and what their values mean.
    present
        Images of each label that are there.
    masked
        Pixels of each label that are missing in every image.
    incomplete
        Pixels of each label that are missing in some images, which the regressions concerned leave out.
    splits
        Images of each split.
    known
        Labels whose range was given, or followed from metadata.
    run_seconds
        All of it.
    """

    url: str
    linked: LinkedStore
    present: Mapping[str, int]
    masked: Mapping[str, int]
    incomplete: Mapping[str, int]
    splits: Mapping[str, int]
    known: Sequence[str] = field(default_factory=list)
    run_seconds: float = 0.0

    def to_dict(self) -> dict[str, Any]:
        """Return what ``mrdist link --json`` prints."""
        labels = {}
        for label, link in self.linked.links.items():
            low, high = link.own_range
            labels[label] = {
                "address": link.address,
                "dtype": str(np.dtype(link.dtype)),
                "range": [low, high],
                "measured": label not in self.known,
                "units": link.units,
                "rounding": abs(high - low) / FIXED_POINT / 2 if self.linked.dtype == "float32" else 0.0,
                "missing_values": list(link.missing),
                "factor": link.factor,
                "present": self.present[label],
                "masked_pixels": self.masked[label],
                "changes_seen": "of chunks" if is_local(link.address) or link.listing else "of metadata",
                "incomplete_pixels": self.incomplete[label],
            }
        return {
            "url": redact(self.url),
            "images": self.linked.shape[0],
            "shape": list(self.linked.shape[1:3]),
            "channels": self.linked.shape[3],
            "dtype": self.linked.dtype,
            "chunks": list(self.linked.chunks),
            "splits": dict(self.splits),
            "labels": labels,
            "seconds": {"run": self.run_seconds},
        }


@plain_arguments
@driving("link")
def link(
    url: Address,
    arrays: Mapping[str, Address],
    *,
    dims: Sequence[str] | None = None,
    select: Mapping[str, Any] | None = None,
    level: int = 0,
    scale: int = 1,
    ranges: Mapping[str, Sequence[float]] | None = None,
    missing: str = "error",
    missing_values: Mapping[str, float] | None = None,
    missing_chunks: str = "error",
    image: Column | None = None,
    subject: Column | None = None,
    split: Column | None = None,
    split_by: str | None = None,
    seed: int = 0,
    workers: int | None = None,
    scheduler: Scheduler | None = None,
    overwrite: bool = False,
    progress: bool | None = None,
    storage_options: StorageOptions = None,
    array_storage_options: StorageOptions = None,
) -> LinkReport:
    """Make an images store of arrays where they lie: it says where the pixels of each label are, and holds none.

    Everything that takes an images store takes it. Values become pixels as they are read: a range of values of each
    label becomes 0..1, rounded once to multiples of 2^-22; uint8, uint16 and bool without a range stay as they are.

    An array that changes afterwards is an error when it is used: on disk, by the times of its chunks; in object
    storage, by a listing of their ETags or times, one request for 1000 chunks, which every process asks for about once
    a minute. Where a store lists nothing, such as one over HTTP, only other metadata are noticed, and the report says
    so.

    Parameters
    ----------
    url
        Where the images store goes.
    arrays
        Address of the array of each label: a zarr array of format 2 or 3 inside a group, as a path or fsspec URL, or
        an OME-Zarr image. All have the same images; the pixels of one may be finer than those of another by a whole
        factor.
    dims
        Names of the dimensions of all arrays, such as ``("image", "y", "x")``; by default those that the arrays name
        themselves. ``time`` stands for image, ``lat`` for y and ``lon`` for x, and so on.
    select
        Index to take of a dimension that is none of image, y, x and channel, or of ``channel``; or of image and
        channel the first index and the one after the last. A name may be ``label.dimension``, for one label.
    level
        Of OME-Zarr images; 0 is the finest.
    scale
        How many pixels, along rows and columns, a value of the finest array covers: to apply what was learnt from a
        finer target to sources alone.
    ranges
        Values of a label, in its own units, that become 0 and 1. By default what the attribute ``valid_range`` says;
        else all that uint8, uint16 and bool can hold; else the least and largest value, found in one pass.
    missing
        NaN, ``_FillValue``, ``missing_value`` and values outside ``valid_range`` are missing. Pixels that are missing
        in every image have no output, and count as outside the image. Pixels that are missing in some images are
        refused by ``"error"``; ``"drop-rows"`` leaves these images out of the regressions of the pixels concerned:
        those that have no value there, or whose receptive field reads one that is missing; ``"drop-images"`` leaves
        them out altogether. All three look at all values of arrays that may miss some. ``"none"`` looks at nothing: a
        missing value will be an error when it is read.
    missing_values
        A further value of a label that is missing, as it lies in the array.
    missing_chunks
        ``"error"``, or ``"fill"``: the arrays leave out chunks of nothing but their fill value.
    image, subject, split
        Of every image: a list; the name of an array beside that of the first label; or ``FILE:COLUMN`` of a CSV table
        in the order of the images. By default, the ids are the coordinate of the image dimension, every image is a
        subject of its own, and subjects are drawn into train, val and test, 80/10/10.
    split_by
        ``"year"``, ``"month"`` or ``"day"`` of the ids, which must be dates: each is one subject, so that neighbours
        in time stay together.
    seed
        Decides the splits.
    workers, scheduler, overwrite, progress
        As in `mrdist.train`; by default in this process.
    storage_options, array_storage_options
        Options of the fsspec filesystems of the images store and of the arrays. The link keeps those that hold no
        secret; give the others with every verb.

    Returns
    -------
    LinkReport

    Raises
    ------
    ParameterError
        If an argument is not valid, or the images store would lie in one of the arrays.
    DataError
        If the arrays do not fit each other, hold no numbers, or miss values.
    StoreError
        If an array cannot be read, or the images store cannot be written.

    Examples
    --------
    >>> import tempfile, zarr
    >>> folder = tempfile.mkdtemp()
    >>> group = zarr.create_group(folder + "/climate.zarr")
    >>> for name in ("coarse", "fine"):
    ...     values = np.linspace(250, 320, 20 * 8 * 8).reshape(20, 8, 8)
    ...     array = group.create_array(name, data=values, dimension_names=("time", "lat", "lon"))
    >>> report = link(
    ...     folder + "/images.zarr",
    ...     {"low": folder + "/climate.zarr/coarse", "high": folder + "/climate.zarr/fine"},
    ... )
    >>> report.to_dict()["labels"]["low"]["range"]
    [250.0, 320.0]
    """
    began, since = time.perf_counter(), time.time_ns()
    url = normalize_url(url)
    addresses = _check(
        url, arrays, missing=missing, missing_chunks=missing_chunks, split_by=split_by, ranges=ranges, scale=scale
    )
    labels = list(addresses)
    for name, of_labels in (("ranges", ranges), ("missing_values", missing_values)):
        unknown = sorted(set(of_labels or {}) - set(labels))
        if unknown:
            raise ParameterError(f"{name} names {unknown[0]!r}, which is no label; there are {', '.join(labels)}.")
    if workers is None and scheduler is None:
        workers = 0
    limit, _ = check_workers(workers, scheduler, url, *addresses.values(), max_memory=DEFAULT_MEMORY)
    check_output(url, storage_options, kind="images", overwrite=overwrite)
    described = {
        label: describe_array(
            address,
            None if is_local(address) else array_storage_options,
            dims=dims,
            select=_of_label(select, label, labels),
            level=level,
            limits=_limits(ranges, label),
            fill=missing_chunks == "fill",
            nothing=(missing_values or {}).get(label),
            since=since,
        )
        for label, address in addresses.items()
    }
    shape, chunks, factors = _common({label: sizes for label, (_, sizes, _) in described.items()}, scale)
    links = {label: replace(one, factor=factors[label]) for label, (one, _, _) in described.items()}
    known = [label for label, (_, _, is_known) in described.items() if is_known]
    rows = rows_of(
        addresses[labels[0]], links[labels[0]], array_storage_options, shape[0], image, subject, split, split_by, seed
    )
    hold(url, storage_options)
    looked_at = [label for label in labels if label not in known or (missing != "none" and links[label].may_miss)]
    measured = measure_arrays(
        {label: links[label] for label in looked_at},
        {label: described[label][1] for label in looked_at},
        array_storage_options,
        workers=workers,
        scheduler=scheduler,
        max_memory=limit,
        progress=progress,
    )
    present, there, incomplete = find_missing(links, measured, shape, missing)
    links = {
        label: replace(one, range=measured_range(measured[label], one)) if label not in known else one
        for label, one in links.items()
    }
    for label in known:
        if label in measured:
            check_range(links[label], measured[label])
    dtypes = {one.pixel_dtype for one in links.values()}
    whole = len(dtypes) == 1 and incomplete is None  # only floats have NaN
    dtype = dtypes.pop() if whole else np.dtype(np.float32)
    linked = LinkedStore(shape, str(dtype), chunks, links)
    write_link(
        url,
        linked,
        **rows,
        present=present,
        there=there,
        incomplete=incomplete,
        provenance={"linked": {label: redact(one.address) for label, one in links.items()}},
        overwrite=overwrite,
        storage_options=storage_options,
    )
    counts = {name: rows["split"].count(name) for name in SPLITS if name in rows["split"]}
    return LinkReport(
        url,
        linked,
        {label: int(present[:, number].sum()) for number, label in enumerate(labels)},
        {label: 0 if there is None else int((~there[number]).sum()) for number, label in enumerate(labels)},
        {label: 0 if incomplete is None else int(incomplete[number].sum()) for number, label in enumerate(labels)},
        counts,
        known,
        time.perf_counter() - began,
    )


def _check(
    url: str,
    arrays: Mapping[str, Any],
    *,
    missing: str,
    missing_chunks: str,
    split_by: str | None,
    ranges: Mapping[str, Any] | None,
    scale: int,
) -> dict[str, str]:
    if not arrays:
        raise ParameterError(f"arrays must be a dictionary of label to address, got {shown(arrays)}.")
    check_labels(list(arrays))
    for name, value, choices in (
        ("missing", missing, MISSING),
        ("missing_chunks", missing_chunks, ("error", "fill")),
        ("split_by", split_by, (None, *PERIODS)),
    ):
        if value not in choices:
            words = ", ".join(str(choice) for choice in choices if choice is not None)
            raise ParameterError(f"{name} must be one of {words}, got {shown(value)}.")
    addresses = {}
    for label, address in arrays.items():
        if not isinstance(address, str) or not address:
            raise ParameterError(f"the address of {label!r} must be a path or a URL, got {shown(address)}.")
        addresses[label] = normalize_url(address)
        check_apart(addresses[label], url)
    if scale < 1:
        raise ParameterError(f"scale must be at least 1, got {scale}.")
    if ranges is not None and not isinstance(ranges, Mapping):
        raise ParameterError(f"ranges must be a dictionary of label to two numbers, got {shown(ranges)}.")
    return addresses


def _limits(ranges: Mapping[str, Sequence[float]] | None, label: str) -> tuple[float, float] | None:
    limits = (ranges or {}).get(label)
    if limits is None:
        return None
    try:
        low, high = map(float, limits)
    except (TypeError, ValueError):
        low = high = np.nan
    if not (np.isfinite([low, high]).all() and low < high):
        raise ParameterError(f"the range of {label!r} must be two ascending numbers, got {shown(limits)}.")
    return low, high


def _of_label(select: Mapping[str, Any] | None, label: str, labels: Sequence[str]) -> dict[str, Any]:
    chosen: dict[str, Any] = {}
    for name, index in (select or {}).items():
        owner, _, dimension = name.rpartition(".")
        if owner and owner not in labels:
            raise ParameterError(f"select names {owner!r}, which is no label; there are {', '.join(labels)}.")
        numbers = index if isinstance(index, list | tuple) else [index]
        if len(numbers) > 2 or not all(isinstance(n, int) and not isinstance(n, bool) for n in numbers):
            raise ParameterError(f"select {name} must be an index, or two for a range, got {shown(index)}.")
        if owner in ("", label):
            chosen[dimension] = tuple(index) if isinstance(index, list | tuple) else index
    return chosen


def _common(
    sizes: Mapping[str, Sizes], scale: int
) -> tuple[tuple[int, int, int, int], tuple[int, int, int, int], dict[str, int]]:
    """Return the shape and chunks of all labels, and how many pixels a value of each covers along an axis."""
    shapes = {label: each.shape for label, each in sizes.items()}
    first, one = next(iter(shapes.items()))
    for label, other in shapes.items():
        for axis, what in ((0, "images"), (3, "channels")):
            if other[axis] != one[axis]:
                raise DataError(
                    f"all labels must agree, but {first!r} has {one[axis]} {what} and {label!r} {other[axis]}; link "
                    "arrays of the same, or select from them with --select."
                )
    n_images, height, width, n_channels = max(shapes.values(), key=lambda shape: shape[1] * shape[2])
    finest = (n_images, height * scale, width * scale, n_channels)
    factors = {}
    for label, other in shapes.items():
        factor = max(finest[1] // other[1], 1)
        if (other[1] * factor, other[2] * factor) != finest[1:3]:
            raise DataError(
                f"the pixels of {label!r}, {other[1]} x {other[2]}, do not fit into {finest[1]} x {finest[2]} by a "
                "whole factor that is the same along rows and columns; link arrays of one grid, or of grids that nest."
            )
        factors[label] = factor
    chunks = [each.chunks for each in sizes.values()]
    scaled = [(n, y * factor, x * factor, c) for (n, y, x, c), factor in zip(chunks, factors.values(), strict=True)]
    largest = tuple(min(max(lengths), size) for lengths, size in zip(zip(*scaled, strict=True), finest, strict=True))
    return finest, largest, factors
