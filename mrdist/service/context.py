"""What the routes share, as their arguments: ``catalog: CatalogHere``, ``settings: SettingsHere``."""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends, Request

from mrdist.service.catalog import Catalog
from mrdist.service.settings import Settings

# ``async``, so that they do not take a thread each


async def _catalog(request: Request) -> Catalog:
    catalog: Catalog = request.app.state.catalog
    return catalog


async def _settings(request: Request) -> Settings:
    settings: Settings = request.app.state.settings
    return settings


CatalogHere = Annotated[Catalog, Depends(_catalog)]
SettingsHere = Annotated[Settings, Depends(_settings)]
