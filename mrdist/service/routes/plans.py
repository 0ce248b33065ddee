"""Plans: the cost of a training."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter
from pydantic import BaseModel, Field

from mrdist.service.checks import plan_request
from mrdist.service.context import CatalogHere, JobsHere, SettingsHere
from mrdist.service.problems import problems
from mrdist.service.requests import PlanRequest

router = APIRouter(tags=["plans"], prefix="/plans", responses=problems(404, 409))


class PlanAnswer(BaseModel):
    """The output of `mrdist plan --json`; seconds are null where a short measurement does not tell them."""

    block: Annotated[list[int] | None, Field(description="Height and width of a block.")] = None
    n_blocks: int
    peak_memory: Annotated[int, Field(description="Memory of a worker process in bytes.")]
    memory: Annotated[int, Field(description="Memory in bytes of all worker processes that run at once.")]
    workers: Annotated[int, Field(description="Worker processes; 0 where the job works in its own process.")]
    where: Annotated[str | None, Field(description="The same in words, and why.")] = None
    bytes_read: int | None = None
    bytes_written: int | None = None
    bytes_needed: int | None = None
    amplification: float | None = None
    slab: int | None = None
    seconds: float | None = None
    seconds_alone: Annotated[float | None, Field(description="In one process, by cautious rates.")] = None
    start_seconds: Annotated[float | None, Field(description="Until the workers are there; not in seconds.")] = None
    total_seconds: float | None = None
    advice: str | None = None


@router.post("")
def plan_training(request: PlanRequest, catalog: CatalogHere, settings: SettingsHere, jobs: JobsHere) -> PlanAnswer:
    """Estimate what a training reads, writes and holds in memory, and how long it takes."""
    jobs.check_made(request.options.images)
    planned: dict[str, Any] = plan_request(catalog, settings, request.options.given())
    return PlanAnswer(**planned)
