"""What a training does before it begins, and all that a plan does: arguments are checked and the work is cut."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from mrdist.arguments import Address
from mrdist.errors import DataError
from mrdist.geometry import Shape
from mrdist.methods.choosing import choose_options, work_of
from mrdist.methods.lesson import Lesson, check_choices
from mrdist.methods.masked.plan import describe_training
from mrdist.methods.options import check_fixed
from mrdist.methods.training import TrainingWork
from mrdist.moments import Color
from mrdist.pipeline.training._mappings_together import MappingsWork
from mrdist.planning import DEFAULT_MEMORY, Plan, Workload
from mrdist.running.tasks import Place, RunOptions
from mrdist.running.workers import check_workers, output_options
from mrdist.storage import Images, StorageOptions, check_apart, normalize_url, redact
from mrdist.storage.weights.mappings import mapping_name, mapping_url

METHODS_THAT_SHARE = ("mr", "pixel")


@dataclass(frozen=True)
class Prepared:
    """A training that can begin.

    Attributes
    ----------
    work
        The training.
    plan
        How it is cut.
    """

    work: TrainingWork[Any]
    plan: Plan

    @property
    def workload(self) -> Workload | None:
        """The sizes that decide its time, None for a method whose time is not predicted."""
        workload: Workload | None = getattr(self.work, "workload", None)
        return workload


@dataclass(frozen=True)
class PreparedMappings:
    """A training of many mappings that can begin.

    Attributes
    ----------
    images
        What they are trained from.
    run
        Of the group.
    options
        All options of the method.
    work
        Their work where they share their sums, else each one's own by name.
    plans
        How the work of all is cut, one after the other.
    left_out
        Names of the mappings that have no pairs.
    """

    images: Images
    run: RunOptions
    options: Mapping[str, Any]
    work: MappingsWork | Mapping[str, TrainingWork[Any]]
    plans: Sequence[Plan]
    left_out: Sequence[str]


def prepare(
    images: Address | Images,
    weights_url: Address | None,
    *,
    source: str,
    target: str,
    method: str = "mr",
    options: Mapping[str, Any],
    color: Color = "shared",
    split: str = "train",
    dtype: str = "float32",
    **how: Any,
) -> Prepared:
    """Check the arguments of a training and cut its work, as `mrdist.train` does before it begins; touch nothing.

    Parameters
    ----------
    images
        An images store, or its URL.
    source, target, method, color, split, dtype, how
        As in `mrdist.train`; ``how`` are those of `_run_of`.
    weights_url
        Where the weights go; None for a plan.
    options
        Those of the method that are given.
    """
    chosen = choose_options(method, options)
    opened, run = _run_of(images, weights_url, **how)
    lesson = Lesson.of(opened, method=method, source=source, target=target, split=split, color=color, dtype=dtype)
    work = work_of(lesson, run, chosen)
    return Prepared(work, work.plan(run.block))


def prepare_mappings(
    images: Address | Images,
    group_url: Address | None,
    *,
    source: str,
    both_ways: bool = False,
    method: str = "mr",
    options: Mapping[str, Any],
    color: Color = "shared",
    split: str = "train",
    dtype: str = "float32",
    **how: Any,
) -> PreparedMappings:
    """Check the arguments of a training of many mappings and cut its work, as `mrdist.train_mappings` does.

    Parameters
    ----------
    images
        An images store, or its URL.
    source, both_ways, method, color, split, dtype, how
        As in `mrdist.train_mappings`; ``how`` are those of `_run_of`.
    group_url
        Where the weights go; None for a plan.
    options
        Those of the method that are given.
    """
    check_choices(color, split, dtype)
    chosen = choose_options(method, options)
    opened, run = _run_of(images, group_url, **how)
    pairs, left_out = label_pairs(opened, source, split, both_ways=both_ways)
    lessons = {
        mapping_name(one, other): Lesson.of(
            opened, method=method, source=one, target=other, split=split, color=color, dtype=dtype
        )
        for one, other in pairs
    }
    if method in METHODS_THAT_SHARE and chosen["alpha"] != "cv":
        settled = ("alpha", "penalize_intercept", "prior")
        fixed = {name: value for name, value in chosen.items() if name in settled}
        others = {name: value for name, value in chosen.items() if name not in fixed}
        fixed |= check_fixed(**{"receptive_field": 1, "dilation": 1, **others})
        shared = MappingsWork(opened, {name: describe_training(one, **fixed) for name, one in lessons.items()}, run)
        shared.plan(run.block)
        return PreparedMappings(opened, run, chosen, shared, [unit.plan for unit in shared.units], left_out)
    works: dict[str, TrainingWork[Any]] = {}
    for name, lesson in lessons.items():
        place = Place(mapping_url(run.output.url, name), run.output.options)
        works[name] = work_of(lesson, replace(run, output=place, overwrite=False), chosen)  # its own mappings resume
    plans = [work.plan(run.block) for work in works.values()]
    return PreparedMappings(opened, run, chosen, works, plans, left_out)


def _run_of(
    images: Address | Images,
    output_url: Address | None,
    *,
    block: Shape | None = None,
    workers: int | None = None,
    scheduler: str | None = None,
    max_memory: int | str = DEFAULT_MEMORY,
    overwrite: bool = False,
    progress: bool | None = None,
    storage_options: StorageOptions = None,
    weights_storage_options: StorageOptions = None,
) -> tuple[Images, RunOptions]:
    """Return the opened images and the options of the run; parameters are those of `mrdist.train`."""
    images_url = images.url if isinstance(images, Images) else normalize_url(images)
    urls, output = [images_url], Place("")
    if output_url is not None:
        output_url = normalize_url(output_url)
        output = Place(output_url, output_options(output_url, weights_storage_options, storage_options))
        check_apart(images_url, output_url)
        urls.append(output_url)
    limit, n_slots = check_workers(workers, scheduler, *urls, max_memory=max_memory)
    opened = images if isinstance(images, Images) else Images.open(images_url, storage_options)
    return opened, RunOptions(output, block, workers, scheduler, limit, n_slots, overwrite, progress)


def label_pairs(images: Images, source: str, split: str, *, both_ways: bool) -> tuple[list[tuple[str, str]], list[str]]:
    """Return the mappings between a label and every other that have pairs, and the names of those that have none.

    Raises
    ------
    LabelError
        If there is no such label.
    DataError
        If no mapping has pairs.
    """
    column = images.column(source)
    others = [label for label in images.labels if label != source]
    of_split = np.full(images.n_images, True) if split == "all" else images.split == split
    n_pairs = {
        label: int((images.present[:, [column, images.column(label)]].all(axis=1) & of_split).sum()) for label in others
    }
    if not any(n_pairs.values()):
        raise DataError(
            f"{redact(images.url)} has no image of split {split!r} with {source} and another label; choose another "
            "source or another split."
        )
    pairs = [(source, label) for label in others]
    if both_ways:
        pairs += [(label, source) for label in others]
    has_pairs = {pair: any(n_pairs.get(label) for label in pair) for pair in pairs}
    return [pair for pair in pairs if has_pairs[pair]], [mapping_name(*pair) for pair in pairs if not has_pairs[pair]]
