"""Sources: photographs in the catalogue that can be ingested."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, File, Form, Path, Query, Request, UploadFile
from pydantic import BaseModel, Field

from mrdist.errors import ParameterError
from mrdist.pipeline.ingesting.understand import understand
from mrdist.service.catalog import NAME_PATTERN
from mrdist.service.context import CatalogHere, SettingsHere
from mrdist.service.problems import problems
from mrdist.service.uploads import ACCEPTED, MOST_FILES, keep_file

router = APIRouter(tags=["datasets"], prefix="/sources", responses=problems())

_TOLD = 200
AnySource = Annotated[str, Path(pattern=r"^[A-Za-z0-9_][A-Za-z0-9 ._-]{0,99}$", examples=["london.zip"])]
SourceName = Annotated[str, Path(pattern=NAME_PATTERN, examples=["my-people"])]


class SourceList(BaseModel):
    """The sources of the catalogue, by name, and what can be put there."""

    sources: list[str] = Field(description="Folders and archives directly below the catalogue's sources/.")
    endings: list[str] = Field(description="Of files that are taken, in lower case.")
    file_bytes: int = Field(description="Largest file that is taken.")
    files: int = Field(description="Largest number of files of a source that clients should send.")


class Kept(BaseModel):
    """A photograph that is in the catalogue now."""

    source: str
    path: str
    bytes: int


class Understood(BaseModel):
    """What an ingest would make of a source, from the names of its files alone."""

    layout: Annotated[str, Field(description="How files are named, and why that is supposed.")]
    people: int
    takes: Annotated[int, Field(description="Rows of the dataset: a person may have several.")]
    whole: Annotated[int, Field(description="Of these, those with every label.")]
    labels: Annotated[dict[str, int], Field(description="Photographs of each label.")]
    splits: Annotated[dict[str, int], Field(description="Rows of each split, drawn by person.")]
    left_out: Annotated[dict[str, str], Field(description="Why files or takes are not used, or not whole; the first.")]
    n_left_out: int


@router.get("")
def list_sources(catalog: CatalogHere, settings: SettingsHere) -> SourceList:
    """List the folders and archives of photographs that can be ingested."""
    return SourceList(
        sources=catalog.sources(), endings=list(ACCEPTED), file_bytes=settings.max_upload_bytes, files=MOST_FILES
    )


@router.post("/{source}/photographs", status_code=201, responses=problems(409))
async def add_photograph(
    source: SourceName,
    catalog: CatalogHere,
    request: Request,
    photograph: Annotated[
        UploadFile,
        File(description="A photograph, or a landmark file of the same name.", json_schema_extra={"format": "binary"}),
    ],
    path: Annotated[str, Form(max_length=800, description="Its place in the source, such as ann/happy.jpg.")],
) -> Kept:
    """Put a photograph into a source, which is made if need be; nothing there is replaced."""
    names = [name for name, _ in (await request.form()).multi_items()]
    for name in names:
        if name not in ("photograph", "path") or names.count(name) > 1:
            raise ParameterError(
                f"the form has {name[:80]!r} {names.count(name)} times; send one photograph and its path."
            )
    return Kept(source=source, path=path, bytes=await keep_file(catalog, source, path, photograph.file))


@router.get("/{source}/people", responses=problems(404))
def understand_source(
    source: AnySource,
    catalog: CatalogHere,
    layout: Annotated[str, Query(max_length=40, description="As in an ingest.")] = "auto",
) -> Understood:
    """Say what an ingest would make of a source, before it is asked for."""
    found: dict[str, Any] = understand(catalog.source(source), layout=layout, storage_options=catalog.storage_options)
    place = f"{catalog.url}/sources/"
    told = {what.replace(place, ""): why.replace(place, "") for what, why in found.pop("left_out").items()}
    return Understood(**found, left_out=dict(list(told.items())[:_TOLD]), n_left_out=len(told))
