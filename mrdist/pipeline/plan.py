"""Say what a training would cost."""

from __future__ import annotations

import time
from dataclasses import replace
from itertools import cycle

from mrdist.calibration import Rates, measure_kernels, predict_seconds
from mrdist.execution import n_processors
from mrdist.geometry import Block, Shape, block_grid
from mrdist.moments import Color, padded_window
from mrdist.pipeline._blocks import n_slots_of
from mrdist.pipeline.train import describe_training, workload_of
from mrdist.planning import DEFAULT_MEMORY, Plan, Workload, block_bytes, parse_bytes, plan_training
from mrdist.storage import Images, StorageOptions, Training


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
    training = describe_training(
        images, source, target, receptive_field, dilation, alpha, color, penalize_intercept, split, dtype
    )
    workload = workload_of(images, training)
    n_slots = n_slots_of(workers)
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
