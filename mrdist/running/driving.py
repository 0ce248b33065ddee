"""What all verbs that write a store share: a lease on the output, whose state shows their progress.

A verb is decorated with `driving`, and calls `hold` before it writes anything. It gives tasks to workers through
`run_tasks`, and shows its progress through `tracked`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from contextvars import ContextVar
from functools import partial
from typing import Any, Protocol, TypeVar

from mrdist.errors import MrdistError
from mrdist.events import emit
from mrdist.execution import Executor, progress_bar
from mrdist.storage import Fence, Lease, StorageOptions, fenced_by, redact

Item = TypeVar("Item")
Result = TypeVar("Result")


class _Drive(ExitStack):
    """A running verb.

    Attributes
    ----------
    command
        Its name.
    lease
        Of its output, once it has it.
    """

    def __init__(self, command: str) -> None:
        super().__init__()
        self.command = command
        self.lease: Lease | None = None


_drive: ContextVar[_Drive | None] = ContextVar("drive", default=None)


@contextmanager
def driving(command: str) -> Iterator[None]:
    """Decorate a verb that writes a store; when it ends, it releases the output."""
    with _Drive(command) as drive:
        before = _drive.set(drive)
        try:
            yield
        except BaseException as error:
            if drive.lease is not None:
                drive.lease.end(_what_happened(error))
                drive.lease.check()
            raise
        else:
            if drive.lease is not None:
                drive.lease.end()
        finally:
            _drive.reset(before)


def hold(url: str, storage_options: StorageOptions) -> None:
    """Take the lease on the output of the running verb; its writes and those of its workers are fenced from now on.

    Raises
    ------
    StoreBusyError
        If another run is writing it.
    """
    drive = _drive.get()
    assert drive is not None
    assert drive.lease is None
    drive.lease = Lease.take(url, storage_options, drive.command)
    drive.enter_context(fenced_by(drive.lease.fence))


def _lease() -> Lease | None:
    drive = _drive.get()
    return None if drive is None else drive.lease


def _what_happened(error: BaseException) -> str:
    if isinstance(error, MrdistError):
        return str(error)
    return "stopped" if isinstance(error, KeyboardInterrupt) else f"{type(error).__name__}: {error}"


def run_tasks(
    executor: Executor,
    function: Callable[[Item], Result],
    items: Sequence[Item],
    *,
    name: str,
    describe: Callable[[Item], str] = str,
) -> Iterator[tuple[Item, Result]]:
    """Yield every item with its result as `Executor.run` does, each behind the fence of the output."""
    lease = _lease()
    if lease is not None:
        function = partial(_behind_fence, function, lease.fence)
    return executor.run(function, items, name=name, describe=describe)


def _behind_fence(function: Callable[[Item], Result], fence: Fence, item: Item) -> Result:
    fence.check()
    try:
        with fenced_by(fence):
            return function(item)
    except Exception:
        fence.check()  # the error may come from another run that took over
        raise


class Step(Protocol):
    """Notes what has been done."""

    def __call__(self, steps: int, remark: str, index: int | None = None) -> None:
        """Note some steps, a remark to show, and which block it was, by its position in the raster order."""


@contextmanager
def tracked(
    total: int, done: int, unit: str, *, show: bool | None, phase: str = "working", images_per_step: float | None = None
) -> Iterator[Step]:
    """Show a progress bar as `progress_bar` does, and write the same progress to the state of the output.

    Parameters
    ----------
    total, done, unit, show
        As for `mrdist.execution.progress_bar`.
    phase
        What is done.
    images_per_step
        For the rate; None if steps are not images.

    Yields
    ------
    Step
        Notes what has been done.
    """
    lease = _lease()
    url = None if lease is None else redact(lease.fence.url)
    state: dict[str, Any] = {"phase": phase, "unit": unit, "blocks": total, "blocks_done": done}
    began, begun_at = done, time.monotonic()
    rates: dict[str, Any] = dict.fromkeys(("blocks_per_second", "images_per_second", "seconds_left"))
    if lease is not None:
        lease.tell(**state, **rates)
    emit("phase", url=url, phase=phase, unit=unit, total=total, done=done)
    with progress_bar(total, done, unit, show=show, phase=phase) as advance:

        def step(steps: int, remark: str, index: int | None = None) -> None:
            nonlocal done
            advance(steps, remark)
            state["blocks_done"] += steps
            rate = (state["blocks_done"] - began) / max(time.monotonic() - begun_at, 1e-9)
            rates["blocks_per_second"] = round(rate, 4)
            rates["images_per_second"] = None if images_per_step is None else round(rate * images_per_step, 3)
            rates["seconds_left"] = round((total - state["blocks_done"]) / rate, 1)
            done = state["blocks_done"]
            emit("block", url=url, phase=phase, unit=unit, total=total, done=done, index=index, **rates)
            if lease is not None:
                lease.check()
                lease.tell(**state, **rates)

        yield step
    if lease is not None:
        lease.tell(phase="finishing")
