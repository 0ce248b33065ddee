"""Processors, memory and progress bar of this process."""

from __future__ import annotations

import math
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from pathlib import Path

_CGROUP, _CGROUPS = Path("/proc/self/cgroup"), Path("/sys/fs/cgroup")

_in_slot = ContextVar("in_slot", default=False)


def n_processors() -> int:
    """Return the processors that this process may use, by its affinity and by the quota of its container."""
    if sys.version_info >= (3, 13):
        usable = os.process_cpu_count()
    else:
        usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return max(1, math.ceil(min(usable or 1, _quota())))


def _quota() -> float:
    """Return the processors that the container of this process may keep busy; infinity without a limit.

    `dask.system` knows them, too, but takes as long to import as a small training to run.
    """
    with suppress(OSError, ValueError):  # version 2; without a limit, its first word is "max"
        group = _CGROUP.read_text().split(":")[-1].strip().rstrip("/")
        quota, period = map(int, Path(f"{_CGROUPS}{group}/cpu.max").read_text().split())
        return quota / period
    for folder in ("cpuacct,cpu", "cpu,cpuacct"):
        with suppress(OSError, ValueError):  # version 1; without a limit, it is -1
            quota, period = (
                int((_CGROUPS / folder / f"cpu.cfs_{name}_us").read_text()) for name in ("quota", "period")
            )
            if quota > 0:
                return quota / period
    return math.inf


@contextmanager
def in_slot() -> Iterator[None]:
    """Mark the work of this thread as that of a slot of a worker, which has one processor."""
    token = _in_slot.set(True)
    try:
        yield
    finally:
        _in_slot.reset(token)


def has_spare_processor() -> bool:
    """Whether the work of this thread may keep a second processor busy."""
    return not _in_slot.get() and n_processors() > 1


@contextmanager
def progress_bar(
    total: int, done: int, unit: str, *, show: bool | None, phase: str | None = None
) -> Iterator[Callable[[float, str | None], None]]:
    """Show a progress bar on stderr, which works in a terminal and in a notebook alike.

    Parameters
    ----------
    total, done
        Number of all steps, and of those done before.
    unit
        What a step is.
    show
        True or False; None shows it only in a terminal or notebook.
    phase
        What is done, before the bar.

    Yields
    ------
    callable
        Takes the number of steps just done, which may be a part of one, and a remark to show, None for that before.
    """
    if show is None:
        show = sys.stderr.isatty() or "ipykernel" in sys.modules
    if not show:
        yield lambda _steps, _remark: None
        return
    from tqdm.std import tqdm  # slow to import

    with tqdm(desc=phase, total=total, initial=done, unit=unit, dynamic_ncols=True, leave=True) as bar:

        def advance(steps: float, remark: str | None) -> None:
            if remark is not None:
                bar.set_postfix_str(remark, refresh=False)
            bar.update(steps)
            bar.n = int(bar.n) if bar.n == int(bar.n) else round(bar.n, 2)

        yield advance


def peak_memory() -> int:
    """Return the peak of resident bytes of this process."""
    # ru_maxrss would count the parent's memory, inherited when the process was started
    return _status("VmHWM") or _largest()


def resident_memory() -> int:
    """Return the resident bytes of this process, or their peak where the system tells no more."""
    return _status("VmRSS") or _largest()


def _status(name: str) -> int | None:
    """Return a size that Linux tells of this process."""
    status = Path("/proc/self/status")
    if status.exists():
        for line in status.read_text().splitlines():
            if line.startswith(f"{name}:"):
                return int(line.split()[1]) * 1024
    return None


def _largest() -> int:
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
