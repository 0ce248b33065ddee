"""Models of the catalogue, their scores and their weights."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable
from datetime import datetime
from functools import partial
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Path, Query, Request, Response
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field, ValidationError

from mrdist.errors import MrdistError
from mrdist.methods.dials import DIALS, of_photographs
from mrdist.methods.registry import METHODS
from mrdist.pipeline.showing.explain import (
    coefficients_picture,
    importance_picture,
    intercept_picture,
    weights_at,
)
from mrdist.pipeline.showing.facts import describe_mapping
from mrdist.service.cache import Cache
from mrdist.service.caching import has_already
from mrdist.service.catalog import MODEL_PATTERN, Catalog, Name, not_of_mrdist
from mrdist.service.context import CatalogHere, DeskHere
from mrdist.service.findings import Evaluations, forget, kept_scores, sizes_of
from mrdist.service.groups import check_single, mappings_of
from mrdist.service.pictures import CACHED_PICTURE
from mrdist.service.problems import RefusedError, problems
from mrdist.service.refining import Refining
from mrdist.service.routes.datasets import DatasetName, Pair, Split, open_dataset, read_picture
from mrdist.service.routes.methods import OptionAnswer, describe_option
from mrdist.service.synthesis import open_model
from mrdist.service.turning import Turning
from mrdist.storage import redact
from mrdist.storage.weights.output import DEFAULT_METHOD

router = APIRouter(tags=["models"], prefix="/models", responses=problems(404, 409))

ModelName = Annotated[str, Path(pattern=MODEL_PATTERN, examples=["smile"])]
Pixel = Annotated[int, Query(ge=0, le=1 << 20)]
Channel = Annotated[int, Query(ge=0, le=2, description="Channel of the output.")]
_WAIT_SECONDS = 10.0
_described: Cache[dict[str, Any]] = Cache(1024)
"""By URL and stamp; what is still being made is looked at once a second: it takes 30 ms, and everybody asks for it."""
_evaluations = Evaluations()


class Model(BaseModel):
    """A model; unknown values, such as those of an incomplete one, are null."""

    name: str
    group: Annotated[
        str | None,
        Field(description="Model that holds it, if it is one of several mappings that were trained at once."),
    ] = None
    complete: bool
    method: str | None = None
    method_label: Annotated[
        str | None, Field(description="What people call its method, in the middle of a sentence.")
    ] = None
    layout: Annotated[
        str | None,
        Field(
            description="Its arrays: masked, weights of the receptive field of every pixel; global, codes of whole "
            "images and their weights; sparse, a sparse matrix of learnt weights; morph, masked weights and how "
            "faces move."
        ),
    ] = None
    aligns: Annotated[
        bool | None, Field(description="Whether it takes photographs of any size; else only those of its own shape.")
    ] = None
    dials: Annotated[
        list[OptionAnswer], Field(description="What can be turned when it is applied to photographs, if anything.")
    ] = []
    source: Annotated[str | None, Field(description="Label of the inputs.")] = None
    target: Annotated[str | None, Field(description="Label of the outputs.")] = None
    receptive_field: int | None = None
    dilation: int | None = None
    pool: Annotated[int | None, Field(description="Standard deviation in pixels of pooled sums, if any.")] = None
    alpha: Annotated[float | str | None, Field(description="Null if every pixel has its own.")] = None
    color: str | None = None
    shape: Annotated[Pair | None, Field(description="Height and width in pixels.")] = None
    channels: int | None = None
    scores: Annotated[
        dict[str, dict[str, float | str | None]],
        Field(
            description="Scores of the training, and of each scored split of the model's own dataset (whole frame); "
            "of linked arrays with their ``units``."
        ),
    ] = {}
    parameters: int | None = None
    nonzeros: int | None = None
    bytes: Annotated[int | None, Field(description="Size in the catalogue.")] = None
    created: datetime | None = None
    user: Annotated[str | None, Field(description="Who has trained it, if users have names.")] = None
    dataset: Annotated[str | None, Field(description="Training dataset, if it is in the catalogue.")] = None
    blocks: Annotated[int | None, Field(description="Blocks of an incomplete model.")] = None
    blocks_done: int | None = None
    problem: Annotated[str | None, Field(description="Reason why it cannot be read.")] = None


class ModelList(BaseModel):
    """The models of the catalogue, by name."""

    models: list[Model]


class ModelDetails(Model):
    """A model and where it comes from."""

    training: Annotated[dict[str, Any], Field(description="Everything that decides its weights.")] = {}
    provenance: dict[str, Any] = {}
    cross_validation: Annotated[
        dict[str, Any] | None, Field(description="Cross-validation that chose its penalty.")
    ] = None


class Scores(BaseModel):
    """Scores of a model, as `mrdist evaluate` computes them."""

    model: str
    dataset: str
    source: str
    target: str
    dials: Annotated[dict[str, float | str], Field(description="Those that the request has turned.")] = {}
    unmoved: Annotated[
        int, Field(description="Images that were left as they are, since their landmarks are not known.")
    ] = 0
    splits: Annotated[
        dict[str, dict[str, dict[str, Any]]],
        Field(description="By split and region (frame, face): mse, psnr, ssim and r2 of `model` and `identity`."),
    ]


class ScoresQuery(Turning):
    """What to score a model on, and how its dials are turned."""

    dataset: Annotated[Name | None, Field(description="By default the training dataset.")] = None
    split: Split = "test"


class Computing(BaseModel):
    """The scores are not ready yet; try again."""

    state: Literal["computing"]


class ReceptiveField(BaseModel):
    """The weights of an output pixel."""

    offsets: list[Pair] = Field(description="(dy, dx) from the output pixel to its input pixels.")
    weights: list[float]
    inside: list[bool] = Field(description="Whether each lies inside the image; weights outside have no effect.")
    intercept: float = Field(description="1 = white.")
    importance: float | None = Field(description="Importance of the pixel, 0..1; null for methods without refinement.")


@router.get("")
def list_models(catalog: CatalogHere) -> ModelList:
    """List the models, complete or not."""
    return ModelList(
        models=[_describe(catalog, each) for name in catalog.names("models") for each in _names(catalog, name)]
    )


@router.get("/{name}")
def get_model(name: ModelName, catalog: CatalogHere) -> ModelDetails:
    """Describe a model."""
    described = _description_of(catalog, name)
    provenance = dict(described.get("provenance", {}))
    if "images" in provenance:
        provenance["images"] = _dataset_of(catalog, described) or provenance["images"]
    return ModelDetails(
        **_summary(catalog, name, described),
        training=described["training"],
        provenance=provenance,
        cross_validation=described.get("cross_validation"),
    )


@router.delete("/{name}", status_code=204)
def delete_model(name: ModelName, catalog: CatalogHere, desk: DeskHere) -> Response:
    """Delete a model; mappings that were trained at once are deleted together."""
    group, _, mapping = name.partition(":")
    if mapping:
        catalog.stamp("models", name)
        raise RefusedError(
            409, f"{name!r} is one of the mappings of {group!r}, which are deleted together: delete {group!r}."
        )
    names = _names(catalog, name)
    desk.remove("models", name)
    for each in names:
        forget(catalog, each)
    return Response(status_code=204)


@router.get(
    "/{name}/scores",
    response_model=Scores,
    responses={202: {"model": Computing, "headers": {"Retry-After": {"schema": {"type": "integer"}}}}},
)
def get_model_scores(
    name: ModelName,
    catalog: CatalogHere,
    asked: Annotated[ScoresQuery, Query()],
) -> Any:
    """Score a model on a split of a dataset: computed once, then kept in the catalogue."""
    check_single(catalog, name)
    dataset = asked.dataset
    if dataset is None:
        dataset = _dataset_of(catalog, _description_of(catalog, name))
        if dataset is None:
            raise RefusedError(
                422,
                f"model {name!r} was not trained on a dataset of the catalogue; choose one to score it on (dataset).",
            )
    scores = _evaluations.scores_of(catalog, name, dataset, asked.split, asked.turned, seconds=_WAIT_SECONDS)
    if scores is None:
        return JSONResponse({"state": "computing"}, 202, {"retry-after": "2"})
    return scores


@router.get("/{name}/importance.png", response_class=Response, responses=CACHED_PICTURE)
def get_model_importance(
    name: ModelName, catalog: CatalogHere, request: Request, options: Annotated[Refining, Query()]
) -> Response:
    """Return the importance map as an overlay for a face of the model's size: transparent where it is 0."""
    key = options.model_dump_json(exclude_none=True)
    return _picture(
        catalog, name, request, key, lambda: importance_picture(open_model(catalog, name), options.refinement or True)
    )


@router.get("/{name}/intercept.png", response_class=Response, responses=CACHED_PICTURE)
def get_model_intercept(name: ModelName, catalog: CatalogHere, request: Request, channel: Channel = 0) -> Response:
    """Return the intercept as a picture, red above and blue below zero."""
    return _picture(
        catalog, name, request, channel, lambda: intercept_picture(open_model(catalog, name), channel=channel)
    )


@router.get("/{name}/coefficients.png", response_class=Response, responses=CACHED_PICTURE)
def get_model_coefficients(name: ModelName, catalog: CatalogHere, request: Request, channel: Channel = 0) -> Response:
    """Return all weights: a picture per tap of the receptive field, arranged like the field."""
    return _picture(
        catalog, name, request, channel, lambda: coefficients_picture(open_model(catalog, name), channel=channel)
    )


@router.get("/{name}/receptive-field")
def get_model_receptive_field(
    name: ModelName,
    catalog: CatalogHere,
    y: Pixel,
    x: Pixel,
    channel: Channel = 0,
    source: Annotated[int | None, Query(ge=0, le=2, description="Channel of the input, for joint colour.")] = None,
) -> ReceptiveField:
    """Return the weights of an output pixel."""
    opened = open_model(catalog, name)
    pixel = weights_at(opened, y, x, channel=channel, source=source)
    importance = opened.importance(True) if opened.is_refined else None
    return ReceptiveField(
        offsets=pixel.offsets.tolist(),
        weights=pixel.weights.tolist(),
        inside=pixel.inside.tolist(),
        intercept=pixel.intercept,
        importance=None if importance is None else float(importance[y, x]),
    )


@router.get("/{name}/faces/{dataset}/{row}.png", response_class=Response, responses=CACHED_PICTURE)
def get_model_face(
    name: ModelName,
    dataset: DatasetName,
    row: Annotated[int, Path(ge=0, le=2**53)],
    catalog: CatalogHere,
    request: Request,
    turning: Annotated[Turning, Query()],
) -> Response:
    """Return the output of the model for a row of a dataset."""
    opened, images = open_model(catalog, name), open_dataset(catalog, dataset)
    image = read_picture(catalog, dataset, images, opened.reader.training.source, row)
    notes: list[str] = []

    def make() -> bytes:
        content, said = opened.picture(images, row, image, turning.dials)
        notes.extend(said)
        return content

    key = f"{catalog.stamp('datasets', dataset)}-{row}-{turning.model_dump_json(exclude_none=True)}"
    response = _picture(catalog, name, request, key, make)
    if notes:
        response.headers["x-mrdist-warning"] = "; ".join(notes)
    return response


def _picture(catalog: Catalog, name: str, request: Request, key: object, make: Callable[[], bytes]) -> Response:
    """Answer with a picture of a model unless the client has it."""
    mark = hashlib.sha256(f"{catalog.stamp('models', name)} {request.url.path} {key}".encode()).hexdigest()[:24]
    headers = {"etag": f'"{mark}"', "cache-control": "private, no-cache"}
    if has_already(request, headers["etag"]):
        return Response(status_code=304, headers=headers)
    return Response(make(), media_type="image/png", headers=headers)


def _names(catalog: Catalog, name: str) -> list[str]:
    """Return the names of the mappings that a model of the catalogue holds, or else its own."""
    try:
        return mappings_of(catalog, name) or [name]
    except MrdistError:  # which the description tells
        return [name]


def _describe(catalog: Catalog, name: str) -> Model:
    """Describe one of many; if it cannot be read, the others are still listed."""
    try:
        return Model(**_summary(catalog, name, _description_of(catalog, name)))
    except MrdistError as error:
        return Model(name=name, complete=False, problem=catalog.told(error))
    except ValidationError as error:
        return Model(name=name, complete=False, problem=not_of_mrdist("models", name, error))


def _description_of(catalog: Catalog, name: str) -> dict[str, Any]:
    url, stamp = catalog.url_of("models", name), catalog.stamp("models", name)
    check_single(catalog, name)
    describe = partial(describe_mapping, url, catalog.storage_options)
    described = _described.get((url, stamp), describe)
    return described if described["complete"] else _described.get((url, stamp, int(time.monotonic())), describe)


def _summary(catalog: Catalog, name: str, described: dict[str, Any]) -> dict[str, Any]:
    training = described["training"]
    method = training.get("method", DEFAULT_METHOD)
    same = ("source", "target", "receptive_field", "dilation", "pool", "alpha", "color")
    summary = {key: training.get(key) for key in same} | {
        "name": name,
        "group": name.partition(":")[0] if ":" in name else None,
        "complete": described["complete"],
        "method": method,
        "method_label": METHODS[method].label if method in METHODS else method,
        "layout": described.get("layout"),
        "aligns": described.get("aligns"),
        "dials": [
            describe_option(of_photographs(DIALS[name]), default)
            for name, default in described.get("dials", {}).items()
        ],
        "shape": (training["height"], training["width"]),
        "channels": training["n_channels"],
        "created": described["created"],
    }
    if not described["complete"]:
        return summary | {key: described.get(key) for key in ("blocks", "blocks_done")}
    dataset = _dataset_of(catalog, described)
    scores = dict(described["scores"])
    if dataset is not None and dataset in catalog.names("datasets"):
        kept = kept_scores(catalog, name, dataset, "test")
        if kept is not None:
            scores["test"] = kept["splits"]["test"]["frame"]["model"]
    return (
        summary
        | sizes_of(catalog, name)
        | {"dataset": dataset, "scores": scores, "user": catalog.maker_of("models", name)}
    )


def _dataset_of(catalog: Catalog, described: dict[str, Any]) -> str | None:
    """Return the dataset of the catalogue that a model was trained on, None if it came from elsewhere."""
    url = str(described.get("provenance", {}).get("images", ""))
    name = url.rpartition("/")[2].removesuffix(".zarr")
    return name if name and url == redact(catalog.url_of("datasets", name)) else None
