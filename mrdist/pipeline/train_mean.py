"""Train the mean target: an image of intercepts, the same for every input."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from mrdist.baselines.mean import TargetSums
from mrdist.execution import peak_memory
from mrdist.geometry import ReceptiveField
from mrdist.moments import unit_of
from mrdist.pipeline._methods import Job
from mrdist.pipeline._train_plan import plan_job, workload_of
from mrdist.pipeline.train import TrainReport, TrainTask, already_trained, run_training
from mrdist.planning import Plan, Workload
from mrdist.storage import Images
from mrdist.storage.global_weights import GlobalOutput, GlobalTraining, global_output


def plan_mean(job: Job) -> tuple[GlobalTraining, Workload, Plan]:
    """Describe the training and cut the work into blocks."""
    training = GlobalTraining(**job.lesson.describe())
    workload = workload_of(job.lesson.images, training, ReceptiveField(1))
    return training, workload, plan_job(job, workload, job.block)


def train_mean(job: Job) -> TrainReport:
    """Train the method ``mean``; it reads the targets alone."""
    training, workload, plan = plan_mean(job)
    keep: dict[str, Any] = {"overwrite": job.overwrite, "storage_options": job.storage_options}
    output = global_output(job.url, training, plan.block, job.lesson.images.dtype, **keep)
    if output is None:
        return already_trained(job.url, plan.n_blocks, job.storage_options, job.lesson.face_frame)
    if output.progress.block != plan.block:  # resumed: the blocks are those of the first run
        plan = plan_job(job, workload, output.progress.block)
    report = run_training(_train_block, job, plan, workload, output)
    return replace(report, bytes_read=report.bytes_read // 2)


def _train_block(task: TrainTask) -> int:
    """Do one block from reading to writing; return the process's peak of resident bytes."""
    output = GlobalOutput.open(task.weights_url, task.weights_options)
    images = Images.open(task.images_url, task.images_options)
    training = output.training
    reader = images.reader()
    sums = TargetSums.zeros(task.block.shape, training.n_groups, unit_of(images.dtype))
    for start, stop, chosen in images.slabs(images.rows((training.source, training.target), training.split), task.slab):
        sums = sums.update(reader.read(training.target, start, stop, task.block)[chosen])
    maps = {"intercept": sums.mean, "train_sse": sums.deviations, "train_sst": sums.deviations}
    output.write_weights(task.block, maps)
    output.progress.mark(task.index)
    return peak_memory()
