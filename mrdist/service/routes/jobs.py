"""Jobs: submit, watch, stop, resume."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from datetime import datetime
from threading import Event
from typing import Annotated, Any

import anyio
from fastapi import APIRouter, Header, Path, Query, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from mrdist.service.context import DeskHere, IdempotencyKey, JobsHere, UserHere
from mrdist.service.job_records import JOB_PATTERN, PUBLIC, Job, JobRecord, State
from mrdist.service.jobs import Jobs
from mrdist.service.pictures import TEXT
from mrdist.service.problems import RefusedError, problems
from mrdist.service.requests import JobRequest
from mrdist.service.security import API
from mrdist.service.streams import Stream

router = APIRouter(tags=["jobs"], prefix="/jobs", responses=problems(404, 409))

Pair = Annotated[list[int], Field(min_length=2, max_length=2)]
JobId = Annotated[str, Path(pattern=JOB_PATTERN, examples=["20261125t093000123456-0f3a9c2e"])]
_POLL_SECONDS = 0.5
_BEAT_SECONDS = 15.0
_STREAMS = 200


class JobList(BaseModel):
    """Jobs, the latest first."""

    jobs: list[Job]
    next: Annotated[str | None, Field(description="What `before` must be for the jobs after these; null at the end.")]


class Note(BaseModel):
    """What somebody writes about a job."""

    model_config = ConfigDict(extra="forbid")

    note: Annotated[str | None, Field(max_length=2000)] = None
    tags: Annotated[list[Annotated[str, Field(min_length=1, max_length=40)]], Field(max_length=16)] = []


class Deleted(BaseModel):
    """What has become of jobs that were to be deleted."""

    deleted: list[str]
    kept: Annotated[dict[str, str], Field(description="Why the others are still there, by ID.")]


class Blocks(BaseModel):
    """The blocks of a job's phase that are done; null and empty if the phase has no grid."""

    shape: Annotated[Pair | None, Field(description="Height and width of the image.")] = None
    block: Annotated[Pair | None, Field(description="Height and width of a block.")] = None
    grid: Annotated[Pair | None, Field(description="Rows and columns of blocks.")] = None
    done: Annotated[str, Field(description="1 for each block that is done and 0 for the others, in raster order.")] = ""


class Line(BaseModel):
    """A line of a job's log."""

    time: datetime
    level: str
    message: str


class Log(BaseModel):
    """What a job has said, the latest lines of it."""

    lines: list[Line]


class Result(BaseModel):
    """The result of a job: the JSON of its command."""

    result: dict[str, Any]


@router.post("", status_code=202)
def submit_job(
    request: JobRequest, desk: DeskHere, user: UserHere, response: Response, idempotency_key: IdempotencyKey = None
) -> Job:
    """Submit a job; an invalid request is refused at once."""
    record = desk.submit(request.verb, request.name, request.options.given(), idempotency_key, user.name)
    response.headers["location"] = f"{API}/jobs/{record.id}"
    return record


@router.get("")
def list_jobs(
    jobs: JobsHere,
    state: State | None = None,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
    search: Annotated[
        str | None, Query(min_length=1, max_length=100, description="Beginning of an ID, or a part of what is told.")
    ] = None,
    before: Annotated[str | None, Query(pattern=JOB_PATTERN, description="Only jobs before this one.")] = None,
) -> JobList:
    """List the latest jobs, latest first."""
    latest = jobs.latest(state, limit + 1, words=search, before=before)
    return JobList(jobs=list(latest[:limit]), next=latest[limit - 1].id if len(latest) > limit else None)


@router.delete("")
def delete_jobs(
    jobs: JobsHere,
    job: Annotated[list[Annotated[str, Field(pattern=JOB_PATTERN)]], Query(min_length=1, max_length=200)],
) -> Deleted:
    """Delete jobs that have ended; their results stay."""
    kept = {}
    for each in dict.fromkeys(job):
        try:
            jobs.delete(each)
        except RefusedError as error:
            kept[each] = str(error)
    return Deleted(deleted=[each for each in dict.fromkeys(job) if each not in kept], kept=kept)


@router.get("/{job}")
def get_job(job: JobId, jobs: JobsHere) -> Job:
    """Return a job and its progress."""
    return jobs.get(job)


@router.patch("/{job}")
def note_job(job: JobId, note: Note, jobs: JobsHere) -> Job:
    """Write a note and tags to a job, in place of those before."""
    return jobs.note(job, note.note, note.tags)


@router.get("/{job}/blocks")
def get_job_blocks(job: JobId, jobs: JobsHere) -> Blocks:
    """Return the blocks of the image that are done."""
    record = jobs.get(job)
    if record.grid is None:
        return Blocks()
    return Blocks(**record.grid.model_dump(), done=record.done)


@router.get("/{job}/log")
def get_job_log(job: JobId, jobs: JobsHere) -> Log:
    """Return the log of a job."""
    jobs.get(job)
    return Log.model_validate({"lines": jobs.log(job)})


@router.get("/{job}/result")
def get_job_result(job: JobId, jobs: JobsHere) -> Result:
    """Return the result of a job."""
    return Result(result=jobs.result(job))


@router.post("/{job}/cancel", status_code=202)
def cancel_job(job: JobId, desk: DeskHere) -> Job:
    """Stop a job or remove it from the queue; finished work is kept."""
    return desk.cancel(job)


@router.post("/{job}/resume", status_code=202)
def resume_job(job: JobId, desk: DeskHere) -> Job:
    """Resume a failed or cancelled job."""
    return desk.resume(job)


@router.delete("/{job}", status_code=204)
def delete_job(job: JobId, jobs: JobsHere) -> Response:
    """Delete a job that has ended; its results stay."""
    jobs.delete(job)
    return Response(status_code=204)


@router.get(
    "/{job}/events",
    response_class=Stream,
    responses={200: {"content": {"text/event-stream": {"schema": TEXT}}, "description": "Events: job, blocks, end."}},
)
def watch_job(
    request: Request,
    job: JobId,
    jobs: JobsHere,
    last_event_id: Annotated[str | None, Header(max_length=100)] = None,
) -> Stream:
    """Stream the changes of a job until it ends; after a reconnection, also those since then."""
    record = jobs.get(job)
    state = request.app.state
    if state.streams >= _STREAMS:
        raise RefusedError(503, f"{_STREAMS} event streams are open, which is the limit; poll the job instead.")
    events = _events(jobs, record, last_event_id, state)
    return Stream(events, media_type="text/event-stream", headers={"cache-control": "no-store"})


async def _events(jobs: Jobs, record: JobRecord, last: str | None, state: Any) -> AsyncIterator[str]:
    """Yield the events of a job; an event's id is the revision of its record."""
    stopping: Event = state.stopping
    state.streams += 1
    try:
        seen, done, quiet = last, "", 0.0
        while True:
            if _revision(record) != seen:
                seen, quiet = _revision(record), 0.0
                yield _event("job", seen, _public(record))
                new = [n for n, mark in enumerate(record.done) if mark == "1" and done[n : n + 1] != "1"]
                if new:
                    yield _event("blocks", seen, {"done": new})
            done = record.done
            if record.has_ended:
                yield _event("end", seen, {"state": record.state})
                return
            if stopping.is_set():
                return
            await anyio.sleep(_POLL_SECONDS)
            quiet += _POLL_SECONDS
            if quiet >= _BEAT_SECONDS:
                quiet = 0.0
                yield ": still there\n\n"
            record = await anyio.to_thread.run_sync(jobs.get, record.id)
    except RefusedError:  # deleted
        yield _event("end", None, {"state": "deleted"})
    finally:
        state.streams -= 1


def _revision(record: JobRecord) -> str:
    return f"{record.revision}-{record.state}"


def _public(record: JobRecord) -> dict[str, Any]:
    return record.model_dump(mode="json", include=PUBLIC)


def _event(kind: str, revision: str | None, data: dict[str, Any]) -> str:
    head = "" if revision is None else f"id: {revision}\n"
    return f"event: {kind}\n{head}data: {json.dumps(data)}\n\n"
