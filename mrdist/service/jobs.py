"""Jobs: records in the catalogue, which outlive the processes that work on them; see `mrdist.service.job_files`."""

from __future__ import annotations

import hashlib
import json
import logging
import secrets
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from threading import Lock
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from mrdist.errors import StoreError
from mrdist.service.catalog import Catalog, Kind
from mrdist.service.job_files import LOG, NOTE, RECORD, RESULT, STOP, jobs_of, stops_of
from mrdist.service.job_records import JobRecord, State
from mrdist.service.refusals import RefusedError
from mrdist.service.work import MAKES, Verb
from mrdist.storage.access.records import create_record, list_records, read_record, remove_record, write_record

if TYPE_CHECKING:
    from mrdist.pipeline.training.check import Cost

logger = logging.getLogger("mrdist.service")

_QUEUE = 1000


class Jobs:
    """The jobs of a catalogue.

    Parameters
    ----------
    catalog
        The catalogue.
    """

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog
        self._options = catalog.storage_options
        self._folder = f"{catalog.url}/jobs"
        self._ended: set[str] = set()  # known to have ended, so that they are not read again
        self._submitting = Lock()

    def lease_url(self, job: str) -> str:
        """Return the URL of which the process that works on a job holds a lease."""
        return f"{self._folder}/{job}"

    def submit(
        self,
        verb: Verb,
        name: str,
        options: Mapping[str, Any],
        cost: Cost,
        key: str | None = None,
        user: str | None = None,
        after: Sequence[str] = (),
    ) -> JobRecord:
        """Put a checked request into the queue.

        Parameters
        ----------
        verb, name, options
            Of the request.
        cost
            Cost of the job.
        key
            Requests with the same key become one job.
        user
            Name of who submits it.
        after
            Jobs that it waits for.

        Returns
        -------
        JobRecord
            The job.

        Raises
        ------
        RefusedError
            If another job makes the same store, or the key was used for another request.
        """
        now = datetime.now(UTC)
        job = f"{now:%Y%m%dt%H%M%S%f}-{secrets.token_hex(4)}"
        with self._submitting:
            digest = None
            if key is not None:
                digest = _hash(key)
                known = self._job_of_key(digest, job, _hash_of(verb, name, options))
                if known != job and (record := self.find(known)) is not None:
                    return record
                job = known  # new, or one whose submission was cut off before it was written
            active = self.active()
            if len(active) >= _QUEUE:
                raise RefusedError(429, f"the queue is full with {_QUEUE} jobs; wait until some have ended.")
            other = _maker_of(MAKES[verb], name, active)
            if other is not None:
                raise RefusedError(409, f"job {other.id} makes {name!r} already; wait for it, or choose another name.")
            record = JobRecord(
                id=job,
                verb=verb,
                name=name,
                options=dict(options),
                user=user,
                state="queued",
                submitted=now,
                model=name if verb == "train" else None,
                dataset=name if MAKES[verb] == "datasets" else options.get("images"),
                peak_memory=cost.peak_memory,
                n_tasks=cost.blocks,
                key=digest,
                after=list(after),
            )
            self.write(record)
        return record

    def _job_of_key(self, key: str, job: str, request: str) -> str:
        """Return the job of an idempotency key's hash; for a new key, this job."""
        url = f"{self._folder}/keys/{key}.json"
        if create_record(url, {"job": job, "request": request}, self._options):
            return job
        earlier = read_record(url, self._options)
        if earlier is None:  # deleted meanwhile
            return job
        _check_same(earlier, request)
        return str(earlier["job"])

    def of_key(self, key: str, verb: Verb, name: str, options: Mapping[str, Any]) -> JobRecord | None:
        """Return the job of an earlier request with the same idempotency key, None if there is none.

        Raises
        ------
        RefusedError
            If the key was used for another request.
        """
        earlier = read_record(f"{self._folder}/keys/{_hash(key)}.json", self._options)
        if earlier is None:
            return None
        _check_same(earlier, _hash_of(verb, name, options))
        return self.find(str(earlier["job"]))

    def find(self, job: str) -> JobRecord | None:
        """Return a job, None if there is none."""
        content = read_record(f"{self._folder}/{job}{RECORD}", self._options)
        try:
            return None if content is None else JobRecord.model_validate(content)
        except ValidationError:
            raise StoreError(
                f"jobs/{job}{RECORD} in the catalogue is not a valid job record; remove the file."
            ) from None

    def _look(self, job: str) -> JobRecord | None:
        """Return one of many jobs, None if it was deleted or cannot be read: it must not hide the others."""
        try:
            return self.find(job)
        except StoreError as error:
            if error.__cause__ is not None:  # the catalogue cannot be reached
                raise
            logger.warning("%s", error)
            self._ended.add(job)
            return None

    def get(self, job: str) -> JobRecord:
        """Return a job; its state is stopping if it was asked to stop.

        Raises
        ------
        RefusedError
            If it does not exist.
        """
        record = self.find(job)
        if record is None:
            raise RefusedError(404, f"there is no job {job} in the catalogue; `GET /api/v1/jobs` lists them.")
        if not record.has_ended and self.wants_stop(job):
            record.state = "stopping"
        self._add_note(record)
        return record

    def _add_note(self, record: JobRecord) -> None:
        said = read_record(f"{self._folder}/{record.id}{NOTE}", self._options) or {}
        record.note, record.tags = said.get("note"), said.get("tags", [])

    def note(self, job: str, note: str | None, tags: Sequence[str]) -> JobRecord:
        """Write a note and tags to a job, in place of those before.

        Raises
        ------
        RefusedError
            If it does not exist.
        """
        self.get(job)
        content = {"note": note or None, "tags": list(dict.fromkeys(tags))}
        write_record(f"{self._folder}/{job}{NOTE}", content, self._options)
        return self.get(job)

    def latest(
        self, state: State | None = None, limit: int = 100, *, words: str | None = None, before: str | None = None
    ) -> list[JobRecord]:
        """Return the latest jobs, latest first.

        Parameters
        ----------
        state
            Only those in this state.
        limit
            Maximum number.
        words
            Only those that a search for these words means.
        before
            Only those that were submitted before the job of this ID, which may be gone.
        """
        names = list_records(self._folder, self._options)
        stops = stops_of(names)
        noted = {name for name in names if name.endswith(NOTE)}
        chosen: list[JobRecord] = []
        for job in reversed(jobs_of(names)):
            if len(chosen) == limit:
                break
            if before is not None and job >= before:
                continue
            record = self._look(job)
            if record is None:
                continue
            if not record.has_ended and job in stops:
                record.state = "stopping"
            if f"{job}{NOTE}" in noted:
                self._add_note(record)
            if (state is None or record.state == state) and (words is None or record.has_words(words)):
                chosen.append(record)
        return chosen

    def active(self) -> list[JobRecord]:
        """Return the jobs that have not ended, in the order of the queue."""
        names = list_records(self._folder, self._options)
        ids, stops = jobs_of(names), stops_of(names)
        self._ended &= set(ids)
        records = [record for job in ids if job not in self._ended and (record := self._look(job)) is not None]
        self._ended |= {record.id for record in records if record.has_ended}
        active = [record for record in records if not record.has_ended]
        for record in active:
            if record.id in stops:
                record.state = "stopping"
        return active

    def write(self, record: JobRecord) -> None:
        """Write a job's record."""
        record.revision += 1
        write_record(
            f"{self._folder}/{record.id}{RECORD}",
            record.model_dump(mode="json", exclude={"command", "note", "tags"}),
            self._options,
        )
        if not record.has_ended:
            self._ended.discard(record.id)

    def write_result(self, job: str, result: Mapping[str, Any]) -> None:
        """Keep the result of a job."""
        write_record(f"{self._folder}/{job}{RESULT}", result, self._options)

    def result(self, job: str) -> dict[str, Any]:
        """Return the result of a job.

        Raises
        ------
        RefusedError
            If the job has no result.
        """
        record = self.get(job)
        result = read_record(f"{self._folder}/{job}{RESULT}", self._options)
        if result is None:
            raise RefusedError(409, f"job {job} is {record.state} and has no result; only jobs that are done have one.")
        return result

    def write_log(self, job: str, lines: Sequence[Mapping[str, Any]]) -> None:
        """Keep what a job has said."""
        write_record(f"{self._folder}/{job}{LOG}", {"lines": list(lines)}, self._options)

    def log(self, job: str) -> list[dict[str, Any]]:
        """Return what a job has said, the latest lines of it."""
        lines: list[dict[str, Any]] = (read_record(f"{self._folder}/{job}{LOG}", self._options) or {}).get("lines", [])
        return lines

    def wants_stop(self, job: str) -> bool:
        """Whether a job was asked to stop."""
        return read_record(f"{self._folder}/{job}{STOP}", self._options) is not None

    def ask_stop(self, job: str) -> None:
        """Ask the process of a job to stop, or keep a queued job from starting.

        Raises
        ------
        RefusedError
            If it has ended.
        """
        record = self.get(job)
        if record.has_ended:
            raise RefusedError(
                409, f"job {job} is {record.state} already; only queued and running jobs can be cancelled."
            )
        write_record(f"{self._folder}/{job}{STOP}", {"asked": datetime.now(UTC).isoformat()}, self._options)

    def forget_stop(self, job: str) -> None:
        """Undo `ask_stop`."""
        remove_record(f"{self._folder}/{job}{STOP}", self._options)

    def resume(self, job: str) -> JobRecord:
        """Put a failed or cancelled job into the queue again; finished work is kept.

        Raises
        ------
        RefusedError
            If it has neither failed nor was cancelled.
        """
        record = self.get(job)
        if record.state not in ("failed", "cancelled"):
            raise RefusedError(409, f"job {job} is {record.state}; only failed or cancelled jobs can be resumed.")
        with self._submitting:
            other = _maker_of(MAKES[record.verb], record.name, self.active())
            if other is not None:
                raise RefusedError(409, f"job {other.id} makes {record.name!r} already; wait for it.")
            record.state, record.finished, record.last_error, record.crashes = "queued", None, None, 0
            self.forget_stop(job)
            self.write(record)
        return record

    def delete(self, job: str) -> None:
        """Delete a job that has ended; its results stay.

        Raises
        ------
        RefusedError
            If it has not ended.
        """
        record = self.get(job)
        if not record.has_ended:
            raise RefusedError(409, f"job {job} is {record.state}; cancel it before you delete it.")
        if record.key is not None:
            remove_record(f"{self._folder}/keys/{record.key}.json", self._options)
        for ending in (STOP, RESULT, NOTE, LOG, ".run", RECORD):  # the record last: the others are found by it
            remove_record(f"{self._folder}/{job}{ending}", self._options)

    def makers_of(self, datasets: Sequence[str]) -> list[JobRecord]:
        """Return the jobs that are still making some datasets."""
        wanted = [name for name in datasets if not self._catalog.is_complete("datasets", name)]
        active = self.active() if wanted else []
        return [maker for name in wanted if (maker := _maker_of("datasets", name, active)) is not None]

    def check_made(self, dataset: str) -> None:
        """Check that no job is still making a dataset.

        Raises
        ------
        RefusedError
            If a job is.
        """
        for maker in self.makers_of([dataset]):
            raise RefusedError(
                409,
                f"dataset {dataset!r} is not complete yet: job {maker.id}, which makes it, is {maker.state}; wait "
                f"until it is done (`mrdist jobs {maker.id}` shows its progress) and ask again.",
            )

    def check_unused(self, kind: Kind, name: str) -> None:
        """Check that no job needs a store.

        Raises
        ------
        RefusedError
            If a job needs it.
        """
        for record in self.active():
            if record.uses(kind, name):
                raise RefusedError(409, f"job {record.id} is {record.state} and needs {name!r}; cancel it first.")


def _maker_of(kind: Kind, name: str, jobs: Iterable[JobRecord]) -> JobRecord | None:
    """Return the first of some jobs that makes a store, None if there is none."""
    return next((job for job in jobs if (MAKES[job.verb], job.name) == (kind, name)), None)


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _hash_of(verb: Verb, name: str, options: Mapping[str, Any]) -> str:
    return _hash(json.dumps([verb, name, dict(options)], sort_keys=True))


def _check_same(earlier: Mapping[str, Any], request: str) -> None:
    if earlier["request"] != request:
        raise RefusedError(409, "this Idempotency-Key was used for another request; choose a new one.")
