"""Store the sums over images, from which weights of any alpha and any smaller field are solved."""

from __future__ import annotations

import logging
import time
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from mrdist.arguments import Address, plain_arguments
from mrdist.errors import ParameterError, StoreExistsError
from mrdist.execution import peak_memory
from mrdist.geometry import Block, ReceptiveField, Shape, block_grid
from mrdist.moments import Color, check_rows
from mrdist.pipeline._blocks import check_choices, check_workers, output_options, run_blocks, versions
from mrdist.pipeline._options import choose_field
from mrdist.pipeline._run import driving, hold
from mrdist.pipeline._sums import sum_images
from mrdist.planning import DEFAULT_MEMORY, Workload, block_bytes, plan_training
from mrdist.storage import (
    Accumulation,
    FaceFrame,
    Images,
    Part,
    Statistics,
    StorageOptions,
    check_apart,
    normalize_url,
    redact,
    statistics_output,
)
from mrdist.storage.outputs import chunk_side
from mrdist.storage.statistics_writer import StatisticsOutput
from mrdist.storage.urls import check_same

logger = logging.getLogger("mrdist")


@dataclass(frozen=True)
class AccumulateReport:
    """What an accumulation did.

    Attributes
    ----------
    url
        The statistics store.
    already_complete
        Whether the store was complete before.
    images, images_added
        Images in the store, and those that this run has added.
    start_seconds, run_seconds
        Until the workers were ready, and from then on.
    bytes_read
        Decoded bytes of all chunks that were read.
    blocks, blocks_run
        Blocks of the image, and those that this run summed.
    peak_memory_bytes
        Largest resident size of a worker.
    """

    url: str
    already_complete: bool
    images: int
    images_added: int
    start_seconds: float
    run_seconds: float
    bytes_read: int
    blocks: int
    blocks_run: int
    peak_memory_bytes: int

    def to_dict(self) -> dict[str, Any]:
        """Return what ``mrdist accumulate --json`` prints."""
        report = asdict(self) | {"url": redact(self.url)}
        return report | {"seconds": {"start": report.pop("start_seconds"), "run": report.pop("run_seconds")}}


@dataclass(frozen=True)
class _Task:
    """A block to sum; what all blocks share lies in the output store."""

    statistics_url: str
    statistics_options: StorageOptions = field(repr=False)
    images_url: str
    images_options: StorageOptions = field(repr=False)
    index: int
    block: Block
    slab: int

    @property
    def outputs(self) -> list[tuple[str, StorageOptions]]:
        """Where it is written."""
        return [(self.statistics_url, self.statistics_options)]


@plain_arguments
@driving("accumulate")
def accumulate(
    images_url: Address,
    statistics_url: Address,
    *,
    source: str | None = None,
    target: str | None = None,
    receptive_field: int | None = None,
    dilation: int | None = None,
    color: Color | None = None,
    split: str = "train",
    append: bool = False,
    block: Shape | None = None,
    workers: int | None = None,
    scheduler: str | None = None,
    max_memory: int | str = DEFAULT_MEMORY,
    overwrite: bool = False,
    progress: bool | None = None,
    storage_options: StorageOptions = None,
    statistics_storage_options: StorageOptions = None,
) -> AccumulateReport:
    """Sum over the pairs of an images store, exactly, into a statistics store.

    Parameters
    ----------
    images_url
        An images store.
    statistics_url
        Where the sums go. An unfinished store of the same images is resumed; a complete one of exactly these images
        is left unchanged.
    source, target
        Labels; by default those of the existing store.
    receptive_field, dilation, color
        As in `mrdist.MaskedRegression`; by default those of the existing store. The store serves every field
        whose taps are among these.
    split
        Rows to sum over: train, val, test or all.
    append
        Add the images that are not in the store yet, without reading the others again. An image is in it if the
        store has one with the same id and the same pixels. Without a store, one is created.
    block, workers, scheduler, max_memory, overwrite, progress
        As in `mrdist.train`.
    storage_options, statistics_storage_options
        Options of the fsspec filesystems of the images and of the statistics (by default the same).

    Returns
    -------
    AccumulateReport

    Raises
    ------
    ParameterError
        If an option is invalid, or a label is missing.
    DataError
        If there are no pairs, float images hold NaN or lie outside 0..1, or there are more than can be summed exactly.
    StoreExistsError
        If the store holds other images, or sums of another kind.
    StoreError
        If a store is invalid or cannot be read.
    MemoryLimitError
        If no block fits into ``max_memory``.
    ExecutionError
        If the cluster cannot be used.
    """
    images_url, statistics_url = normalize_url(images_url), normalize_url(statistics_url)
    statistics_storage_options = output_options(statistics_url, statistics_storage_options, storage_options)
    check_apart(images_url, statistics_url)
    if append and overwrite:
        raise ParameterError("append adds to a store, but overwrite replaces it; give only one of them.")
    limit, n_slots = check_workers(workers, scheduler, images_url, statistics_url, max_memory=max_memory)
    images = Images.open(images_url, storage_options)
    hold(statistics_url, statistics_storage_options)
    known = None if overwrite else Statistics.find(statistics_url, statistics_storage_options)
    accumulation = _describe(
        images, source, target, receptive_field, dilation, color, split, known.accumulation if known else None
    )
    labels = accumulation.source, accumulation.target
    rows = images.rows(labels, split)
    if known is not None:
        check_same(statistics_url, "accumulation", asdict(known.accumulation), asdict(accumulation))
        rows = _missing(images, labels, rows, known, append=append)
        if not len(rows):
            known.tidy()
            return AccumulateReport(statistics_url, True, known.n_images, 0, 0.0, 0.0, 0, 0, 0, peak_memory())
    n_before = known.n_images if known is not None else 0
    check_rows((n_before + len(rows)) * accumulation.rows_per_image, accumulation.unit)
    workload = _workload(images, accumulation, rows)
    plan = plan_training(workload, max_memory=limit, n_slots=n_slots, block=block)
    n_new_folds = len(accumulation.folds(len(rows)))
    part = Part(redact(images_url), split, images.fingerprint(labels, rows), len(rows), n_new_folds)
    output = statistics_output(
        statistics_url,
        accumulation,
        part,
        rows,
        plan.block,
        overwrite=overwrite,
        storage_options=statistics_storage_options,
    )
    if output.progress.block != plan.block:  # resumed: the blocks are those of the first run
        plan = plan_training(workload, max_memory=limit, n_slots=n_slots, block=output.progress.block)
    if plan.advice is not None:
        logger.warning(plan.advice)
    tasks = [
        _Task(statistics_url, statistics_storage_options, images_url, storage_options, index, block_, plan.slab)
        for index, block_ in enumerate(block_grid(images.shape, plan.block))
    ]
    run = run_blocks(
        _sum_block,
        tasks,
        plan,
        n_images=len(rows),
        workers=workers,
        scheduler=scheduler,
        max_memory=limit,
        progress=progress,
        phase="summing",
        done=output.progress.done,
    )
    started = time.perf_counter()
    face_frame = FaceFrame.of_images(images, labels[0])
    output.finish(images.image[rows].tolist(), images.checksums(labels, rows), versions(), face_frame)
    return AccumulateReport(
        url=statistics_url,
        already_complete=False,
        images=n_before + len(rows),
        images_added=len(rows),
        start_seconds=run.start_seconds,
        run_seconds=run.run_seconds + time.perf_counter() - started,
        bytes_read=part.n_folds * sum(block_bytes(workload, task.block, plan.slab) for task in run.tasks),
        blocks=plan.n_blocks,
        blocks_run=len(run.tasks),
        peak_memory_bytes=run.peak_memory_bytes,
    )


def _describe(
    images: Images,
    source: str | None,
    target: str | None,
    receptive_field: int | None,
    dilation: int | None,
    color: Color | None,
    split: str,
    known: Accumulation | None,
) -> Accumulation:
    """Check the options; what is not given is taken from the existing store."""
    source = known.source if source is None and known else source
    target = known.target if target is None and known else target
    if source is None or target is None:
        raise ParameterError("a new statistics store needs the labels source and target (--source, --target).")
    color = color or (known.color if known else "shared")
    check_choices(color, split)
    field = choose_field(receptive_field, dilation, known.field if known else ReceptiveField())
    field.check_fits(images.shape)
    return Accumulation(
        source=source,
        target=target,
        receptive_field=field.size,
        dilation=field.dilation,
        color=color,
        dtype=str(images.dtype),
        height=images.shape[0],
        width=images.shape[1],
        n_channels=images.n_channels,
    )


def _missing(
    images: Images, labels: tuple[str, str], rows: npt.NDArray[np.int64], known: Statistics, *, append: bool
) -> npt.NDArray[np.int64]:
    """Return the rows whose images a complete store lacks, or refuse to mix them."""
    there = known.holds(images.image[rows], images.checksums(labels, rows))
    missing = rows[~there]
    if not append and (len(missing) or known.n_images != len(rows)):
        raise StoreExistsError(
            f"{redact(known.url)} holds the sums of {known.n_images} images, including {there.sum()} of the "
            f"{len(rows)} in {redact(images.url)}; add the others with --append (append=True), choose another "
            "address, or use --overwrite (overwrite=True)."
        )
    renamed = np.isin(images.image[missing], known.image)
    if renamed.any():
        logger.warning(
            "%d images have the ids of images in %s but other pixels, such as %r; they are added as new images",
            renamed.sum(),
            redact(known.url),
            str(images.image[missing][renamed][0]),
        )
    return missing


def _workload(images: Images, accumulation: Accumulation, rows: npt.NDArray[np.int64]) -> Workload:
    return Workload(
        shape=images.shape,
        n_channels=images.n_channels,
        itemsize=images.dtype.itemsize,
        chunks=images.chunks,
        n_stored=images.n_read(rows),
        n_images=len(rows),
        field=accumulation.field,
        n_groups=accumulation.n_groups,
        weight_itemsize=0,
        weight_chunk=chunk_side(images.shape),
        keeps_sums=True,
        n_inputs=accumulation.n_inputs,
    )


def _sum_block(task: _Task) -> int:
    """Do one block from reading to writing; return the process's peak of resident bytes."""
    output = StatisticsOutput.open(task.statistics_url, task.statistics_options)
    images = Images.open(task.images_url, task.images_options)
    accumulation = output.accumulation
    for fold, rows in output.folds():
        statistics = sum_images(
            images,
            (accumulation.source, accumulation.target),
            rows,
            accumulation.field,
            task.block,
            n_groups=accumulation.n_groups,
            n_inputs=accumulation.n_inputs,
            slab=task.slab,
            margin=accumulation.field.halo,
        )
        output.write(fold, task.block, statistics)
    output.progress.mark(task.index)
    return peak_memory()
