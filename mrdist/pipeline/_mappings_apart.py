"""Mappings of methods that share nothing between targets: trained one after the other into one group."""

from __future__ import annotations

import json

from mrdist.pipeline._methods import METHODS
from mrdist.pipeline._prepare import PreparedMappings
from mrdist.pipeline._run import hold
from mrdist.pipeline.train import TrainReport
from mrdist.storage import StorageOptions
from mrdist.storage.mappings import begin_mappings


def train_apart(
    prepared: PreparedMappings, group_url: str, weights_storage_options: StorageOptions, *, overwrite: bool
) -> tuple[bool, dict[str, TrainReport]]:
    """Begin or resume a group and train its mappings as `mrdist.train` does.

    Parameters
    ----------
    prepared
        The mappings, checked before anything is begun or overwritten.
    group_url, weights_storage_options, overwrite
        As in `mrdist.train_mappings`.

    Returns
    -------
    bool
        Whether there was work left to do.
    dict
        Name of a mapping -> report.
    """
    jobs, options = prepared.jobs, prepared.options
    as_stored = json.loads(json.dumps(options))
    described = {name: {**job.lesson.describe(), **as_stored} for name, job in jobs.items()}
    hold(group_url, weights_storage_options)
    unfinished = begin_mappings(group_url, described, overwrite=overwrite, storage_options=weights_storage_options)
    return unfinished, {name: METHODS[job.lesson.method].trainer(job, **options) for name, job in jobs.items()}
