"""Train many mappings at once: labels are read once, and targets of the same people share their source's sums."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from mrdist.arguments import Address, plain_arguments
from mrdist.execution import peak_memory
from mrdist.geometry import Block, Shape, block_grid
from mrdist.moments import Color
from mrdist.pipeline._averages import mean_scores
from mrdist.pipeline._blocks import (
    output_options,
    run_blocks,
    solve_block,
    versions,
)
from mrdist.pipeline._mappings_apart import train_apart
from mrdist.pipeline._mappings_together import Unit, workload_of_all
from mrdist.pipeline._prepare import prepare_mappings
from mrdist.pipeline._run import driving, hold
from mrdist.pipeline._sums import sum_mappings
from mrdist.planning import DEFAULT_MEMORY, Plan, block_bytes, plan_training
from mrdist.storage import (
    FaceFrame,
    Images,
    StorageOptions,
    WeightsReader,
    normalize_url,
    redact,
    train_output,
)
from mrdist.storage.mappings import begin_mappings, finish_mappings, mapping_name, mapping_url
from mrdist.storage.weights import TrainOutput

logger = logging.getLogger("mrdist")

METHODS_THAT_SHARE = ("mr", "pixel")


@dataclass(frozen=True)
class MappingsReport:
    """What the training of many mappings did.

    Attributes
    ----------
    url
        The group.
    already_complete
        Whether the group was complete before.
    start_seconds, run_seconds
        Until the workers were ready, and from then on.
    bytes_read
        Decoded bytes of all chunks that were read.
    blocks, blocks_run
        Tasks of all mappings, and those that this run did; a task serves all mappings that share its images.
    peak_memory_bytes
        Largest resident size of a worker.
    scores
        Name of a mapping -> MSE and R2 on its training images.
    left_out
        Mappings that have no pairs.
    """

    url: str
    already_complete: bool
    start_seconds: float
    run_seconds: float
    bytes_read: int
    blocks: int
    blocks_run: int
    peak_memory_bytes: int
    scores: Mapping[str, Mapping[str, float | None]]
    left_out: Sequence[str]

    @property
    def mean_scores(self) -> dict[str, float | None]:
        """MSE and R2, each the mean of the mappings for which it is defined."""
        return mean_scores(self.scores.values())

    def to_dict(self) -> dict[str, Any]:
        """Return what ``mrdist train --json`` prints."""
        url = redact(self.url)
        return {
            "url": url,
            "already_complete": self.already_complete,
            "seconds": {"start": self.start_seconds, "run": self.run_seconds},
            "bytes_read": self.bytes_read,
            "blocks": self.blocks,
            "blocks_run": self.blocks_run,
            "peak_memory_bytes": self.peak_memory_bytes,
            "scores": self.mean_scores,
            "mappings": {
                name: {"url": mapping_url(url, name), "scores": dict(scores)} for name, scores in self.scores.items()
            },
            "left_out": list(self.left_out),
        }


@dataclass(frozen=True)
class _Work:
    """Mappings of a unit, by name, whose stores have the same grid of blocks."""

    outputs: Mapping[str, TrainOutput]
    plan: Plan

    def split(self, shape: Shape) -> list[tuple[int, Block, tuple[str, ...], bool]]:
        """Return every block of the grid with the mappings that have not finished it, and again with those that have.

        Each as its position, its pixels, the mappings, and whether they have.
        """
        done = {name: output.progress.done for name, output in self.outputs.items()}
        return [
            (index, block, names, finished)
            for finished in (False, True)
            for index, block in enumerate(block_grid(shape, self.plan.block))
            if (names := tuple(name for name in done if done[name][index] == finished))
        ]


@dataclass(frozen=True)
class _Task:
    """A block to train; what all blocks share lies in the output stores."""

    group_url: str
    weights_options: StorageOptions = field(repr=False)
    images_url: str
    images_options: StorageOptions = field(repr=False)
    names: tuple[str, ...]
    index: int
    block: Block
    slab: int

    @property
    def outputs(self) -> list[tuple[str, StorageOptions]]:
        """Where it is written."""
        return [(mapping_url(self.group_url, name), self.weights_options) for name in self.names]


@plain_arguments
@driving("train")
def train_mappings(
    images_url: Address,
    group_url: Address,
    *,
    source: str,
    both_ways: bool = False,
    method: str = "mr",
    color: Color = "shared",
    split: str = "train",
    dtype: str = "float32",
    block: Shape | None = None,
    workers: int | None = None,
    scheduler: str | None = None,
    max_memory: int | str = DEFAULT_MEMORY,
    overwrite: bool = False,
    progress: bool | None = None,
    storage_options: StorageOptions = None,
    weights_storage_options: StorageOptions = None,
    **method_options: Any,
) -> MappingsReport:
    """Train the mappings from one label of an images store to every other.

    Mappings of the same people are trained by the same tasks, which read every label once and sum once what the
    targets of one source share: of the ``((2r - 1)^2 + 1) / 2 + r^2`` maps of products of a field of side r, all but
    ``r^2``. Every weights store has the bytes that `mrdist.train` gives it.

    Parameters
    ----------
    images_url
        An images store.
    group_url
        Where the weights go: a store of kind ``mappings`` that holds the weights store ``source-target`` of each
        mapping. An unfinished group of the same training is resumed; a complete one is left unchanged.
    source
        Label of the inputs.
    both_ways
        Also train from every other label to ``source``: with the talk's seven expressions, its twelve mappings.
    method, color, split, dtype, block, workers, scheduler, max_memory, overwrite, progress, storage_options,
    weights_storage_options, method_options
        As in `mrdist.train`, the same for every mapping; ``method_options`` are those of the method, such as
        ``receptive_field`` and ``alpha``. Mappings that do not fit into ``max_memory`` together are trained apart, as
        are those of a method without sums to share, or whose alpha is to be chosen by cross-validation, each its own.

    Returns
    -------
    MappingsReport
        With the mappings left out because no image of the split has both labels.

    Raises
    ------
    MrdistError
        As in `mrdist.train`; a DataError if no mapping has pairs.
    """
    prepared = prepare_mappings(
        images_url,
        group_url,
        source=source,
        both_ways=both_ways,
        method=method,
        options=method_options,
        color=color,
        split=split,
        dtype=dtype,
        block=block,
        workers=workers,
        scheduler=scheduler,
        max_memory=max_memory,
        overwrite=overwrite,
        progress=progress,
        storage_options=storage_options,
        weights_storage_options=weights_storage_options,
    )
    images, left_out, units = prepared.images, prepared.left_out, prepared.units
    group_url = normalize_url(group_url)
    weights_storage_options = output_options(group_url, weights_storage_options, storage_options)
    for name in left_out:
        logger.warning("left out %s: no image of split %r has both labels", name, split)
    if not units:
        unfinished, reports = train_apart(prepared, group_url, weights_storage_options, overwrite=overwrite)
        scores = {name: report.scores for name, report in reports.items()}
        if unfinished:
            provenance = {"images": redact(images.url), "versions": versions()}
            finish_mappings(group_url, scores, provenance, weights_storage_options)
        return MappingsReport(
            url=group_url,
            already_complete=not unfinished,
            start_seconds=sum(report.start_seconds for report in reports.values()),
            run_seconds=sum(report.run_seconds for report in reports.values()),
            bytes_read=sum(report.bytes_read for report in reports.values()),
            blocks=sum(report.blocks for report in reports.values()),
            blocks_run=sum(report.blocks_run for report in reports.values()),
            peak_memory_bytes=max(report.peak_memory_bytes for report in reports.values()),
            scores=scores,
            left_out=left_out,
        )
    limit, n_slots = next((job.max_memory, job.n_slots) for job in prepared.jobs.values())
    trainings = {
        mapping_name(training.source, training.target): training for unit in units for training in unit.trainings
    }
    trainings = {name: trainings[name] for name in prepared.jobs}
    described = {name: asdict(training) for name, training in trainings.items()}
    hold(group_url, weights_storage_options)
    unfinished = begin_mappings(group_url, described, overwrite=overwrite, storage_options=weights_storage_options)
    outputs: dict[str, TrainOutput] = {}
    work: list[_Work] = []
    for unit in units if unfinished else ():
        begun = _begin(unit, group_url, weights_storage_options)
        outputs |= begun
        for grid in dict.fromkeys(output.progress.block for output in begun.values()):
            members = {name: output for name, output in begun.items() if output.progress.block == grid}
            if grid == unit.plan.block:
                plan = unit.plan
            else:  # resumed: the blocks are those of the first run
                workload = workload_of_all(images, [output.training for output in members.values()])
                plan = plan_training(workload, max_memory=limit, n_slots=n_slots, block=grid)
            work.append(_Work(members, plan))
    for advice in dict.fromkeys(part.plan.advice for part in work):
        if advice is not None:
            logger.warning(advice)
    parts = [(part.plan.slab, *piece) for part in work for piece in part.split(images.shape)]
    tasks = [
        _Task(group_url, weights_storage_options, images.url, storage_options, names, index, block_, slab)
        for slab, index, block_, names, _ in parts
    ]
    run = run_blocks(
        _train_block,
        tasks,
        replace(
            units[0].plan,
            n_blocks=sum(part.plan.n_blocks for part in work),
            peak_memory=max((part.plan.peak_memory for part in work), default=0),
        ),
        n_images=sum(unit.trainings[0].n_images for unit in units),
        workers=workers,
        scheduler=scheduler,
        max_memory=limit,
        progress=progress,
        done=[finished for *_, finished in parts],
    )
    started = time.perf_counter()
    provenance = {"images": redact(images.url), "versions": versions()}
    for output in outputs.values():
        output.finish(provenance, FaceFrame.of_images(images, output.training.source))
    scores = {}
    for name, training in trainings.items():
        reader = WeightsReader.open(mapping_url(group_url, name), weights_storage_options)
        reader.add_face_frame(FaceFrame.of_images(images, training.source))
        scores[name] = reader.attributes["scores"]["train"]
    if unfinished:
        finish_mappings(group_url, scores, provenance, weights_storage_options)
    return MappingsReport(
        url=group_url,
        already_complete=not unfinished,
        start_seconds=run.start_seconds,
        run_seconds=run.run_seconds + time.perf_counter() - started if unfinished else 0.0,
        bytes_read=sum(
            block_bytes(workload_of_all(images, [trainings[name] for name in task.names]), task.block, task.slab)
            for task in run.tasks
        ),
        blocks=sum(unit.plan.n_blocks for unit in units),
        blocks_run=len(run.tasks),
        peak_memory_bytes=run.peak_memory_bytes,
        scores=scores,
        left_out=left_out,
    )


def _begin(unit: Unit, group_url: str, options: StorageOptions) -> dict[str, TrainOutput]:
    """Begin or resume the stores of a unit's mappings; those that are complete are left out."""
    begun = {}
    for training in unit.trainings:
        name = mapping_name(training.source, training.target)
        url = mapping_url(group_url, name)
        output = train_output(url, training, unit.plan.block, overwrite=False, storage_options=options)
        if output is not None:
            begun[name] = output
    return begun


def _train_block(task: _Task) -> int:
    """Do one block of several mappings from reading to writing; return the process's peak of resident bytes."""
    outputs = [TrainOutput.open(mapping_url(task.group_url, name), task.weights_options) for name in task.names]
    images = Images.open(task.images_url, task.images_options)
    mappings = [(output.training.source, output.training.target) for output in outputs]
    training = outputs[0].training
    rows = images.rows(mappings[0], training.split)
    assert training.alpha is not None
    sums = sum_mappings(
        images,
        mappings,
        rows,
        training.field,
        task.block,
        n_groups=training.n_groups,
        n_inputs=training.n_inputs,
        slab=task.slab,
    )
    for output, statistics in zip(outputs, sums, strict=True):
        solution = solve_block(statistics, training.alpha, task, penalize_intercept=training.penalize_intercept)
        output.write_block(task.index, task.block, solution)
    return peak_memory()
