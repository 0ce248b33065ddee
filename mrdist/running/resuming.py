"""Check the blocks of an interrupted run by reading them; damaged blocks are computed again."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from functools import partial

from mrdist.errors import DamagedChunkError, MissingChunkError
from mrdist.execution import Executor
from mrdist.geometry import Block
from mrdist.running.driving import run_tasks, tracked
from mrdist.running.tasks import Task
from mrdist.storage import StorageOptions

logger = logging.getLogger("mrdist")

_NAMED = 10  # blocks in a warning

ReadBack = Callable[[str, StorageOptions, int, Block], None]


def tasks_left(
    executor: Executor,
    tasks: Sequence[Task],
    done: Iterable[bool],
    *,
    progress: bool | None,
    read: ReadBack | None,
) -> list[Task]:
    """Return the tasks that are not done, and those whose block is damaged.

    Parameters
    ----------
    executor
        Reads.
    tasks, done
        All tasks, and which of them are marked done.
    progress
        As in `mrdist.train`.
    read
        Reads what belongs to a block, see `mrdist.storage.reading_back`; None believes the marks.
    """
    written: list[Task] = []
    left: list[Task] = []
    for task, is_done in zip(tasks, done, strict=True):
        (written if is_done else left).append(task)
    return left if read is None else left + _find_damaged(executor, written, progress=progress, read=read)


def _find_damaged(executor: Executor, written: Sequence[Task], *, progress: bool | None, read: ReadBack) -> list[Task]:
    """Return the finished tasks whose block is damaged, and log a warning that names them."""
    damaged: list[tuple[Task, str]] = []
    if not written:
        return []
    with tracked(len(written), 0, "block", show=progress, phase="reading back") as advance:
        for task, fault in run_tasks(
            executor, partial(_fault, read), written, name="read", describe=lambda task: f"block {task.index}"
        ):
            if fault is not None:
                damaged.append((task, fault))
            advance(1, "")
    if damaged:
        damaged.sort(key=lambda pair: pair[0].index)
        names = ", ".join(str(task.index) for task, _ in damaged[:_NAMED])
        logger.warning(
            "%d of %d finished blocks are damaged and are computed again (%s%s): %s",
            len(damaged),
            len(written),
            names,
            ", ..." if len(damaged) > _NAMED else "",
            damaged[0][1],
        )
    return [task for task, _ in damaged]


def _fault(read: ReadBack, task: Task) -> str | None:
    """Return what is wrong with a block, None if nothing is."""
    try:
        for store in task.outputs:
            read(store.url, store.options, task.index, task.block)
    except (DamagedChunkError, MissingChunkError) as error:
        return str(error).partition(";")[0]  # without the advice, which is not needed here
    return None
