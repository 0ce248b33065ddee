"""Train a mapping: every block of output pixels is read, accumulated, solved and written by one task."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from importlib.metadata import version
from itertools import cycle
from typing import Any

import numpy as np

from mrdist.errors import DataError, ExecutionError, ParameterError, SolveError
from mrdist.execution import n_processors, open_executor, peak_memory, progress_bar
from mrdist.geometry import Block, ReceptiveField, Shape, block_grid
from mrdist.moments import COLORS, Color, SufficientStatistics, padded_window, to_integers, unit_of
from mrdist.planning import (
    DEFAULT_MEMORY,
    Plan,
    Rates,
    Workload,
    block_bytes,
    measure_kernels,
    parse_bytes,
    plan_training,
    predict_seconds,
)
from mrdist.solvers import check_alpha, solve
from mrdist.storage import (
    Images,
    StorageOptions,
    Training,
    check_apart,
    check_reachable,
    is_local,
    normalize_url,
    redact,
    train_output,
)
from mrdist.storage.weights import TrainOutput, chunk_side, open_weights

logger = logging.getLogger("mrdist")

SPLITS = ("train", "val", "test", "all")


@dataclass(frozen=True)
class TrainReport:
    """What a training did.

    Attributes
    ----------
    url
        The weights store.
    already_complete
        Whether there was nothing left to do.
    start_seconds, run_seconds
        Until the workers were ready, and from then on.
    bytes_read
        Decoded bytes of all chunks that were read.
    blocks, blocks_run
        Blocks of the mapping, and those that this run solved.
    peak_memory_bytes
        Largest resident size of a worker.
    scores
        MSE and R2 on the training images.
    """

    url: str
    already_complete: bool
    start_seconds: float
    run_seconds: float
    bytes_read: int
    blocks: int
    blocks_run: int
    peak_memory_bytes: int
    scores: Mapping[str, float | None]

    def to_dict(self) -> dict[str, Any]:
        """Return what ``mrdist train --json`` prints."""
        return {
            "url": redact(self.url),
            "already_complete": self.already_complete,
            "seconds": {"start": self.start_seconds, "run": self.run_seconds},
            "bytes_read": self.bytes_read,
            "blocks": self.blocks,
            "blocks_run": self.blocks_run,
            "peak_memory_bytes": self.peak_memory_bytes,
            "scores": dict(self.scores),
        }


@dataclass(frozen=True)
class _BlockTask:
    """A block to solve; what all blocks share lies in the output store."""

    weights_url: str
    weights_options: StorageOptions
    images_url: str
    images_options: StorageOptions
    index: int
    block: Block
    slab: int


def train(
    images_url: str,
    weights_url: str,
    *,
    source: str,
    target: str,
    receptive_field: int = 3,
    dilation: int = 1,
    alpha: float = 0.4,
    color: Color = "shared",
    penalize_intercept: bool = True,
    split: str = "train",
    dtype: str = "float32",
    block: Shape | None = None,
    workers: int | None = None,
    scheduler: str | None = None,
    max_memory: int | str = DEFAULT_MEMORY,
    overwrite: bool = False,
    progress: bool | None = None,
    storage_options: StorageOptions = None,
    weights_storage_options: StorageOptions = None,
) -> TrainReport:
    """Train a mapping from one label of an images store to another.

    Parameters
    ----------
    images_url
        An images store.
    weights_url
        Where the weights go. A store that the same training has begun is resumed; one that it has finished is
        left as it is.
    source, target
        Labels.
    receptive_field, dilation, alpha, color, penalize_intercept
        As in `mrdist.MaskedRegression`.
    split
        Rows to train on: train, val, test or all.
    dtype
        Of the stored weights, float32 or float64; both are solved in float64.
    block
        Height and width of the unit of work in pixels; the planner chooses one unless given.
    workers
        Worker processes on this machine, one per processor by default; 0 works in this process.
    scheduler
        Address of a running Dask scheduler.
    max_memory
        Limit on the resident bytes of one worker process.
    overwrite
        Start anew whatever is there.
    progress
        Show a progress bar; by default to people only.
    storage_options, weights_storage_options
        Options of the fsspec filesystems of the images and of the weights (by default the same).

    Returns
    -------
    TrainReport

    Raises
    ------
    ParameterError
        If an option lies outside its domain.
    DataError
        If there are no pairs, or float images hold NaN or lie outside 0..1.
    StoreError
        If a store is not what it should be.
    MemoryLimitError
        If no block fits into ``max_memory``.
    ExecutionError
        If the cluster cannot be used.
    """
    images_url, weights_url = normalize_url(images_url), normalize_url(weights_url)
    if weights_storage_options is None and not is_local(weights_url):
        weights_storage_options = storage_options
    check_reachable(workers, images_url, weights_url)
    check_apart(images_url, weights_url)
    images = Images.open(images_url, storage_options)
    training, rows = _training(
        images, source, target, receptive_field, dilation, alpha, color, penalize_intercept, split, dtype
    )
    workload = _workload(images, training)
    limit = parse_bytes(max_memory)
    n_slots = n_processors() if workers is None else max(workers, 1)
    plan = plan_training(workload, max_memory=limit, n_slots=n_slots, block=block)
    output = train_output(
        weights_url, training, rows, plan.block, overwrite=overwrite, storage_options=weights_storage_options
    )
    if output is None:
        logger.info("%s is already complete", redact(weights_url))
        scores = open_weights(weights_url, weights_storage_options).attributes["scores"]["train"]
        return TrainReport(weights_url, True, 0.0, 0.0, 0, plan.n_blocks, 0, peak_memory(), scores)
    if output.block != plan.block:  # resumed: the grid is the one it was begun with
        plan = plan_training(workload, max_memory=limit, n_slots=n_slots, block=output.block)
    if plan.advice is not None:
        logger.warning(plan.advice)
    blocks = block_grid(images.shape, plan.block)
    done = output.done
    tasks = [
        _BlockTask(weights_url, weights_storage_options, images_url, storage_options, index, block_, plan.slab)
        for index, block_ in enumerate(blocks)
        if not done[index]
    ]
    if len(tasks) < len(blocks):
        logger.info("resuming %s: %d of %d blocks are done", redact(weights_url), done.sum(), len(blocks))
    peak = 0
    with open_executor(
        workers=workers, scheduler=scheduler, n_tasks=len(tasks), max_memory=limit, prepare=_warm_up
    ) as executor:
        if executor.dashboard:
            logger.info("dashboard: %s", executor.dashboard)
        started = time.perf_counter()
        with progress_bar(len(blocks), int(done.sum()), "block", show=progress) as advance:
            finished = executor.run(
                _solve_block,
                tasks,
                name="block",
                describe=lambda task: f"block {task.index} ({task.block}; planned peak {plan.peak_memory >> 20} MiB)",
            )
            for number, (_, peak_of_task) in enumerate(finished, start=1):
                peak = max(peak, peak_of_task)
                rate = training.n_images * number / len(blocks) / (time.perf_counter() - started)
                advance(1, f"{rate:.0f} images/s")
        scores = output.finish(_provenance(images))
        seconds = time.perf_counter() - started
        start_seconds = executor.start_seconds
    return TrainReport(
        url=weights_url,
        already_complete=False,
        start_seconds=start_seconds,
        run_seconds=seconds,
        bytes_read=sum(block_bytes(workload, task.block, plan.slab) for task in tasks),
        blocks=len(blocks),
        blocks_run=len(tasks),
        peak_memory_bytes=max(peak, 0 if tasks else peak_memory()),
        scores=scores,
    )


def plan(
    images_url: str,
    *,
    source: str,
    target: str,
    receptive_field: int = 3,
    dilation: int = 1,
    alpha: float = 0.4,
    color: Color = "shared",
    penalize_intercept: bool = True,
    split: str = "train",
    dtype: str = "float32",
    block: Shape | None = None,
    workers: int | None = None,
    max_memory: int | str = DEFAULT_MEMORY,
    storage_options: StorageOptions = None,
) -> Plan:
    """Return what `train` with the same arguments would read, write, hold in memory and take.

    Parameters and errors are those of `train`. The seconds rest on some 0.4 s of reading from the store, accumulating
    and solving on this machine, and count a processor for every worker that is asked for.

    Returns
    -------
    Plan
    """
    images = Images.open(images_url, storage_options)
    training, _ = _training(
        images, source, target, receptive_field, dilation, alpha, color, penalize_intercept, split, dtype
    )
    workload = _workload(images, training)
    n_slots = n_processors() if workers is None else max(workers, 1)
    found = plan_training(workload, max_memory=parse_bytes(max_memory), n_slots=n_slots, block=block)
    rates = Rates(*_measure_reading(images, training, workload, found), *measure_kernels(workload, images.dtype))
    seconds = predict_seconds(workload, found, rates, n_slots=n_slots, n_processors=max(n_slots, n_processors()))
    return replace(found, seconds=seconds)


def _measure_reading(images: Images, training: Training, workload: Workload, plan: Plan) -> tuple[float, float]:
    """Read slabs as the blocks will for 0.1 s, one at least; return seconds and processor seconds per decoded byte."""
    slab = min(plan.slab, workload.n_stored)
    sample = replace(workload, n_stored=slab)
    blocks = block_grid(images.shape, plan.block)
    places = cycle((start, block) for block in blocks for start in range(0, workload.n_stored - slab + 1, slab))
    reader = images.reader()
    reader.read(training.target, 0, 1, Block(0, 0, 1, 1))  # starts what zarr reads with
    started, cpu_started, n_bytes = time.perf_counter(), time.process_time(), 0
    while time.perf_counter() < started + 0.1:
        start, block = next(places)
        window = block.grown(training.field.halo)
        inside = window.clipped(images.shape)
        x = reader.read(training.source, start, start + slab, inside)
        padded_window(x, window, (inside.y0, inside.x0))
        reader.read(training.target, start, start + slab, block)
        n_bytes += block_bytes(sample, block, slab)
    return (time.perf_counter() - started) / n_bytes, (time.process_time() - cpu_started) / n_bytes


def _training(
    images: Images,
    source: str,
    target: str,
    receptive_field: int,
    dilation: int,
    alpha: float,
    color: Color,
    penalize_intercept: bool,
    split: str,
    dtype: str,
) -> tuple[Training, np.ndarray[Any, np.dtype[np.int64]]]:
    """Check the options and describe the training; also return its rows."""
    for name, value, allowed in (
        ("color", color, COLORS),
        ("split", split, SPLITS),
        ("dtype", dtype, ("float32", "float64")),
    ):
        if value not in allowed:
            raise ParameterError(f"{name} must be one of {', '.join(allowed)}, got {value!r}.")
    ReceptiveField(receptive_field, dilation).check_fits(images.shape)
    labels = (source, target)
    rows = images.rows(labels, split)
    training = Training(
        images=images.fingerprint(labels, rows),
        source=source,
        target=target,
        split=split,
        receptive_field=receptive_field,
        dilation=dilation,
        alpha=check_alpha(alpha),
        color=color,
        penalize_intercept=penalize_intercept,
        dtype=dtype,
        height=images.shape[0],
        width=images.shape[1],
        n_channels=images.n_channels,
        n_images=len(rows),
    )
    return training, rows


def _workload(images: Images, training: Training) -> Workload:
    return Workload(
        shape=images.shape,
        n_channels=images.n_channels,
        itemsize=images.dtype.itemsize,
        chunks=images.chunks,
        n_stored=len(images.image),
        n_images=training.n_images,
        field=training.field,
        n_groups=training.n_groups,
        weight_itemsize=np.dtype(training.dtype).itemsize,
        weight_chunk=chunk_side(images.shape),
    )


def _provenance(images: Images) -> dict[str, Any]:
    packages = ("mrdist", "numba", "numpy", "zarr")
    return {"images": redact(images.url), "versions": {name: version(name) for name in packages}}


def _warm_up() -> None:
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


def _solve_block(task: _BlockTask) -> int:
    """Do one block from reading to writing; return the process's peak of resident bytes."""
    output = TrainOutput.open(task.weights_url, task.weights_options)
    training = output.training
    statistics = _accumulate(Images.open(task.images_url, task.images_options), training, output.rows, task)
    try:
        solution = solve(statistics, training.alpha, penalize_intercept=training.penalize_intercept)
    except SolveError as error:
        raise SolveError(f"in block {task.index} ({task.block}), {error}") from error
    output.write_block(task.index, task.block, solution)
    return peak_memory()


def _accumulate(
    images: Images, training: Training, rows: np.ndarray[Any, np.dtype[np.int64]], task: _BlockTask
) -> SufficientStatistics:
    """Sum over the images slab by slab; the next slab is read while this one is summed."""
    window = task.block.grown(training.field.halo)
    inside = window.clipped(images.shape)
    unit = unit_of(images.dtype)
    statistics = SufficientStatistics.zeros(training.field, task.block.shape, n_groups=training.n_groups, unit=unit)
    reader = images.reader()

    def read(start: int, stop: int, chosen: np.ndarray[Any, np.dtype[np.int64]]) -> tuple[Any, Any]:
        x = reader.read(training.source, start, stop, inside)
        t = reader.read(training.target, start, stop, task.block)
        if len(chosen) < stop - start:
            x, t = x[chosen], t[chosen]
        return x, t

    with ThreadPoolExecutor(1) as ahead:
        pending = None
        for slab in [*images.slabs(rows, task.slab), None]:
            following = ahead.submit(read, *slab) if slab is not None else None
            if pending is not None:
                x, t = pending.result()
                try:
                    x, t = to_integers(x, training.source), to_integers(t, training.target)
                except DataError as error:
                    raise DataError(f"in {redact(images.url)}, {task.block}: {error}") from error
                statistics = statistics.update(padded_window(x, window, (inside.y0, inside.x0)), t)
                del x, t
            pending = following
    return statistics
