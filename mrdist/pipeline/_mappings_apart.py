"""Mappings of methods that share nothing between targets: trained one after the other into one group."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from mrdist.errors import MrdistError
from mrdist.pipeline._methods import Lesson, choose_options
from mrdist.pipeline.train import TrainReport, train
from mrdist.storage import Images, StorageOptions
from mrdist.storage.mappings import begin_mappings, mapping_name, mapping_url, remove_empty_group


def train_apart(
    images: Images,
    group_url: str,
    pairs: Sequence[tuple[str, str]],
    *,
    method: str,
    method_options: dict[str, Any],
    lesson: dict[str, Any],
    overwrite: bool,
    weights_storage_options: StorageOptions,
    **work: Any,
) -> tuple[bool, dict[str, TrainReport]]:
    """Begin or resume a group and train its mappings with `mrdist.train`.

    Parameters
    ----------
    images, group_url, method, overwrite, weights_storage_options
        As in `mrdist.train_mappings`.
    pairs
        Source and target of each mapping.
    method_options
        Options that the method knows, those that are given.
    lesson
        Its options ``split``, ``color`` and ``dtype``.
    work
        All its other options, of how the work is done.

    Returns
    -------
    bool
        Whether there was anything left to do.
    dict
        Name of a mapping -> report.
    """
    options = choose_options(method, method_options)
    described = {
        mapping_name(source, target): {
            **Lesson.of(images, method=method, source=source, target=target, **lesson).describe(),
            **json.loads(json.dumps(options)),  # as the store will give them back
        }
        for source, target in pairs
    }
    unfinished = begin_mappings(group_url, described, overwrite=overwrite, storage_options=weights_storage_options)
    reports = {}
    try:
        for source, target in pairs:
            name = mapping_name(source, target)
            reports[name] = train(
                images.url,
                mapping_url(group_url, name),
                source=source,
                target=target,
                method=method,
                storage_options=images.storage_options,
                weights_storage_options=weights_storage_options,
                **method_options,
                **lesson,
                **work,
            )
    except MrdistError:
        remove_empty_group(group_url, weights_storage_options)
        raise
    return unfinished, reports
