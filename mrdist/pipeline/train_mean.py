"""Train the mean target: an image of intercepts, the same for every input."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from math import prod
from typing import Any

import numpy as np

from mrdist.baselines.mean import TargetSums
from mrdist.execution import peak_memory
from mrdist.geometry import Block, ReceptiveField, Shape
from mrdist.moments import unit_of
from mrdist.pipeline._methods import Job
from mrdist.pipeline._train_plan import plan_job, workload_of
from mrdist.pipeline.train import TrainReport, TrainTask, already_trained, run_training
from mrdist.planning import Plan, Workload, band_cuts, band_height
from mrdist.storage import Images
from mrdist.storage.global_weights import GlobalOutput, GlobalTraining, global_output


def plan_mean(job: Job) -> tuple[GlobalTraining, Workload, Plan]:
    """Describe the training and cut the work into blocks."""
    training = GlobalTraining(**job.lesson.describe())
    workload = replace(workload_of(job.lesson.images, training, ReceptiveField(1)), n_sources=0)
    return training, workload, _plan(job, training, workload, job.block)


def train_mean(job: Job) -> TrainReport:
    """Train the method ``mean``; it reads the targets alone."""
    training, workload, plan = plan_mean(job)
    keep: dict[str, Any] = {"overwrite": job.overwrite, "storage_options": job.storage_options}
    output = global_output(job.url, training, plan.block, job.lesson.images.dtype, **keep)
    if output is None:
        return already_trained(job.url, plan.n_blocks, job.storage_options, job.lesson.face_frame)
    if output.progress.block != plan.block:  # resumed: the blocks are those of the first run
        plan = _plan(job, training, workload, output.progress.block)
    return run_training(_train_block, job, plan, workload, output)


def _plan(job: Job, training: GlobalTraining, workload: Workload, block: Shape | None) -> Plan:
    plan = plan_job(job, workload, block)
    written = training.n_groups * prod(job.lesson.images.shape) * (workload.weight_itemsize + 16)
    return replace(plan, bytes_written=written)


def _train_block(task: TrainTask) -> int:
    """Do one block from reading to writing; return the process's peak of resident bytes."""
    output = GlobalOutput.open(task.weights_url, task.weights_options)
    images = Images.open(task.images_url, task.images_options)
    training = output.training
    reader, block = images.reader(), task.block
    row_bytes = task.slab * block.shape[1] * images.n_channels * images.dtype.itemsize
    height = band_height(images.chunks[1], row_bytes, 0)
    bands = [
        Block(top, block.x0, bottom, block.x1)
        for top, bottom in pairwise(band_cuts(block.y0, block.y1, images.chunks[1], height))
    ]
    sums = [TargetSums.zeros(band.shape, training.n_groups, unit_of(images.dtype)) for band in bands]
    for start, stop, chosen in images.slabs(images.rows((training.source, training.target), training.split), task.slab):
        for number, band in enumerate(bands):
            sums[number] = sums[number].update(reader.read(training.target, start, stop, band)[chosen])
    mean, deviations = (np.concatenate([getattr(of, name) for of in sums], axis=1) for name in ("mean", "deviations"))
    maps = {"intercept": mean, "train_sse": deviations, "train_sst": deviations}
    output.write_weights(task.block, maps)
    output.progress.mark(task.index)
    return peak_memory()
