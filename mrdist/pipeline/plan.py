"""Estimate the cost of a training."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import cycle
from os import fspath
from typing import Any, Literal

from mrdist.arguments import Address, plain_arguments
from mrdist.calibration import Rates, measure_kernels, predict_seconds, predict_start
from mrdist.errors import ParameterError
from mrdist.execution import n_processors
from mrdist.geometry import Shape, block_grid
from mrdist.methods.lesson import Lesson
from mrdist.methods.masked.plan import describe_training, workload_of
from mrdist.methods.masked.search import Grid, describe_search
from mrdist.methods.masked.sums import BandReader
from mrdist.methods.options import check_fixed
from mrdist.methods.registry import choose_options
from mrdist.moments import Color
from mrdist.planning import DEFAULT_MEMORY, Plan, Workload, block_bytes, parse_bytes, plan_training
from mrdist.running.workers import n_slots_of
from mrdist.storage import Images, StorageOptions, Training

PLANNED = ("mr", "pixel")


@plain_arguments
def plan(
    images_url: Address,
    *,
    source: str,
    target: str,
    method: str = "mr",
    receptive_field: int | Sequence[int] | None = None,
    dilation: int | Sequence[int] | None = None,
    alpha: float | Literal["cv"] | None = None,
    alphas: Sequence[float] | None = None,
    folds: int | None = None,
    rule: str | None = None,
    seed: int | None = None,
    color: Color = "shared",
    penalize_intercept: bool | None = None,
    split: str = "train",
    dtype: str = "float32",
    block: Shape | None = None,
    workers: int | None = None,
    max_memory: int | str = DEFAULT_MEMORY,
    storage_options: StorageOptions = None,
) -> Plan:
    """Return what `train` with the same arguments would read, write, hold in memory and take.

    Parameters and errors are those of `train`; the methods mr and pixel can be planned. The seconds are based on about
    0.4 s of reading from the store, accumulating and solving on this machine, with a processor for every worker;
    ``start_seconds`` of the local workers are an estimate that comes on top of them.

    Returns
    -------
    Plan
    """
    images_url = fspath(images_url)
    images = Images.open(images_url, storage_options)
    training, workload = describe(
        images,
        {"source": source, "target": target, "split": split, "color": color, "dtype": dtype},
        {
            "receptive_field": receptive_field,
            "dilation": dilation,
            "alpha": alpha,
            "penalize_intercept": penalize_intercept,
            "alphas": alphas,
            "folds": folds,
            "rule": rule,
            "seed": seed,
        },
        method=method,
    )
    n_slots = n_slots_of(workers)
    planned = plan_training(workload, max_memory=parse_bytes(max_memory), n_slots=n_slots, block=block)
    rates = Rates(*measure_reading(images, training, workload, planned), *measure_kernels(workload, images.dtype))
    seconds = predict_seconds(workload, planned, rates, n_slots=n_slots, n_processors=max(n_slots, n_processors()))
    start_seconds = predict_start(workers, planned.n_blocks, n_processors=n_processors())
    return replace(planned, seconds=seconds, start_seconds=start_seconds)


def describe(
    images: Images, lesson: Mapping[str, Any], options: Mapping[str, Any], *, method: str = "mr"
) -> tuple[Training, Workload]:
    """Check the options of a training by masked regression; return what describes it and what decides its cost.

    Parameters
    ----------
    images
        What to train from.
    lesson
        Source, target, split, colour and dtype.
    options
        Those of the method; None means its default.
    method
        ``mr`` or ``pixel``; the time of the others cannot be estimated.
    """
    if method not in PLANNED:
        choose_options(method, {})  # there is such a method
        raise ParameterError(
            f"plan supports the methods {' and '.join(PLANNED)}, got {method!r}; train itself checks what the others "
            "need before it starts."
        )
    chosen = choose_options(method, options)
    checked = Lesson.of(images, method=method, **lesson)
    penalty, intercept = chosen.pop("alpha"), chosen.pop("penalize_intercept")
    field = {"receptive_field": chosen.pop("receptive_field", 1), "dilation": chosen.pop("dilation", 1)}
    if penalty == "cv":
        training, _, workload = describe_search(checked, Grid(**field, **chosen), penalize_intercept=intercept)
        return training, workload
    training = describe_training(checked, alpha=penalty, penalize_intercept=intercept, **check_fixed(**field, **chosen))
    return training, workload_of(images, training, training.field)


def measure_reading(images: Images, training: Training, workload: Workload, plan: Plan) -> tuple[float, float]:
    """Read slabs as a block will for 0.1 s, one at least; return seconds and processor seconds per decoded byte."""
    blocks = block_grid(images.shape, plan.block)
    middle = blocks[len(blocks) // 2]
    slab = min(plan.slab, workload.n_stored)
    n_bytes = block_bytes(replace(workload, n_stored=slab), middle, slab)
    starts = cycle(range(0, workload.n_stored - slab + 1, slab))
    reader = BandReader(images, [(training.source, training.target)], training.field, middle, slab)

    def read(start: int) -> None:
        for band in range(reader.n_bands):
            reader.read(start, start + slab, band)

    read(0)  # starts what zarr reads with, and makes the memory that is read into
    started, cpu_started, n_read = time.perf_counter(), time.process_time(), 0
    while time.perf_counter() < started + 0.1:
        read(next(starts))
        n_read += n_bytes
    return (time.perf_counter() - started) / n_read, (time.process_time() - cpu_started) / n_read
