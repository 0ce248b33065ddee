"""What all verbs that write a store share: a lease on the output, whose state shows their progress.

A verb is decorated with `driving`, and calls `hold` before it writes anything. It gives tasks to workers through
`run_tasks`, and shows its progress through `tracked`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from contextvars import ContextVar
from functools import partial
from typing import Any, TypeVar

from mrdist.errors import MrdistError
from mrdist.events import emit
from mrdist.execution import Executor, progress_bar
from mrdist.storage import Fence, Foreseen, Lease, StorageOptions, fenced_by, foreseeing, redact

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
    heard: Callable[[Item, float], None] | None = None,
    opens: Callable[[Item], Iterable[Foreseen]] | None = None,
) -> Iterator[tuple[Item, Result]]:
    """Yield every item with its result as `Executor.run` does, each behind the fence of the output.

    ``opens`` returns what an item will ask of stores first: it is asked for while the fence is.
    """
    lease = _lease()
    if lease is not None:
        function = partial(_behind_fence, function, lease.fence)
    if opens is not None:
        function = partial(_foreseeing, function, opens)
    return executor.run(function, items, name=name, describe=describe, heard=heard)


def _behind_fence(function: Callable[[Item], Result], fence: Fence, item: Item) -> Result:
    if not fence.is_fresh:
        fence.check()
    try:
        with fenced_by(fence):
            return function(item)
    except Exception:
        fence.check()  # the error may come from another run that took over
        raise


def _foreseeing(function: Callable[[Item], Result], opens: Callable[[Item], Iterable[Foreseen]], item: Item) -> Result:
    with foreseeing(opens(item)):
        return function(item)


class Step:
    """Notes what has been done, in a progress bar, in events and in the state of the output.

    Parameters
    ----------
    total, done, unit, phase, images_per_step
        As for `tracked`.
    advance
        Of the progress bar.
    """

    def __init__(
        self,
        total: int,
        done: int,
        unit: str,
        phase: str,
        images_per_step: float | None,
        advance: Callable[[float, str | None], None],
    ) -> None:
        self._lease = _lease()
        url = None if self._lease is None else redact(self._lease.fence.url)
        self._what = {"url": url, "phase": phase, "unit": unit, "total": total}
        self._total, self._done, self._images_per_step = total, done, images_per_step
        self._parts: dict[int, float] = {}
        self._began, self._begun_at = done, time.monotonic()
        self._advance, self._shown = advance, float(done)
        if self._lease is not None:
            unknown = dict.fromkeys(("blocks_per_second", "images_per_second", "seconds_left"))
            known = {"blocks": total, "blocks_done": done, "share": done / max(total, 1)}
            self._lease.tell(phase=phase, unit=unit, **known, **unknown)
        emit("phase", **self._what, done=done)

    def __call__(self, steps: int, remark: str, index: int | None = None) -> None:
        """Note some steps, a remark to show, and which block it was, by its position in the raster order."""
        self._done += steps
        if index is not None:
            self._parts.pop(index, None)
        told = self._tell(remark)
        emit("block", **self._what, done=self._done, index=index, **told)
        if self._lease is not None:
            self._lease.check()

    def part(self, index: int, share: float) -> None:
        """Note which share of a block is done that is worked on."""
        self._parts[index] = share
        emit("part", **self._what, done=self._done, index=index, **self._tell(None))

    def _tell(self, remark: str | None) -> dict[str, Any]:
        """Show how far the phase is, and return it: rates, seconds that are left, and the share that is done."""
        amount = self._done + sum(self._parts.values())
        rate = (amount - self._began) / max(time.monotonic() - self._begun_at, 1e-9)
        told = {
            "blocks_per_second": round(rate, 4),
            "images_per_second": None if self._images_per_step is None else round(rate * self._images_per_step, 3),
            "seconds_left": round((self._total - amount) / rate, 1) if rate > 0 else None,
            "share": round(amount / self._total, 4),
        }
        self._advance(round(amount, 2) - self._shown, remark)
        self._shown = round(amount, 2)
        if self._lease is not None:
            self._lease.tell(blocks_done=self._done, **told)
        return told


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
    with progress_bar(total, done, unit, show=show, phase=phase) as advance:
        yield Step(total, done, unit, phase, images_per_step, advance)
    lease = _lease()
    if lease is not None:
        lease.tell(phase="finishing")
