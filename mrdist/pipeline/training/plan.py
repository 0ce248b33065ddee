"""Estimate the cost of a training."""

from __future__ import annotations

import time
from dataclasses import replace
from itertools import cycle
from typing import Unpack

from mrdist.arguments import Address, plain_arguments, shared_arguments
from mrdist.calibration import Rates, measure_kernels, predict_seconds
from mrdist.execution import Choice, choose, n_processors
from mrdist.geometry import block_grid
from mrdist.methods.arguments import TRAINING, PlanArguments
from mrdist.methods.lesson import Lesson
from mrdist.methods.masked.bands import BandReader
from mrdist.pipeline.training._prepare import Prepared, prepare
from mrdist.planning import Plan, Workload, block_bytes


@plain_arguments
@shared_arguments(TRAINING, others="method_options")
def plan(
    images_url: Address,
    *,
    source: str,
    target: str,
    method: str = "mr",
    **how: Unpack[PlanArguments],
) -> Plan:
    """Return what `train` with the same arguments would read, write, hold in memory and take.

    Parameters and errors are those of `train`: both begin with the same checks. The seconds are based on about 0.4 s of
    reading from the store, accumulating and solving on this machine, with a processor for every worker; they are None
    for the methods l2, kernel, pca, l1 and l0, whose time a short measurement does not tell. ``start_seconds`` of the
    local workers are an estimate that comes on top of them.

    Returns
    -------
    Plan
    """
    prepared = prepare(images_url, None, how, source=source, target=target, method=method)
    planned, workload, n_slots = prepared.plan, prepared.workload, prepared.work.run.n_slots
    choice = who_works(prepared, how["workers"])
    planned = replace(planned, start_seconds=choice.start_seconds, workers=choice.workers, where=choice.where)
    if workload is None:
        return planned
    if choice.workers == 0:
        n_slots = 1
    lesson = prepared.work.lesson
    rates = Rates(*measure_reading(lesson, workload, planned), *measure_kernels(workload, lesson.images.dtype))
    seconds = predict_seconds(workload, planned, rates, n_slots=n_slots, n_processors=max(n_slots, n_processors()))
    return replace(planned, seconds=seconds)


def who_works(prepared: Prepared, workers: int | None) -> Choice:
    """Return who would do the work."""
    work, planned = prepared.work, prepared.plan
    return choose(
        workers,
        n_tasks=work.n_tasks(planned),
        max_memory=work.run.max_memory,
        seconds=work.seconds(planned),
        memory=planned.peak_memory,
    )


def measure_reading(lesson: Lesson, workload: Workload, plan: Plan) -> tuple[float, float]:
    """Read slabs as a block will for 0.1 s, one at least; return seconds and processor seconds per decoded byte."""
    images = lesson.images
    blocks = block_grid(images.shape, plan.block)
    middle = blocks[len(blocks) // 2]
    slab = min(plan.slab, workload.n_stored)
    n_bytes = block_bytes(replace(workload, n_stored=slab), middle, slab)
    starts = cycle(range(0, workload.n_stored - slab + 1, slab))
    mapping = lesson.source if workload.n_sources else lesson.target, lesson.target
    summed = middle.lenders(workload.pool, images.shape)
    reader = BandReader(images, [mapping], workload.field, summed, slab)

    def read(start: int) -> None:
        for part in range(reader.n_parts):
            reader.read(start, start + slab, part)

    read(0)  # starts what zarr reads with, and makes the memory that is read into
    started, cpu_started, n_read = time.perf_counter(), time.process_time(), 0
    while time.perf_counter() < started + 0.1:
        read(next(starts))
        n_read += n_bytes
    return (time.perf_counter() - started) / n_read, (time.process_time() - cpu_started) / n_read
