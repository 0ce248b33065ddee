"""Clusters: local worker processes, or the workers of a running scheduler, checked before work starts."""

from __future__ import annotations

import ipaddress
import logging
import multiprocessing
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from mrdist._kernels.apart import compiled_apart
from mrdist.errors import ExecutionError
from mrdist.events import emit
from mrdist.execution._choice import choose
from mrdist.execution._executor import Executor
from mrdist.execution._failures import failure
from mrdist.execution._forking import MALLOC, begin_server, start_method
from mrdist.execution._inherited import check_not_inherited, note_use
from mrdist.execution._scheduler import Contact, Scheduler, connect, contact_of, dashboard_of
from mrdist.execution._settings import main_left_alone, overlapping, quiet
from mrdist.planning import BASE_MEMORY

if TYPE_CHECKING:
    from distributed import Client

logger = logging.getLogger("mrdist")

_USABLE_MEMORY = 0.95
"""Share of a worker's memory limit at which its nanny stops it by default."""
_RULES = {
    "distributed.worker.preload": ["mrdist._worker"],
    "distributed.worker.memory.target": False,  # spilling cannot help arrays that live inside a task
    "distributed.worker.memory.spill": False,
    "distributed.worker.memory.pause": False,
    "distributed.worker.memory.terminate": 1.2,
    "distributed.scheduler.allowed-failures": 2,
    "distributed.deploy.lost-worker-timeout": "30s",  # until one that does not come back is replaced
    "distributed.worker.profile.enabled": False,  # it would stop the block a hundred times a second
    **{f"distributed.nanny.pre-spawn-environ.{name}": value for name, value in MALLOC.items()},
}
_PAGES: dict[str, list[str]] = {"distributed.scheduler.http.routes": [], "distributed.worker.http.routes": []}
"""Dask's HTTP servers cannot be switched off, but they need not answer."""


def reach(workers: int | None, scheduler: Scheduler | None, max_memory: int) -> tuple[int, int | None]:
    """Make sure that the requested workers are available, before anything is written or removed.

    Parameters
    ----------
    workers, scheduler
        As in `open_executor`.
    max_memory
        Requested limit on the resident bytes of a worker process.

    Returns
    -------
    max_memory : int
        The limit to plan for: the request, or less if the scheduler's workers have less.
    n_slots : int or None
        Tasks that the scheduler's workers run at once; None without a scheduler, and where it has no workers yet.

    Raises
    ------
    ParameterError
        If ``workers`` is negative or given together with ``scheduler``, or that is no scheduler.
    ExecutionError
        If the scheduler cannot be reached, or it or a worker has other versions of packages, or this process may start
        no workers.
    """
    contact = contact_of(workers, scheduler)
    if contact is None:
        if workers != 0:
            _check_may_start()
        return max_memory, None
    with quiet(), connect(contact) as client:
        if contact.is_given:
            _warn_if_open(contact.address)
        _check_versions(client, contact.address)
        n_slots = sum(client.nthreads().values())
        return _memory_of(client, contact.address, max_memory), n_slots or None


@contextmanager
def open_executor(
    *,
    workers: int | None = None,
    scheduler: Scheduler | None = None,
    n_tasks: int,
    max_memory: int,
    prepare: Callable[[], None] | None = None,
    seconds: float | None = None,
    memory: int = BASE_MEMORY,
    module: str | None = None,
) -> Iterator[Executor]:
    """Yield an executor for the tasks, and close it afterwards.

    Parameters
    ----------
    workers
        Worker processes of a local cluster; 0 runs in this process; None means one per processor, or this process if
        they would take longer to start than the tasks take here.
    scheduler
        A running Dask scheduler to use instead: its address, a client or a cluster, which stay open and as they are. It
        may have no workers yet. If neither is given, that of the current client is used; inside a task, its own.
    n_tasks
        Number of tasks to come: no more local workers than that are started.
    max_memory
        Limit on the resident bytes of a worker process.
    prepare
        Loads what the tasks need. Called in this process while local workers start, so that what it leaves on disk
        is made once, and then in every worker, also in those that join later.
    seconds, memory
        What the tasks take in one process, and the peak of resident bytes that is planned for it, see
        `mrdist.execution._choice.choose`.
    module
        The module of the tasks, which local workers have imported when they start.

    Raises
    ------
    ParameterError
        If ``workers`` is negative or given together with ``scheduler``, or that is no scheduler.
    ExecutionError
        If the scheduler cannot be reached, or this process may start no workers.
    """
    choice = choose(workers, scheduler, n_tasks=n_tasks, max_memory=max_memory, seconds=seconds, memory=memory)
    contact, where = choice.contact, choice.where
    logger.debug("working %s", where)
    emit("workers", workers=choice.workers, where=where)
    began = time.perf_counter()
    if choice.workers:
        begin_server(prepare, *([] if module is None else [module]))
    if choice.workers == 0:
        with compiled_apart():
            if prepare is not None:
                prepare()
            yield Executor(None, "", None, 0.0, time.perf_counter() - began, 0, where)
        return
    with ExitStack() as stack:
        prepared: Future[None] | None = None
        if contact is None:
            assert choice.workers is not None
            prepared = _begun(prepare) if prepare is not None else None
            client = stack.enter_context(_local(choice.workers, max_memory))
            contact = Contact(client.scheduler.address)
        else:
            stack.enter_context(quiet())
            stack.enter_context(_slot_left(contact))
            client = stack.enter_context(connect(contact))
            contact = replace(contact, dashboard=contact.dashboard or dashboard_of(client))
        ready = time.perf_counter()
        if prepared is not None:
            prepared.result()
        if prepare is not None:
            stack.enter_context(_warmed(client, prepare, wait=choice.contact is not None))
        prepare_seconds = time.perf_counter() - ready
        start_seconds = ready - began
        yield Executor(
            client, contact.address, contact.dashboard, start_seconds, prepare_seconds, choice.workers, where
        )


def _begun(prepare: Callable[[], None]) -> Future[None]:
    """Prepare in a thread, while workers start; it does not outlive the process."""
    import distributed  # noqa: F401 (at once: two threads that import may see each other's half-made modules)

    future = Future[None]()

    def run() -> None:
        try:
            prepare()
        except BaseException as error:
            future.set_exception(error)
        else:
            future.set_result(None)

    threading.Thread(target=run, name="prepare", daemon=True).start()
    return future


@contextmanager
def _slot_left(contact: Contact) -> Iterator[None]:
    """Inside a task of the scheduler, leave its slot to the tasks that it waits for, as `Future.result` does."""
    from distributed import get_worker, rejoin, secede
    from distributed.threadpoolexecutor import thread_state

    inside = False
    with suppress(ValueError):  # no worker
        inside = getattr(thread_state, "proceed", False) and get_worker().scheduler.address == contact.address
    if not inside:
        yield
        return
    secede()
    try:
        yield
    finally:
        rejoin()


@contextmanager
def _warmed(client: Client, prepare: Callable[[], None], *, wait: bool) -> Iterator[None]:
    """Prepare all present and future workers; drivers with the same needs share a plugin name.

    Workers of this machine find on its disk what this process has left there. A task that comes before the plugin loads
    it, and need not ``wait``.
    """
    from mrdist.execution._worker import WarmUp

    name = f"{prepare.__module__}.{prepare.__qualname__}"
    registered = _begun(lambda: client.register_plugin(WarmUp(prepare), name=name))
    try:
        if wait:
            _registered(registered)
        yield
        _registered(registered)
    finally:
        if client.status == "running":
            with suppress(ValueError, OSError):  # another driver has been there first, or the scheduler is lost
                client.unregister_worker_plugin(name)


def _registered(registered: Future[None]) -> None:
    try:
        registered.result()
    except Exception as error:
        raise failure(error, "warming up a worker") from error


@overlapping
@contextmanager
def _rules() -> Iterator[None]:
    import dask

    with dask.config.set({**_RULES, **_PAGES, "distributed.worker.multiprocessing-method": start_method()}):
        yield


@contextmanager
def _local(n_workers: int, max_memory: int) -> Iterator[Client]:
    """Start workers that only this process may speak to.

    Whoever speaks to a scheduler can run code there, and every user of the machine reaches loopback: all connections
    are encrypted by a certificate that lives in the memory of these processes. There is no dashboard, as its pages
    know no password.
    """
    from distributed import Client, LocalCluster
    from distributed.security import Security

    note_use()
    with (
        _rules(),
        quiet(),
        main_left_alone(),
        LocalCluster(
            n_workers=n_workers,
            threads_per_worker=1,
            processes=True,
            security=Security.temporary(),
            host="127.0.0.1",
            dashboard_address="127.0.0.1:0",
            scheduler_kwargs={"dashboard": False},
            memory_limit=max_memory,
            silence_logs=logging.CRITICAL,
        ) as cluster,
        Client(cluster, set_as_default=False) as client,
    ):
        yield client


def _check_may_start() -> None:
    """Raise ExecutionError if Python or Dask lets this process start no others."""
    check_not_inherited()
    process = multiprocessing.current_process()
    if process.daemon:
        raise ExecutionError(
            f"{process.name} is a daemon, which may start no worker processes; give workers=0 or a scheduler, or use "
            "concurrent.futures instead of multiprocessing.Pool."
        )
    if getattr(process, "_inheriting", False):
        raise ExecutionError(
            f"{process.name} has just been started and imports the script that started it, which trains at once; put "
            'what the script does under `if __name__ == "__main__":`.'
        )


def _warn_if_open(address: str) -> None:
    """Warn of a scheduler that accepts anyone on the network."""
    parts = urlsplit(address if "://" in address else f"tcp://{address}")
    if parts.scheme != "tcp" or parts.hostname == "localhost":
        return
    with suppress(ValueError):
        if ipaddress.ip_address(parts.hostname or "").is_loopback:
            return
    warnings.warn(
        f"{address} is not encrypted and lets anyone who reaches its port run code; use tls:// outside a trusted "
        "network.",
        stacklevel=3,
    )


def _check_versions(client: Client, address: str) -> None:
    from mrdist.execution._worker import PACKAGES, difference, own_versions

    ours = own_versions()
    pickled = {name: ours[name] for name in ("python", "dask", "distributed")}
    reported = client.get_versions(packages=list(PACKAGES))
    for who, wanted, theirs in [
        ("the scheduler at {}", pickled, reported["scheduler"]),
        *((f"worker {worker} of {{}}", ours, theirs) for worker, theirs in reported["workers"].items()),
    ]:
        packages = dict(theirs["packages"])
        packages["python"] = ".".join(str(packages["python"]).split(".")[:2])
        if not packages.get("mrdist"):
            raise ExecutionError(
                f"{who.format(address)} has no mrdist; install mrdist {ours['mrdist']} wherever the scheduler and its "
                "workers run."
            )
        if any(packages.get(name) != version for name, version in wanted.items()):
            raise ExecutionError(
                f"{who.format(address)} has {difference(wanted, packages)}; install the same packages wherever the "
                "scheduler and its workers run: the weights depend on them."
            )


def _memory_of(client: Client, address: str, max_memory: int) -> int:
    """Return the memory that a task may take in every worker, and report on the workers."""
    workers = client.scheduler_info(n_workers=-1)["workers"].values()
    unlimited = max((worker["nthreads"] for worker in workers if not worker["memory_limit"]), default=1)
    if unlimited > 1:
        warnings.warn(
            f"a worker of {address} runs {unlimited} blocks at once in one process without a limit of memory, which "
            f"takes {unlimited} times the planned memory; start workers with --nthreads 1 or a --memory-limit.",
            stacklevel=4,
        )
    limits = [worker["memory_limit"] // worker["nthreads"] for worker in workers if worker["memory_limit"]]
    if not limits or _USABLE_MEMORY * min(limits) >= max_memory:
        return max_memory
    least = int(_USABLE_MEMORY * min(limits))
    logger.info(
        "workers of %s have %d MiB for a block: planned for %d MiB instead of the %d MiB of --max-memory",
        address,
        min(limits) >> 20,
        least >> 20,
        max_memory >> 20,
    )
    return least
