"""Arguments that the routes share: ``catalog: CatalogHere``, ``settings: SettingsHere``."""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends, Header, Request

from mrdist.service.catalog import Catalog
from mrdist.service.desk import Desk
from mrdist.service.jobs import Jobs
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


CatalogHere = Annotated[Catalog, Depends(_catalog)]
SettingsHere = Annotated[Settings, Depends(_settings)]
JobsHere = Annotated[Jobs, Depends(_jobs)]
DeskHere = Annotated[Desk, Depends(_desk)]
IdempotencyKey = Annotated[
    str | None, Header(min_length=1, max_length=200, description="Requests with one key make one job.")
]
