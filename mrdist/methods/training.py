"""What the trainings of all methods share: what they are told, how they end and what is reported."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mrdist.execution import peak_memory
from mrdist.geometry import Shape, block_grid
from mrdist.methods.lesson import Lesson
from mrdist.planning import Cut, Plan
from mrdist.running.phases import Done, Output, Work, drive
from mrdist.running.reports import RunReport
from mrdist.running.tasks import Place, RunOptions, Task, rows_of
from mrdist.storage import FaceFrame, WeightsReader
from mrdist.storage.weights.output import WeightsOutput


@dataclass(frozen=True)
class TrainReport(RunReport):
    """What a training did.

    Besides what `mrdist.running.reports.RunReport` has:

    Attributes
    ----------
    scores
        MSE and R2 on the training images.
    cross_validation
        What was ``chosen``, ``blocks_run`` and ``seconds`` of each phase, if hyperparameters were chosen.
    prepare_seconds
        The part of ``run_seconds`` in which kernels were compiled and loaded.
    """

    scores: Mapping[str, float | None]
    cross_validation: Mapping[str, Any] | None = None
    prepare_seconds: float = 0.0

    def to_dict(self) -> dict[str, Any]:
        """Return what ``mrdist train --json`` prints."""
        report = {**self.figures, "scores": dict(self.scores)}
        return report if self.cross_validation is None else {**report, "cross_validation": dict(self.cross_validation)}


@dataclass(frozen=True)
class Trained:
    """What a finished training says: its scores, and what a cross-validation has chosen if there was one."""

    scores: Mapping[str, float | None]
    chosen: Mapping[str, Any] | None


class TrainingWork(Work[Output, Trained]):
    """A training: weights that are learnt from a lesson."""

    def __init__(self, lesson: Lesson, run: RunOptions) -> None:
        self.lesson = lesson
        self.run = run
        self.source = rows_of(lesson.images, lesson.split)
        self.n_images = len(lesson.rows)

    @abstractmethod
    def plan(self, block: Shape | None) -> Plan:
        """Cut the work into blocks, as for any `mrdist.running.phases.Work`."""

    def finish(self, output: Any) -> Trained:
        """Complete the weights store, a `WeightsOutput`."""
        return self.complete(output)

    def complete(self, output: WeightsOutput, **extra: Any) -> Trained:
        """Complete the weights store; ``extra`` are further attributes of it."""
        chosen = output.chosen
        return Trained(output.finish(self.lesson.provenance, self.lesson.face_frame, **extra), chosen)

    def train(self, cut: Cut) -> TrainReport:
        """Do what is left and report it; ``cut`` is what `plan` has returned."""
        done = drive(self, cut)
        if done is None:
            return already_trained(self.run.output, cut.n_blocks, self.lesson.face_frame)
        return trained(done, self.run.output, self.counted)

    def blocks(self, cut: Cut, slab: int) -> list[Task]:
        """Return a task for every block of the image."""
        return self.tasks(block_grid(self.lesson.images.shape, cut.block), slab)


def already_trained(output: Place, n_blocks: int, face_frame: FaceFrame | None) -> TrainReport:
    """Return the report for a complete output, and add to it what an older mrdist did not store."""
    reader = WeightsReader.open(output.url, output.options)
    reader.add_face_frame(face_frame)
    scores = reader.attributes["scores"]["train"]
    chosen = reader.attributes.get("cross_validation", {}).get("chosen")
    search = chosen and {"chosen": chosen}
    return TrainReport(output.url, True, 0.0, 0.0, 0, n_blocks, 0, peak_memory(), scores, search)


def trained(done: Done[Trained], output: Place, counted: str) -> TrainReport:
    """Return the report of a training; ``counted`` names the phase whose tasks are the blocks."""
    return TrainReport(
        url=output.url,
        **done.figures,
        blocks_run=len(done.phases[counted].tasks),
        scores=done.result.scores,
        cross_validation=None if done.result.chosen is None else _searched(done, counted),
        prepare_seconds=done.prepare_seconds,
    )


def _searched(done: Done[Trained], counted: str) -> dict[str, Any]:
    names = list(done.phases)
    before, after = names[: names.index(counted)], names[names.index(counted) :]
    seconds = sum(done.phases[name].seconds for name in after)
    return {
        "chosen": done.result.chosen,
        "blocks_run": {
            "search": sum(len(done.phases[name].tasks) for name in before),
            "solve": len(done.phases[counted].tasks),
        },
        "seconds": {"search": done.run_seconds - seconds, "solve": seconds},
    }
