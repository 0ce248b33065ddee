"""Mappings of methods that share nothing between targets: trained one after the other into one group."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from mrdist.methods.lesson import Lesson
from mrdist.methods.registry import work_of
from mrdist.methods.training import TrainReport
from mrdist.running.driving import hold
from mrdist.running.tasks import Place, RunOptions
from mrdist.storage.mappings import begin_mappings, mapping_url


def train_apart(
    lessons: Mapping[str, Lesson], run: RunOptions, options: Mapping[str, Any]
) -> tuple[bool, dict[str, TrainReport]]:
    """Begin or resume a group and train its mappings as `mrdist.train` does.

    The options of all mappings are checked before anything is begun or overwritten.

    Parameters
    ----------
    lessons
        Name of a mapping -> what is to be learnt.
    run
        Of the group.
    options
        All options of their method.

    Returns
    -------
    bool
        Whether there was work left to do.
    dict
        Name of a mapping -> report.
    """
    works, cuts = {}, {}
    for name, lesson in lessons.items():
        output = Place(mapping_url(run.output.url, name), run.output.options)
        # the group's own mappings are resumed
        works[name] = work_of(lesson, replace(run, output=output, overwrite=False), options)
        cuts[name] = works[name].plan(run.block)
    as_stored = json.loads(json.dumps(options))
    described = {name: {**lesson.describe(), **as_stored} for name, lesson in lessons.items()}
    group = run.output
    hold(group.url, group.options)
    unfinished = begin_mappings(group.url, described, overwrite=run.overwrite, storage_options=group.options)
    return unfinished, {name: work.train(cuts[name]) for name, work in works.items()}
