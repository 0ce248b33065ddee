"""The process that works on one job: ``python -m mrdist.service.runner``, with its order on stdin.

It ends with the service: when stdin ends, it stops cleanly, and the next service resumes the job.
"""

from __future__ import annotations

import json
import logging
import os
import signal
import sys
import threading
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from types import FrameType
from typing import Any

from mrdist.errors import MrdistError, StoreBusyError
from mrdist.service.catalog import Catalog
from mrdist.service.job_records import JobRecord
from mrdist.service.jobs import Jobs
from mrdist.service.leases import job_lease
from mrdist.service.reporter import Reporter
from mrdist.service.settings import Settings
from mrdist.service.work import MAKES, perform
from mrdist.storage import Lease

logger = logging.getLogger("mrdist.service")

BUSY = 75  # another process works on the job
_STOP_SECONDS = 60.0


@dataclass(frozen=True)
class Order:
    """The order of a process.

    Attributes
    ----------
    catalog, job
        URL of the catalogue, and the job.
    settings
        Of the service.
    """

    catalog: str
    job: str
    settings: Settings

    def to_dict(self) -> dict[str, Any]:
        """Return the content for the pipe, without the tokens."""
        settings = {**asdict(self.settings), "token": None, "tokens": None}
        return {"catalog": self.catalog, "job": self.job, "settings": settings}

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> Order:
        """Return the order of a dictionary from `to_dict`."""
        settings = {**content["settings"], "host": "127.0.0.1", "allowed_hosts": (), "trusted_proxies": ()}
        return cls(content["catalog"], content["job"], Settings(**settings))


def main() -> int:
    """Work on the job of the order that arrives on stdin."""
    _log_to_stderr()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _stop)
    try:
        order = Order.from_dict(json.loads(_read_line()))
        threading.Thread(target=_end_with_service, daemon=True).start()
        return run(order)
    except KeyboardInterrupt:
        return 0
    except MrdistError as error:
        logger.warning("the job cannot run: %s", error)
        return 1


def run(order: Order) -> int:
    """Work on a job; return the exit code of the process."""
    catalog = Catalog(order.catalog)
    jobs = Jobs(catalog)
    try:
        with job_lease(jobs, order.job, catalog.storage_options) as lease:
            record = jobs.find(order.job)
            if record is None or record.has_ended:
                return 0
            if jobs.wants_stop(order.job):
                cancel(jobs, order.job)
                return 0
            _work(catalog, order.settings, jobs, record, lease)
    except StoreBusyError:
        return BUSY
    return 0


def _work(catalog: Catalog, settings: Settings, jobs: Jobs, record: JobRecord, lease: Lease) -> None:
    started_before = record.started is not None
    record.state, record.last_error = "running", None
    record.started = record.started or _now()
    with Reporter(catalog, jobs, record, lease):
        jobs.write(record)
        logger.info("job %s (%s %s) runs in process %d", record.id, record.verb, record.name, os.getpid())
        try:
            if started_before and MAKES[record.verb] == "datasets" and catalog.is_complete("datasets", record.name):
                result: dict[str, Any] = {}  # stopped between the last write and the record's
            else:
                result = perform(catalog, settings, record.verb, record.name, record.options)
        except KeyboardInterrupt:
            record.state = "cancelled" if jobs.wants_stop(record.id) else "queued"
        except MrdistError as error:
            record.state, record.last_error = "failed", catalog.told(error)
        except Exception:
            logger.exception("job %s failed", record.id)
            record.state = "failed"
            record.last_error = "the job failed because of an internal error; see the service's log."
        else:
            jobs.write_result(record.id, result)
            if record.user is not None:
                catalog.note_maker(MAKES[record.verb], record.name, record.id, record.user)
            record.state, record.scores = "done", _scores(result)
    lease.check()
    if record.has_ended:
        record.finished = _now()
        jobs.forget_stop(record.id)
    jobs.write(record)


def _scores(result: Mapping[str, Any]) -> dict[str, Any] | None:
    scores = result.get("scores")
    return dict(scores) if isinstance(scores, dict) else None


def cancel(jobs: Jobs, job: str) -> None:
    """End a job that no process works on; the caller holds its lease."""
    record = jobs.find(job)
    if record is not None and not record.has_ended:
        record.state, record.finished = "cancelled", _now()
        jobs.write(record)
    jobs.forget_stop(job)


def fail(jobs: Jobs, record: JobRecord, sentence: str) -> None:
    """End a job that cannot go on; the caller holds its lease."""
    record.state, record.finished, record.last_error = "failed", _now(), sentence
    jobs.write(record)


def _now() -> datetime:
    return datetime.now(UTC)


def _stop(_signum: int, _frame: FrameType | None) -> None:
    for number in (signal.SIGTERM, signal.SIGINT):  # a second one would interrupt the writing of the record
        signal.signal(number, signal.SIG_IGN)
    raise KeyboardInterrupt


def _log_to_stderr() -> None:
    """Log the messages of mrdist and none of its libraries."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(message)s"))
    for name in ("mrdist", "py.warnings"):
        logging.getLogger(name).addHandler(handler)
        logging.getLogger(name).setLevel(logging.INFO)
    logging.captureWarnings(capture=True)
    logging.getLogger("asyncio").setLevel(logging.CRITICAL + 1)


def _read_line() -> bytes:
    line = b""
    while not line.endswith(b"\n"):
        piece = os.read(0, 1)
        if not piece:
            raise KeyboardInterrupt
        line += piece
    return line


def _end_with_service() -> None:
    """Stop when the pipe from the service ends."""
    while os.read(0, 1 << 10):  # not sys.stdin, whose lock this thread would hold when the process ends
        pass
    os.kill(os.getpid(), signal.SIGTERM)
    threading.Event().wait(_STOP_SECONDS)
    os._exit(1)


if __name__ == "__main__":
    sys.exit(main())
