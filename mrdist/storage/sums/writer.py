"""Statistics stores in the making: start, add images, write entry by entry and complete."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from math import prod
from typing import Any

import numpy as np
import numpy.typing as npt
import zarr

from mrdist.geometry import Block, Shape
from mrdist.left_out import LeftOut, shapes_of_sums
from mrdist.moments import SufficientStatistics
from mrdist.storage.access.arrays import ArraySpec, lay_out, write_strings
from mrdist.storage.access.fresh import left_out
from mrdist.storage.access.urls import (
    StorageOptions,
    array_of,
    beginning,
    check_format,
    check_same,
    clear_output,
    completing,
    find_store,
    is_free,
    normalize_url,
    open_group,
    remove_partial_files,
    store_errors,
)
from mrdist.storage.images.face_frame import FaceFrame
from mrdist.storage.making.progress import TEMPORARY, Progress, remove_progress
from mrdist.storage.sums.reader import Accumulation, Part
from mrdist.storage.weights.output import chunk_side

_IDS_PER_CHUNK = 1 << 16
_CHUNK_BYTES = 4 << 20  # of sums over rows that are left out


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
        """Open a store that `statistics_output` has started."""
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
                array = self.progress.array(self._group, name)
                array[fold, ..., *block.slices] = getattr(statistics, name)[group, ..., *own]
            if self.accumulation.drops_rows:
                left_out = statistics.left_out and statistics.left_out.crop(block.seen_from(block.grown(field.halo)))
                self._write_left_out(fold, block, left_out)

    def _write_left_out(self, fold: int, block: Block, left_out: LeftOut | None) -> None:
        """Write the sums over the rows that pixels of a block leave out, zeros for all others."""
        array = self.progress.array(self._group, "left_out")
        run = array.chunks[1]
        table = None if left_out is None else left_out.table
        for first in range(0, array.shape[1], run):
            maps = np.zeros((min(run, array.shape[1] - first), *block.shape), dtype=np.int64)
            if left_out is not None and table is not None:
                maps[:, *left_out.pixels.T] = table[:, first : first + run].T
            array[fold, first : first + run, *block.slices] = maps

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
            attributes = check_format(self._group, self._url)
            before = sum(part["n_images"] for part in attributes["parts"])
            after, first_fold = before + len(image), self.progress.task["first_fold"]
            runs = self.accumulation.folds(len(image))
            fold_of_image = np.repeat(np.arange(len(runs)), [run.stop - run.start for run in runs]) + first_fold
            with completing(self._group, self._url, without=TEMPORARY) as root:
                self.progress.put_together(root)
                face_frame.write(root)
                for name, values in (
                    ("image", np.array(image, dtype=np.dtypes.StringDType())),
                    ("checksum", checksum),
                    ("fold_of_image", fold_of_image),
                ):
                    array = array_of(root, name)
                    array.resize((after, *array.shape[1:]))
                    array.with_config({"write_empty_chunks": True})[before:after] = values
                count = array_of(root, "count")
                count.resize((first_fold + len(runs),))
                count[first_fold:] = np.array([run.stop - run.start for run in runs])
                root.attrs["mrdist"] = {
                    **attributes,
                    "complete": True,
                    "parts": [*attributes["parts"], asdict(self.part)],
                    "provenance": dict(provenance),
                }
            remove_progress(self._group, left_out(root))


def statistics_output(
    url: str,
    accumulation: Accumulation,
    part: Part,
    rows: npt.NDArray[np.int64],
    block: Shape,
    *,
    overwrite: bool,
    codec: str | None = None,
    storage_options: StorageOptions = None,
) -> StatisticsOutput:
    """Start a statistics store, add to a complete one, or resume an interrupted run with the same images.

    Parameters
    ----------
    url, storage_options
        Where.
    accumulation
        What the images have in common.
    part, rows
        The images to add, and their rows in the images store.
    block
        Height and width of a block; a resumed run keeps its grid.
    overwrite
        Remove any store of mrdist that is there.
    codec
        Of a new store, see `mrdist.codecs`.

    Returns
    -------
    StatisticsOutput

    Raises
    ------
    StoreExistsError
        If ``url`` holds the output of another accumulation, or something else.
    """
    url = normalize_url(url)
    free = is_free(url, storage_options)
    existing = None if free or overwrite else find_store(url, storage_options)
    if existing is not None and existing["kind"] == "statistics":
        group = open_group(url, storage_options, write=True)
        progress = Progress.find(group)
        if not existing["complete"] and progress is not None:
            begun = Accumulation(**existing["accumulation"])
            check_same(url, "accumulation", asdict(begun), asdict(accumulation))
            check_same(
                url, "accumulation", {"images": progress.task["part"]["fingerprint"]}, {"images": part.fingerprint}
            )
        same = progress is not None and progress.task["part"]["fingerprint"] == part.fingerprint
        # The rows are those of the images store at hand, and the same images may lie in other rows of another store.
        if progress is not None and same and np.array_equal(progress.rows, rows):
            remove_partial_files(url)
            return StatisticsOutput(url, group, progress)
        if existing["complete"]:
            with store_errors(url):
                return StatisticsOutput(url, group, _begin(group, accumulation, part, rows, block))
    if not free:
        clear_output(url, storage_options, kind="statistics", overwrite=overwrite)
    told = {"accumulation": accumulation.to_dict(), "parts": []}
    with beginning(url, storage_options, "statistics", codec=codec, **told) as group:
        lay_out(group, _arrays(accumulation))
        write_strings(group, "image", [], "image", _IDS_PER_CHUNK)
        progress = _begin(group, accumulation, part, rows, block)
    return StatisticsOutput(url, group, progress)


def _begin(
    group: zarr.Group, accumulation: Accumulation, part: Part, rows: npt.NDArray[np.int64], block: Shape
) -> Progress:
    parts = group.attrs["mrdist"]["parts"]  # type: ignore[index, call-overload]
    first_fold = sum(part["n_folds"] for part in parts)  # type: ignore[union-attr, index, misc, call-overload]
    arrays = [array_of(group, name) for name in (*_MAPS, "left_out") if name in group]
    for array in arrays:
        array.resize((first_fold + part.n_folds, *array.shape[1:]))
    return Progress.begin(
        group, accumulation.shape, block, rows, arrays=arrays, part=asdict(part), first_fold=first_fold
    )


_MAPS = ("lag", "cross", "source_sum", "target_sum", "target_square")


def _arrays(accumulation: Accumulation) -> Iterator[ArraySpec]:
    """Yield the layout of the sums, with no images yet."""
    field, shape = accumulation.field, accumulation.shape
    side, n_channels = chunk_side(shape), accumulation.n_channels
    pixels = {"y": shape[0], "x": shape[1]}
    plane = {} if accumulation.color == "shared" else {"channel": n_channels}
    pair = {"pair": n_channels**2} if accumulation.color == "joint" else plane
    maps = {"lag": {"shift": field.n_lags}, "cross": {"offset": field.n_offsets}}
    for name in _MAPS:
        leading, axes = (pair, maps[name]) if name in maps else (plane, {})
        chunks = (1, *(1 for _ in leading), *axes.values(), *(min(side, length) for length in shape))
        yield ArraySpec(name, {"fold": 0, **leading, **axes, **pixels}, accumulation.sum_dtype, chunks)
    if accumulation.drops_rows:
        shapes = shapes_of_sums(field, n_groups=accumulation.n_groups, n_inputs=accumulation.n_inputs)
        n_sums, sides = sum(map(prod, shapes.values())), (min(side, shape[0]), min(side, shape[1]))
        run = min(n_sums, max(1, _CHUNK_BYTES // (8 * prod(sides))))
        yield ArraySpec("left_out", {"fold": 0, "sum": n_sums, **pixels}, np.int64, (1, run, *sides))
    yield ArraySpec.holding("shifts", field.lags, "shift", "axis")
    yield ArraySpec.holding("offsets", field.offsets, "offset", "axis")
    yield ArraySpec("count", {"fold": 0}, np.int64, (1024,))
    yield ArraySpec("checksum", {"image": 0, "role": 2}, np.uint32, (_IDS_PER_CHUNK, 2))
    yield ArraySpec("fold_of_image", {"image": 0}, np.int64, (_IDS_PER_CHUNK,))
