"""Models: what is in the catalogue, how good it is, and what it looks at."""

from __future__ import annotations

from fastapi import APIRouter

router = APIRouter(tags=["models"])
