"""The application: routes, guards and what they share."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib import import_module
from threading import Event, Thread
from typing import Any

import anyio
from fastapi import APIRouter, Depends, FastAPI, Request
from fastapi.responses import JSONResponse
from fastapi.routing import APIRoute

import mrdist
from mrdist.errors import ParameterError
from mrdist.pipeline.showing.opened import warm_up
from mrdist.service import problems
from mrdist.service.access import AccessLog, LogFile
from mrdist.service.catalog import Catalog
from mrdist.service.description import describe, parameters_of
from mrdist.service.desk import Desk
from mrdist.service.jobs import Jobs
from mrdist.service.limits import Limits
from mrdist.service.metrics import Meter, Metrics
from mrdist.service.roles import check_role
from mrdist.service.security import API, Guard, user_in
from mrdist.service.sessions import Sessions
from mrdist.service.settings import Settings
from mrdist.service.streams import Endings, Heads
from mrdist.service.supervisor import Supervisor
from mrdist.service.users import Users

_API = ("session", "datasets", "comparisons", "sources", "methods", "plans", "jobs", "models", "downloads", "synthesis")
_ROOT = ("health", "pages")


def create_app(catalog: Catalog, settings: Settings | None = None) -> FastAPI:
    """Return the service as an ASGI application.

    Parameters
    ----------
    catalog
        The catalogue to serve.
    settings
        By default those of a service on loopback that needs no token.

    Notes
    -----
    Routes are functions without ``async``, which run in threads, so that none blocks the others.
    """
    settings = settings or Settings()
    app = FastAPI(
        title="mrdist",
        version=mrdist.__version__,
        description="Trainings, models and pictures of masked regression.",
        default_response_class=_telling(catalog),
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        lifespan=_supervised,
        generate_unique_id_function=_name_of,
    )
    sessions = Sessions(Users(settings), catalog)
    app.state.catalog, app.state.settings, app.state.sessions = catalog, settings, sessions
    app.state.stopping, app.state.streams = Event(), 0
    app.state.jobs = Jobs(catalog)
    app.state.desk = Desk(catalog, settings, app.state.jobs, Supervisor(catalog, settings, app.state.jobs))
    problems.install(app)
    app.state.known_routes = []
    for name in (*_API, *_ROOT):
        _include(app, import_module(f"mrdist.service.routes.{name}").router, API if name in _API else "")
    app.state.metrics = Metrics(lambda: app.state.desk.supervisor.states)
    app.add_middleware(Heads)
    app.add_middleware(Limits, settings=settings)
    app.add_middleware(Guard, settings=settings, sessions=sessions)  # outermost: its headers are on every answer
    app.add_middleware(Meter, metrics=app.state.metrics)
    if settings.access_log is not None:
        app.add_middleware(AccessLog, file=LogFile(settings.access_log))
    app.add_middleware(Endings, stopping=app.state.stopping)
    describe(app, needs_token=sessions.users.needed)
    app.state.parameters = parameters_of(app.openapi())  # here, since FastAPI describes routes in one thread at a time
    return app


@asynccontextmanager
async def _supervised(app: FastAPI) -> AsyncIterator[None]:
    supervisor = app.state.desk.supervisor
    supervisor.start()
    Thread(target=warm_up, name="warm-up", daemon=True).start()  # what a first request would wait for
    yield
    await anyio.to_thread.run_sync(supervisor.end)


def _include(app: FastAPI, router: APIRouter, prefix: str) -> None:
    app.include_router(router, prefix=prefix, dependencies=[Depends(_check_role), Depends(_check_query)])
    for route in router.routes:
        if isinstance(route, APIRoute):
            app.state.known_routes.append((prefix + route.path, route.methods, route.name))


def _telling(catalog: Catalog) -> type[JSONResponse]:
    """Return the class of all answers in JSON: none tells where on this machine the catalogue lies."""
    place = json.dumps(f"{catalog}/", ensure_ascii=False)[1:-1].encode()

    class Told(JSONResponse):
        def render(self, content: Any) -> bytes:
            return super().render(content).replace(place, b"")

    return Told


async def _check_role(request: Request) -> None:
    check_role(request.scope["route"].name, user_in(request.scope))


async def _check_query(request: Request) -> None:
    """Refuse parameters that nobody reads: whoever sends one expects something of it."""
    route, app, query = request.scope["route"], request.app, request.query_params
    known = app.state.parameters.get(route.name) if request.url.path.startswith(API) else None
    if known is None:
        return
    for name in sorted(set(query)):
        if name not in known:
            raise ParameterError(
                f"there is no parameter {name[:80]!r} here; there {'is' if len(known) == 1 else 'are'} "
                f"{', '.join(sorted(known)) or 'none'}."
            )
        if not known[name] and len(query.getlist(name)) > 1:
            raise ParameterError(f"the parameter {name!r} is there {len(query.getlist(name))} times; send it once.")


def _name_of(route: APIRoute) -> str:
    return route.name
