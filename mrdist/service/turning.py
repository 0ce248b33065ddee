"""Dials in requests, where a model is applied to the rows of a dataset."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict

from mrdist.methods.dials import DIALS
from mrdist.morphing.dials import Dials
from mrdist.service.options import dial_fields, with_fields


@with_fields(dial_fields(photographs=False))
class Turning(BaseModel):
    """How the dials of a model are turned; by default as it was trained."""

    model_config = ConfigDict(extra="forbid")

    @property
    def turned(self) -> dict[str, Any]:
        """Those dials that somebody has turned."""
        return {name: value for name in DIALS if (value := getattr(self, name)) is not None}

    @property
    def dials(self) -> Dials | None:
        """The same with the others, None if nobody has turned one."""
        return Dials(**self.turned) if self.turned else None
