"""The web page: five templates and the files that they load, all from this service."""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from fastapi import APIRouter, Request, Response
from fastapi.responses import HTMLResponse, RedirectResponse
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from starlette.exceptions import HTTPException
from starlette.staticfiles import StaticFiles

from mrdist.datasets.discovery import LAYOUTS
from mrdist.methods.option_words import sentence
from mrdist.pipeline.ingesting.options import INGEST, of_catalogs
from mrdist.service.problems import RefusedError
from mrdist.service.security import csrf_token, user_in
from mrdist.service.sessions import Sessions

if TYPE_CHECKING:
    from starlette.types import Scope

router = APIRouter(include_in_schema=False)

_HERE = Path(__file__).parents[1] / "page"


class _Static(StaticFiles):
    """Files that browsers cache but revalidate, so that a new version of the service is seen at once."""

    def file_response(
        self, full_path: str | os.PathLike[str], stat_result: os.stat_result, scope: Scope, status_code: int = 200
    ) -> Response:
        response = super().file_response(full_path, stat_result, scope, status_code)
        response.headers["cache-control"] = "no-cache"
        return response


_static = _Static(directory=_HERE / "static")


@cache
def _environment() -> Environment:
    return Environment(loader=FileSystemLoader(_HERE / "templates"), autoescape=True, undefined=StrictUndefined)


def _page(request: Request, name: str) -> HTMLResponse:
    sessions: Sessions = request.app.state.sessions
    user = user_in(request.scope)
    html = (
        _environment()
        .get_template(f"{name}.html.jinja")
        .render(
            page=name,
            csrf_token=csrf_token(request),
            signed_in=sessions.users.needed and name != "login",
            user=user.name if user and name != "login" else None,
            role=user.role if user else "read",
            layouts=list(LAYOUTS),
            ingest=[of_catalogs(option) for option in INGEST.values()],
            sentence=sentence,
            sources=_place_of_sources(request),
        )
    )
    return HTMLResponse(html, headers={"cache-control": "no-store"})  # the token in it is this session's


def _place_of_sources(request: Request) -> str:
    """Return where photographs may be put by hand: only who is on this machine can use, and is told, the whole path."""
    here = request.app.state.settings.host in ("127.0.0.1", "::1", "localhost")
    return f"{request.app.state.catalog}/sources" if here else "sources/"


@router.get("/")
def show_studio(request: Request) -> HTMLResponse:
    """Try models on a photograph."""
    return _page(request, "studio")


@router.get("/train")
def show_train(request: Request) -> HTMLResponse:
    """Train, and watch."""
    return _page(request, "train")


@router.get("/models")
def show_models(request: Request) -> HTMLResponse:
    """Compare models, and look into one."""
    return _page(request, "models")


@router.get("/datasets")
def show_datasets(request: Request) -> HTMLResponse:
    """Look at datasets, and make one."""
    return _page(request, "datasets")


@router.get("/login")
def show_login(request: Request) -> Response:
    """Ask for the token, where there is one."""
    sessions: Sessions = request.app.state.sessions
    return _page(request, "login") if sessions.users.needed else RedirectResponse("/", 303)


@router.get("/static/{path:path}")
async def get_static(path: str, request: Request) -> Response:
    """Return a file that the pages load."""
    try:
        return await _static.get_response(path, request.scope)
    except HTTPException as error:
        raise RefusedError(error.status_code, f"the page has no file {path[:80]!r}.") from error
