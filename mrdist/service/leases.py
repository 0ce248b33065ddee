"""One process at a time works on a job."""

from __future__ import annotations

import os
import socket
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mrdist.service.jobs import Jobs
from mrdist.service.refusals import RefusedError
from mrdist.storage import StorageOptions
from mrdist.storage.records import create_record, read_record, remove_record, write_record

_SECONDS = 15.0


class BusyError(RefusedError):
    """Somebody else works on the job."""


@contextmanager
def job_lease(jobs: Jobs, job: str, options: StorageOptions) -> Iterator[None]:
    """Hold the lease of a job.

    Raises
    ------
    BusyError
        If somebody else holds it.
    """
    url = f"{jobs.lease_url(job)}.run"
    mine = {"token": uuid.uuid4().hex, "host": socket.gethostname(), "pid": os.getpid(), "beat": time.time()}
    if not create_record(url, mine, options):
        found = read_record(url, options) or {}
        dead = found.get("host") == mine["host"] and not Path(f"/proc/{found.get('pid')}").exists()
        if not dead and time.time() - found.get("beat", 0) < _SECONDS:
            raise BusyError(409, f"job {job} is in other hands.")
        remove_record(url, options)
        if not create_record(url, mine, options):
            raise BusyError(409, f"job {job} is in other hands.")
    over = threading.Event()

    def beat() -> None:
        while not over.wait(3):
            write_record(url, {**mine, "beat": time.time()}, options)

    thread = threading.Thread(target=beat, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
        remove_record(url, options)
