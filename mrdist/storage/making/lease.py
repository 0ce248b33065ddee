"""Which run writes an output: a record beside the output, refreshed by a heartbeat and held by one run at a time.

The record ``<url>.run`` is made before anything of the output is touched and removed when the output is complete. A run
that fails or is stopped releases the record and notes what happened; the next run takes it over. A run also takes over
the record of a run that died. A run counts as dead

- if its process was on this machine and is gone, or
- if its heartbeat has not changed for `LEASE_SECONDS`. Two readings of the record are compared, and no clocks, so the
  clocks of two machines need not agree; a running run is recognised at its next heartbeat.

All workers carry the token of their run. A worker that does not find it in the record writes nothing more: `Fence`.
"""

from __future__ import annotations

import getpass
import os
import socket
import threading
import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from logging import getLogger
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from mrdist.errors import StoreBusyError, StoreError
from mrdist.events import emit
from mrdist.storage.access.records import create_record, read_record, remove_record, write_record
from mrdist.storage.access.urls import StorageOptions, normalize_url, redact

logger = getLogger("mrdist")

LEASE_SECONDS = 30.0
"""After so long without a heartbeat, another run may take over the output."""
BEAT_SECONDS = 3.0
SETTLE_SECONDS = 1.0
"""How long a run that takes over waits for rivals: longer than a fence trusts its last look."""
FENCE_SECONDS = 0.5
_LAST_WORDS_SECONDS = 10.0

_SHOWN = (
    "who", "host", "pid", "command", "since", "seen", "phase", "unit", "blocks", "blocks_done", "share",
    "blocks_per_second", "images_per_second", "seconds_left", "last_error",
)  # fmt: skip


def run_url(url: str) -> str:
    """Return where the record of the run that writes ``url`` lies.

    Examples
    --------
    >>> run_url("s3://bucket/weights.zarr/")
    's3://bucket/weights.zarr.run'
    """
    return f"{normalize_url(url)}.run"


def run_state(url: str, options: StorageOptions = None) -> dict[str, Any] | None:
    """Return the record of the run that writes an output, None if there is none.

    Parameters
    ----------
    url, options
        The output.

    Returns
    -------
    dict or None
        ``who`` (user@host), ``host``, ``pid``, ``command``, ``since`` and ``seen`` (UTC, by the clock of the host),
        ``alive``, ``phase``, ``unit``, ``blocks``, ``blocks_done``, ``share``, ``blocks_per_second``,
        ``images_per_second``, ``seconds_left`` and ``last_error``; None where that is not known (yet). ``alive`` goes
        by the last heartbeat: it may be wrong for a run on another machine whose clock is wrong.
    """
    if urlsplit(normalize_url(url)).scheme and not urlsplit(normalize_url(url)).path:
        return None  # a bucket, beside which nothing can lie
    record = read_record(run_url(url), options)
    if record is None:
        return None
    state = {name: record.get(name) for name in _SHOWN}
    alive = not record.get("released") and not _is_gone(record) and abs(_age(record)) <= LEASE_SECONDS
    position = list(state).index("seen") + 1
    return dict([*list(state.items())[:position], ("alive", alive), *list(state.items())[position:]])


@dataclass(frozen=True)
class Fence:
    """Lets the processes of one run write, as long as the output is that run's.

    Attributes
    ----------
    url, options
        The output.
    token
        Of the run.
    """

    url: str
    options: StorageOptions = field(repr=False)
    token: str

    @property
    def is_fresh(self) -> bool:
        """Whether the output was seen to be this run's within the last `FENCE_SECONDS`."""
        token, when = _last_seen
        return token == self.token and time.monotonic() - when < FENCE_SECONDS

    def check(self) -> None:
        """Make sure that the output is still this run's.

        Raises
        ------
        StoreBusyError
            If it is not.
        """
        global _last_seen
        looked = time.monotonic()
        record = read_record(run_url(self.url), self.options)
        if record is None or record.get("token") != self.token:
            _last_seen = "", 0.0  # whoever knows of the loss does not write on what was seen before it
            raise _lost(self.url, record)
        _last_seen = self.token, looked


_last_seen = "", 0.0  # token of the run that had the output, and when


class Lease:
    """The right of this process to write an output, until `end`; made by `take`."""

    def __init__(
        self, url: str, options: StorageOptions, record: dict[str, Any], before: dict[str, Any] | None
    ) -> None:
        self.fence = Fence(url, options, record["token"])
        self._record = record
        self._before = before
        self._has_begun = False
        self._error: str | None = None
        self._lost: StoreBusyError | None = None
        self._lock = threading.Lock()
        self._ending = threading.Event()
        self._heart = threading.Thread(target=self._beat, name="mrdist-heartbeat", daemon=True)
        self._heart.start()

    @classmethod
    def take(cls, url: str, options: StorageOptions, command: str) -> Lease:
        """Take an output for this process.

        Parameters
        ----------
        url, options
            The output; nothing of it is touched.
        command
            The command of the run, shown to other runs.

        Raises
        ------
        StoreBusyError
            If another run holds it and is alive.
        StoreError
            If the record cannot be read or written.
        """
        place, record = run_url(url), _new_record(command)
        before = None
        while not create_record(place, record, options):
            before = read_record(place, options)
            if before is None:  # it has just gone
                continue
            _wait_for_end(url, options, before)
            write_record(place, record, options)
            time.sleep(SETTLE_SECONDS)
            current = read_record(place, options)
            if current is None or current.get("token") != record["token"]:
                raise _busy(url, current or before)
            break
        emit("lease", url=redact(url), command=command, taken_from=before and before.get("who"))
        return cls(url, options, record, before)

    def check(self) -> None:
        """Raise StoreBusyError if another run has taken the output over."""
        if self._lost is not None:
            raise self._lost

    def tell(self, **state: Any) -> None:
        """Let the next heartbeat report progress; from now on the record is kept if the run fails."""
        with self._lock:
            self._has_begun = True
            self._record.update(state)

    def end(self, error: str | None = None) -> None:
        """Give the output back.

        Parameters
        ----------
        error
            Why it is not complete; None if it is, and then the record is removed.
        """
        self._error = error
        self._ending.set()
        self._heart.join(_LAST_WORDS_SECONDS)  # what it cannot say by then, the end of this process tells

    def _beat(self) -> None:
        """Show that this process is alive, until it says its last word."""
        while not self._ending.wait(BEAT_SECONDS):
            try:
                if not self._write():
                    return
            except StoreError as error:  # as long as the store cannot be reached, nobody else can take it over
                logger.debug("no heartbeat: %s", error)
        try:
            self._say_last_word()
        except StoreError as error:
            logger.debug("no last word: %s", error)

    def _is_ours(self) -> bool:
        """Whether the output is still this run's; notes it if not."""
        try:
            self.fence.check()
        except StoreBusyError as error:
            self._lost = error
            return False
        return True

    def _write(self, **last: Any) -> bool:
        if not self._is_ours():
            return False
        with self._lock:
            self._record.update(last, seen=_now(), beat=self._record["beat"] + 1)
            record = dict(self._record)
        write_record(run_url(self.fence.url), record, self.fence.options)
        return True

    def _say_last_word(self) -> None:
        place, options = run_url(self.fence.url), self.fence.options
        if self._error is not None and self._has_begun:
            self._write(released=True, last_error=self._error)
        elif self._is_ours():
            if self._error is not None and self._before is not None:  # nothing was touched: it is as it was
                write_record(place, self._before | {"released": True}, options)
            else:
                remove_record(place, options)


def _new_record(command: str) -> dict[str, Any]:
    host = socket.gethostname()
    return {
        "kind": "run",
        "format_version": 1,
        "token": uuid.uuid4().hex,
        "who": f"{_user()}@{host}",
        "host": host,
        "pid": os.getpid(),
        "machine": _machine(),
        "birth": _birth(os.getpid()),
        "command": command,
        "since": _now(),
        "seen": _now(),
        "beat": 0,
        "released": False,
        "phase": "starting",
    }


def _wait_for_end(url: str, options: StorageOptions, record: dict[str, Any]) -> None:
    """Return when the run of a record is over, or raise StoreBusyError when it is alive."""
    if record.get("released") or _is_gone(record):
        return
    if record.get("machine") == _machine() and 0 <= _age(record) <= LEASE_SECONDS:
        raise _busy(url, record)
    logger.info("waiting up to %d s for a heartbeat of the %s", LEASE_SECONDS, _name(record))
    emit("waiting", url=redact(url), what=_name(record), seconds=LEASE_SECONDS)
    end = time.monotonic() + LEASE_SECONDS
    while time.monotonic() < end:
        time.sleep(BEAT_SECONDS / 3)
        current = read_record(run_url(url), options)
        if current is None or current.get("released"):
            return
        if any(current.get(name) != record.get(name) for name in ("token", "beat")):
            raise _busy(url, current)


def _is_gone(record: Mapping[str, Any]) -> bool:
    """Whether a record belongs to a process of this machine that has ended."""
    if record.get("machine") != _machine() or record.get("birth") is None:
        return False
    return bool(_birth(record["pid"]) != record["birth"])


def _machine() -> str:
    """Return an id of this machine or container: process ids mean nothing outside it."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot}/{Path('/proc/self/ns/pid').stat().st_ino}"
    except OSError:
        return f"{socket.gethostname()}/{uuid.getnode()}"


def _birth(pid: int) -> str | None:
    """Return when a running process of this machine started, in the kernel's ticks; None if that is not known."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] in "ZX" else fields[19]  # a zombie only waits for its parent


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError, ImportError):  # a container's user need have no name
        return str(os.getuid())


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def _age(record: Mapping[str, Any]) -> float:
    """Return the seconds since a record's last heartbeat, if the clocks agree."""
    try:
        return (datetime.now(UTC) - datetime.fromisoformat(record["seen"])).total_seconds()
    except (KeyError, TypeError, ValueError):
        return float("inf")


def _name(record: Mapping[str, Any]) -> str:
    return f"{record.get('command')} of {record.get('who')} (process {record.get('pid')}, since {record.get('since')})"


def _busy(url: str, record: Mapping[str, Any]) -> StoreBusyError:
    return StoreBusyError(
        f"{redact(url)} is being written by the {_name(record)}; wait for it, stop it, or choose another address."
    )


def _lost(url: str, record: Mapping[str, Any] | None) -> StoreBusyError:
    if record is None:
        return StoreBusyError(
            f"{redact(run_url(url))} is gone, so this run cannot know whether another one writes the output; run the "
            "same command again."
        )
    return StoreBusyError(
        f"{redact(url)} was taken over by the {_name(record)} while this run gave no sign of life; let that run "
        "finish, this one writes nothing more."
    )
