"""Who works: this process, workers of our own, or those of a scheduler. It is decided here alone."""

from __future__ import annotations

from dataclasses import dataclass

from mrdist.execution._process import n_processors, resident_memory
from mrdist.execution._scheduler import Contact, Scheduler, contact_of
from mrdist.planning import BASE_MEMORY, MIB, predict_start


@dataclass(frozen=True)
class Choice:
    """Who works, and why.

    Attributes
    ----------
    contact
        How the scheduler is reached whose workers do the work; None if there is none.
    workers
        Processes to start: 0 works in this one; None with a scheduler.
    where
        Both in words.
    start_seconds
        What the start of those processes will take, about.
    """

    contact: Contact | None
    workers: int | None
    where: str
    start_seconds: float = 0.0


def choose(
    workers: int | None,
    scheduler: Scheduler | None = None,
    *,
    n_tasks: int,
    max_memory: int,
    seconds: float | None = None,
    memory: int = BASE_MEMORY,
) -> Choice:
    """Choose who works: who is named, or the current client; else this process, if workers take longer to start.

    Parameters
    ----------
    workers, scheduler, n_tasks, max_memory
        As in `mrdist.execution.open_executor`.
    seconds
        What the work takes in this process, at most; None if nobody knows.
    memory
        Peak of resident bytes that is planned for a process.

    Raises
    ------
    ParameterError
        If ``workers`` is negative or given together with ``scheduler``, or that is no scheduler.
    ExecutionError
        If the scheduler is not running.

    Examples
    --------
    >>> how = {"n_tasks": 2, "max_memory": 2 << 30, "seconds": 0.25}
    >>> choose(None, **how).where
    'in this process: about 0.2 s of work, less than the 1.5 s that worker processes take to start'
    >>> choose(2, **how).where
    '2 worker processes, as asked'
    """
    contact = contact_of(workers, scheduler)
    if contact is not None:
        return Choice(contact, None, f"on the workers of {contact.address}")
    if workers == 0:
        return Choice(None, 0, "in this process, as asked")
    processors = n_processors()
    n = max(1, min(workers or processors, n_tasks))
    start = predict_start(workers, n_tasks, n_processors=processors)
    processes = f"{n} worker process{'' if n == 1 else 'es'}"
    if workers is not None:
        return Choice(None, n, f"{processes}, as asked", start)
    if seconds is None:
        return Choice(None, n, f"{processes}: nobody knows how long the work takes", start)
    work = f"about {seconds:.1f} s of work"
    if seconds >= start:
        return Choice(None, n, f"{processes}: {work}, more than the {start:.1f} s that they take to start", start)
    # the libraries may be there already, and whatever else a notebook holds
    peak = max(resident_memory(), BASE_MEMORY) + memory - BASE_MEMORY
    if peak > max_memory:
        held = f"this one would come to {peak // MIB} MiB, more than the {max_memory // MIB} MiB it may have"
        return Choice(None, n, f"{processes}: {work}, but {held}", start)
    return Choice(None, 0, f"in this process: {work}, less than the {start:.1f} s that worker processes take to start")
