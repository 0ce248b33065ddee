"""Options of the refinement in requests."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from mrdist.refinement import Refinement


class Refining(BaseModel):
    """How an importance map is made; by default the one that is kept with the model, or the usual one."""

    model_config = ConfigDict(extra="forbid")

    radius: Annotated[float | None, Field(ge=0, le=1, description="Of the disk, in sides of the image.")] = None
    smoothing: Annotated[float | None, Field(ge=0, le=1, description="Of the Gaussian, in sides.")] = None
    low: Annotated[float | None, Field(ge=-1000, le=1000, description="z-score where importance 0 ends.")] = None
    high: Annotated[float | None, Field(ge=-1000, le=1000, description="z-score where importance 1 begins.")] = None
    signed: bool | None = None
    intercept: bool | None = None

    @property
    def refinement(self) -> Refinement | None:
        """What was asked for, None where nothing was."""
        given = {name: getattr(self, name) for name in NAMES if getattr(self, name) is not None}
        return Refinement(**given) if given else None


NAMES = tuple(Refining.model_fields)
