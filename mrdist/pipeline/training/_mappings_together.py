"""Mappings that are trained together: those of the same images, and as many as fit into memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from mrdist.errors import MemoryLimitError
from mrdist.execution import peak_memory
from mrdist.geometry import Block, Shape, block_grid
from mrdist.methods.lesson import meaning_of, versions
from mrdist.methods.masked.plan import count_incomplete, workload_of
from mrdist.methods.masked.solving import solve_block, warm_up_for
from mrdist.methods.masked.sums import sum_mappings
from mrdist.parts import parts, portion
from mrdist.planning import Cut, Plan, Workload, block_bytes, plan_training
from mrdist.remaining import rows_left
from mrdist.running.phases import Phase, Work
from mrdist.running.tasks import Place, RunOptions, Task, rows_of
from mrdist.storage import FaceFrame, Images, MaskedTraining, WeightsReader, redact
from mrdist.storage.weights.mappings import begin_mappings, finish_mappings, mapping_name, mapping_url
from mrdist.storage.weights.masked import TrainOutput

Scores = Mapping[str, float | None]


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

    trainings: tuple[MaskedTraining, ...]
    plan: Plan


def plan_units(images: Images, trainings: Sequence[MaskedTraining], **limits: Any) -> list[Unit]:
    """Group mappings of the same rows, as many as fit into memory; limits are those of `mrdist.planning.plan_training`.

    Raises
    ------
    MemoryLimitError
        If a mapping does not fit alone.
    """
    by_rows: dict[bytes, list[MaskedTraining]] = {}
    for training in trainings:
        rows = images.rows((training.source, training.target), training.split)
        by_rows.setdefault(rows.tobytes(), []).append(training)
    return [unit for same in by_rows.values() for unit in _fitting(images, same, **limits)]


def _fitting(images: Images, trainings: Sequence[MaskedTraining], **limits: Any) -> list[Unit]:
    """Halve the mappings, which are ordered by source, until the sums of each part fit into memory."""
    try:
        return [Unit(tuple(trainings), plan_training(workload_of_all(images, trainings), **limits))]
    except MemoryLimitError:
        if len(trainings) == 1:
            raise
    half = len(trainings) // 2
    return [unit for part in (trainings[:half], trainings[half:]) for unit in _fitting(images, part, **limits)]


def workload_of_all(images: Images, trainings: Sequence[MaskedTraining]) -> Workload:
    """Return the sizes of mappings that are trained together."""
    sources = {training.source for training in trainings}
    targets = {training.target for training in trainings} - sources
    return replace(
        workload_of(images, trainings[0], trainings[0].field, trainings[0].pool),
        n_incomplete=max(count_incomplete(images, training, training.field) for training in trainings),
        n_sources=len(sources),
        n_targets=len(targets),
        n_mappings=len(trainings),
    )


@dataclass(frozen=True)
class _Members:
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


class MappingsWork(Work[list[_Members], dict[str, Scores]]):
    """The training of several mappings by masked regression into one group; ``trainings`` are those of the mappings."""

    def __init__(self, images: Images, trainings: Mapping[str, MaskedTraining], run: RunOptions) -> None:
        self.run = run
        self.source = rows_of(images, next(iter(trainings.values())).split)
        self.images = images
        self.trainings = trainings
        self.units: Sequence[Unit] = ()

    def plan(self, block: Shape | None) -> Plan:
        """Cut the work of all units into blocks."""
        limits = {"max_memory": self.run.max_memory, "n_slots": self.run.n_slots}
        self.units = plan_units(self.images, list(self.trainings.values()), block=block, **limits)
        self.n_images = sum(unit.trainings[0].n_images for unit in self.units)
        return self.combined([unit.plan for unit in self.units])

    def combined(self, plans: Sequence[Plan]) -> Plan:
        """Return the plans of all units as one."""
        return replace(
            plans[0],
            n_blocks=sum(plan.n_blocks for plan in plans),
            peak_memory=max(plan.peak_memory for plan in plans),
            seconds_alone=sum(plan.seconds_alone or 0.0 for plan in plans),
        )

    def begin(self, cut: Cut) -> list[_Members] | None:  # noqa: ARG002 (every unit has its own)
        """Begin or resume the group and the stores of its mappings; those that are complete are left out."""
        described = {name: training.to_dict() for name, training in self.trainings.items()}
        group, opening = self.run.output.url, self.run.opening
        if not begin_mappings(group, described, **opening):
            return None
        begun = []
        for unit in self.units:
            outputs: dict[str, TrainOutput] = {}
            for training in unit.trainings:
                name = mapping_name(training.source, training.target)
                url = mapping_url(group, name)
                own = {**opening, "overwrite": False}
                output = TrainOutput.begin(url, training, training.arrays, unit.plan.block, **own)
                if output is not None:
                    outputs[name] = output
            for grid in dict.fromkeys(output.progress.block for output in outputs.values()):
                members = {name: output for name, output in outputs.items() if output.progress.block == grid}
                begun.append(_Members(members, self._plan_of(unit, members, grid)))
        return begun

    def _plan_of(self, unit: Unit, members: Mapping[str, TrainOutput], grid: Shape) -> Plan:
        if grid == unit.plan.block:
            return unit.plan
        # resumed: the blocks are those of the first run
        workload = workload_of_all(self.images, [output.training for output in members.values()])
        return plan_training(workload, max_memory=self.run.max_memory, n_slots=self.run.n_slots, block=grid)

    def resume(self, output: list[_Members], cut: Cut) -> Cut:  # noqa: ARG002
        """Return the cut: every unit has its own."""
        return cut

    @property
    def prepare(self) -> Callable[[], None]:
        """What compiles the kernels."""
        return warm_up_for(*self.trainings.values())

    def phases(self, output: list[_Members], cut: Cut) -> Iterator[Phase]:  # noqa: ARG002
        """Yield the one phase."""
        group = self.run.output
        tasks, done = [], []
        for members in output:
            for index, block, names, finished in members.split(self.images.shape):
                places = tuple(Place(mapping_url(group.url, name), group.options) for name in names)
                tasks.append(Task(index, block, places, self.source, members.plan.slab))
                done.append(finished)
        yield Phase("training", _train_block, tasks, done, bytes_read=self._bytes_read)

    def _bytes_read(self, task: Task) -> int:
        trainings = {mapping_url(self.run.output.url, name): training for name, training in self.trainings.items()}
        workload = workload_of_all(self.images, [trainings[place.url] for place in task.outputs])
        return block_bytes(workload, task.block, task.slab)

    def finish(self, output: list[_Members]) -> dict[str, Scores]:
        """Complete all mappings and the group; return the scores of each."""
        provenance = {"images": redact(self.images.url), "versions": versions()}
        for members in output:
            for each in members.outputs.values():
                told = provenance | meaning_of(self.images, each.training.source, each.training.target)
                each.finish(told, FaceFrame.of_images(self.images, each.training.source))
        scores = self.scores()
        finish_mappings(self.run.output.url, scores, provenance, self.run.output.options)
        return scores

    def scores(self) -> dict[str, Scores]:
        """Return the scores of all mappings, and add to their stores what an older mrdist did not store."""
        scores: dict[str, Scores] = {}
        for name, training in self.trainings.items():
            reader = WeightsReader.open(mapping_url(self.run.output.url, name), self.run.output.options)
            reader.add_face_frame(FaceFrame.of_images(self.images, training.source))
            scores[name] = reader.attributes["scores"]["train"]
        return scores


def _train_block(task: Task) -> int:
    """Do one block of several mappings from reading to writing; return the process's peak of resident bytes."""
    outputs = [TrainOutput.open(place.url, place.options) for place in task.outputs]
    images = Images.open(task.source.url, task.source.options)
    mappings = [(output.training.source, output.training.target) for output in outputs]
    training = outputs[0].training
    with portion(0.8):
        sums = sum_mappings(
            images,
            mappings,
            images.rows(mappings[0], training.split),
            training.field,
            training.lenders(task.block),
            n_groups=training.n_groups,
            n_inputs=training.n_inputs,
            slab=task.slab,
        )
    for output, statistics in parts(list(zip(outputs, sums, strict=True))):
        solution = solve_block(statistics, output.training, task)
        output.write_block(task.index, task.block, solution, n_rows=rows_left(statistics))
    return peak_memory()
