"""How mappings are trained together: those of the same images, and as many as fit into memory."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from mrdist.errors import MemoryLimitError
from mrdist.pipeline._train_plan import workload_of
from mrdist.planning import Plan, Workload, plan_training
from mrdist.storage import Images, Training


@dataclass(frozen=True)
class Unit:
    """Mappings that a task trains together.

    Attributes
    ----------
    trainings
        Of the same rows.
    plan
        How their blocks are cut.
    """

    trainings: tuple[Training, ...]
    plan: Plan


def plan_units(images: Images, trainings: Sequence[Training], **limits: Any) -> list[Unit]:
    """Group mappings of the same rows, as many as fit into memory; limits are those of `mrdist.planning.plan_training`.

    Raises
    ------
    MemoryLimitError
        If a mapping does not fit alone.
    """
    by_rows: dict[bytes, list[Training]] = {}
    for training in trainings:
        rows = images.rows((training.source, training.target), training.split)
        by_rows.setdefault(rows.tobytes(), []).append(training)
    return [unit for same in by_rows.values() for unit in _fitting(images, same, **limits)]


def _fitting(images: Images, trainings: Sequence[Training], **limits: Any) -> list[Unit]:
    """Halve the mappings, which are ordered by source, until the sums of each part fit into memory."""
    try:
        return [Unit(tuple(trainings), plan_training(workload_of_all(images, trainings), **limits))]
    except MemoryLimitError:
        if len(trainings) == 1:
            raise
    half = len(trainings) // 2
    return [unit for part in (trainings[:half], trainings[half:]) for unit in _fitting(images, part, **limits)]


def workload_of_all(images: Images, trainings: Sequence[Training]) -> Workload:
    """Return the sizes of mappings that are trained together."""
    sources = {training.source for training in trainings}
    targets = {training.target for training in trainings} - sources
    return replace(
        workload_of(images, trainings[0], trainings[0].field),
        n_sources=len(sources),
        n_targets=len(targets),
        n_mappings=len(trainings),
    )
