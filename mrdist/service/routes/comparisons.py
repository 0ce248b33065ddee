"""Comparisons of methods trained on the same people."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Path, Response
from pydantic import BaseModel, Field

from mrdist.service.catalog import NAME_PATTERN
from mrdist.service.context import CatalogHere, DeskHere
from mrdist.service.pictures import PICTURE
from mrdist.service.problems import problems
from mrdist.storage.access.files import File
from mrdist.storage.access.records import read_record

router = APIRouter(tags=["comparisons"], prefix="/comparisons", responses=problems(404, 409))

ComparisonName = Annotated[str, Path(pattern=NAME_PATTERN, examples=["all-methods"])]


class ComparisonList(BaseModel):
    """The comparisons of the catalogue, by name."""

    comparisons: list[str]


class Comparison(BaseModel):
    """The table of a comparison, as `mrdist compare --json` prints it; some rows are missing while the job runs."""

    name: str
    complete: bool
    split: str
    source: str
    target: str
    methods: list[dict[str, Any]]
    people: Annotated[list[str], Field(description="Names of the people who are scored.")] = []
    verdicts: Annotated[dict[str, str], Field(description="Which methods are best, in words, by measure.")] = {}
    recognition: Annotated[
        dict[str, Any] | None,
        Field(description="What expression and sharpness are measured by, and those of real faces."),
    ] = None


@router.get("")
def list_comparisons(catalog: CatalogHere) -> ComparisonList:
    """List the comparisons, complete or not."""
    return ComparisonList(comparisons=catalog.names("comparisons"))


@router.get("/{name}")
def get_comparison(name: ComparisonName, catalog: CatalogHere) -> Comparison:
    """Return the table of a comparison."""
    url = catalog.find("comparisons", name)
    content = read_record(f"{url}/compare.json", catalog.storage_options) or {}
    return Comparison.model_validate({**content, "name": name, "complete": catalog.is_complete("comparisons", name)})


@router.get("/{name}/picture.png", response_class=Response, responses=PICTURE)
def get_comparison_picture(name: ComparisonName, catalog: CatalogHere) -> Response:
    """Return the picture of a comparison: errors, and errors against sizes."""
    catalog.check_complete("comparisons", name)
    file = File(f"{catalog.url_of('comparisons', name)}/compare.png", storage_options=catalog.storage_options)
    return Response(file.read_bytes(), media_type="image/png")


@router.delete("/{name}", status_code=204)
def delete_comparison(name: ComparisonName, desk: DeskHere) -> Response:
    """Delete a comparison and the models that were trained for it."""
    desk.remove("comparisons", name)
    return Response(status_code=204)
