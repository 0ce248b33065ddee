"""From the events of a run to the record of its job."""

from __future__ import annotations

import logging
import time
from threading import Event, Lock, Thread
from types import TracebackType
from typing import Any

from mrdist.errors import MrdistError
from mrdist.service.catalog import Catalog
from mrdist.service.jobs import JobRecord, Jobs

logger = logging.getLogger("mrdist.service")

_SECONDS = 0.5


class Reporter(logging.Handler):
    """Writes into a job's record how it goes, twice a second at most, while the context lasts.

    Parameters
    ----------
    catalog, jobs
        Where the job lies.
    record
        Of the job; nobody else writes it meanwhile.
    """

    def __init__(self, catalog: Catalog, jobs: Jobs, record: JobRecord) -> None:
        super().__init__()
        self._catalog, self._jobs, self._record = catalog, jobs, record
        self._changed, self._over = Event(), Event()
        self._writing = Lock()
        self._thread = Thread(target=self._write_changes, name="reporter", daemon=True)
        self._begun_at, self._begun_with = time.monotonic(), 0

    def __enter__(self) -> Reporter:
        logging.getLogger("mrdist.events").addHandler(self)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        logging.getLogger("mrdist.events").removeHandler(self)
        self._over.set()
        self._thread.join()

    def emit(self, record: logging.LogRecord) -> None:
        """Take note of an event."""
        fields: dict[str, Any] = getattr(record, "fields", {})
        job = self._record
        with self._writing:
            if record.getMessage() == "phase":
                self._begun_at, self._begun_with = time.monotonic(), int(fields.get("done") or 0)
                job.phase, job.seconds_left, job.images_per_second = fields.get("phase"), None, None
                job.grid, job.done = None, ""
            if record.getMessage() in ("phase", "block"):
                job.blocks, job.blocks_done = fields.get("total"), fields.get("done")
                self._predict()
            if record.getMessage() == "block":
                job.images_per_second = fields.get("images_per_second", job.images_per_second)
        self._changed.set()

    def _predict(self) -> None:
        job = self._record
        done = (job.blocks_done or 0) - self._begun_with
        if job.blocks is not None and done > 0:
            job.seconds_left = (job.blocks - (job.blocks_done or 0)) * (time.monotonic() - self._begun_at) / done

    def _write_changes(self) -> None:
        while not self._over.wait(_SECONDS):
            if not self._changed.is_set():
                continue
            self._changed.clear()
            try:
                with self._writing:
                    self._jobs.write(self._record)
            except MrdistError as error:  # the work goes on; the next change is written again
                logger.warning("how job %s goes cannot be written: %s", self._record.id, error)
