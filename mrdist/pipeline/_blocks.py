"""What accumulating, solving and training share: options, sums over a block and the loop over blocks."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from itertools import pairwise, zip_longest
from math import prod
from typing import Protocol, TypeVar

import numpy as np
import numpy.typing as npt

from mrdist.errors import DataError, ExecutionError, ParameterError, SolveError
from mrdist.execution import Executor, n_processors, open_executor, peak_memory, progress_bar
from mrdist.geometry import Block, ReceptiveField
from mrdist.moments import COLORS, SufficientStatistics, to_integers, unit_of
from mrdist.planning import Cut, band_cuts, band_height
from mrdist.solvers import Solution, solve
from mrdist.storage import Images, StorageOptions, is_local, redact

Array = npt.NDArray[np.generic]
logger = logging.getLogger("mrdist")

SPLITS = ("train", "val", "test", "all")
DTYPES = ("float32", "float64")


class BlockTask(Protocol):
    """A block to work on, by position in the raster order of the grid."""

    @property
    def index(self) -> int:
        """Position in the raster order of the grid."""

    @property
    def block(self) -> Block:
        """Its pixels."""


Task = TypeVar("Task", bound=BlockTask)


@dataclass(frozen=True)
class BlockRun:
    """How the work on some blocks went.

    Attributes
    ----------
    start_seconds, run_seconds
        Until the workers were ready, and from then on.
    peak_memory_bytes
        Largest resident size of a worker.
    """

    start_seconds: float
    run_seconds: float
    peak_memory_bytes: int


def check_choices(color: str, split: str = "train", dtype: str = "float32") -> None:
    """Raise ParameterError if an option is none of its choices."""
    for name, value, allowed in (("color", color, COLORS), ("split", split, SPLITS), ("dtype", dtype, DTYPES)):
        if value not in allowed:
            raise ParameterError(f"{name} must be one of {', '.join(allowed)}, got {value!r}.")


def n_slots_of(workers: int | None) -> int:
    """Return how many tasks run at once, as far as that is known before there is a cluster."""
    return n_processors() if workers is None else max(workers, 1)


def output_options(url: str, options: StorageOptions, fallback: StorageOptions) -> StorageOptions:
    """Return the filesystem options of an output: the inputs' serve it unless it is local or has its own."""
    return fallback if options is None and not is_local(url) else options


def versions() -> dict[str, str]:
    """Return the versions of the packages that decide the bytes of an output."""
    return {name: version(name) for name in ("mrdist", "numba", "numpy", "zarr")}


def run_blocks(
    function: Callable[[Task], int],
    tasks: Sequence[Task],
    cut: Cut,
    *,
    n_images: int,
    workers: int | None,
    scheduler: str | None,
    max_memory: int,
    progress: bool | None,
) -> BlockRun:
    """Work on blocks, which may be those that an earlier run has left.

    Parameters
    ----------
    function
        Works on one block and returns the peak of resident bytes of its process.
    tasks
        The blocks that are left.
    cut
        Of all blocks.
    n_images
        Images that all blocks together work on, for the rate that is shown.
    workers, scheduler, max_memory, progress
        As in `mrdist.train`.

    Returns
    -------
    BlockRun
    """
    if not tasks:
        return BlockRun(0.0, 0.0, peak_memory())
    with open_blocks(workers=workers, scheduler=scheduler, n_tasks=len(tasks), max_memory=max_memory) as executor:
        return run_pass(executor, function, tasks, cut, n_images=n_images, progress=progress)


@contextmanager
def open_blocks(
    *,
    workers: int | None,
    scheduler: str | None,
    n_tasks: int,
    max_memory: int,
    prepare: Callable[[], None] | None = None,
) -> Iterator[Executor]:
    """Provide what works on blocks, in one pass over them or several.

    Parameters
    ----------
    workers, scheduler, max_memory
        As in `mrdist.train`.
    n_tasks
        Blocks of the longest pass.
    prepare
        Loads what the tasks need; by default the kernels of a training.
    """
    with open_executor(
        workers=workers, scheduler=scheduler, n_tasks=n_tasks, max_memory=max_memory, prepare=prepare or warm_up
    ) as executor:
        if executor.dashboard:
            logger.info("dashboard: %s", executor.dashboard)
        yield executor


def run_pass(
    executor: Executor,
    function: Callable[[Task], int],
    tasks: Sequence[Task],
    cut: Cut,
    *,
    n_images: int,
    progress: bool | None,
) -> BlockRun:
    """Work on blocks with what `open_blocks` has provided; parameters and result are those of `run_blocks`."""
    if not tasks:
        return BlockRun(executor.start_seconds, 0.0, peak_memory())
    n_blocks, peak = cut.n_blocks, 0
    if len(tasks) < n_blocks:
        logger.info("going on: %d of %d blocks are done", n_blocks - len(tasks), n_blocks)
    started = time.perf_counter()
    with progress_bar(n_blocks, n_blocks - len(tasks), "block", show=progress) as advance:
        finished = executor.run(
            function,
            tasks,
            name="block",
            describe=lambda task: f"block {task.index} ({task.block}; planned peak {cut.peak_memory >> 20} MiB)",
        )
        for number, (_, peak_of_task) in enumerate(finished, start=1):
            peak = max(peak, peak_of_task)
            rate = n_images * number / n_blocks / (time.perf_counter() - started)
            advance(1, f"{rate:.0f} images/s")
    return BlockRun(executor.start_seconds, time.perf_counter() - started, peak)


def warm_up() -> None:
    """Compile the kernels once and leave them on disk for the workers."""
    pixel = np.zeros((1, 1, 1, 1), dtype=np.uint8)
    statistics = SufficientStatistics.zeros(ReceptiveField(1), (1, 1), n_groups=1, unit=255)
    try:
        solve(statistics.update(pixel, pixel), 1.0)
    except OSError as error:
        raise ExecutionError(
            f"the compiled kernels cannot be kept on disk ({error.strerror or error}); free some space or name another "
            "folder in the environment variable NUMBA_CACHE_DIR."
        ) from error


def sum_images(
    images: Images,
    labels: tuple[str, str],
    rows: npt.NDArray[np.int64],
    field: ReceptiveField,
    block: Block,
    *,
    n_groups: int,
    n_inputs: int = 1,
    slab: int,
    margin: int = 0,
) -> SufficientStatistics:
    """Sum over images slab by slab; the next slab is read while this one is summed.

    Parameters
    ----------
    images
        An images store.
    labels
        Source and target.
    rows
        The images.
    field
        The receptive field.
    block
        Output pixels.
    n_groups, n_inputs
        Independent systems a pixel, and channels that each of them sees and predicts.
    slab
        Images read at a time.
    margin
        Pixels by which the sums reach beyond the block on every side; targets count as zeros there.

    Returns
    -------
    SufficientStatistics
        Of the block with its margin.
    """
    (found,) = sum_mappings(
        images, [labels], rows, field, block, n_groups=n_groups, n_inputs=n_inputs, slab=slab, margin=margin
    )
    return found


def sum_mappings(
    images: Images,
    mappings: Sequence[tuple[str, str]],
    rows: npt.NDArray[np.int64],
    field: ReceptiveField,
    block: Block,
    *,
    n_groups: int,
    n_inputs: int = 1,
    slab: int,
    margin: int = 0,
) -> list[SufficientStatistics]:
    """Sum over images that serve several mappings: every label is read once, and the sums of a source are taken once.

    Parameters
    ----------
    images, rows, field, block, n_groups, n_inputs, slab, margin
        As in `sum_images`.
    mappings
        Source and target of each.

    Returns
    -------
    list of SufficientStatistics
        One for each mapping; those of one source share its lag maps and sums.
    """
    shape, unit = block.grown(margin).shape, unit_of(images.dtype)
    found = [
        SufficientStatistics.zeros(field, shape, n_groups=n_groups, n_inputs=n_inputs, unit=unit) for _ in mappings
    ]
    for band in read_bands(images, mappings, rows, field, block, slab=slab, margin=margin):
        added: dict[str, SufficientStatistics] = {}
        for number, (source, target) in enumerate(mappings):
            like = added.get(source)
            pair = band.sources[source], band.targets[target]
            found[number] = found[number].update(*pair, band.chosen, band.part, like=like)
            added[source] = found[number]
    return found


def sum_folds(
    images: Images,
    labels: tuple[str, str],
    rows: npt.NDArray[np.int64],
    fold: npt.NDArray[np.int64],
    field: ReceptiveField,
    block: Block,
    *,
    n_groups: int,
    slab: int,
    n_inputs: int = 1,
) -> list[SufficientStatistics]:
    """Sum over images fold by fold while reading them once.

    Parameters
    ----------
    images, labels, rows, field, block, n_groups, slab, n_inputs
        As in `sum_images`.
    fold
        Of each of ``rows``; none is empty.

    Returns
    -------
    list of SufficientStatistics
        One a fold.
    """
    unit = unit_of(images.dtype)
    found = [
        SufficientStatistics.zeros(field, block.shape, n_groups=n_groups, n_inputs=n_inputs, unit=unit)
        for _ in range(fold.max() + 1)
    ]
    for band in read_bands(images, [labels], rows, field, block, slab=slab):
        pair = band.sources[labels[0]], band.targets[labels[1]]
        for number in range(len(found)):
            chosen = band.chosen[fold[band.numbers] == number]
            found[number] = found[number].update(*pair, chosen, band.part)
    return found


@dataclass(frozen=True)
class Band:
    """Some rows of the pixels of some images.

    Attributes
    ----------
    sources, targets
        Pixels by label, as integers.
    chosen
        Which of these images are asked for.
    numbers
        Positions of those among the rows that were asked for.
    part
        Rows of the block that the band adds to.
    """

    sources: Mapping[str, Array]
    targets: Mapping[str, Array]
    chosen: npt.NDArray[np.int64]
    numbers: npt.NDArray[np.int64]
    part: tuple[int, int]


def read_bands(
    images: Images,
    mappings: Sequence[tuple[str, str]],
    rows: npt.NDArray[np.int64],
    field: ReceptiveField,
    block: Block,
    *,
    slab: int,
    margin: int = 0,
) -> Iterator[Band]:
    """Read images slab by slab and band by band; the next band is read while this one is worked on.

    Parameters are those of `sum_mappings`.
    """
    slabs = list(images.slabs(rows, slab))
    reader = BandReader(images, mappings, field, block, max(stop - start for start, stop, _ in slabs), margin)
    work = [(start, stop, band, chosen) for start, stop, chosen in slabs for band in range(reader.n_bands)]
    with ThreadPoolExecutor(1) as ahead:
        coming = ahead.submit(reader.read, *work[0][:3])
        for (start, _, _, chosen), following in zip_longest(work, work[1:]):
            sources, targets, part = coming.result()
            if following is not None:
                coming = ahead.submit(reader.read, *following[:3])
            numbers = np.searchsorted(rows, start + chosen)
            if images.dtype.kind == "f":
                sources, targets = (
                    {label: _as_integers(images, label, block, x[chosen]) for label, x in pixels.items()}
                    for pixels in (sources, targets)
                )
                chosen = np.arange(len(chosen))
            yield Band(sources, targets, chosen, numbers, part)


def _as_integers(images: Images, label: str, block: Block, pixels: Array) -> Array:
    try:
        return to_integers(pixels, label)
    except DataError as error:
        raise DataError(f"in {redact(images.url)}, {block}: {error}") from error


class BandReader:
    """Reads images around a block in bands of rows, into two buffers in turn: one is filled while the other is summed.

    A band ends between two rows of chunks, so that none is decoded twice, and takes over from the band before it the
    rows that lie within reach. Parameters are those of `sum_mappings`. What is a source for one mapping and a target
    for another is read once, as a source.

    Attributes
    ----------
    n_bands
        Bands of the block.
    """

    def __init__(
        self,
        images: Images,
        mappings: Sequence[tuple[str, str]],
        field: ReceptiveField,
        block: Block,
        slab: int,
        margin: int = 0,
    ) -> None:
        self._reader = images.reader()
        self._field = field
        self._block = block
        self._summed = block.grown(margin)
        window = self._summed.grown(field.halo)
        self._sources = list(dict.fromkeys(source for source, _ in mappings))
        self._targets = list(dict.fromkeys(target for _, target in mappings))
        self._labels = list(dict.fromkeys([*self._sources, *self._targets]))
        # what the band is cut from, the part of it that is read, and the rows that are kept from the band before
        of_source = window, window.clipped(images.shape), field.reach
        of_target = self._summed, block, field.halo
        self._places = {label: of_source if label in self._sources else of_target for label in self._labels}
        self._row = window.shape[1] * images.n_channels
        height = band_height(images.chunks[1], slab * self._row * images.dtype.itemsize, field.reach)
        self._cuts = band_cuts(window.y0, window.y1, images.chunks[1], height)
        self.n_bands = len(self._cuts) - 1
        rows = max(end - start for start, end in pairwise(self._cuts)) + field.reach
        self._n_channels = images.n_channels
        self._buffers = {label: np.empty((2, slab * rows * self._row), dtype=images.dtype) for label in self._labels}
        self._last: dict[str, Array] = {}
        self._turn = 0

    def read(self, start: int, stop: int, band: int) -> tuple[dict[str, Array], dict[str, Array], tuple[int, int]]:
        """Return sources and targets of a band of images ``start..stop-1``, and the rows of the block that it adds to.

        They last until the next but one read. The bands of a slab are read in order.
        """
        self._turn = 1 - self._turn
        first, end = self._cuts[band], self._cuts[band + 1]
        pixels = {}
        for label, (place, inside, reach) in self._places.items():
            y0, y1 = max(first, place.y0), min(end, place.y1)
            keep, width = reach if band else 0, place.shape[1]
            shape = (stop - start, keep + y1 - y0, width, self._n_channels)
            found = self._buffers[label][self._turn, : prod(shape)].reshape(shape)
            if keep:
                found[:, :keep] = self._last[label][:, -keep:]
            part = Block(max(y0, inside.y0), inside.x0, min(y1, inside.y1), inside.x1)
            top, bottom = part.y0 - y0 + keep, max(part.y1, part.y0) - y0 + keep
            left, right = inside.x0 - place.x0, inside.x1 - place.x0
            found[:, keep:top] = 0
            found[:, bottom:] = 0
            found[:, top:bottom, :left] = 0
            found[:, top:bottom, right:] = 0
            if top < bottom:
                self._reader.read_into(found[:, top:bottom, left:right], label, start, part)
            pixels[label] = found
        self._last = pixels
        origin, halo = self._summed.y0, self._field.halo
        rows = (
            first - halo - origin if band else 0,
            self._summed.y1 - origin if band == self.n_bands - 1 else end - halo - origin,
        )
        return (
            {label: pixels[label] for label in self._sources},
            {
                label: self._cut_target(pixels[label], rows) if label in self._sources else pixels[label]
                for label in self._targets
            },
            rows,
        )

    def _cut_target(self, source: Array, rows: tuple[int, int]) -> Array:
        """Cut the target's part out of a band of a source, with zeros in the margin."""
        halo, (height, width) = self._field.halo, (rows[1] - rows[0], self._summed.shape[1])
        target = source[:, halo : halo + height, halo : halo + width].copy()
        margin = self._block.y0 - self._summed.y0
        if margin:
            target[:, : max(0, margin - rows[0])] = 0
            target[:, max(0, margin + self._block.shape[0] - rows[0]) :] = 0
            target[:, :, :margin] = 0
            target[:, :, -margin:] = 0
        return target


def solve_block(
    statistics: SufficientStatistics,
    alpha: float | npt.NDArray[np.float64],
    task: BlockTask,
    *,
    penalize_intercept: bool,
) -> Solution:
    """Solve a block, naming it where that fails."""
    try:
        return solve(statistics, alpha, penalize_intercept=penalize_intercept)
    except SolveError as error:
        raise SolveError(f"in block {task.index} ({task.block}), {error}") from error
