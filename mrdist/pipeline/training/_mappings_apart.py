"""Mappings of methods that share nothing between targets: trained one after the other into one group."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from mrdist.methods.training import TrainingWork, TrainReport
from mrdist.pipeline.training._prepare import PreparedMappings
from mrdist.running.driving import hold
from mrdist.storage.weights.mappings import begin_mappings


def train_apart(
    prepared: PreparedMappings, works: Mapping[str, TrainingWork[Any]]
) -> tuple[bool, dict[str, TrainReport]]:
    """Begin or resume a group and train its mappings as `mrdist.train` does.

    Parameters
    ----------
    prepared, works
        The group, checked before anything is begun or overwritten, and the work of each of its mappings by name.

    Returns
    -------
    bool
        Whether there was work left to do.
    dict
        Name of a mapping -> report.
    """
    as_stored = json.loads(json.dumps(prepared.options))
    described = {name: {**work.lesson.describe(), **as_stored} for name, work in works.items()}
    run, group = prepared.run, prepared.run.output
    hold(group.url, group.options)
    unfinished = begin_mappings(group.url, described, **run.opening)
    planned = zip(works.items(), prepared.plans, strict=True)
    return unfinished, {name: work.train(plan) for (name, work), plan in planned}
