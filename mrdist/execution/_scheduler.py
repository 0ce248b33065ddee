"""The scheduler that a caller names: an address, a client, a cluster, or the client that is current."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import socket
import ssl
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias, Union
from urllib.parse import urlsplit
from weakref import WeakSet

from mrdist.errors import ExecutionError, ParameterError
from mrdist.execution._inherited import check_answers, note_use
from mrdist.execution._settings import versions_unwarned

if TYPE_CHECKING:
    from distributed import Client
    from distributed.security import Security

logger = logging.getLogger("mrdist")

CONNECT_SECONDS = 10
_POLL_SECONDS = 0.05
_ENDED = ("closed", "closing", "failed")
_NOWHERE = "<Not Connected>"
"""Address of a cluster of Dask's without a scheduler."""


class Cluster(Protocol):
    """A cluster object, such as ``LocalCluster``, ``SLURMCluster`` or ``GatewayCluster``."""

    @property
    def scheduler_address(self) -> str:
        """Of its scheduler."""


Scheduler: TypeAlias = Union[str, "Client", Cluster]
"""What a caller may name: an address, a client or a cluster of Dask's."""


@dataclass(frozen=True)
class Contact:
    """How a scheduler is reached: a connection of our own leaves a client that was given as it is.

    Attributes
    ----------
    address
        Of the scheduler.
    security
        Its certificates; None where Dask's configuration has them.
    dashboard
        Link to its dashboard, where the client or cluster that was given knows it.
    role
        What the connection is to the scheduler: that from inside a task has the certificates of its worker.
    is_given
        Whether the caller named the address itself.
    """

    address: str
    security: Security | None = None
    dashboard: str | None = None
    role: str = "client"
    is_given: bool = False


def check_choice(workers: int | None, scheduler: Scheduler | None = None) -> None:
    """Raise ParameterError if ``workers`` is negative or given together with ``scheduler``, or that is none."""
    if (
        scheduler is not None
        and not isinstance(scheduler, str)
        and not (_is_client(scheduler) or _is_cluster(scheduler))
    ):
        raise ParameterError(
            f"scheduler must be an address, a distributed.Client or a cluster of Dask's, got {scheduler!r:.60}."
        )
    if workers is not None and scheduler is not None:
        named = scheduler if isinstance(scheduler, str) else f"a {type(scheduler).__name__}"
        raise ParameterError(f"give either workers ({workers}) or a scheduler ({named}), not both.")
    if workers is not None and workers < 0:
        raise ParameterError(f"workers must be 0 (this process) or more, got {workers}.")


def contact_of(workers: int | None, scheduler: Scheduler | None) -> Contact | None:
    """Return how to reach the scheduler to use; None for workers of our own.

    Where nobody says who works, it is the cluster whose worker this is, or that of the client that is current.

    Raises
    ------
    ParameterError
        If ``workers`` is negative or given together with ``scheduler``, or the client or cluster is asynchronous and
        runs in the event loop of the calling thread.
    ExecutionError
        If the client or cluster is not running.
    """
    check_choice(workers, scheduler)
    if scheduler is None:
        return None if workers is not None else _current()
    if isinstance(scheduler, str):
        return Contact(scheduler, is_given=True)
    return _contact_with(scheduler)


def _is_client(value: object) -> bool:
    if "distributed" not in sys.modules:  # then nobody has one
        return False
    from distributed import Client

    return isinstance(value, Client)


def _is_cluster(value: object) -> bool:
    return isinstance(getattr(value, "scheduler_address", None), str)


_told: WeakSet[Any] = WeakSet()


def _current() -> Contact | None:
    """Return what `distributed.get_client` would use."""
    if "distributed" not in sys.modules:
        return None
    from distributed import Client, get_worker

    try:
        worker = get_worker()
    except ValueError:
        pass
    else:
        _check_loop(worker, "a coroutine of a worker")
        return Contact(worker.scheduler.address, worker.security, role="worker")
    try:
        client = Client.current()
    except ValueError:
        return None
    contact = _contact_with(client)
    if client not in _told:
        _told.add(client)
        logger.info("working on the cluster of the current Dask client, %s", contact.address)
    return contact


def _contact_with(scheduler: Any) -> Contact:
    """Return how to reach the scheduler of a client or of a cluster."""
    kind = type(scheduler).__name__
    _check_loop(scheduler, f"an asynchronous {kind}")
    if _is_cluster(scheduler):
        address, cluster = scheduler.scheduler_address, scheduler
    else:
        address = scheduler.scheduler.address if scheduler.scheduler else _NOWHERE
        cluster = scheduler.cluster
    status = getattr(scheduler, "status", None)
    if status in _ENDED or getattr(status, "name", "") in _ENDED or address == _NOWHERE:
        raise ExecutionError(f"the {kind} given as scheduler is not running; open another one.")
    if hasattr(scheduler, "loop"):
        check_answers(scheduler, CONNECT_SECONDS)
    return Contact(address, getattr(scheduler, "security", None), dashboard_of(cluster))


def dashboard_of(scheduler: Any) -> str | None:
    """Return the link to the dashboard that a client or a cluster gives; None stands for none of them."""
    try:
        return getattr(scheduler, "dashboard_link", None) or None
    except KeyError:  # Dask's configuration makes it of an environment variable that is not set here
        return None


def _check_loop(owner: Any, what: str) -> None:
    """Raise ParameterError if waiting here would stop the event loop that the scheduler's side runs in."""
    try:
        here = asyncio.get_running_loop()
    except RuntimeError:
        return
    if getattr(getattr(owner, "loop", None), "asyncio_loop", None) is here:
        raise ParameterError(
            f"{what} runs in the event loop that this call would stop; "
            "await asyncio.to_thread(function, ...) instead of calling the function here."
        )


def address_in(file: str | PathLike[str]) -> str:
    """Return the address in a scheduler file, as ``dask scheduler --scheduler-file`` and dask-mpi write it.

    A file that is not there yet is waited for, as Dask's own tools do.

    Raises
    ------
    ExecutionError
        If it does not appear, or holds no address.
    """
    path, end = Path(file), time.monotonic() + CONNECT_SECONDS
    while True:
        try:
            address = json.loads(path.read_bytes())["address"]
        except FileNotFoundError:
            problem = f"there is no scheduler file {path} after {CONNECT_SECONDS} s"
        except OSError as error:
            raise ExecutionError(
                f"scheduler file {path} cannot be read ({error.strerror}); give the file that "
                "`dask scheduler --scheduler-file` writes."
            ) from error
        except (ValueError, KeyError, TypeError):  # or half written
            problem = f"{path} is no scheduler file: it holds no address"
        else:
            if isinstance(address, str):
                return address
            problem = f"{path} is no scheduler file: its address is {address!r:.40}"
        if time.monotonic() > end:
            raise ExecutionError(f"{problem}; give the file that `dask scheduler --scheduler-file` writes.")
        time.sleep(_POLL_SECONDS)


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
def connect(contact: Contact) -> Iterator[Client]:
    """Yield a client of our own, which is not current, and close it afterwards.

    Raises
    ------
    ExecutionError
        If no scheduler answers, or it and this process do not trust each other, or this process cannot use Dask.
    """
    from distributed import Client

    class OwnClient(Client):  # type: ignore[misc]
        """Closes itself if it cannot start.

        Dask leaves that to the garbage collector. It may come while the next client starts, and then both wait for each
        other without end (distributed 2026.8).
        """

        def start(self, **options: Any) -> None:
            try:
                super().start(**options)
            except BaseException:
                self.close()
                raise

    note_use()
    try:
        with versions_unwarned():
            client = OwnClient(
                contact.address,
                security=contact.security,
                timeout=CONNECT_SECONDS,
                set_as_default=False,
                name="worker" if contact.role == "worker" else None,  # which certificates Dask takes goes by it
            )
    except (OSError, ValueError, TypeError, RuntimeError) as error:
        raise _unreachable(contact, error) from error
    with client:
        yield client


def _unreachable(contact: Contact, error: BaseException) -> ExecutionError:
    distrust = _distrust(contact, error)
    if distrust is not None:
        return ExecutionError(
            f"the scheduler at {contact.address} and this process do not trust each other ({distrust}); give the "
            "certificates that it was started with: --tls-ca, --tls-cert and --tls-key, or "
            "distributed.comm.tls in Dask's configuration."
        )
    return ExecutionError(
        f"no Dask scheduler answers at {contact.address} within {CONNECT_SECONDS} s; check the address or start one "
        "with `dask scheduler`."
    )


def _distrust(contact: Contact, error: BaseException) -> BaseException | None:
    """Return what is wrong with a certificate, ours or the scheduler's, None if the error has another cause."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ssl.SSLError | FileNotFoundError) or "ssl_context" in str(cause):
            return cause
        cause = cause.__cause__ or cause.__context__
    return _refusal(contact) if contact.address.startswith("tls://") else None


def _refusal(contact: Contact) -> ssl.SSLError | None:
    """Return why a scheduler refuses our certificate, None if it does not.

    The refusal arrives after our side of the handshake is over. Dask has already sent data by then and loses the
    reason, so this connection only listens.
    """
    from distributed.security import Security

    context = (contact.security or Security()).get_connection_args(contact.role)["ssl_context"]
    try:
        parts = urlsplit(contact.address)
        with (
            socket.create_connection((parts.hostname, parts.port), CONNECT_SECONDS) as plain,
            context.wrap_socket(plain, server_hostname=parts.hostname) as secure,
        ):
            secure.recv(1)
    except ssl.SSLError as refusal:
        return refusal
    except (OSError, ValueError):  # nobody there, or no such address
        return None
    return None
