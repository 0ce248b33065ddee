"""Train the mean target: an image of intercepts, the same for every input."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise
from math import prod

import numpy as np

from mrdist.baselines.mean import TargetSums
from mrdist.execution import peak_memory
from mrdist.geometry import Block, ReceptiveField, Shape
from mrdist.methods.lesson import Lesson
from mrdist.methods.masked.plan import plan_blocks, workload_of
from mrdist.methods.training import TrainingWork
from mrdist.moments import unit_of
from mrdist.parts import parts
from mrdist.planning import Cut, Plan, band_cuts, band_height, block_bytes
from mrdist.running.phases import Phase
from mrdist.running.tasks import RunOptions, Task
from mrdist.storage import Images
from mrdist.storage.weights.whole import GlobalOutput, GlobalTraining


class MeanWork(TrainingWork[GlobalOutput]):
    """A training of the method ``mean``; it reads the targets alone."""

    def __init__(self, lesson: Lesson, run: RunOptions) -> None:
        super().__init__(lesson, run)
        self.training = GlobalTraining(**lesson.describe())
        self.workload = replace(workload_of(lesson.images, self.training, ReceptiveField(1)), n_sources=0, libraries=0)

    def plan(self, block: Shape | None) -> Plan:
        """Cut the work into blocks."""
        plan = plan_blocks(self.run, self.workload, block)
        written = self.training.n_groups * prod(self.lesson.images.shape) * (self.workload.weight_itemsize + 16)
        return replace(plan, bytes_written=written)

    def begin(self, cut: Cut) -> GlobalOutput | None:
        """Begin or resume the weights store."""
        dtype = self.lesson.images.dtype
        return GlobalOutput.begin(
            self.run.output.url, self.training, self.training.arrays(dtype), cut.block, **self.run.opening
        )

    def phases(self, output: GlobalOutput, cut: Cut) -> Iterator[Phase]:
        """Yield the one phase."""
        assert isinstance(cut, Plan)
        yield Phase(
            "training",
            _average_block,
            self.blocks(cut, cut.slab),
            output.progress.done,
            bytes_read=lambda task: block_bytes(self.workload, task.block, task.slab),
        )


def _average_block(task: Task) -> int:
    """Do one block from reading to writing; return the process's peak of resident bytes."""
    output = GlobalOutput.open(task.output.url, task.output.options)
    images = Images.open(task.source.url, task.source.options)
    training = output.training
    reader, block = images.reader(), task.block
    row_bytes = task.slab * block.shape[1] * images.n_channels * images.dtype.itemsize
    height = band_height(images.chunks[1], row_bytes, 0)
    bands = [
        Block(top, block.x0, bottom, block.x1)
        for top, bottom in pairwise(band_cuts(block.y0, block.y1, images.chunks[1], height))
    ]
    sums = [TargetSums.zeros(band.shape, training.n_groups, unit_of(images.dtype)) for band in bands]
    rows = images.rows((training.source, training.target), training.split)
    for start, stop, chosen in parts(list(images.slabs(rows, task.slab))):
        for number, band in enumerate(parts(bands)):
            sums[number] = sums[number].update(reader.read(training.target, start, stop, band)[chosen])
    mean, deviations = (np.concatenate([getattr(of, name) for of in sums], axis=1) for name in ("mean", "deviations"))
    maps = {"intercept": mean, "train_sse": deviations, "train_sst": deviations}
    output.write_weights(task.block, maps)
    output.progress.mark(task.index)
    return peak_memory()
