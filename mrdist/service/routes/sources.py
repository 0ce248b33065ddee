"""Sources: photographs in the catalogue that can be ingested."""

from __future__ import annotations

from fastapi import APIRouter
from pydantic import BaseModel, Field

from mrdist.service.context import CatalogHere
from mrdist.service.problems import problems

router = APIRouter(tags=["datasets"], prefix="/sources", responses=problems())


class SourceList(BaseModel):
    """The sources of the catalogue, by name."""

    sources: list[str] = Field(description="Folders and archives directly below the catalogue's sources/.")


@router.get("")
def list_sources(catalog: CatalogHere) -> SourceList:
    """List the folders and archives of photographs that can be ingested."""
    return SourceList(sources=catalog.sources())
