"""The files of jobs in the catalogue.

::

    jobs/ID.json         request and progress; the holder of the job's lease writes it
    jobs/ID.run          the lease
    jobs/ID.stop         a request to stop it
    jobs/ID.note         note and tags, which anybody may write at any time
    jobs/ID.log          what it has said
    jobs/ID.result.json  its result
    jobs/keys/HASH.json  the job of an idempotency key

IDs begin with the time, so that their order is that of the queue.
"""

from __future__ import annotations

from collections.abc import Iterable

RECORD, STOP, RESULT, NOTE, LOG = ".json", ".stop", ".result.json", ".note", ".log"


def stops_of(names: Iterable[str]) -> set[str]:
    """Return the jobs that were asked to stop, from the names of all files."""
    return {name.removesuffix(STOP) for name in names if name.endswith(STOP)}


def jobs_of(names: Iterable[str]) -> list[str]:
    """Return all jobs, in the order of the names of their files."""
    return [name.removesuffix(RECORD) for name in names if name.endswith(RECORD) and not name.endswith(RESULT)]
