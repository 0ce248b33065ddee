"""The record of a job."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field, computed_field

from mrdist.service.catalog import Kind
from mrdist.service.command_lines import command_line
from mrdist.service.work import MAKES, Verb, datasets_of

State = Annotated[
    Literal["queued", "running", "stopping", "done", "failed", "cancelled"],
    Field(title="State"),  # after which generated clients name it
]

JOB_PATTERN = r"^[0-9]{8}t[0-9]{12}-[0-9a-f]{8}$"
ENDED = ("done", "failed", "cancelled")


class Job(BaseModel):
    """A job and its progress; unknown values are null."""

    id: Annotated[str, Field(examples=["20261125t093000123456-0f3a9c2e"])]
    verb: Verb
    name: Annotated[str, Field(description="Name of the store that it makes.")]
    options: dict[str, Any]
    user: Annotated[str | None, Field(description="Who has submitted it, if users have names.")] = None
    state: State
    submitted: datetime
    started: datetime | None = None
    finished: datetime | None = None
    phase: Annotated[str | None, Field(description="Current phase.")] = None
    blocks: Annotated[int | None, Field(description="Number of blocks of the phase.")] = None
    blocks_done: int | None = None
    share: Annotated[
        float | None,
        Field(description="Part of the phase that is done, 0 to 1, with what blocks have done that are not finished."),
    ] = None
    images_per_second: float | None = None
    seconds_left: Annotated[float | None, Field(description="Estimated seconds until the phase ends.")] = None
    scores: dict[str, Any] | None = None
    last_error: str | None = None
    warnings: Annotated[list[str], Field(description="What it has warned of, each a sentence.")] = []
    model: Annotated[str | None, Field(description="Name of the model that it trains.")] = None
    dataset: Annotated[str | None, Field(description="Name of the dataset that it makes or trains from.")] = None
    dashboard: Annotated[str | None, Field(description="URL of the dashboard of the Dask cluster.")] = None
    note: Annotated[str | None, Field(description="What somebody has written about it.")] = None
    tags: Annotated[list[str], Field(description="Words that somebody has put on it.")] = []
    after: Annotated[
        list[str], Field(description="Jobs that make the datasets it needs; it begins when they are done.")
    ] = []

    @computed_field(description="The command that submits the same job.")  # type: ignore[prop-decorator]
    @property
    def command(self) -> str:
        """The command that submits the same job."""
        return command_line(self.verb, self.name, self.options)


PUBLIC = {*Job.model_fields, *Job.model_computed_fields}


class Grid(BaseModel):
    """The blocks of an image."""

    shape: list[int]
    block: list[int]
    grid: list[int]


class JobRecord(Job):
    """A job as it is stored in the catalogue.

    Attributes
    ----------
    revision
        Number of writes.
    crashes
        Number of times that its process has died.
    peak_memory, n_tasks
        Bytes that a worker needs, and how many workers could be busy.
    key
        Hash of its idempotency key.
    grid, done
        The blocks of the phase, if any, and 1 for each that is done, in raster order.
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
        """Whether the job has ended."""
        return self.state in ENDED

    def memory_of(self, workers: int) -> int:
        """Return the bytes that it needs with this number of workers."""
        return self.peak_memory * max(1, min(workers, self.n_tasks))

    def uses(self, kind: Kind, name: str) -> bool:
        """Whether the job makes a store or trains from it."""
        made = (MAKES[self.verb], self.name) == (kind, name)
        return made or (kind == "datasets" and name in datasets_of(self.verb, self.options))

    def has_words(self, words: str) -> bool:
        """Whether a search for words means it: they begin its ID, or are a part of what somebody has chosen."""
        chosen = (
            self.name,
            self.verb,
            self.user,
            self.dataset,
            self.note,
            *self.tags,
            *map(str, self.options.values()),
        )
        return self.id.startswith(words) or any(words.lower() in each.lower() for each in chosen if each)
