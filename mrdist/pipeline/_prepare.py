"""What a training does before it begins, and all that a plan does: arguments are checked and the work is cut."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from mrdist.arguments import Address
from mrdist.errors import DataError
from mrdist.geometry import Shape
from mrdist.moments import Color
from mrdist.pipeline._blocks import check_choices, check_workers, output_options
from mrdist.pipeline._mappings_together import Unit, plan_units
from mrdist.pipeline._methods import METHODS, Job, Lesson, choose_options
from mrdist.planning import DEFAULT_MEMORY, Plan, Workload
from mrdist.storage import Images, StorageOptions, check_apart, normalize_url, redact
from mrdist.storage.mappings import mapping_name, mapping_url

METHODS_THAT_SHARE = ("mr", "pixel")


@dataclass(frozen=True)
class Prepared:
    """A training that can begin.

    Attributes
    ----------
    job, options
        What the trainer of the method is called with.
    parts
        What `mrdist.pipeline._methods.Method.plan` has returned for them.
    """

    job: Job
    options: Mapping[str, Any]
    parts: tuple[Any, ...]

    @property
    def plan(self) -> Plan:
        """How the work is cut."""
        plan: Plan = self.parts[-1]
        return plan

    @property
    def workload(self) -> Workload | None:
        """The sizes that decide its time, None for a method whose time is not predicted."""
        return next((part for part in self.parts if isinstance(part, Workload)), None)


@dataclass(frozen=True)
class PreparedMappings:
    """A training of many mappings that can begin.

    Attributes
    ----------
    images
        What they are trained from.
    jobs
        Of every mapping, by name.
    options
        All options of the method.
    units
        Mappings that a task trains together; none where they are trained one after the other.
    plans
        How the work of all is cut, one after the other.
    left_out
        Names of the mappings that have no pairs.
    """

    images: Images
    jobs: Mapping[str, Job]
    options: Mapping[str, Any]
    units: Sequence[Unit]
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
    job = Job(lesson, **run)
    return Prepared(job, chosen, METHODS[method].plan(job, chosen))


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
    learnt: dict[str, Any] = {"method": method, "split": split, "color": color, "dtype": dtype}
    jobs = {}
    for one, other in pairs:
        name = mapping_name(one, other)
        own = {"url": mapping_url(run["url"], name), "overwrite": False}  # the group's own mappings are resumed
        jobs[name] = Job(Lesson.of(opened, source=one, target=other, **learnt), **{**run, **own})
    if method not in METHODS_THAT_SHARE or chosen["alpha"] == "cv":
        plans = [METHODS[method].check(job, chosen) for job in jobs.values()]
        return PreparedMappings(opened, jobs, chosen, (), plans, left_out)
    trainings = [METHODS[method].plan(job, chosen)[0] for job in jobs.values()]
    units = plan_units(opened, trainings, **{name: run[name] for name in ("max_memory", "n_slots", "block")})
    return PreparedMappings(opened, jobs, chosen, units, [unit.plan for unit in units], left_out)


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
) -> tuple[Images, dict[str, Any]]:
    """Return the opened images, and what a `Job` has besides its lesson; parameters are those of `mrdist.train`."""
    images_url = images.url if isinstance(images, Images) else normalize_url(images)
    urls = [images_url]
    if output_url is not None:
        output_url = normalize_url(output_url)
        check_apart(images_url, output_url)
        urls.append(output_url)
    limit, n_slots = check_workers(workers, scheduler, *urls, max_memory=max_memory)
    return images if isinstance(images, Images) else Images.open(images_url, storage_options), {
        "url": output_url or "",
        "storage_options": output_options(output_url or "", weights_storage_options, storage_options),
        "block": block,
        "workers": workers,
        "scheduler": scheduler,
        "max_memory": limit,
        "n_slots": n_slots,
        "overwrite": overwrite,
        "progress": progress,
    }


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
