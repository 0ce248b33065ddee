"""Arguments that the routes share: ``catalog: CatalogHere``, ``user: UserHere``."""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends, Header, Request

from mrdist.service.catalog import Catalog
from mrdist.service.desk import Desk
from mrdist.service.jobs import Jobs
from mrdist.service.roles import User
from mrdist.service.security import user_in
from mrdist.service.settings import Settings

# ``async``, so that they do not take a thread each


async def _catalog(request: Request) -> Catalog:
    catalog: Catalog = request.app.state.catalog
    return catalog


async def _settings(request: Request) -> Settings:
    settings: Settings = request.app.state.settings
    return settings


def _jobs(request: Request) -> Jobs:
    jobs: Jobs = request.app.state.jobs
    return jobs


def _desk(request: Request) -> Desk:
    desk: Desk = request.app.state.desk
    return desk


async def _user(request: Request) -> User:
    user = user_in(request.scope)
    assert user is not None, "routes that say whose request it is need a role"
    return user


CatalogHere = Annotated[Catalog, Depends(_catalog)]
SettingsHere = Annotated[Settings, Depends(_settings)]
JobsHere = Annotated[Jobs, Depends(_jobs)]
DeskHere = Annotated[Desk, Depends(_desk)]
UserHere = Annotated[User, Depends(_user)]
IdempotencyKey = Annotated[
    str | None, Header(min_length=1, max_length=200, description="Requests with one key make one job.")
]
