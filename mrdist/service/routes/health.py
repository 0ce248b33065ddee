"""Whether the service is alive and can do its work."""

from __future__ import annotations

import socket
from typing import Literal
from urllib.parse import urlsplit

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel

from mrdist.service.context import CatalogHere, SettingsHere
from mrdist.service.pictures import TEXT
from mrdist.service.problems import RefusedError, problems

router = APIRouter(tags=["health"], responses=problems())
_CONNECT_SECONDS = 2
_PROMETHEUS = "text/plain; version=0.0.4; charset=utf-8"


class Health(BaseModel):
    """The service is alive."""

    status: Literal["ok"]


@router.get("/healthz")
def is_alive() -> Health:
    """Answer that the service is alive."""
    return Health(status="ok")


@router.get("/metrics", response_class=Response, responses={200: {"content": {_PROMETHEUS: {"schema": TEXT}}}})
def get_metrics(request: Request) -> Response:
    """Return counts for Prometheus."""
    return Response(request.app.state.metrics.text(), headers={"content-type": _PROMETHEUS})


@router.get("/readyz")
def is_ready(catalog: CatalogHere, settings: SettingsHere) -> Health:
    """Check that the catalogue and the cluster can be reached."""
    catalog.check()
    if settings.scheduler is not None:
        address = urlsplit(settings.scheduler)
        try:
            with socket.create_connection((address.hostname or "", address.port or 8786), timeout=_CONNECT_SECONDS):
                pass
        except (OSError, ValueError) as error:
            raise RefusedError(
                503, f"no Dask scheduler answers at {settings.scheduler}; start it, or give another --scheduler."
            ) from error
    return Health(status="ok")
