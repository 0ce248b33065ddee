"""Processors, memory and progress bar of this process."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from tqdm.std import tqdm


def n_processors() -> int:
    """Return the processors that this process may use, by its affinity and by the quota of its container."""
    from dask.system import cpu_count  # not needed by a run in one process

    n: int = cpu_count()
    return n


@contextmanager
def progress_bar(
    total: int, done: int, unit: str, *, show: bool | None, phase: str | None = None
) -> Iterator[Callable[[int, str], None]]:
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
        Takes the number of steps just done and a remark to show.
    """
    if show is None:
        show = sys.stderr.isatty() or "ipykernel" in sys.modules
    with tqdm(
        desc=phase, total=total, initial=done, unit=unit, disable=not show, dynamic_ncols=True, leave=True
    ) as bar:

        def advance(steps: int, remark: str) -> None:
            bar.set_postfix_str(remark, refresh=False)
            bar.update(steps)

        yield advance


def peak_memory() -> int:
    """Return the peak of resident bytes of this process."""
    status = Path("/proc/self/status")
    if status.exists():  # ru_maxrss would count the parent's memory, inherited when the process was started
        for line in status.read_text().splitlines():
            if line.startswith("VmHWM"):
                return int(line.split()[1]) * 1024
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
