"""How a training with receptive fields is described and cut into blocks, and what decides its cost."""

from __future__ import annotations

import numpy as np

from mrdist.errors import ParameterError
from mrdist.geometry import ReceptiveField, Shape, check_pool
from mrdist.methods.lesson import Lesson
from mrdist.methods.masked.sums import incomplete_pixels
from mrdist.planning import Plan, Workload, plan_training
from mrdist.running.tasks import RunOptions
from mrdist.solvers import Prior, check_alpha
from mrdist.storage import Images, MaskedTraining, redact
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
    field = ReceptiveField(receptive_field, dilation)
    field.check_fits(lesson.images.shape)
    drops_rows = incomplete_pixels(lesson.images, (lesson.source, lesson.target), field) is not None
    pool = check_pool(pool)
    if drops_rows:
        check_own_sums(pool, prior, redact(lesson.images.url))
    return MaskedTraining(
        **lesson.describe(),
        receptive_field=receptive_field,
        dilation=dilation,
        alpha=check_alpha(alpha),
        penalize_intercept=penalize_intercept,
        pool=pool,
        prior=prior,
        drops_rows=drops_rows,
    )


def check_own_sums(pool: int, prior: Prior, place: str) -> None:
    """Raise ParameterError if pixels that leave rows out would be solved with others, or shrunk to others than zero."""
    name, value, plain = ("pool", pool, 0) if pool else ("prior", prior, "zero")
    if value != plain:
        raise ParameterError(
            f"{name} must be {plain} where pixels leave out the rows of missing values, as those of {place} do, got "
            f"{value}; or link with --missing drop-images."
        )


def workload_of(images: Images, training: Training, field: ReceptiveField, pool: int = 0) -> Workload:
    """Return the sizes that decide what a training with a receptive field costs, whose neighbours lend their sums."""
    return Workload(
        shape=images.shape,
        n_channels=images.n_channels,
        itemsize=images.dtype.itemsize,
        value_itemsize=images.value_itemsize,
        straight=images.reads_straight and images.dtype == np.uint8,
        in_flight=images.chunks_in_flight,
        chunks=images.chunks,
        n_stored=images.n_read(images.rows((training.source, training.target), training.split)),
        n_images=training.n_images,
        field=field,
        n_groups=training.n_groups,
        weight_itemsize=np.dtype(training.dtype).itemsize,
        weight_chunk=chunk_side(images.shape),
        n_inputs=training.n_inputs,
        pool=pool,
        n_incomplete=count_incomplete(images, training, field),
    )


def count_incomplete(images: Images, training: Training, field: ReceptiveField) -> int:
    """Return how many pixels may leave rows out."""
    incomplete = incomplete_pixels(images, (training.source, training.target), field)
    return 0 if incomplete is None else int(incomplete.sum())


def plan_blocks(run: RunOptions, workload: Workload, block: Shape | None) -> Plan:
    """Cut the work into blocks for the workers of a run."""
    return plan_training(workload, max_memory=run.max_memory, n_slots=run.n_slots, block=block)
