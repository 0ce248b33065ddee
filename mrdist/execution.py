"""Run tasks in this process, on a local cluster or on any Dask scheduler: the only room that knows Dask."""

from __future__ import annotations

import gc
import logging
import os
import sys
import time
import uuid
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from tqdm.std import tqdm

from mrdist.errors import ExecutionError, MrdistError, ParameterError

if TYPE_CHECKING:
    from distributed import Client

Item = TypeVar("Item")
Result = TypeVar("Result")

_LOST = "the scheduler was lost; start it again and repeat the command: what is finished is kept."
_TASKS_PER_SLOT = 3
_CONNECT_SECONDS = 10
_WORKER_SECONDS = 60
_RULES = {
    "distributed.worker.preload": ["mrdist._worker"],
    "distributed.worker.memory.target": False,  # spilling cannot help arrays that live inside a task
    "distributed.worker.memory.spill": False,
    "distributed.worker.memory.pause": False,
    "distributed.worker.memory.terminate": 1.2,
    "distributed.scheduler.allowed-failures": 10,
    "distributed.worker.profile.enabled": False,  # it would stop the block a hundred times a second
    # Dask makes workers hand freed memory back at once; chunks that are read then cost a page fault for every page.
    "distributed.nanny.pre-spawn-environ.MALLOC_TRIM_THRESHOLD_": 256 << 20,
    "distributed.nanny.pre-spawn-environ.MALLOC_MMAP_THRESHOLD_": 256 << 20,
}


@dataclass(frozen=True)
class Executor:
    """Runs functions of one argument, at most a few per slot at a time.

    Attributes
    ----------
    n_slots
        Tasks that run at once.
    dashboard
        Link to Dask's dashboard, if there is one.
    start_seconds
        Time that it took to have the workers ready.
    """

    client: Client | None
    n_slots: int
    dashboard: str | None
    start_seconds: float

    def run(
        self,
        function: Callable[..., Result],
        items: Sequence[Item],
        *shared: Any,
        name: str,
        describe: Callable[[Item], str] = str,
    ) -> Iterator[tuple[Item, Result]]:
        """Yield every item with its result, in the order in which they finish.

        Parameters
        ----------
        function
            Called with one item and what is shared; must be importable by the workers and repeatable, since the item
            of a lost worker runs again.
        items
            What to do.
        shared
            What all calls need besides, such as a table; it goes to a worker once.
        name
            Of the kind of task, for the dashboard.
        describe
            Names an item in error messages.

        Raises
        ------
        MrdistError
            What ``function`` raised.
        ExecutionError
            If an item kills worker after worker, or the scheduler is lost.
        """
        if self.client is None:
            for item in items:
                try:
                    result = function(item, *shared)
                except MrdistError:
                    raise
                except OSError as error:
                    raise _failure(error, describe(item)) from error
                yield item, result
            return
        yield from self._run_on_cluster(self.client, function, items, shared, name, describe)

    def _run_on_cluster(
        self,
        client: Client,
        function: Callable[..., Result],
        items: Sequence[Item],
        shared: tuple[Any, ...],
        name: str,
        describe: Callable[[Item], str],
    ) -> Iterator[tuple[Item, Result]]:
        from distributed import as_completed

        run = uuid.uuid4().hex[:8]
        waiting = iter(enumerate(items))
        running: dict[str, Item] = {}
        finished = as_completed()
        # futures of tasks and not scattered data, which would be lost with the worker that holds it
        common = [
            client.submit(_hold, value, key=f"{name}-{run}-shared-{n}", pure=False) for n, value in enumerate(shared)
        ]

        def submit() -> None:
            for number, item in waiting:
                future = client.submit(function, item, *common, key=f"{name}-{run}-{number}", pure=False)
                running[future.key] = item
                finished.add(future)
                return

        try:
            for _ in range(_TASKS_PER_SLOT * self.n_slots):
                submit()
            for future in finished:
                item = running.pop(future.key)
                if future.status in ("cancelled", "lost"):
                    raise ExecutionError(_LOST)
                if future.status == "error":
                    raise _failure(future.exception(), describe(item))
                result = future.result()
                future.release()
                yield item, result
                submit()
        except (OSError, TimeoutError) as error:
            if isinstance(error, MrdistError):
                raise
            raise ExecutionError(_LOST) from error
        finally:
            if running:
                client.cancel(list(running), force=True)


def _hold(value: Item) -> Item:
    return value


def _failure(error: Exception, what: str) -> MrdistError:
    """Return what to raise for a task that failed."""
    from distributed.scheduler import KilledWorker

    if isinstance(error, MrdistError):
        return error
    if isinstance(error, KilledWorker):
        return ExecutionError(
            f"every worker that tried {what} was killed; give the workers more memory, lower --max-memory or choose a "
            "smaller --block."
        )
    failure = ExecutionError(
        f"{what} failed with {type(error).__name__} ({error}); mend that and repeat the command: what is finished is "
        "kept."
    )
    failure.__cause__ = error
    return failure


@contextmanager
def open_executor(
    *,
    workers: int | None = None,
    scheduler: str | None = None,
    n_tasks: int,
    max_memory: int,
    prepare: Callable[[], None] | None = None,
) -> Iterator[Executor]:
    """Provide what runs the tasks, and take it down again.

    Parameters
    ----------
    workers
        Worker processes of a local cluster; 0 runs in this process; None means one per processor.
    scheduler
        Address of a running Dask scheduler to use instead.
    n_tasks
        Number of tasks to come: no more workers than that are started.
    max_memory
        Limit on the resident bytes of a worker process.
    prepare
        Loads what the tasks need. Called in this process before local workers start, so that what it leaves on disk
        is made once, and then in every worker.

    Raises
    ------
    ParameterError
        If ``workers`` is negative or given together with ``scheduler``.
    ExecutionError
        If the scheduler cannot be reached or has no workers.
    """
    if workers is not None and scheduler is not None:
        raise ParameterError(f"give either workers ({workers}) or a scheduler ({scheduler}), not both.")
    if workers is not None and workers < 0:
        raise ParameterError(f"workers must be 0 (this process) or more, got {workers}.")
    started = time.perf_counter()
    if scheduler is not None:
        with _quiet(), _remote(scheduler) as client:
            if prepare is not None:
                client.run(_prepare_worker, prepare)
            n_slots = sum(client.nthreads().values())
            yield Executor(client, n_slots, client.dashboard_link, time.perf_counter() - started)
        return
    if prepare is not None:
        prepare()
    if workers == 0:
        yield Executor(None, 1, None, time.perf_counter() - started)
        return
    n_workers = max(1, min(workers or n_processors(), n_tasks))
    with _local(n_workers, max_memory) as client:
        if prepare is not None:
            client.run(_prepare_worker, prepare)
        yield Executor(client, n_workers, client.dashboard_link, time.perf_counter() - started)


def _prepare_worker(prepare: Callable[[], None]) -> None:
    prepare()
    gc.freeze()  # spares every later collection a look at the libraries' hundreds of thousands of objects


def n_processors() -> int:
    """Return the processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@contextmanager
def _local(n_workers: int, max_memory: int) -> Iterator[Client]:
    import dask
    from distributed import Client, LocalCluster

    with (
        dask.config.set(_RULES),
        _quiet(),
        _main_left_alone(),
        LocalCluster(
            n_workers=n_workers,
            threads_per_worker=1,
            processes=True,
            host="127.0.0.1",
            dashboard_address="127.0.0.1:0",
            memory_limit=max_memory,
            silence_logs=logging.CRITICAL,
        ) as cluster,
        Client(cluster) as client,
    ):
        yield client


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep Dask's own reports of lost connections back: what matters of them is raised as one sentence."""
    import distributed  # noqa: F401  (creates the loggers)

    loggers = [logging.getLogger(name) for name in logging.root.manager.loggerDict if name.startswith("distributed")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.CRITICAL + 1)
    try:
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


@contextmanager
def _main_left_alone() -> Iterator[None]:
    """Keep new worker processes from importing the user's script.

    Python starts a process by importing ``__main__`` in it, which would run a script without the usual guard once
    more in every worker. Tasks need only mrdist, so there is nothing in it for them.
    """
    main = sys.modules["__main__"]
    hidden: dict[str, Any] = {
        name: main.__dict__.pop(name) for name in ("__file__", "__spec__") if name in main.__dict__
    }
    main.__spec__ = None
    try:
        yield
    finally:
        main.__dict__.update(hidden)


@contextmanager
def _remote(address: str) -> Iterator[Client]:
    from distributed import Client

    if address.startswith("tcp://") and not address.startswith(("tcp://127.", "tcp://localhost", "tcp://[::1]")):
        warnings.warn(
            f"{address} is not encrypted and lets anyone who reaches its port run code; use tls:// outside a "
            "trusted network.",
            stacklevel=3,
        )
    try:
        client = Client(address, timeout=_CONNECT_SECONDS)
    except (OSError, ValueError) as error:
        raise ExecutionError(
            f"no Dask scheduler answers at {address} within {_CONNECT_SECONDS} s; check the address or start one "
            "with `dask scheduler`."
        ) from error
    with client:
        try:
            client.wait_for_workers(1, timeout=_WORKER_SECONDS)
        except TimeoutError as error:
            raise ExecutionError(
                f"the scheduler at {address} has had no worker for {_WORKER_SECONDS} s; start some with "
                f"`dask worker {address} --nthreads 1`."
            ) from error
        threads = max(client.nthreads().values())
        if threads > 1:
            warnings.warn(
                f"a worker of {address} runs {threads} blocks at once in one process, which takes {threads} times the "
                "planned memory; start workers with --nthreads 1.",
                stacklevel=3,
            )
        yield client


@contextmanager
def progress_bar(total: int, done: int, unit: str, *, show: bool | None) -> Iterator[Callable[[int, str], None]]:
    """Show a progress bar on stderr, which works in a terminal and in a notebook alike.

    Parameters
    ----------
    total, done
        Steps altogether, and those that were done before.
    unit
        What a step is.
    show
        True or False; None shows it to people only.

    Yields
    ------
    callable
        Takes the number of steps just done and a remark to show.
    """
    if show is None:
        show = sys.stderr.isatty() or "ipykernel" in sys.modules
    with tqdm(total=total, initial=done, unit=unit, disable=not show, dynamic_ncols=True, leave=True) as bar:

        def advance(steps: int, remark: str) -> None:
            bar.set_postfix_str(remark, refresh=False)
            bar.update(steps)

        yield advance


def peak_memory() -> int:
    """Return the largest number of resident bytes that this process has had."""
    status = Path("/proc/self/status")
    if status.exists():  # ru_maxrss would count the parent's memory, inherited when the process was started
        for line in status.read_text().splitlines():
            if line.startswith("VmHWM"):
                return int(line.split()[1]) * 1024
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
