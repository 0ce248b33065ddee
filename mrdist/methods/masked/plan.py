"""How a training with receptive fields is described and cut into blocks, and what decides its cost."""

from __future__ import annotations

import numpy as np

from mrdist.geometry import ReceptiveField, Shape, check_pool
from mrdist.methods.lesson import Lesson
from mrdist.planning import Plan, Workload, plan_training
from mrdist.running.tasks import RunOptions
from mrdist.solvers import Prior, check_alpha
from mrdist.storage import Images, MaskedTraining
from mrdist.storage.weights.output import Training, chunk_side


def describe_training(
    lesson: Lesson,
    *,
    alpha: float,
    penalize_intercept: bool,
    receptive_field: int,
    dilation: int,
    pool: int = 0,
    prior: Prior = "zero",
) -> MaskedTraining:
    """Check the options and describe the training."""
    ReceptiveField(receptive_field, dilation).check_fits(lesson.images.shape)
    return MaskedTraining(
        **lesson.describe(),
        receptive_field=receptive_field,
        dilation=dilation,
        alpha=check_alpha(alpha),
        penalize_intercept=penalize_intercept,
        pool=check_pool(pool),
        prior=prior,
    )


def workload_of(images: Images, training: Training, field: ReceptiveField, pool: int = 0) -> Workload:
    """Return the sizes that decide what a training with a receptive field costs, whose neighbours lend their sums."""
    return Workload(
        shape=images.shape,
        n_channels=images.n_channels,
        itemsize=images.dtype.itemsize,
        value_itemsize=images.value_itemsize,
        chunks=images.chunks,
        n_stored=images.n_read(images.rows((training.source, training.target), training.split)),
        n_images=training.n_images,
        field=field,
        n_groups=training.n_groups,
        weight_itemsize=np.dtype(training.dtype).itemsize,
        weight_chunk=chunk_side(images.shape),
        n_inputs=training.n_inputs,
        pool=pool,
    )


def plan_blocks(run: RunOptions, workload: Workload, block: Shape | None) -> Plan:
    """Cut the work into blocks for the workers of a run."""
    return plan_training(workload, max_memory=run.max_memory, n_slots=run.n_slots, block=block)
