"""Mappings of methods that share nothing between targets: trained one after the other into one group."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from mrdist.pipeline._methods import METHODS, Job, Lesson
from mrdist.pipeline._run import hold
from mrdist.pipeline.train import TrainReport
from mrdist.storage import Images, StorageOptions
from mrdist.storage.mappings import begin_mappings, mapping_name, mapping_url


def train_apart(
    images: Images,
    group_url: str,
    pairs: Sequence[tuple[str, str]],
    *,
    method: str,
    options: Mapping[str, Any],
    lesson: Mapping[str, Any],
    overwrite: bool,
    weights_storage_options: StorageOptions,
    **work: Any,
) -> tuple[bool, dict[str, TrainReport]]:
    """Begin or resume a group and train its mappings as `mrdist.train` does.

    The options of all mappings are checked before anything is begun or overwritten.

    Parameters
    ----------
    images, group_url, method, overwrite, weights_storage_options
        As in `mrdist.train_mappings`.
    pairs
        Source and target of each mapping.
    options
        All options of the method.
    lesson
        Its options ``split``, ``color`` and ``dtype``.
    work
        All its other options, about workers and memory.

    Returns
    -------
    bool
        Whether there was work left to do.
    dict
        Name of a mapping -> report.
    """
    jobs = {}
    for source, target in pairs:
        name = mapping_name(source, target)
        jobs[name] = Job(
            Lesson.of(images, method=method, source=source, target=target, **lesson),
            url=mapping_url(group_url, name),
            storage_options=weights_storage_options,
            overwrite=False,  # the group's own mappings are resumed
            **work,
        )
        METHODS[method].check(jobs[name], options)
    as_stored = json.loads(json.dumps(options))
    described = {name: {**job.lesson.describe(), **as_stored} for name, job in jobs.items()}
    hold(group_url, weights_storage_options)
    unfinished = begin_mappings(group_url, described, overwrite=overwrite, storage_options=weights_storage_options)
    return unfinished, {name: METHODS[method].trainer(job, **options) for name, job in jobs.items()}
