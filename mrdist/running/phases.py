"""The one driver of all that accumulates, solves and trains.

What is to be done is a `Work`: it is cut into blocks, its output is begun or resumed, and its phases follow each other,
each a pass over tasks. `drive` does the rest: workers, progress, reading back, times.
"""

from __future__ import annotations

import logging
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Generic, TypeVar

import numpy as np
import numpy.typing as npt

from mrdist.events import emit
from mrdist.execution import Executor, open_executor, peak_memory
from mrdist.geometry import Block, Shape
from mrdist.planning import Cut, Plan
from mrdist.running.driving import run_tasks, tracked
from mrdist.running.resuming import ReadBack, tasks_left
from mrdist.running.tasks import Place, RunOptions, Task, opened_by
from mrdist.running.workers import seconds_between
from mrdist.storage.reading_back import read_back

logger = logging.getLogger("mrdist")


@dataclass(frozen=True)
class Phase:
    """One pass over parts of the work.

    Attributes
    ----------
    name
        What it does: of its progress bar, and in the state that the output shows.
    work
        Does a part from reading to writing; returns the peak of resident bytes of its process. A function of a module,
        which workers can import. It may be repeated, and writes the same bytes then.
    tasks
        All parts.
    done
        Which of them an earlier run has marked done; None if none is, or nothing says so.
    read_back
        Reads what a part has left (`mrdist.storage.reading_back`); damaged parts are done again. None where what
        is marked done has just been read.
    bytes_read
        Decoded bytes of the chunks that a part reads.
    """

    name: str
    work: Callable[[Task], int]
    tasks: Sequence[Task]
    done: Sequence[bool] | npt.NDArray[np.bool_] | None = None
    read_back: ReadBack | None = read_back
    bytes_read: Callable[[Task], float] = lambda _: 0


Output = TypeVar("Output")
Result = TypeVar("Result")


class Work(ABC, Generic[Output, Result]):
    """What a run is to do.

    Attributes
    ----------
    run
        Where the output goes, and who works on it.
    source
        The store that is read.
    n_images
        Images that all tasks of a phase together work on, for the rate that is shown.
    counted
        Name of the phase whose tasks are the report's blocks.
    """

    run: RunOptions
    source: Place
    n_images: int
    counted: str = "training"

    @abstractmethod
    def plan(self, block: Shape | None) -> Cut:
        """Cut the work into blocks, of this size if it is given; raise what stands against it, and touch nothing."""

    @abstractmethod
    def begin(self, cut: Cut) -> Output | None:
        """Begin the output, or resume that of the same work; None if it is complete."""

    @abstractmethod
    def phases(self, output: Output, cut: Cut) -> Iterator[Phase]:
        """Yield the phases that are left; what follows a ``yield`` concludes the phase, in the driver's process."""

    @abstractmethod
    def finish(self, output: Output) -> Result:
        """Complete the output."""

    def resume(self, output: Any, cut: Cut) -> Cut:
        """Return the cut of the run that has begun the output, a store with a `Progress`: it keeps its blocks."""
        block = output.progress.block
        return cut if block == cut.block else self.plan(block)

    @property
    def prepare(self) -> Callable[[], None] | None:
        """Function of a module that loads what the tasks need: called in this process, then in every worker.

        It holds nothing of the work: what is sent to all workers may be logged, and options of storage may be secret.
        """
        return None

    def seconds(self, cut: Cut) -> float | None:
        """Return what all phases take in one process, None if nobody knows."""
        n_bytes = cut.bytes_read + cut.bytes_written
        return seconds_between(cut.seconds_alone, n_bytes, self.source.url, self.run.output.url)

    def n_tasks(self, cut: Cut) -> int:
        """Return the number of tasks of the longest phase: more workers would have nothing to do."""
        return cut.n_blocks

    def tasks(self, blocks: Iterable[Block], slab: int) -> list[Task]:
        """Return a task for each block."""
        return [Task(index, block, (self.run.output,), self.source, slab) for index, block in enumerate(blocks)]


@dataclass(frozen=True)
class PhaseRun:
    """How a phase went.

    Attributes
    ----------
    tasks
        Those that this run did: what was left, and what had to be done again.
    bytes_read
        Decoded bytes of all chunks that they read.
    peak_memory
        Largest resident bytes of a process that did one; 0 if there were none.
    seconds
        From its begin to that of the next, with its conclusion.
    """

    tasks: Sequence[Task]
    bytes_read: float
    peak_memory: int
    seconds: float = 0.0


@dataclass(frozen=True)
class Done(Generic[Result]):
    """How a run went.

    Attributes
    ----------
    result
        What finishing the output has returned.
    cut
        The blocks.
    phases
        Name of a phase -> how it went.
    start_seconds, run_seconds
        Until the workers were there, and all the rest.
    prepare_seconds
        The part of ``run_seconds`` in which kernels were compiled and loaded.
    told
        Who worked, see `mrdist.execution.Executor.told`.
    """

    result: Result
    cut: Cut
    phases: Mapping[str, PhaseRun]
    start_seconds: float
    run_seconds: float
    prepare_seconds: float
    told: Mapping[str, Any]

    @property
    def figures(self) -> dict[str, Any]:
        """What reports of all verbs tell of it, by the names that they have there."""
        return {
            "already_complete": False,
            "start_seconds": self.start_seconds,
            "run_seconds": self.run_seconds,
            "bytes_read": round(sum(phase.bytes_read for phase in self.phases.values())),
            "blocks": self.cut.n_blocks,
            **self.told,
            "peak_memory_bytes": max(phase.peak_memory for phase in self.phases.values()) or peak_memory(),
        }


def drive(work: Work[Output, Result], cut: Cut) -> Done[Result] | None:
    """Do what is left of a work; the verb holds the lease on its output.

    Parameters
    ----------
    work
        What is to be done.
    cut
        What `Work.plan` has returned for it.

    Returns
    -------
    Done or None
        None if the output is complete already.
    """
    output = work.begin(cut)
    if output is None:
        return None
    cut = work.resume(output, cut)
    if isinstance(cut, Plan) and cut.advice is not None:
        logger.warning(cut.advice)
    run = work.run
    with open_executor(
        workers=run.workers,
        scheduler=run.scheduler,
        n_tasks=work.n_tasks(cut),
        max_memory=run.max_memory,
        prepare=work.prepare,
        seconds=work.seconds(cut),
        memory=cut.peak_memory,
        module=type(work).__module__,
    ) as executor:
        if executor.dashboard:
            logger.info("dashboard: %s", executor.dashboard)
            emit("cluster", dashboard=executor.dashboard)
        started = time.perf_counter() - executor.prepare_seconds
        runs: dict[str, PhaseRun] = {}
        begins: list[float] = []
        for phase in work.phases(output, cut):
            begins.append(time.perf_counter())
            runs[phase.name] = _run_phase(executor, phase, cut, n_images=work.n_images, progress=run.progress)
        result = work.finish(output)
        ended = time.perf_counter()
    ends = [*begins[1:], ended]
    return Done(
        result,
        cut,
        {
            name: replace(each, seconds=end - begin)
            for (name, each), begin, end in zip(runs.items(), begins, ends, strict=True)
        },
        executor.start_seconds,
        ended - started,
        executor.prepare_seconds,
        executor.told,
    )


def _run_phase(executor: Executor, phase: Phase, cut: Cut, *, n_images: int, progress: bool | None) -> PhaseRun:
    """Read back the tasks that are done, and do what is left."""
    tasks, n_tasks, peak = phase.tasks, len(phase.tasks), 0
    if phase.done is not None:
        tasks = tasks_left(executor, tasks, phase.done, progress=progress, read=phase.read_back)
    if not tasks:
        return PhaseRun(tasks, 0, peak)
    if len(tasks) < n_tasks:
        logger.info("resuming: %d of %d blocks are done", n_tasks - len(tasks), n_tasks)
    started = time.perf_counter()
    done, rate = n_tasks - len(tasks), n_images / n_tasks
    with tracked(n_tasks, done, "block", show=progress, phase=phase.name, images_per_step=rate) as advance:
        finished = run_tasks(
            executor,
            phase.work,
            tasks,
            name="block",
            describe=lambda task: f"block {task.index} ({task.block}; planned peak {cut.peak_memory >> 20} MiB)",
            heard=lambda task, share: advance.part(task.index, share),
            opens=opened_by,
        )
        for number, (task, peak_of_task) in enumerate(finished, start=1):
            peak = max(peak, peak_of_task)
            advance(1, f"{rate * number / (time.perf_counter() - started):.0f} images/s", task.index)
    return PhaseRun(tasks, sum(map(phase.bytes_read, tasks)), peak)
