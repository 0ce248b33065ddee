"""Synthesis: a photograph in, a picture out."""

from __future__ import annotations

from fastapi import APIRouter

router = APIRouter(tags=["synthesis"])
