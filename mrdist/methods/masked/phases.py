"""Train by masked regression: every block of output pixels is read, accumulated, solved and written by one task."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Literal

from mrdist.execution import peak_memory
from mrdist.geometry import Shape
from mrdist.methods.lesson import Lesson
from mrdist.methods.masked.plan import describe_training, plan_blocks, workload_of
from mrdist.methods.masked.search import SearchWork
from mrdist.methods.masked.solving import solve_block, warm_up_for
from mrdist.methods.masked.sums import sum_images
from mrdist.methods.options import check_fixed
from mrdist.methods.training import TrainingWork
from mrdist.parts import portion
from mrdist.planning import Cut, Plan, block_bytes
from mrdist.remaining import rows_left
from mrdist.running.phases import Phase
from mrdist.running.tasks import RunOptions, Task
from mrdist.solvers import Prior
from mrdist.storage import Images
from mrdist.storage.weights.masked import TrainOutput

_READING = 0.9
"""Of a block's work, until its sums are there."""


def masked_work(
    lesson: Lesson,
    run: RunOptions,
    *,
    alpha: float | Literal["cv"],
    penalize_intercept: bool,
    receptive_field: int | Sequence[int] = 1,
    dilation: int | Sequence[int] = 1,
    pool: int | Sequence[int] = 0,
    prior: Prior = "zero",
    **search: Any,
) -> TrainingWork[Any]:
    """Return the training by masked regression, of ``mr`` and ``pixel``, which sees one pixel."""
    sums: dict[str, Any] = {"receptive_field": receptive_field, "dilation": dilation, "pool": pool}
    fixed: dict[str, Any] = {"penalize_intercept": penalize_intercept, "prior": prior}
    if alpha == "cv":
        return SearchWork(lesson, run, **fixed, **sums, **search)
    return MaskedWork(lesson, run, alpha=alpha, **fixed, **check_fixed(**sums, **search))


class MaskedWork(TrainingWork[TrainOutput]):
    """A training with one field and one penalty; options are those of `describe_training`."""

    def __init__(self, lesson: Lesson, run: RunOptions, **options: Any) -> None:
        super().__init__(lesson, run)
        self.training = describe_training(lesson, **options)
        self.workload = workload_of(lesson.images, self.training, self.training.field, self.training.pool)

    def plan(self, block: Shape | None) -> Plan:
        """Cut the work into blocks."""
        return plan_blocks(self.run, self.workload, block)

    def begin(self, cut: Cut) -> TrainOutput | None:
        """Begin or resume the weights store."""
        return TrainOutput.begin(
            self.run.output.url, self.training, self.training.arrays, cut.block, **self.run.opening
        )

    @property
    def prepare(self) -> Callable[[], None]:
        """What compiles the kernels."""
        return warm_up_for(self.training)

    def phases(self, output: TrainOutput, cut: Cut) -> Iterator[Phase]:
        """Yield the one phase."""
        assert isinstance(cut, Plan)
        yield Phase(
            "training",
            _train_block,
            self.blocks(cut, cut.slab),
            output.progress.done,
            bytes_read=lambda task: block_bytes(self.workload, task.block, task.slab),
        )


def _train_block(task: Task) -> int:
    """Do one block from reading to writing; return the process's peak of resident bytes."""
    output = TrainOutput.open(task.output.url, task.output.options)
    images = Images.open(task.source.url, task.source.options)
    training = output.training
    labels = training.source, training.target
    with portion(_READING):
        statistics = sum_images(
            images,
            labels,
            images.rows(labels, training.split),
            training.field,
            training.lenders(task.block),
            n_groups=training.n_groups,
            n_inputs=training.n_inputs,
            slab=task.slab,
        )
    solution = solve_block(statistics, training, task)
    output.write_block(task.index, task.block, solution, n_rows=rows_left(statistics))
    return peak_memory()
