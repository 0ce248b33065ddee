"""One process at a time works on a job."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from mrdist.service.jobs import Jobs
from mrdist.storage import Lease, StorageOptions


@contextmanager
def job_lease(jobs: Jobs, job: str, options: StorageOptions) -> Iterator[Lease]:
    """Hold the lease of a job.

    Raises
    ------
    StoreBusyError
        If another process holds it.
    """
    lease = Lease.take(jobs.lease_url(job), options, f"job {job}")
    try:
        yield lease
    finally:
        lease.end()  # the job's record holds the outcome
