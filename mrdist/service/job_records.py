"""What the record of a job holds."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field

from mrdist.service.catalog import Kind
from mrdist.service.work import MAKES, Verb

State = Literal["queued", "running", "stopping", "done", "failed", "cancelled"]

JOB_PATTERN = r"^[0-9]{8}t[0-9]{12}-[0-9a-f]{8}$"
ENDED = ("done", "failed", "cancelled")


class Job(BaseModel):
    """A job and how it goes; what is not known yet is null."""

    id: Annotated[str, Field(examples=["20261125t093000123456-0f3a9c2e"])]
    verb: Verb
    name: Annotated[str, Field(description="Of what it makes.")]
    options: dict[str, Any]
    state: State
    submitted: datetime
    started: datetime | None = None
    finished: datetime | None = None
    phase: Annotated[str | None, Field(description="What is done now.")] = None
    blocks: Annotated[int | None, Field(description="Pieces of work of the phase.")] = None
    blocks_done: int | None = None
    images_per_second: float | None = None
    seconds_left: Annotated[float | None, Field(description="Of the phase.")] = None
    scores: dict[str, Any] | None = None
    last_error: str | None = None
    model: Annotated[str | None, Field(description="Name of the model that it trains.")] = None
    dataset: Annotated[str | None, Field(description="Name of the dataset that it makes or trains from.")] = None
    dashboard: Annotated[str | None, Field(description="Of the cluster that does the work.")] = None


class Grid(BaseModel):
    """How an image is cut into blocks."""

    shape: list[int]
    block: list[int]
    grid: list[int]


class JobRecord(Job):
    """A job as it lies in the catalogue.

    Attributes
    ----------
    revision
        Counts the writes.
    crashes
        How often its process has died.
    peak_memory, n_tasks
        That a worker will need, in bytes, and how many could be busy.
    key
        Hash of its idempotency key.
    grid, done
        The blocks of the phase, where there are any: 1 for each that is done, in raster order.
    """

    revision: int = 0
    crashes: int = 0
    peak_memory: int = 0
    n_tasks: int = 1
    key: str | None = None
    grid: Grid | None = None
    done: str = ""

    @property
    def has_ended(self) -> bool:
        """Whether nobody works on it any more."""
        return self.state in ENDED

    def memory_of(self, workers: int) -> int:
        """Return the bytes that it will need with so many workers."""
        return self.peak_memory * max(1, min(workers, self.n_tasks))

    def uses(self, kind: Kind, name: str) -> bool:
        """Whether it makes a store or trains from it."""
        made = (MAKES[self.verb], self.name) == (kind, name)
        return made or (kind == "datasets" and self.options.get("images") == name)
