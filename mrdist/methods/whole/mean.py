"""Train the mean target: an image of intercepts, the same for every input."""

from __future__ import annotations

from collections.abc import Iterator

from mrdist.baselines.mean import TargetSums
from mrdist.execution import peak_memory
from mrdist.geometry import ReceptiveField, Shape
from mrdist.methods.lesson import Lesson
from mrdist.methods.masked.plan import plan_blocks, workload_of
from mrdist.methods.training import TrainingWork
from mrdist.moments import unit_of
from mrdist.planning import Cut, Plan, block_bytes
from mrdist.running.phases import Phase
from mrdist.running.tasks import RunOptions, Task
from mrdist.storage import Images
from mrdist.storage.global_weights import GlobalOutput, GlobalTraining, global_output


class MeanWork(TrainingWork[GlobalOutput]):
    """A training of the method ``mean``; it reads the targets alone."""

    def __init__(self, lesson: Lesson, run: RunOptions) -> None:
        super().__init__(lesson, run)
        self.training = GlobalTraining(**lesson.describe())
        self.workload = workload_of(lesson.images, self.training, ReceptiveField(1))

    def plan(self, block: Shape | None) -> Plan:
        """Cut the work into blocks."""
        return plan_blocks(self.run, self.workload, block)

    def begin(self, cut: Cut) -> GlobalOutput | None:
        """Begin or resume the weights store."""
        return global_output(
            self.run.output.url,
            self.training,
            cut.block,
            self.lesson.images.dtype,
            overwrite=self.run.overwrite,
            storage_options=self.run.output.options,
        )

    def phases(self, output: GlobalOutput, cut: Cut) -> Iterator[Phase]:
        """Yield the one phase."""
        assert isinstance(cut, Plan)
        yield Phase(
            "training",
            _average_block,
            self.blocks(cut, cut.slab),
            output.progress.done,
            bytes_read=lambda task: block_bytes(self.workload, task.block, task.slab) // 2,
        )


def _average_block(task: Task) -> int:
    """Do one block from reading to writing; return the process's peak of resident bytes."""
    output = GlobalOutput.open(task.output.url, task.output.options)
    images = Images.open(task.source.url, task.source.options)
    training = output.training
    reader = images.reader()
    sums = TargetSums.zeros(task.block.shape, training.n_groups, unit_of(images.dtype))
    for start, stop, chosen in images.slabs(images.rows((training.source, training.target), training.split), task.slab):
        sums = sums.update(reader.read(training.target, start, stop, task.block)[chosen])
    maps = {"intercept": sums.mean, "train_sse": sums.deviations, "train_sst": sums.deviations}
    output.write_weights(task.block, maps)
    output.progress.mark(task.index)
    return peak_memory()
