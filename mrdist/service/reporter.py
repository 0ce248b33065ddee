"""Writes the events of a run to the record of its job."""

from __future__ import annotations

import logging
import os
import signal
from collections.abc import Mapping
from threading import Event, Lock, Thread
from types import TracebackType
from typing import Any

from mrdist.errors import MrdistError, StoreBusyError
from mrdist.pipeline.showing.info import block_map
from mrdist.service.catalog import Catalog
from mrdist.service.diary import Diary
from mrdist.service.job_records import Grid, JobRecord
from mrdist.service.jobs import Jobs
from mrdist.storage import Lease, is_local

logger = logging.getLogger("mrdist.service")

_SECONDS = 0.5
_REMOTE_SECONDS = 2.0


class Reporter(logging.Handler):
    """Writes the progress of a job to its record from time to time, while the context lasts.

    Parameters
    ----------
    catalog, jobs
        Catalogue and jobs.
    record, lease
        Of the job; nobody else writes the record meanwhile.
    """

    def __init__(self, catalog: Catalog, jobs: Jobs, record: JobRecord, lease: Lease) -> None:
        super().__init__()
        self._catalog, self._jobs, self._record, self._lease = catalog, jobs, record, lease
        self._changed, self._over = Event(), Event()
        self._writing = Lock()
        self._thread = Thread(target=self._write_changes, name="reporter", daemon=True)
        self._diary = Diary(f"{catalog}/", jobs.log(record.id))

    def __enter__(self) -> Reporter:
        logging.getLogger("mrdist.events").addHandler(self)
        self._diary.open()
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        logging.getLogger("mrdist.events").removeHandler(self)
        self._diary.close()
        self._over.set()
        self._thread.join()
        self._keep_diary()

    def _keep_diary(self) -> None:
        """Write the log, and the warnings into the record."""
        if not self._diary.changed:
            return
        self._record.warnings = list(self._diary.warnings)
        try:
            self._jobs.write_log(self._record.id, list(self._diary.lines()))
        except MrdistError as error:
            logger.warning("the log of job %s cannot be written: %s", self._record.id, error)

    def emit(self, record: logging.LogRecord) -> None:
        """Take note of an event."""
        kind, fields = record.getMessage(), getattr(record, "fields", {})
        with self._writing:
            if kind == "phase":
                self._begin_phase(fields)
            elif kind in ("block", "part"):
                self._note_block(fields, finished=kind == "block")
            elif kind == "cluster":
                self._record.dashboard = fields["dashboard"]
            else:
                return
        self._changed.set()

    def _begin_phase(self, fields: Mapping[str, Any]) -> None:
        job = self._record
        job.phase, job.blocks, job.blocks_done = fields["phase"], fields["total"], fields["done"]
        job.share = fields["done"] / max(fields["total"], 1)
        job.images_per_second = job.seconds_left = job.grid = None
        job.done = ""
        self._diary.write(f"{job.phase}: {job.blocks_done} of {job.blocks} are done")
        blocks = block_map(fields["url"], self._catalog.storage_options) if fields["unit"] == "block" else None
        if blocks is not None:
            job.grid = Grid(shape=list(blocks.shape), block=list(blocks.block), grid=list(blocks.grid))
            job.done = "".join("01"[done] for done in blocks.done.tolist())

    def _note_block(self, fields: Mapping[str, Any], *, finished: bool) -> None:
        job, index = self._record, fields["index"]
        job.blocks, job.blocks_done = fields["total"], fields["done"]
        job.images_per_second, job.seconds_left = fields["images_per_second"], fields["seconds_left"]
        job.share = fields["share"]
        if finished and job.grid is not None and index is not None:
            job.done = f"{job.done[:index]}1{job.done[index + 1 :]}"

    def _write_changes(self) -> None:
        pause = _SECONDS if is_local(self._catalog.url) else _REMOTE_SECONDS
        while not self._over.wait(pause):
            if self._diary.changed:
                self._keep_diary()
                self._changed.set()
            if not self._changed.is_set():
                continue
            self._changed.clear()
            try:
                self._lease.check()
                with self._writing:
                    self._jobs.write(self._record)
            except StoreBusyError:
                os.kill(os.getpid(), signal.SIGTERM)  # somebody else works on the job now
                return
            except MrdistError as error:  # the work continues; the next change is written again
                logger.warning("the progress of job %s cannot be written: %s", self._record.id, error)
