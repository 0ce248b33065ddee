"""Solve a mapping from a statistics store, without reading the images."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from math import prod
from typing import Unpack

import numpy as np

from mrdist.arguments import Address, plain_arguments, shared_arguments
from mrdist.errors import ParameterError
from mrdist.execution import peak_memory
from mrdist.geometry import Shape, block_grid
from mrdist.methods.lesson import check_choices, versions
from mrdist.methods.masked.plan import check_own_sums
from mrdist.methods.masked.solving import solve_block, warm_up_for
from mrdist.methods.options import check_options, choose_field
from mrdist.methods.training import Trained, TrainReport, already_trained, trained
from mrdist.planning import Cut, StoredSums, plan_solving
from mrdist.remaining import rows_left
from mrdist.running.arguments import RUNNING, Running, run_options
from mrdist.running.driving import driving, hold
from mrdist.running.phases import Phase, Work, drive
from mrdist.running.tasks import Place, RunOptions, Task
from mrdist.storage import (
    MaskedTraining,
    Statistics,
    StorageOptions,
    redact,
)
from mrdist.storage.weights.masked import TrainOutput
from mrdist.storage.weights.output import chunk_side


@plain_arguments
@driving("solve")
@shared_arguments(RUNNING)
def solve(
    statistics_url: Address,
    weights_url: Address,
    *,
    alpha: float = 0.4,
    receptive_field: int | None = None,
    dilation: int | None = None,
    pool: int = 0,
    prior: str = "zero",
    penalize_intercept: bool = True,
    dtype: str = "float32",
    weights_storage_options: StorageOptions = None,
    **how: Unpack[Running],
) -> TrainReport:
    """Solve a mapping from a statistics store; the weights are those of `train` on the same images, to the last bit.

    Parameters
    ----------
    statistics_url
        A statistics store, see `mrdist.accumulate`.
    weights_url
        Where the weights go. An unfinished store is resumed; a complete one is left unchanged.
    alpha, pool, prior, penalize_intercept
        As in `mrdist.MaskedRegression`.
    receptive_field, dilation
        A field whose taps are taps of the store's; by default the store's own.
    dtype, block, workers, scheduler, max_memory, codec, overwrite, progress, storage_options
        As in `mrdist.train`.
    weights_storage_options
        Options of the fsspec filesystem of the weights, by default those of the statistics.

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
    check_choices("shared", dtype=dtype)
    chosen = check_options({"alpha": alpha, "penalize_intercept": penalize_intercept, "pool": pool, "prior": prior})
    run = run_options(
        statistics_url,
        weights_url,
        how,
        weights_storage_options,
    )
    statistics = Statistics.open(statistics_url, how["storage_options"])
    accumulation = statistics.accumulation
    field = choose_field(receptive_field, dilation, accumulation.field)
    accumulation.field.check_contains(field)
    if accumulation.drops_rows:
        check_own_sums(chosen["pool"], chosen["prior"], redact(statistics.url))
        if field != accumulation.field:
            raise ParameterError(
                f"{redact(statistics.url)} leaves out the rows of missing values that {accumulation.field} reads, and "
                f"{field} reads fewer; accumulate again for this field."
            )
    training = MaskedTraining(
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
        drops_rows=accumulation.drops_rows,
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
        pool=training.pool,
        n_incomplete=prod(accumulation.shape) if accumulation.drops_rows else 0,
    )
    work = _Solving(statistics, training, sums, run)
    cut = run.planned(work.plan)
    hold(run.output.url, run.output.options)
    done = drive(work, cut)
    if done is None:
        return already_trained(run.output, cut.n_blocks, statistics.face_frame)
    return trained(done, run.output, work.counted)


class _Solving(Work[TrainOutput, Trained]):
    """Weights from stored sums."""

    counted = "solving"

    def __init__(self, statistics: Statistics, training: MaskedTraining, sums: StoredSums, run: RunOptions) -> None:
        self.run = run
        self.source = Place(statistics.url, statistics.storage_options)
        self.n_images = training.n_images
        self.statistics = statistics
        self.training = training
        self.sums = sums

    def plan(self, block: Shape | None) -> Cut:
        """Cut the work into blocks."""
        return plan_solving(self.sums, max_memory=self.run.max_memory, n_slots=self.run.n_slots, block=block)

    def begin(self, cut: Cut) -> TrainOutput | None:
        """Begin or resume the weights store."""
        return TrainOutput.begin(
            self.run.output.url, self.training, self.training.arrays, cut.block, **self.run.opening
        )

    @property
    def prepare(self) -> Callable[[], None]:
        """What compiles the kernels."""
        return warm_up_for(self.training)

    def phases(self, output: TrainOutput, cut: Cut) -> Iterator[Phase]:
        """Yield the one phase."""
        share = cut.bytes_read / cut.n_blocks
        tasks = self.tasks(block_grid(self.sums.shape, cut.block), 0)
        yield Phase("solving", _solve_block, tasks, output.progress.done, bytes_read=lambda _: share)

    def finish(self, output: TrainOutput) -> Trained:
        """Complete the weights store."""
        images = sorted({part.images for part in self.statistics.parts})
        provenance = {
            "images": ", ".join(images),
            "statistics": redact(self.source.url),
            "versions": versions(),
            **(self.statistics.accumulation.meaning or {}),
        }
        return Trained(output.finish(provenance, self.statistics.face_frame), None)


def _solve_block(task: Task) -> int:
    """Do one block from reading to writing; return the process's peak of resident bytes."""
    output = TrainOutput.open(task.output.url, task.output.options)
    training = output.training
    statistics = Statistics.open(task.source.url, task.source.options).read(training.lenders(task.block))
    solution = solve_block(statistics.restrict(training.field), training, task)
    output.write_block(task.index, task.block, solution, n_rows=rows_left(statistics))
    return peak_memory()
