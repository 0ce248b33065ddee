"""Models as files."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path as FilePath
from tempfile import TemporaryDirectory
from threading import Lock
from typing import Annotated, Literal

from fastapi import APIRouter, Header, Query, Request, Response

from mrdist.pipeline.applying.export import export
from mrdist.pipeline.showing.pack import pack, packed_length
from mrdist.service.caching import has_already
from mrdist.service.context import CatalogHere
from mrdist.service.groups import check_single
from mrdist.service.pictures import BINARY
from mrdist.service.problems import problems
from mrdist.service.ranges import cut, range_of
from mrdist.service.routes.models import ModelName
from mrdist.service.streams import Stream, sealed

router = APIRouter(tags=["models"], prefix="/models", responses=problems(404, 409))

_FILES = {"application/zip": {"schema": BINARY}, "application/octet-stream": {"schema": BINARY}}
_HEADERS = {
    "Content-Length": {"schema": {"type": "integer"}},
    "Accept-Ranges": {"schema": {"const": "bytes"}},
    "ETag": {"schema": {"type": "string"}, "description": "Of this version of the model, for If-Range."},
}
_exporting = Lock()  # one at a time, since a matrix is several times larger than its weights


@router.get(
    "/{name}/download",
    response_class=Stream,
    responses={
        200: {"content": _FILES, "headers": _HEADERS},
        206: {
            "description": "The bytes of the range.",
            "content": _FILES,
            "headers": {**_HEADERS, "Content-Range": {"schema": {"type": "string"}}},
        },
        304: {"description": "Not Modified"},
        **problems(416),
    },
)
def download_model(
    name: ModelName,
    catalog: CatalogHere,
    request: Request,
    format: Annotated[  # noqa: A002
        Literal["zip", "csr"], Query(description="The store, or the matrix as scipy.sparse.load_npz reads it.")
    ] = "zip",
    range: Annotated[str | None, Header(description="The bytes to send, such as bytes=1000-.")] = None,  # noqa: A002
    if_range: Annotated[str | None, Header(description="ETag of the version that the bytes must be of.")] = None,
) -> Response:
    """Download a complete model, or a range of it; if it is replaced or removed meanwhile, the download breaks off."""
    stamp = catalog.stamp("models", name)
    catalog.check_complete("models", name)
    url, file = catalog.url_of("models", name), name.replace(":", "-")
    unchanged = partial(catalog.check_stamp, "models", name, stamp)
    etag = f'"{stamp}"'
    if has_already(request, etag):
        return Response(status_code=304, headers={"etag": etag})
    answer = partial(_file, range or "", if_range, etag=etag)
    if format == "zip":
        length = packed_length(url, f"{file}.zarr", catalog.storage_options)
        content = pack(url, f"{file}.zarr", catalog.storage_options)
        return answer(content, f"{file}.zarr.zip", length=length, check=unchanged)
    check_single(catalog, name)
    folder = TemporaryDirectory(prefix="mrdist-")
    try:
        with _exporting:
            files = export(url, f"{folder.name}/{file}.npz", format="npz", storage_options=catalog.storage_options)
        unchanged()
        if len(files) == 1:
            stream = answer(_read(files[0]), f"{file}.npz", length=FilePath(files[0]).stat().st_size)
        else:
            length = packed_length(folder.name, file)
            stream = answer(pack(folder.name, file), f"{file}.npz.zip", length=length)
    except BaseException:
        folder.cleanup()
        raise
    stream.at_end = folder.cleanup
    return stream


def _file(
    asked: str,
    version: str | None,
    content: Iterator[bytes],
    name: str,
    *,
    etag: str,
    length: int,
    check: Callable[[], None] = lambda: None,
) -> Stream:
    kind = "application/zip" if name.endswith(".zip") else "application/octet-stream"
    headers = {"content-disposition": f'attachment; filename="{name}"', "etag": etag}
    part, status = range_of(asked, version, length, etag), 200
    headers |= {"accept-ranges": "bytes", "content-length": str(length)}
    if part is not None:
        start, stop = part
        content, status = cut(content, start, stop), 206
        headers |= {"content-range": f"bytes {start}-{stop - 1}/{length}", "content-length": str(stop - start)}
    return Stream(sealed(content, check), status, media_type=kind, headers=headers)


def _read(path: str) -> Iterator[bytes]:
    with FilePath(path).open("rb") as stream:
        while piece := stream.read(1 << 20):
            yield piece
