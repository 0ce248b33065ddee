"""Options of the refinement in requests."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from mrdist.refinement import Refinement


class Refining(BaseModel):
    """Options of an importance map; by default those stored with the model, or the usual ones."""

    model_config = ConfigDict(extra="forbid")

    radius: Annotated[
        float | None, Field(ge=0, le=1, description="Radius of the dilation, as a fraction of the image side.")
    ] = None
    smoothing: Annotated[
        float | None, Field(ge=0, le=1, description="Width of the Gaussian, as a fraction of the image side.")
    ] = None
    low: Annotated[float | None, Field(ge=-1000, le=1000, description="z-score up to which the importance is 0.")] = (
        None
    )
    high: Annotated[float | None, Field(ge=-1000, le=1000, description="z-score from which the importance is 1.")] = (
        None
    )
    signed: Annotated[bool | None, Field(description="Whether only weights above the mean count as important.")] = None
    intercept: Annotated[bool | None, Field(description="Whether the intercept counts beside the weights.")] = None

    @property
    def refinement(self) -> Refinement | None:
        """The refinement of the given options, None if there are none."""
        given = {name: getattr(self, name) for name in NAMES if getattr(self, name) is not None}
        return Refinement(**given) if given else None


NAMES = tuple(Refining.model_fields)
