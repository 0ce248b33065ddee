"""What a training does before it begins, and all that a plan does: arguments are checked and the work is cut."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from mrdist.arguments import Address
from mrdist.errors import DataError
from mrdist.methods.arguments import TRAINING, options_of
from mrdist.methods.choosing import choose_options, work_of
from mrdist.methods.lesson import Lesson, check_choices
from mrdist.methods.masked.plan import describe_training
from mrdist.methods.options import check_fixed
from mrdist.methods.registry import METHODS
from mrdist.methods.training import TrainingWork
from mrdist.pipeline.training._mappings_together import MappingsWork
from mrdist.planning import Plan, Workload
from mrdist.running.arguments import run_options
from mrdist.running.tasks import Place, RunOptions
from mrdist.storage import Images, StorageOptions, codec_to_use, normalize_url, redact
from mrdist.storage.weights.mappings import mapping_name, mapping_url


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
    how: Mapping[str, Any],
    *,
    source: str,
    target: str,
    method: str = "mr",
    weights_storage_options: StorageOptions = None,
) -> Prepared:
    """Check the arguments of a training and cut its work, as `mrdist.train` does before it begins; touch nothing.

    Parameters
    ----------
    images
        An images store, or its URL.
    weights_url
        Where the weights go; None for a plan.
    how
        Arguments of `mrdist.methods.arguments.TrainArguments`, or some of them.
    source, target, method, weights_storage_options
        As in `mrdist.train`.
    """
    shared, chosen = _shared(how), choose_options(method, options_of(how))
    images, run = _open(images, weights_url, how, weights_storage_options)
    lesson = Lesson.of(images, method=method, source=source, target=target, **shared)
    work = work_of(lesson, run, chosen)
    return Prepared(work, run.planned(work.plan))


def prepare_mappings(
    images: Address | Images,
    group_url: Address | None,
    how: Mapping[str, Any],
    *,
    source: str,
    both_ways: bool = False,
    method: str = "mr",
    weights_storage_options: StorageOptions = None,
) -> PreparedMappings:
    """Check the arguments of a training of many mappings and cut its work, as `mrdist.train_mappings` does.

    Parameters are those of `prepare`, and ``both_ways``.
    """
    shared, chosen = _shared(how), choose_options(method, options_of(how))
    images, run = _open(images, group_url, how, weights_storage_options)
    if group_url is not None and not run.overwrite:  # of mappings that are not begun yet, too
        run = replace(run, codec=codec_to_use(run.output.url, run.output.options, run.codec))
    pairs, left_out = label_pairs(images, source, shared["split"], both_ways=both_ways)
    lessons = {
        mapping_name(one, other): Lesson.of(images, method=method, source=one, target=other, **shared)
        for one, other in pairs
    }
    if METHODS[method].shares_sums and chosen["alpha"] != "cv":
        settled = ("alpha", "penalize_intercept", "prior")
        fixed = {name: value for name, value in chosen.items() if name in settled}
        others = {name: value for name, value in chosen.items() if name not in fixed}
        fixed |= check_fixed(**{"receptive_field": 1, "dilation": 1, **others})
        trainings = {name: describe_training(one, **one.in_pixels(fixed)) for name, one in lessons.items()}
        together = MappingsWork(images, trainings, run)
        run.planned(together.plan)
        return PreparedMappings(
            images, run, chosen, together, [run.whole(unit.plan) for unit in together.units], left_out
        )
    works: dict[str, TrainingWork[Any]] = {}
    for name, lesson in lessons.items():
        place = Place(mapping_url(run.output.url, name), run.output.options)
        works[name] = work_of(lesson, replace(run, output=place, overwrite=False), chosen)  # its own mappings resume
    plans = [run.planned(work.plan) for work in works.values()]
    return PreparedMappings(images, run, chosen, works, plans, left_out)


def _open(
    images: Address | Images,
    output_url: Address | None,
    how: Mapping[str, Any],
    output_storage_options: StorageOptions,
) -> tuple[Images, RunOptions]:
    images_url = images.url if isinstance(images, Images) else normalize_url(images)
    run = run_options(images_url, output_url, how, output_storage_options)
    return (images if isinstance(images, Images) else Images.open(images_url, how.get("storage_options"))), run


def _shared(how: Mapping[str, Any]) -> dict[str, Any]:
    """Return what all lessons of a training share, checked."""
    shared = {name: how.get(name, TRAINING[name]) for name in ("color", "split", "dtype")}
    check_choices(**shared)
    return shared


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
