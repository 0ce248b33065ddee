"""Who works: checked before anything is written or removed."""

from __future__ import annotations

from mrdist.execution import Scheduler, check_choice, contact_of, n_processors, reach
from mrdist.planning import CLIENT_MEMORY, DEFAULT_MEMORY, SCHEDULER_MEMORY, parse_bytes
from mrdist.planning.effort import NETWORK_SECONDS
from mrdist.storage import StorageOptions, check_reachable, is_local


def check_workers(
    workers: int | None, scheduler: Scheduler | None, *urls: str, max_memory: int | str = DEFAULT_MEMORY
) -> tuple[int, int]:
    """Check, before anything is written or removed, that workers can start and can reach the stores.

    Returns
    -------
    max_memory : int
        Limit on the resident bytes of a worker process to plan for, see `mrdist.execution.reach`, less
        `further_memory`.
    n_slots : int
        Tasks to plan for that run at once.

    Raises
    ------
    ParameterError
        If ``workers`` is negative or given together with ``scheduler``, or a store lies in this process's memory.
    ExecutionError
        If the scheduler cannot be used.
    """
    check_reachable(workers, *urls)
    limit, n_slots = reach(workers, scheduler, parse_bytes(max_memory))
    limit -= further_memory(workers, scheduler, *urls)
    return limit, n_slots_of(workers) if n_slots is None else n_slots


def further_memory(workers: int | None, scheduler: Scheduler | None, *urls: str) -> int:
    """Return the bytes of a worker that plans do not know: of the client of an object store, and of a scheduler's."""
    client = 0 if all(map(is_local, urls)) else CLIENT_MEMORY
    return client + (0 if contact_of(workers, scheduler) is None else SCHEDULER_MEMORY)


def n_slots_of(workers: int | None) -> int:
    """Return how many tasks run at once, as far as that is known before there is a cluster.

    Raises
    ------
    ParameterError
        If ``workers`` is negative.
    """
    check_choice(workers)
    return n_processors() if workers is None else max(workers, 1)


def seconds_between(seconds: float | None, n_bytes: int, *urls: str) -> float | None:
    """Return what work takes in one process that moves so many bytes from and to stores, None if nobody knows.

    Parameters
    ----------
    seconds
        What it takes on disks.
    n_bytes, urls
        Decoded bytes that are read and written, and where the stores are.
    """
    if seconds is None or all(map(is_local, urls)):
        return seconds
    return seconds + NETWORK_SECONDS * n_bytes


def output_options(url: str, options: StorageOptions, fallback: StorageOptions) -> StorageOptions:
    """Return the filesystem options of an output: the inputs' serve it unless it is local or has its own."""
    return fallback if options is None and not is_local(url) else options
