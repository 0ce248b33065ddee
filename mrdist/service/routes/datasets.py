"""Datasets of the catalogue, their rows and their pictures."""

from __future__ import annotations

import hashlib
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Path, Query, Request, Response
from pydantic import BaseModel, Field, ValidationError

from mrdist.errors import MrdistError
from mrdist.pipeline.showing.browse import check_picture, list_rows, read_one, read_run, summarize, to_png
from mrdist.service.cache import Cache
from mrdist.service.caching import has_already
from mrdist.service.catalog import NAME_PATTERN, Catalog, not_of_mrdist
from mrdist.service.context import CatalogHere, DeskHere, IdempotencyKey, UserHere
from mrdist.service.job_records import Job
from mrdist.service.pictures import CACHED_PICTURE
from mrdist.service.problems import RefusedError, problems
from mrdist.service.requests import DatasetRequest, GenerateDataset
from mrdist.service.security import API
from mrdist.service.work import Verb
from mrdist.storage import Images, StorageOptions

router = APIRouter(tags=["datasets"], prefix="/datasets", responses=problems(404, 409))

DatasetName = Annotated[str, Path(pattern=NAME_PATTERN, examples=["faces"])]
Pair = Annotated[list[int], Field(min_length=2, max_length=2)]
Split = Annotated[Literal["train", "val", "test"], Field(title="Split")]
_MAX_ROW = 2**53
_RUN_BYTES = 64 << 20
_summaries: Cache[dict[str, Any]] = Cache(256)
_stores: Cache[Images] = Cache(16)
_runs: Cache[Any] = Cache(_RUN_BYTES, size=lambda images: int(images.nbytes))


class Dataset(BaseModel):
    """A dataset; unknown values of an incomplete one are null."""

    name: str
    complete: bool
    images: int | None = None
    subjects: int | None = None
    shape: Annotated[Pair | None, Field(description="Height and width in pixels.")] = None
    channels: int | None = None
    dtype: str | None = None
    labels: list[str] = []
    present: Annotated[dict[str, int], Field(description="Images of each label.")] = {}
    splits: Annotated[dict[str, int], Field(description="Rows of each split.")] = {}
    bytes: Annotated[int | None, Field(description="Size in the catalogue.")] = None
    linked: Annotated[bool, Field(description="Whether it only refers to arrays that lie elsewhere.")] = False
    problem: Annotated[str | None, Field(description="Reason why it cannot be read.")] = None


class DatasetList(BaseModel):
    """The datasets of the catalogue, by name."""

    datasets: list[Dataset]


class DatasetDetails(Dataset):
    """A dataset and where it comes from."""

    provenance: dict[str, Any] = {}


class Row(BaseModel):
    """One take of a person."""

    row: int
    image: str
    subject: str
    dataset: str
    split: str
    labels: list[str] = Field(description="Labels of which there is an image.")


class Rows(BaseModel):
    """Some rows of a dataset."""

    total: int
    rows: list[Row]


@router.get("")
def list_datasets(catalog: CatalogHere) -> DatasetList:
    """List the datasets, complete or not."""
    return DatasetList(datasets=[_describe(catalog, name) for name in catalog.names("datasets")])


@router.post("", status_code=202)
def make_dataset(
    request: DatasetRequest, desk: DeskHere, user: UserHere, response: Response, idempotency_key: IdempotencyKey = None
) -> Job:
    """Submit a job that makes a dataset of synthetic faces or of photographs in the catalogue."""
    verb: Verb
    if isinstance(request, GenerateDataset):
        verb, options = "generate", request.generate.given()
    else:
        verb, options = "ingest", request.ingest.given()
    record = desk.submit(verb, request.name, options, idempotency_key, user.name)
    response.headers["location"] = f"{API}/jobs/{record.id}"
    return record


@router.get("/{name}")
def get_dataset(name: DatasetName, catalog: CatalogHere) -> DatasetDetails:
    """Describe a dataset."""
    summary = _summary(catalog, name)
    return DatasetDetails(name=name, **summary)


@router.delete("/{name}", status_code=204)
def delete_dataset(name: DatasetName, desk: DeskHere) -> Response:
    """Delete a dataset."""
    desk.remove("datasets", name)
    return Response(status_code=204)


@router.get("/{name}/rows")
def list_dataset_rows(
    name: DatasetName,
    catalog: CatalogHere,
    split: Split | None = None,
    offset: Annotated[int, Query(ge=0, le=_MAX_ROW)] = 0,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
) -> Rows:
    """List the rows of a dataset: people and their labels."""
    return Rows.model_validate(list_rows(open_dataset(catalog, name), split=split, offset=offset, limit=limit))


@router.get(
    "/{name}/rows/{row}/{label}.png",
    response_class=Response,
    responses=CACHED_PICTURE,
)
def get_dataset_picture(
    request: Request,
    name: DatasetName,
    row: Annotated[int, Path(ge=0, le=_MAX_ROW)],
    label: Annotated[str, Path(pattern=r"^\w{1,100}$", examples=["neutral"])],
    catalog: CatalogHere,
    size: Annotated[int | None, Query(ge=1, le=4096, description="Limit of the longer side in pixels.")] = None,
) -> Response:
    """Return an image of a dataset as a picture."""
    images = open_dataset(catalog, name)
    image = read_picture(catalog, name, images, label, row)
    mark = hashlib.sha256(f"{image.shape} {image.dtype} {size}".encode() + image.tobytes()).hexdigest()[:24]
    headers = {"etag": f'"{mark}"', "cache-control": "private, max-age=60"}  # a dataset that grows keeps its pictures
    if has_already(request, headers["etag"]):
        return Response(status_code=304, headers=headers)
    return Response(to_png(image, size), media_type="image/png", headers=headers)


def read_picture(catalog: Catalog, name: str, images: Images, label: str, row: int) -> Any:
    """Return an image of a dataset; its neighbours are cached, since the next request may need one."""
    if label not in images.labels or row >= images.n_images:
        raise RefusedError(
            404,
            f"dataset {name!r} has rows 0 to {images.n_images - 1} with {', '.join(images.labels)}, not row {row} with "
            f"{label!r}.",
        )
    check_picture(images, label, row)
    run, position = divmod(row, images.chunks[0])
    run_bytes = images.chunks[0] * images.shape[0] * images.shape[1] * images.n_channels * images.dtype.itemsize
    if run_bytes > _RUN_BYTES:
        return read_one(images, label, row)
    key = (images.url, catalog.stamp("datasets", name), label, run)
    return _runs.get(key, lambda: read_run(images, label, run))[position]


def open_dataset(catalog: Catalog, name: str) -> Images:
    """Return a complete dataset of the catalogue, kept open until it changes."""
    stamp = catalog.stamp("datasets", name)
    url = catalog.url_of("datasets", name)
    return _stores.get((url, stamp), lambda: Images.open(url, catalog.storage_options))


def _describe(catalog: Catalog, name: str) -> Dataset:
    """Describe one of many; if it cannot be read, the others are still listed."""
    try:
        return Dataset(name=name, **_summary(catalog, name))
    except MrdistError as error:
        return Dataset(name=name, complete=False, problem=catalog.told(error))
    except ValidationError as error:
        return Dataset(name=name, complete=False, problem=not_of_mrdist("datasets", name, error))


def _summarize(url: str, storage_options: StorageOptions) -> dict[str, Any]:
    summary = summarize(url, storage_options)
    return summary | {"linked": "linked" in summary.get("provenance", {})}


def _summary(catalog: Catalog, name: str) -> dict[str, Any]:
    url, stamp = catalog.url_of("datasets", name), catalog.stamp("datasets", name)
    return _summaries.get((url, stamp), lambda: _summarize(url, catalog.storage_options))
