"""Solve a mapping from a statistics store, without reading the images."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

import numpy as np

from mrdist.arguments import Address, plain_arguments
from mrdist.execution import peak_memory
from mrdist.geometry import Block, Shape, block_grid
from mrdist.pipeline._blocks import (
    check_choices,
    check_workers,
    output_options,
    run_blocks,
    solve_block,
    versions,
)
from mrdist.pipeline._options import check_options, choose_field
from mrdist.pipeline._run import driving, hold
from mrdist.pipeline.train import TrainReport, already_trained
from mrdist.planning import DEFAULT_MEMORY, StoredSums, plan_solving
from mrdist.storage import (
    Statistics,
    StorageOptions,
    Training,
    check_apart,
    normalize_url,
    redact,
    train_output,
)
from mrdist.storage.outputs import chunk_side
from mrdist.storage.weights import TrainOutput


@dataclass(frozen=True)
class _Task:
    """A block to solve; what all blocks share lies in the output store."""

    weights_url: str
    weights_options: StorageOptions = field(repr=False)
    statistics_url: str
    statistics_options: StorageOptions = field(repr=False)
    index: int
    block: Block

    @property
    def outputs(self) -> list[tuple[str, StorageOptions]]:
        """Where it is written."""
        return [(self.weights_url, self.weights_options)]


@plain_arguments
@driving("solve")
def solve(
    statistics_url: Address,
    weights_url: Address,
    *,
    alpha: float = 0.4,
    receptive_field: int | None = None,
    dilation: int | None = None,
    penalize_intercept: bool = True,
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
    """Solve a mapping from a statistics store; the weights are those of `train` on the same images, to the last bit.

    Parameters
    ----------
    statistics_url
        A statistics store, see `mrdist.accumulate`.
    weights_url
        Where the weights go. An unfinished store is resumed; a complete one is left unchanged.
    alpha, penalize_intercept
        As in `mrdist.MaskedRegression`.
    receptive_field, dilation
        A field whose taps are taps of the store's; by default the store's own.
    dtype, block, workers, scheduler, max_memory, overwrite, progress
        As in `mrdist.train`.
    storage_options, weights_storage_options
        Options of the fsspec filesystems of the statistics and of the weights (by default the same).

    Returns
    -------
    TrainReport
        As of `mrdist.train`; the bytes read are those of the statistics.

    Raises
    ------
    ParameterError
        If an option is invalid, or the field is not part of the store's.
    StoreError
        If a store is invalid or cannot be read.
    MemoryLimitError
        If no block fits into ``max_memory``.
    ExecutionError
        If the cluster cannot be used.
    """
    statistics_url, weights_url = normalize_url(statistics_url), normalize_url(weights_url)
    weights_storage_options = output_options(weights_url, weights_storage_options, storage_options)
    check_apart(statistics_url, weights_url)
    check_choices("shared", dtype=dtype)
    chosen = check_options({"alpha": alpha, "penalize_intercept": penalize_intercept})
    limit, n_slots = check_workers(workers, scheduler, statistics_url, weights_url, max_memory=max_memory)
    statistics = Statistics.open(statistics_url, storage_options)
    accumulation = statistics.accumulation
    field = choose_field(receptive_field, dilation, accumulation.field)
    accumulation.field.check_contains(field)
    training = Training(
        images=statistics.fingerprint,
        source=accumulation.source,
        target=accumulation.target,
        split=", ".join(sorted({part.split for part in statistics.parts})),
        receptive_field=field.size,
        dilation=field.dilation,
        color=accumulation.color,
        **chosen,
        dtype=dtype,
        height=accumulation.height,
        width=accumulation.width,
        n_channels=accumulation.n_channels,
        n_images=statistics.n_images,
    )
    sums = StoredSums(
        shape=accumulation.shape,
        field=accumulation.field,
        n_groups=accumulation.n_groups,
        n_folds=statistics.n_folds,
        itemsize=accumulation.sum_dtype.itemsize,
        chunks=statistics.chunks,
        n_offsets=field.n_offsets,
        weight_itemsize=np.dtype(dtype).itemsize,
        weight_chunk=chunk_side(accumulation.shape),
        n_inputs=accumulation.n_inputs,
    )
    cut = plan_solving(sums, max_memory=limit, n_slots=n_slots, block=block)
    hold(weights_url, weights_storage_options)
    output = train_output(
        weights_url, training, cut.block, overwrite=overwrite, storage_options=weights_storage_options
    )
    if output is None:
        return already_trained(weights_url, cut.n_blocks, weights_storage_options, statistics.face_frame)
    if output.progress.block != cut.block:  # resumed: the blocks are those of the first run
        cut = plan_solving(sums, max_memory=limit, n_slots=n_slots, block=output.progress.block)
    tasks = [
        _Task(weights_url, weights_storage_options, statistics_url, storage_options, index, block_)
        for index, block_ in enumerate(block_grid(accumulation.shape, cut.block))
    ]
    run = run_blocks(
        _solve_block,
        tasks,
        cut,
        n_images=training.n_images,
        workers=workers,
        scheduler=scheduler,
        max_memory=limit,
        progress=progress,
        phase="solving",
        done=output.progress.done,
    )
    started = time.perf_counter()
    images = sorted({part.images for part in statistics.parts})
    scores = output.finish(
        {"images": ", ".join(images), "statistics": redact(statistics_url), "versions": versions()},
        statistics.face_frame,
    )
    return TrainReport(
        url=weights_url,
        already_complete=False,
        start_seconds=run.start_seconds,
        run_seconds=run.run_seconds + time.perf_counter() - started,
        prepare_seconds=run.prepare_seconds,
        bytes_read=cut.bytes_read * len(run.tasks) // cut.n_blocks,
        blocks=cut.n_blocks,
        blocks_run=len(run.tasks),
        peak_memory_bytes=run.peak_memory_bytes,
        scores=scores,
    )


def _solve_block(task: _Task) -> int:
    """Do one block from reading to writing; return the process's peak of resident bytes."""
    output = TrainOutput.open(task.weights_url, task.weights_options)
    training = output.training
    statistics = Statistics.open(task.statistics_url, task.statistics_options).read(task.block)
    assert training.alpha is not None
    solution = solve_block(
        statistics.restrict(training.field), training.alpha, task, penalize_intercept=training.penalize_intercept
    )
    output.write_block(task.index, task.block, solution)
    return peak_memory()
