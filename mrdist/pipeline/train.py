"""Train a mapping: every block of output pixels is read, accumulated, solved and written by one task."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from mrdist.arguments import Address, plain_arguments
from mrdist.execution import peak_memory
from mrdist.geometry import Block, Shape, block_grid
from mrdist.moments import Color
from mrdist.pipeline._blocks import run_blocks, solve_block
from mrdist.pipeline._methods import METHODS, Job
from mrdist.pipeline._options import check_fixed
from mrdist.pipeline._prepare import prepare
from mrdist.pipeline._run import driving, hold
from mrdist.pipeline._sums import sum_images
from mrdist.pipeline._train_plan import describe_training, plan_job, workload_of
from mrdist.planning import DEFAULT_MEMORY, Plan, Workload, block_bytes
from mrdist.storage import (
    FaceFrame,
    Images,
    StorageOptions,
    Training,
    WeightsReader,
    redact,
    train_output,
)
from mrdist.storage.outputs import WeightsOutput
from mrdist.storage.weights import TrainOutput

logger = logging.getLogger("mrdist")


@dataclass(frozen=True)
class TrainReport:
    """What a training did.

    Attributes
    ----------
    url
        The weights store.
    already_complete
        Whether the store was complete before.
    start_seconds, run_seconds
        Until the workers were there, and all the rest.
    bytes_read
        Decoded bytes of all chunks that were read.
    blocks, blocks_run
        Blocks of the mapping, and those that this run solved.
    peak_memory_bytes
        Largest resident size of a worker.
    scores
        MSE and R2 on the training images.
    cross_validation
        What was ``chosen``, ``blocks_run`` and ``seconds`` of each phase, if hyperparameters were chosen.
    prepare_seconds
        The part of ``run_seconds`` in which kernels were compiled and loaded.
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
    cross_validation: Mapping[str, Any] | None = None
    prepare_seconds: float = 0.0

    def to_dict(self) -> dict[str, Any]:
        """Return what ``mrdist train --json`` prints."""
        report = {
            "url": redact(self.url),
            "already_complete": self.already_complete,
            "seconds": {"start": self.start_seconds, "run": self.run_seconds},
            "bytes_read": self.bytes_read,
            "blocks": self.blocks,
            "blocks_run": self.blocks_run,
            "peak_memory_bytes": self.peak_memory_bytes,
            "scores": dict(self.scores),
        }
        return report if self.cross_validation is None else {**report, "cross_validation": dict(self.cross_validation)}


@dataclass(frozen=True)
class TrainTask:
    """A block to train; what all blocks share lies in the output store."""

    weights_url: str
    weights_options: StorageOptions = field(repr=False)
    images_url: str
    images_options: StorageOptions = field(repr=False)
    index: int
    block: Block
    slab: int

    @property
    def outputs(self) -> list[tuple[str, StorageOptions]]:
        """Where it is written."""
        return [(self.weights_url, self.weights_options)]


@plain_arguments
@driving("train")
def train(
    images_url: Address,
    weights_url: Address,
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
    gamma: float | None = None,
    components: int | None = None,
    window: int | None = None,
    max_iterations: int | None = None,
    nonzeros: int | Sequence[int] | Literal["cv"] | None = None,
    tolerance: float | None = None,
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
        Where the weights go. An unfinished store of the same training is resumed; a complete one is left
        unchanged.
    source, target
        Labels.
    method
        ``mr``: masked regression; ``pixel``: the same with one input pixel (receptive field 1); ``l2``: ridge
        regression on the whole image; ``kernel``: the same with a Gaussian kernel; ``pca``: regression on principal
        components; ``l1`` and ``l0``: LASSO and orthogonal matching pursuit on the whole image; ``mean``: the mean
        target, for every input. An option that a method does not have is an error.
    receptive_field, dilation, alpha, color, penalize_intercept
        As in `mrdist.MaskedRegression`, whose defaults they have (of kernel, ``alpha`` is 0.01; of l1, 0.001
        in the convention of `mrdist.baselines.estimators.LassoRegression`). With ``alpha="cv"``,
        cross-validation chooses the penalty, and the field where ``receptive_field`` or ``dilation`` are several, all
        from one pass over the images.
    alphas, folds, rule, seed
        Of the cross-validation: penalties to try, ten from 0.001 to 30 by default (of l2 to 3000, of kernel from 1e-6);
        number of folds, 5 by default, of people drawn by ``seed``, 0 by default; and the rule of choice: the least mean
        error over the folds (``"min"``, the default), the simplest candidate within one standard error of it
        (``"1se"``: the smallest field, then the largest alpha), or for every output pixel its own best alpha
        (``"pixel"``, of mr and pixel alone). l1 and l0 are tried on some 256 output pixels spread over the image.
    gamma
        Of the Gaussian kernel, see `mrdist.baselines.global_estimators.GaussianRidge`.
    components
        Number of principal components, by default 32 or as many as the training images allow.
    window
        ``l1``, ``l0``: odd side of the square of input pixels around the output pixel that may be used; all by default.
    max_iterations
        ``l1``: limit per pixel. Pixels that reach it are counted, with a warning.
    nonzeros, tolerance
        ``l0``: weights of a pixel, at most, by default 10 or as many as the training images allow, and the mean squared
        training error at which it needs no more. Of several numbers, or those from 1 to 21 that ``"cv"`` stands for,
        cross-validation chooses one.
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
        Replace an existing store.
    progress
        Show a progress bar; by default only in a terminal or a notebook.
    storage_options, weights_storage_options
        Options of the fsspec filesystems of the images and of the weights (by default the same).

    Returns
    -------
    TrainReport

    Raises
    ------
    ParameterError
        If an option is invalid.
    DataError
        If there are no pairs, or float images hold NaN or lie outside 0..1.
    StoreError
        If a store is invalid or cannot be read.
    MemoryLimitError
        If no block fits into ``max_memory``.
    ExecutionError
        If the cluster cannot be used.
    """
    prepared = prepare(
        images_url,
        weights_url,
        source=source,
        target=target,
        method=method,
        options={
            "receptive_field": receptive_field,
            "dilation": dilation,
            "alpha": alpha,
            "penalize_intercept": penalize_intercept,
            "gamma": gamma,
            "components": components,
            "alphas": alphas,
            "folds": folds,
            "rule": rule,
            "seed": seed,
            "window": window,
            "max_iterations": max_iterations,
            "nonzeros": nonzeros,
            "tolerance": tolerance,
        },
        color=color,
        split=split,
        dtype=dtype,
        block=block,
        workers=workers,
        scheduler=scheduler,
        max_memory=max_memory,
        overwrite=overwrite,
        progress=progress,
        storage_options=storage_options,
        weights_storage_options=weights_storage_options,
    )
    job = prepared.job
    hold(job.url, job.storage_options)
    report: TrainReport = METHODS[method].trainer(job, **prepared.options)
    return report


def train_masked(job: Job, *, alpha: float | Literal["cv"], **options: Any) -> TrainReport:
    """Train by masked regression, with cross-validation if asked to; options are those of `plan_masked`."""
    if alpha == "cv":
        from mrdist.pipeline.cross_validate import train_by_cross_validation  # which imports this module

        return train_by_cross_validation(job, **options)
    training, workload, plan = plan_masked(job, alpha=alpha, **options)
    output = train_output(job.url, training, plan.block, overwrite=job.overwrite, storage_options=job.storage_options)
    if output is None:
        return already_trained(job.url, plan.n_blocks, job.storage_options, job.lesson.face_frame)
    if output.progress.block != plan.block:  # resumed: the blocks are those of the first run
        plan = plan_job(job, workload, output.progress.block)
    return run_training(_train_block, job, plan, workload, output)


def plan_masked(
    job: Job,
    *,
    alpha: float | Literal["cv"],
    penalize_intercept: bool,
    receptive_field: int | Sequence[int] = 1,
    dilation: int | Sequence[int] = 1,
    **search: Any,
) -> tuple[Training, Workload, Plan]:
    """Check the options and cut the work into blocks; the method ``pixel`` has no options of a field."""
    if alpha == "cv":
        from mrdist.pipeline.cross_validate import plan_search  # which imports this module

        options = {"receptive_field": receptive_field, "dilation": dilation, **search}
        training, _, workload, plan = plan_search(job, penalize_intercept=penalize_intercept, **options)
        return training, workload, plan
    field = check_fixed(receptive_field=receptive_field, dilation=dilation, **search)
    training = describe_training(job.lesson, alpha=alpha, penalize_intercept=penalize_intercept, **field)
    workload = workload_of(job.lesson.images, training, training.field)
    return training, workload, plan_job(job, workload, job.block)


def run_training(
    function: Callable[[TrainTask], int], job: Job, plan: Plan, workload: Workload, output: WeightsOutput
) -> TrainReport:
    """Train the blocks that are left and complete the store.

    Parameters
    ----------
    function
        Does one block from reading to writing; returns the process's peak of resident bytes.
    job
        What is trained.
    plan, workload
        How it is cut, and of what.
    output
        The unfinished weights store.

    Returns
    -------
    TrainReport
    """
    if plan.advice is not None:
        logger.warning(plan.advice)
    images = job.lesson.images
    tasks = [
        TrainTask(job.url, job.storage_options, images.url, images.storage_options, index, block, plan.slab)
        for index, block in enumerate(block_grid(images.shape, plan.block))
    ]
    run = run_blocks(
        function,
        tasks,
        plan,
        n_images=len(job.lesson.rows),
        workers=job.workers,
        scheduler=job.scheduler,
        max_memory=job.max_memory,
        progress=job.progress,
        done=output.progress.done,
    )
    started = time.perf_counter()
    scores = output.finish(job.lesson.provenance, job.lesson.face_frame)
    return TrainReport(
        url=job.url,
        already_complete=False,
        start_seconds=run.start_seconds,
        run_seconds=run.run_seconds + time.perf_counter() - started,
        prepare_seconds=run.prepare_seconds,
        bytes_read=sum(block_bytes(workload, task.block, plan.slab) for task in run.tasks),
        blocks=plan.n_blocks,
        blocks_run=len(run.tasks),
        peak_memory_bytes=run.peak_memory_bytes,
        scores=scores,
    )


def already_trained(
    url: str, n_blocks: int, storage_options: StorageOptions, face_frame: FaceFrame | None
) -> TrainReport:
    """Return the report for a complete output, and add to it what an older mrdist did not store."""
    reader = WeightsReader.open(url, storage_options)
    reader.add_face_frame(face_frame)
    attributes = reader.attributes
    chosen = attributes.get("cross_validation", {}).get("chosen")
    return TrainReport(
        url, True, 0.0, 0.0, 0, n_blocks, 0, peak_memory(), attributes["scores"]["train"], chosen and {"chosen": chosen}
    )


def _train_block(task: TrainTask) -> int:
    """Do one block from reading to writing; return the process's peak of resident bytes."""
    output = TrainOutput.open(task.weights_url, task.weights_options)
    images = Images.open(task.images_url, task.images_options)
    training = output.training
    labels = training.source, training.target
    rows = images.rows(labels, training.split)
    statistics = sum_images(
        images,
        labels,
        rows,
        training.field,
        task.block,
        n_groups=training.n_groups,
        n_inputs=training.n_inputs,
        slab=task.slab,
    )
    assert training.alpha is not None
    solution = solve_block(statistics, training.alpha, task, penalize_intercept=training.penalize_intercept)
    output.write_block(task.index, task.block, solution)
    return peak_memory()
