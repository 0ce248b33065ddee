"""Errors as problem details (RFC 9457): the sentence of the command line with a status."""

from __future__ import annotations

import errno
import json
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response
from pydantic import BaseModel, ConfigDict, Field
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.routing import compile_path

from mrdist.errors import (
    AlignmentError,
    DataError,
    ExecutionError,
    LabelError,
    LandmarkError,
    MemoryLimitError,
    MissingChunkError,
    MrdistError,
    ParameterError,
    PhotographFormatError,
    PhotographSizeError,
    SolveError,
    StoreBusyError,
    StoreError,
    StoreExistsError,
    StoreFormatError,
    StoreIncompleteError,
    StoreNotFoundError,
)
from mrdist.service.refusals import RefusedError

__all__ = ["MEDIA_TYPE", "Problem", "RefusedError", "install", "problem", "problems", "status_of"]

MEDIA_TYPE = "application/problem+json"
_STATUS: Sequence[tuple[type[MrdistError], int]] = (  # the first that fits
    (ParameterError, 422),
    (PhotographSizeError, 413),
    (PhotographFormatError, 415),
    (DataError, 422),
    (MemoryLimitError, 422),
    (SolveError, 422),
    (StoreNotFoundError, 404),
    (StoreIncompleteError, 409),
    (StoreExistsError, 409),
    (StoreBusyError, 409),
    (LabelError, 422),
    (StoreFormatError, 409),
    (MissingChunkError, 500),
    (StoreError, 503),
    (ExecutionError, 503),
)
_ALIGNMENT = "urn:mrdist:problem:alignment"
"""Type of the problem that a client can solve by giving the pupils."""
_SENTENCES = {
    404: "{path} does not exist; /openapi.json lists all paths.",
    405: "{path} does not support {method}; /openapi.json lists its methods.",
}


class Problem(BaseModel):
    """An error of a request, in one sentence (RFC 9457)."""

    model_config = ConfigDict(json_schema_extra={"description": "An error in one sentence (RFC 9457)."})

    type: str = Field(examples=["about:blank", _ALIGNMENT])
    title: str = Field(examples=["Not Found"])
    status: int = Field(ge=400, le=599)
    detail: str = Field(examples=["there is no dataset 'faces' in the catalogue; it has people."])
    reason: str | None = Field(default=None, description="The detail without advice, where a page has its own.")


def problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Return the description of the problems of a route, including those that every route may have.

    Examples
    --------
    >>> sorted(problems(404))[:3]
    [400, 401, 403]
    """
    always = (400, 401, 403, 413, 415, 421, 422, 429, 500, 503, 507)
    return {
        status: {
            "description": HTTPStatus(status).phrase,
            "content": {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}},
        }
        for status in sorted({*always, *statuses})
    }


def problem(
    status: int,
    detail: str,
    headers: Mapping[str, str] | None = None,
    kind: str = "about:blank",
    reason: str | None = None,
) -> Response:
    """Return the answer to a request that fails; ``reason`` is the detail without advice."""
    content: dict[str, Any] = {"type": kind, "title": HTTPStatus(status).phrase, "status": status, "detail": detail}
    if reason is not None:
        content["reason"] = reason
    return Response(json.dumps(content), status, dict(headers or {}), MEDIA_TYPE)


def status_of(error: MrdistError) -> int:
    """Return the HTTP status of an error.

    Examples
    --------
    >>> status_of(ParameterError("alpha must be positive, got -1."))
    422
    """
    if isinstance(error, RefusedError):
        return error.status
    if isinstance(error.__cause__, OSError) and error.__cause__.errno in (errno.ENOSPC, errno.EDQUOT):
        return 507
    return next((status for kind, status in _STATUS if isinstance(error, kind)), 500)


def install(app: FastAPI) -> None:
    """Answer all errors of an application as problems."""

    @app.exception_handler(MrdistError)
    async def of_mrdist(request: Request, error: MrdistError) -> Response:
        headers = error.headers if isinstance(error, RefusedError) else None
        kind = _ALIGNMENT if isinstance(error, AlignmentError | LandmarkError) else "about:blank"
        told: str = request.app.state.catalog.told(error)
        reason = error.reason if isinstance(error, AlignmentError) else None
        if reason is not None and told != reason:
            told = f"{reason}; send x and y of the two pupils as points."
        return problem(status_of(error), told, headers, kind, reason)

    @app.exception_handler(RequestValidationError)
    async def of_validation(_: Request, error: RequestValidationError) -> Response:
        first = error.errors()[0]
        if first["type"] == "json_invalid":
            return problem(400, "the body of the request is not JSON.")
        return problem(422, _sentence(first, error.body))

    @app.exception_handler(HTTPException)
    async def of_http(request: Request, error: HTTPException) -> Response:
        said = _SENTENCES.get(error.status_code)
        detail = (
            said.format(path=request.url.path[:200], method=request.method[:20])
            if said
            else f"{error.detail.rstrip('.')}."
        )
        headers = {"allow": ", ".join(_methods_of(request))} if error.status_code == 405 else error.headers
        return problem(error.status_code, detail, headers)

    @app.exception_handler(ClientDisconnect)
    async def of_the_client(_: Request, __: ClientDisconnect) -> Response:  # who is gone reads no answer
        return problem(400, "the request broke off before all of its body had arrived.")

    @app.exception_handler(Exception)
    async def of_anything(_: Request, __: Exception) -> Response:  # the server logs it
        return problem(500, "the service failed because of an internal error; see its log.")


def _methods_of(request: Request) -> list[str]:
    """Return the methods that a path supports, over all its routes."""
    known: list[tuple[str, set[str], str]] = request.app.state.known_routes
    fitting = (methods for path, methods, _ in known if compile_path(path)[0].fullmatch(request.url.path))
    methods = {method for methods in fitting for method in methods}
    return sorted(methods | ({"HEAD"} if "GET" in methods else set()))


def _sentence(error: Mapping[str, Any], body: Any) -> str:
    """Return pydantic's error as one sentence with place and value; an error of ours is one."""
    if isinstance(cause := error.get("ctx", {}).get("error"), MrdistError):
        return str(cause)
    reason = str(error["msg"]).removeprefix("Value error, ").rstrip(".")
    place = ".".join(_as_sent(error, body)) or "request"
    if reason.startswith("Expected UploadFile"):
        reason = "send it as a file of a multipart form"
    value = error.get("input")
    told = isinstance(value, str | int | float | bool) and error["loc"][-1] != "token"
    got = f" (got {_short(value)})" if told else ""
    return f"invalid {place}{got}: {reason}."


def _as_sent(error: Mapping[str, Any], body: Any) -> list[str]:
    """Return the place of an error as the client has named it, without the kinds of values that were tried."""
    kind, *where = error["loc"]
    if kind != "body" or not isinstance(body, dict):
        return [str(part) for part in where[:1]]
    names: list[str] = []
    here: Any = body
    for part in where:
        if (isinstance(here, dict) and part in here) or (isinstance(here, list) and isinstance(part, int)):
            names.append(str(part))
            here = here[part]
    if error["type"] == "missing":
        names.append(str(where[-1]))
    return names[1:] if len(names) > 1 and names[0] == "options" else names


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:60]}... of {len(text)} characters"
