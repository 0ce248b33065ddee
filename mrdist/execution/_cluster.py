"""Clusters: local worker processes, or the workers of a running scheduler, checked before work starts."""

from __future__ import annotations

import ipaddress
import logging
import os
import socket
import ssl
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from mrdist.errors import ExecutionError, ParameterError
from mrdist.execution._executor import Executor
from mrdist.execution._failures import failure
from mrdist.execution._process import n_processors

if TYPE_CHECKING:
    from distributed import Client

logger = logging.getLogger("mrdist")

_CONNECT_SECONDS = 10
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
    # Dask makes workers hand freed memory back at once; chunks that are read then cost a page fault for every page.
    "distributed.nanny.pre-spawn-environ.MALLOC_TRIM_THRESHOLD_": 256 << 20,
    "distributed.nanny.pre-spawn-environ.MALLOC_MMAP_THRESHOLD_": 256 << 20,
}


def reach(workers: int | None, scheduler: str | None, max_memory: int) -> tuple[int, int | None]:
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
        If ``workers`` is negative or given together with ``scheduler``.
    ExecutionError
        If the scheduler cannot be reached, or it or a worker has other versions of packages.
    """
    check_choice(workers, scheduler)
    if scheduler is None:
        return max_memory, None
    with _quiet(), _connect(scheduler) as client:
        _warn_if_open(scheduler)
        _check_versions(client, scheduler)
        n_slots = sum(client.nthreads().values())
        return _memory_of(client, scheduler, max_memory), n_slots or None


def use_tls(ca_file: str | None, cert_file: str | None, key_file: str | None) -> None:
    """Use these certificates for ``tls://`` schedulers, here and in processes that this one starts.

    Where one is None, Dask's configuration applies.

    Parameters
    ----------
    ca_file
        Trusted certificates.
    cert_file, key_file
        Our own certificate, and its key.
    """
    import dask

    for name, file in {"ca-file": ca_file, "client.cert": cert_file, "client.key": key_file}.items():
        if file is not None:
            setting = f"distributed.comm.tls.{name}"
            dask.config.set({setting: file})
            variable = setting.upper().replace(".", "__").replace("-", "_")
            os.environ[f"DASK_{variable}"] = str(Path(file).absolute())


@contextmanager
def open_executor(
    *,
    workers: int | None = None,
    scheduler: str | None = None,
    n_tasks: int,
    max_memory: int,
    prepare: Callable[[], None] | None = None,
) -> Iterator[Executor]:
    """Yield an executor for the tasks, and close it afterwards.

    Parameters
    ----------
    workers
        Worker processes of a local cluster; 0 runs in this process; None means one per processor.
    scheduler
        Address of a running Dask scheduler to use instead. It may have no workers yet.
    n_tasks
        Number of tasks to come: no more local workers than that are started.
    max_memory
        Limit on the resident bytes of a worker process.
    prepare
        Loads what the tasks need. Called in this process before local workers start, so that what it leaves on disk
        is made once, and then in every worker, also in those that join later.

    Raises
    ------
    ParameterError
        If ``workers`` is negative or given together with ``scheduler``.
    ExecutionError
        If the scheduler cannot be reached.
    """
    check_choice(workers, scheduler)
    began = time.perf_counter()
    if scheduler is None and prepare is not None:
        prepare()
    started = time.perf_counter()
    prepare_seconds = started - began
    if workers == 0:
        yield Executor(None, "", None, 0.0, prepare_seconds)
        return
    with ExitStack() as stack:
        if scheduler is None:
            client = stack.enter_context(_local(max(1, min(workers or n_processors(), n_tasks)), max_memory))
        else:
            stack.enter_context(_quiet())
            client = stack.enter_context(_connect(scheduler))
        ready = time.perf_counter()
        if prepare is not None:
            stack.enter_context(_warmed(client, prepare))
        prepare_seconds += time.perf_counter() - ready
        address = scheduler or client.scheduler.address
        yield Executor(client, address, client.dashboard_link, ready - started, prepare_seconds)


def check_choice(workers: int | None, scheduler: str | None = None) -> None:
    """Raise ParameterError if ``workers`` is negative or given together with ``scheduler``."""
    if workers is not None and scheduler is not None:
        raise ParameterError(f"give either workers ({workers}) or a scheduler ({scheduler}), not both.")
    if workers is not None and workers < 0:
        raise ParameterError(f"workers must be 0 (this process) or more, got {workers}.")


@contextmanager
def _warmed(client: Client, prepare: Callable[[], None]) -> Iterator[None]:
    """Prepare all present and future workers; drivers with the same needs share a plugin name."""
    from mrdist.execution._worker import WarmUp

    name = f"{prepare.__module__}.{prepare.__qualname__}"
    try:
        client.register_plugin(WarmUp(prepare), name=name)
    except Exception as error:
        raise failure(error, "warming up a worker") from error
    try:
        yield
    finally:
        if client.status == "running":
            with suppress(ValueError, OSError):  # another driver has been there first, or the scheduler is lost
                client.unregister_worker_plugin(name)


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
    """Silence Dask's own reports of lost connections: mrdist raises one sentence instead."""
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

    Python imports ``__main__`` in every process it starts, so a script without the usual guard would run once more in
    every worker. Tasks need only mrdist, not the script.
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
def _connect(address: str) -> Iterator[Client]:
    from distributed import Client
    from distributed.versions import VersionMismatchWarning

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", VersionMismatchWarning)  # see _check_versions
            client = Client(address, timeout=_CONNECT_SECONDS)
    except (OSError, ValueError, TypeError, RuntimeError) as error:
        raise _unreachable(address, error) from error
    with client:
        yield client


def _unreachable(address: str, error: BaseException) -> ExecutionError:
    distrust = _distrust(address, error)
    if distrust is not None:
        return ExecutionError(
            f"the scheduler at {address} and this process do not trust each other ({distrust}); give the "
            "certificates that it was started with: --tls-ca, --tls-cert and --tls-key, or "
            "distributed.comm.tls in Dask's configuration."
        )
    return ExecutionError(
        f"no Dask scheduler answers at {address} within {_CONNECT_SECONDS} s; check the address or start one with "
        "`dask scheduler`."
    )


def _distrust(address: str, error: BaseException) -> BaseException | None:
    """Return what is wrong with a certificate, ours or the scheduler's, None if the error has another cause."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ssl.SSLError | FileNotFoundError) or "ssl_context" in str(cause):
            return cause
        cause = cause.__cause__ or cause.__context__
    return _refusal(address) if address.startswith("tls://") else None


def _refusal(address: str) -> ssl.SSLError | None:
    """Return why a scheduler refuses our certificate, None if it does not.

    The refusal arrives after our side of the handshake is over. Dask has already sent data by then and loses the
    reason, so this connection only listens.
    """
    from distributed.security import Security

    context = Security().get_connection_args("client")["ssl_context"]
    try:
        parts = urlsplit(address)
        with (
            socket.create_connection((parts.hostname, parts.port), _CONNECT_SECONDS) as plain,
            context.wrap_socket(plain, server_hostname=parts.hostname) as secure,
        ):
            secure.recv(1)
    except ssl.SSLError as refusal:
        return refusal
    except (OSError, ValueError):  # nobody there, or no such address
        return None
    return None


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
    workers = client.scheduler_info(n_workers=-1)["workers"]
    threads = max((worker["nthreads"] for worker in workers.values()), default=1)
    if threads > 1:
        warnings.warn(
            f"a worker of {address} runs {threads} blocks at once in one process, which takes {threads} times the "
            "planned memory; start workers with --nthreads 1.",
            stacklevel=4,
        )
    limits = [worker["memory_limit"] // worker["nthreads"] for worker in workers.values() if worker["memory_limit"]]
    if not limits or _USABLE_MEMORY * min(limits) >= max_memory:
        return max_memory
    least = int(_USABLE_MEMORY * min(limits))
    logger.info(
        "Dask stops a worker of %s at %d MiB: planned for %d MiB instead of the %d MiB of --max-memory",
        address,
        min(limits) >> 20,
        least >> 20,
        max_memory >> 20,
    )
    return least
