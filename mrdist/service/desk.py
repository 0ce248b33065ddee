"""Accepts requests for work."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mrdist.service.catalog import Catalog, Kind
from mrdist.service.checks import check, check_early
from mrdist.service.job_records import JobRecord
from mrdist.service.jobs import Jobs
from mrdist.service.refusals import RefusedError
from mrdist.service.settings import Settings
from mrdist.service.supervisor import Supervisor
from mrdist.service.work import Verb, datasets_of
from mrdist.storage import run_state


@dataclass(frozen=True)
class Desk:
    """Accepts requests that can be done.

    Attributes
    ----------
    catalog, settings, jobs, supervisor
        Of the service.
    """

    catalog: Catalog
    settings: Settings
    jobs: Jobs
    supervisor: Supervisor

    def submit(
        self, verb: Verb, name: str, options: Mapping[str, Any], key: str | None = None, user: str | None = None
    ) -> JobRecord:
        """Check a request of a user and put it into the queue, unless its key was used before.

        One that names a dataset which a job is still making waits for that job, and is checked when it is done.

        Raises
        ------
        MrdistError
            If the pipeline would refuse it.
        """
        record = None if key is None else self.jobs.of_key(key, verb, name, options)
        if record is None:
            makers = self.jobs.makers_of(datasets_of(verb, options))
            examine = check_early if makers else check
            cost = examine(self.catalog, self.settings, verb, name, options)
            record = self.jobs.submit(verb, name, options, cost, key, user, [maker.id for maker in makers])
            self.supervisor.wake()
        return record

    def remove(self, kind: Kind, name: str) -> None:
        """Remove a store that no job needs and nobody writes.

        Raises
        ------
        RefusedError
            If it does not exist, or is needed or written.
        """
        url = self.catalog.find(kind, name)
        self.jobs.check_unused(kind, name)
        run = run_state(url, self.catalog.storage_options)
        if run is not None and run["alive"]:
            raise RefusedError(
                409, f"{name!r} is being written by the {run['command']} of {run['who']}; stop it first."
            )
        self.catalog.remove(kind, name)

    def cancel(self, job: str) -> JobRecord:
        """Stop a job; see `Jobs.ask_stop`."""
        self.jobs.ask_stop(job)
        self.supervisor.wake()
        return self.jobs.get(job)

    def resume(self, job: str) -> JobRecord:
        """Resume a job; see `Jobs.resume`."""
        record = self.jobs.resume(job)
        self.supervisor.wake()
        return record
