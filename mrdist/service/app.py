"""The application: routes, guards and what they share."""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec
from threading import Event
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from fastapi.routing import APIRoute

import mrdist
from mrdist.service import problems
from mrdist.service.catalog import Catalog
from mrdist.service.limits import Limits
from mrdist.service.security import API, Guard, Sessions
from mrdist.service.settings import Settings

_API = ("session", "datasets", "models", "synthesis")
_ROOT = ("health", "pages")


def create_app(catalog: Catalog, settings: Settings | None = None) -> FastAPI:
    """Return the service as an ASGI application.

    Parameters
    ----------
    catalog
        What it serves.
    settings
        How; by default those of a service on loopback that asks for no token.

    Notes
    -----
    Routes are functions without ``async``, which run in threads: none may hold up the others.
    """
    settings = settings or Settings()
    app = FastAPI(
        title="mrdist",
        version=mrdist.__version__,
        description="Trainings, models and pictures of masked regression.",
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        generate_unique_id_function=_name_of,
    )
    sessions = Sessions(settings.token)
    app.state.catalog, app.state.settings, app.state.sessions = catalog, settings, sessions
    app.state.stopping = Event()
    problems.install(app)
    for name in _API:
        app.include_router(_routes(name).router, prefix=API)
    for name in _ROOT:
        if find_spec(f"mrdist.service.routes.{name}"):
            app.include_router(_routes(name).router)
    app.add_middleware(Limits, settings=settings)
    app.add_middleware(Guard, settings=settings, sessions=sessions)  # the outermost: its headers are on every answer
    _describe(app, needs_token=sessions.needed)
    return app


def _routes(name: str) -> Any:
    return import_module(f"mrdist.service.routes.{name}")


def _name_of(route: APIRoute) -> str:
    return route.name


def _describe(app: FastAPI, *, needs_token: bool) -> None:
    """Have ``/openapi.json`` know the problems and how clients show who they are."""

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            described = get_openapi(
                title=app.title, version=app.version, description=app.description, routes=app.routes
            )
            components = described.setdefault("components", {})
            schemas = components.setdefault("schemas", {})
            schemas["Problem"] = problems.Problem.model_json_schema()
            for unused in ("HTTPValidationError", "ValidationError"):
                schemas.pop(unused, None)
            if needs_token:
                components["securitySchemes"] = {"token": {"type": "http", "scheme": "bearer"}}
                for path, operations in described["paths"].items():
                    if path.startswith(API) and not path.endswith("/session"):
                        for operation in operations.values():
                            operation["security"] = [{"token": []}]
            app.openapi_schema = described
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign]
