"""Synthesis: a photograph in, a picture out."""

from __future__ import annotations

import base64
from collections import defaultdict
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import Annotated, Any, Literal, Self

from anyio.to_thread import run_sync
from fastapi import APIRouter, Request, Response
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, Field, ValidationError, model_validator
from starlette.datastructures import FormData, UploadFile
from starlette.exceptions import HTTPException

from mrdist.methods.dials import DIALS
from mrdist.pipeline.showing.opened import Retouched
from mrdist.service.catalog import Catalog, ModelName
from mrdist.service.context import CatalogHere
from mrdist.service.options import dial_fields, with_fields
from mrdist.service.pictures import BINARY
from mrdist.service.problems import RefusedError, problems
from mrdist.service.refining import NAMES, Refining
from mrdist.service.synthesis import clean_name, open_model, prepare, retouch_all

router = APIRouter(tags=["synthesis"], prefix="/synthesis", responses=problems(404, 409))

_MOST_MODELS = 8
_NUMBER = r"-?[0-9]{1,6}(?:\.[0-9]{1,6})?"


@with_fields(dial_fields(photographs=True))
class Synthesis(Refining):
    """Options of a synthesis."""

    model: Annotated[
        list[ModelName], Field(min_length=1, max_length=_MOST_MODELS, description="One model, or several.")
    ]
    refine: Annotated[bool, Field(description="Change the photograph only where the model matters.")] = False
    points: Annotated[
        str | None,
        Field(
            pattern=rf"^{_NUMBER}(,{_NUMBER}){{3}}((,{_NUMBER}){{4}})?$",
            description="x and y of the pupils: left one, right one; then, perhaps, of the corners of the mouth.",
        ),
    ] = None
    faces: Annotated[
        Literal["largest", "all"], Field(description="Which faces change; all needs a detector of faces.")
    ] = "largest"
    overlay: Annotated[
        Literal["importance"] | None,
        Field(description="Return a gray map of the change's weight instead of the picture."),
    ] = None

    @model_validator(mode="after")
    def _belong_to_refinement(self) -> Self:
        for name in NAMES:
            if getattr(self, name) is not None and not self.refine:
                raise ValueError(f"{name} is an option of the refinement; also send refine=true")
        return self

    def make(self, opened: Any, content: bytes, name: str) -> Retouched:
        """Make the picture."""
        points = None if self.points is None else tuple(map(float, self.points.split(",")))
        faces = self.faces if self.overlay is None else "largest"
        turned = {name: value for name in DIALS if (value := getattr(self, name)) is not None}
        made: Retouched = opened.change(
            prepare(opened, content, name, points=points, faces=faces),
            refine=self.refinement or self.refine,
            overlay=self.overlay is not None,
            **turned,
        )
        return made


class Picture(BaseModel):
    """The picture that a model made of the photograph."""

    model: str
    alignment: Literal["aligned", "points", "detection", "registration"]
    points: Annotated[
        list[float] | None, Field(min_length=4, max_length=4, description="Position of the pupils that was used.")
    ]
    milliseconds: dict[str, float] = Field(description="To decode, align, apply the model and encode.")
    measures: dict[str, float] = Field(description="How far the face is from those of the training.")
    warnings: list[str] = Field(description="Measures outside their usual range.")
    png: str = Field(json_schema_extra={"contentEncoding": "base64", "contentMediaType": "image/png"})


class Pictures(BaseModel):
    """The pictures of several models, in the order in which they were named."""

    pictures: list[Picture]


_FORM: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {"multipart/form-data": {"schema": {"$ref": "#/components/schemas/Synthesis"}}},
    }
}


@router.post(
    "",
    response_class=Response,
    openapi_extra=_FORM,
    responses={
        200: {
            "description": "The picture of one model, or those of several.",
            "content": {
                "image/png": {"schema": BINARY},
                "application/json": {"schema": {"$ref": "#/components/schemas/Pictures"}},
            },
            "headers": {
                "Server-Timing": {"schema": {"type": "string"}, "description": "Milliseconds of each stage."},
                "X-Mrdist-Alignment": {"schema": {"enum": ["aligned", "points", "detection", "registration"]}},
                "X-Mrdist-Points": {
                    "schema": {"type": "string"},
                    "description": "Position of the pupils that was used.",
                },
                "X-Mrdist-Measures": {
                    "schema": {"type": "string"},
                    "description": "How far the face is from those of the training, as likeness=0.83, and so on.",
                },
                "X-Mrdist-Warning": {
                    "schema": {"type": "string"},
                    "description": "Measures outside their usual range.",
                },
            },
        }
    },
)
async def synthesize(request: Request, catalog: CatalogHere) -> Response:
    """Give a photograph a new expression.

    A photograph of the size that the model was trained on, without points, counts as aligned. In any other, the points
    or a detector of faces locate the face, or, where none is installed, its likeness to the mean face of the training;
    only the face changes.
    """
    options, made = await _make(request, catalog)
    if len(made) == 1:
        return Response(made[0].content, media_type="image/png", headers=_headers(made[0]))
    return await _told(options, made)


@router.post("/pictures", response_model=Pictures, openapi_extra=_FORM)
async def synthesize_each(request: Request, catalog: CatalogHere) -> Response:
    """Give a photograph new expressions, by one model or several; the pictures come with what is known of them."""
    return await _told(*await _make(request, catalog))


async def _make(request: Request, catalog: Catalog) -> tuple[Synthesis, list[Retouched]]:
    async with _form(request) as (photograph, options):
        made = await retouch_all(
            photograph.file,
            clean_name(photograph.filename),
            [partial(open_model, catalog, name) for name in options.model],
            options.make,
        )
    return options, made


async def _told(options: Synthesis, made: Sequence[Retouched]) -> Response:
    return Response(await run_sync(_to_json, options.model, made), media_type="application/json")


def _to_json(models: Sequence[str], made: Sequence[Retouched]) -> str:
    pictures = [
        Picture(
            model=name,
            alignment=_alignment(each),
            points=None if each.pupils is None else list(each.pupils),
            milliseconds={stage: 1000 * seconds for stage, seconds in each.seconds.items()},
            measures=each.measures,
            warnings=each.warnings,
            png=base64.b64encode(each.content).decode(),
        )
        for name, each in zip(models, made, strict=True)
    ]
    return Pictures(pictures=pictures).model_dump_json()


@asynccontextmanager
async def _form(request: Request) -> AsyncIterator[tuple[UploadFile, Synthesis]]:
    """Read the form; only the photograph may be larger than a few bytes."""
    try:
        fields = await request.form(max_files=1, max_fields=32, max_part_size=4096)
    except HTTPException as error:
        reason = str(error.detail).partition(".")[0]
        raise RefusedError(
            400, f"invalid form ({reason}); send one photograph and its options as multipart/form-data."
        ) from error
    try:
        yield _parsed(fields)
    finally:
        await fields.close()


def _parsed(form: FormData) -> tuple[UploadFile, Synthesis]:
    fields: defaultdict[str, list[Any]] = defaultdict(list)
    for name, value in form.multi_items():
        fields[name].append(value)
    photographs = fields.pop("photograph", [])
    if len(photographs) != 1 or not isinstance(photographs[0], UploadFile):
        raise RefusedError(422, "photograph is missing: send one as a file of a multipart form.")
    try:
        values = {name: sent if name == "model" or len(sent) > 1 else sent[0] for name, sent in fields.items()}
        return photographs[0], Synthesis.model_validate(values)
    except ValidationError as error:
        details = [{**each, "loc": ("body", *each["loc"])} for each in error.errors(include_url=False)]
        raise RequestValidationError(details) from error


def _alignment(made: Retouched) -> Any:
    return made.alignment or "aligned"


def _headers(made: Retouched) -> dict[str, str]:
    points = made.pupils
    measures = ", ".join(f"{name}={value:.3f}" for name, value in made.measures.items())
    stages = ", ".join(f"{stage};dur={1000 * seconds:.3f}" for stage, seconds in made.seconds.items())
    return {
        "server-timing": stages,
        "x-mrdist-alignment": _alignment(made),
        **({} if points is None else {"x-mrdist-points": ",".join(f"{value:.1f}" for value in points)}),
        **({"x-mrdist-measures": measures} if measures else {}),
        **({"x-mrdist-warning": "; ".join(made.warnings)} if made.warnings else {}),
    }
