"""Models as files."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path as FilePath
from tempfile import TemporaryDirectory
from threading import Lock
from typing import Annotated, Literal

from fastapi import APIRouter, Query

from mrdist.pipeline.applying.export import export
from mrdist.pipeline.showing.pack import pack
from mrdist.service.context import CatalogHere
from mrdist.service.groups import check_single
from mrdist.service.problems import problems
from mrdist.service.routes.models import ModelName
from mrdist.service.streams import Stream, sealed

router = APIRouter(tags=["models"], prefix="/models", responses=problems(404, 409))

_exporting = Lock()  # one at a time, since a matrix is several times larger than its weights


@router.get(
    "/{name}/download",
    response_class=Stream,
    responses={200: {"content": {"application/zip": {}, "application/octet-stream": {}}}},
)
def download_model(
    name: ModelName,
    catalog: CatalogHere,
    format: Annotated[  # noqa: A002
        Literal["zip", "csr"], Query(description="The store, or the matrix as scipy.sparse.load_npz reads it.")
    ] = "zip",
) -> Stream:
    """Download a complete model; if it is replaced or removed meanwhile, the download breaks off."""
    stamp = catalog.stamp("models", name)
    catalog.check_complete("models", name)
    url, file = catalog.url_of("models", name), name.replace(":", "-")
    unchanged = partial(catalog.check_stamp, "models", name, stamp)
    if format == "zip":
        return _file(pack(url, f"{file}.zarr", catalog.storage_options), f"{file}.zarr.zip", stamp, unchanged)
    check_single(catalog, name)
    folder = TemporaryDirectory(prefix="mrdist-")
    try:
        with _exporting:
            files = export(url, f"{folder.name}/{file}.npz", format="npz", storage_options=catalog.storage_options)
        unchanged()
    except BaseException:
        folder.cleanup()
        raise
    if len(files) == 1:
        return _file(_read(folder, files[0]), f"{file}.npz", stamp)
    return _file(_until_end(folder, pack(folder.name, file)), f"{file}.npz.zip", stamp)


def _file(content: Iterator[bytes], name: str, stamp: str, check: Callable[[], None] = lambda: None) -> Stream:
    kind = "application/zip" if name.endswith(".zip") else "application/octet-stream"
    headers = {"content-disposition": f'attachment; filename="{name}"', "etag": f'"{stamp}"'}
    return Stream(sealed(content, check), media_type=kind, headers=headers)


def _read(folder: TemporaryDirectory[str], path: str) -> Iterator[bytes]:
    with folder, FilePath(path).open("rb") as stream:
        while piece := stream.read(1 << 20):
            yield piece


def _until_end(folder: TemporaryDirectory[str], content: Iterator[bytes]) -> Iterator[bytes]:
    with folder:
        yield from content
