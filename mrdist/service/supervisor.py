"""Starts queued jobs, one process per job, and ends those processes with the service."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from dataclasses import dataclass
from threading import Event, Thread

from mrdist.errors import MrdistError, StoreBusyError, StoreError
from mrdist.running.workers import n_slots_of
from mrdist.service.catalog import Catalog
from mrdist.service.checks import check
from mrdist.service.job_records import JobRecord
from mrdist.service.jobs import Jobs
from mrdist.service.leases import job_lease
from mrdist.service.machine import memory_of_machine
from mrdist.service.runner import BUSY, Order, cancel, fail
from mrdist.service.settings import Settings
from mrdist.storage import is_local, run_state

logger = logging.getLogger("mrdist.service")

_TICK_SECONDS = 1.0
_REMOTE_TICK_SECONDS = 3.0  # every request to a bucket costs
_END_SECONDS = 20.0
_BUSY_SECONDS = 5.0
_MAX_CRASHES = 3
_MAX_PAUSE = 60.0


@dataclass
class _Run:
    """A process that works on a job."""

    process: subprocess.Popen[bytes]
    memory: int
    asked_to_stop: bool = False


class Supervisor:
    """Watches the queue of a catalogue.

    Parameters
    ----------
    catalog, settings
        Of the service.
    jobs
        Of the catalogue.
    """

    def __init__(self, catalog: Catalog, settings: Settings, jobs: Jobs) -> None:
        self._thread = Thread(target=self._watch, name="supervisor", daemon=True)
        self._catalog, self._settings, self._jobs = catalog, settings, jobs
        self._pause = _TICK_SECONDS if is_local(catalog.url) else _REMOTE_TICK_SECONDS
        self._runs: dict[str, _Run] = {}
        self._not_before: dict[str, float] = {}
        self._failures = 0
        self._awake, self._ending = Event(), Event()
        self.states: Counter[str] = Counter()

    def start(self) -> None:
        """Start watching."""
        self._thread.start()

    def wake(self) -> None:
        """Look at the queue now."""
        self._awake.set()

    def end(self) -> None:
        """Stop all jobs, which the next service resumes, and wait until they have ended."""
        self._ending.set()
        self._awake.set()
        self._thread.join()

    def _watch(self) -> None:
        """Watch until the end."""
        while not self._ending.is_set():
            pause = self._pause
            try:
                self._tick()
                self._failures = 0
            except MrdistError as error:  # the catalogue cannot be reached; running jobs continue
                self._failures += 1
                pause = min(2.0**self._failures, _MAX_PAUSE)
                logger.warning("the queue cannot be read; next try in %.0f s: %s", pause, error)
            except Exception:  # no error may stop the queue
                logger.exception("the queue cannot be worked on")
            self._awake.wait(pause)
            self._awake.clear()
        self._end_runs()

    def _tick(self) -> None:
        for job in [job for job, run in self._runs.items() if run.process.poll() is not None]:
            self._bury(job)
        active = self._jobs.active()
        self.states = Counter(record.state for record in active)
        for record in active:
            if record.state == "stopping":
                self._halt(record)
        self._not_before = {job: until for job, until in self._not_before.items() if until > time.monotonic()}
        there = {record.id for record in active}
        for each in active:
            if each.state == "stopping" or each.id in self._runs or each.id in self._not_before:
                continue
            if there.intersection(each.after):
                continue
            ready = self._released(each) if each.after else each
            if ready is None or (ready.state == "running" and self._is_elsewhere(ready)):
                continue
            if len(self._runs) >= self._settings.max_running or not self._fits(ready):
                break  # first come, first served
            self._start(ready)

    def _released(self, waiting: JobRecord) -> JobRecord | None:
        """Check a job whose datasets were still being made when it was submitted, now that those jobs have ended."""
        try:
            with job_lease(self._jobs, waiting.id, self._catalog.storage_options):
                record = self._jobs.find(waiting.id)
                if record is None or record.has_ended:
                    return None
                sentence = self._unmade(record) or self._judge(record)
                if sentence is not None:
                    fail(self._jobs, record, sentence)
                    return None
                record.after = []
                self._jobs.write(record)
                return record
        except StoreBusyError:  # another service does the same
            return None

    def _unmade(self, record: JobRecord) -> str | None:
        """Say which of the jobs that a job waits for has made nothing."""
        for maker in filter(None, map(self._jobs.find, record.after)):
            if maker.state != "done":
                how = "was cancelled" if maker.state == "cancelled" else "has failed"
                return f"job {maker.id}, which was to make {maker.name!r}, {how}; resume it, then this one."
        return None

    def _judge(self, record: JobRecord) -> str | None:
        """Set the cost of a job, or say why it cannot be done."""
        try:
            cost = check(self._catalog, self._settings, record.verb, record.name, record.options)
        except MrdistError as error:
            if isinstance(error, StoreError) and error.__cause__ is not None:  # the catalogue cannot be reached
                raise
            return self._catalog.told(error)
        except Exception:
            logger.exception("job %s cannot be checked", record.id)
            return "the job could not be checked because of an internal error; see the service's log."
        record.peak_memory, record.n_tasks = cost.peak_memory, cost.blocks
        return None

    def _is_elsewhere(self, record: JobRecord) -> bool:
        """Whether another service's process works on a job."""
        state = run_state(self._jobs.lease_url(record.id), self._catalog.storage_options)
        return state is not None and bool(state["alive"])

    def _fits(self, record: JobRecord) -> bool:
        """Whether the machine has memory for one more job; a first one always starts."""
        if not self._runs or self._settings.scheduler is not None:
            return True
        used = sum(run.memory for run in self._runs.values())
        return used + record.memory_of(n_slots_of(self._settings.workers)) <= memory_of_machine()

    def _start(self, record: JobRecord) -> None:
        order = Order(self._catalog.url, record.id, self._settings)
        process = subprocess.Popen(
            [sys.executable, "-m", "mrdist.service.runner"],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            env={name: value for name, value in os.environ.items() if name != "MRDIST_TOKEN"},
            start_new_session=True,  # Ctrl-C goes to the service, which stops its jobs
        )
        assert process.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            process.stdin.write(json.dumps(order.to_dict()).encode() + b"\n")
            process.stdin.flush()  # stays open: its end tells the process that the service has died
        self._runs[record.id] = _Run(process, record.memory_of(n_slots_of(self._settings.workers)))

    def _halt(self, record: JobRecord) -> None:
        """Stop a job that runs here; end a job that no process works on."""
        run = self._runs.get(record.id)
        if run is not None:
            if not run.asked_to_stop:
                run.asked_to_stop = True
                run.process.terminate()
            return
        state = run_state(self._jobs.lease_url(record.id), self._catalog.storage_options)
        if state is None:
            with contextlib.suppress(StoreBusyError), job_lease(self._jobs, record.id, self._catalog.storage_options):
                cancel(self._jobs, record.id)
        elif not state["alive"]:  # a separate process makes sure of that, which may take a while
            self._start(record)

    def _bury(self, job: str) -> None:
        """Handle the end of a process."""
        run = self._runs.pop(job)
        code = run.process.returncode
        _sweep(run.process)
        if code == 0:
            return
        if code == BUSY:
            self._not_before[job] = time.monotonic() + _BUSY_SECONDS
            return
        logger.warning("the process of job %s has ended with %d", job, code)
        record = self._jobs.find(job)
        if record is None or record.has_ended:
            return
        with job_lease(self._jobs, job, self._catalog.storage_options):
            record.crashes += 1
            self._not_before[job] = time.monotonic() + min(2.0**record.crashes, _MAX_PAUSE)
            if record.crashes >= _MAX_CRASHES:
                how = "was killed" if code < 0 else "has failed"
                fail(
                    self._jobs,
                    record,
                    f"the job's process {how} {record.crashes} times (exit code {code}), perhaps for lack of memory; "
                    "see the service's log, lower max_memory or the number of workers, then resume the job.",
                )
            else:
                record.state = "queued"
                self._jobs.write(record)

    def _end_runs(self) -> None:
        for run in self._runs.values():
            run.process.terminate()
        end = time.monotonic() + _END_SECONDS
        for run in self._runs.values():
            try:
                run.process.wait(max(0.0, end - time.monotonic()))
            except subprocess.TimeoutExpired:
                logger.warning("a job did not stop within %.0f s and is killed", _END_SECONDS)
            _sweep(run.process)


def _sweep(process: subprocess.Popen[bytes]) -> None:
    """Kill a job's process and its remaining children."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    if process.stdin is not None:
        with contextlib.suppress(OSError):
            process.stdin.close()
