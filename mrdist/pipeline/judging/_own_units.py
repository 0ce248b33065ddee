"""Scores in the units of a linked target."""

from __future__ import annotations

from math import sqrt
from typing import Any

from mrdist.storage import Images

_MAPPINGS = ("model", "identity", "refined")


def in_own_units(regions: dict[str, Any], images: Images, target: str) -> dict[str, Any]:
    """Add to the scores of a split, by region and mapping, ``rmse`` and the ``units`` that it is in.

    Only the targets of linked stores have units of their own; other scores stay as they are.
    """
    link = images.link_of(target)
    if link is None:
        return regions
    low, high = link.own_range
    for scores in regions.values():
        for mapping in _MAPPINGS:
            mse = scores.get(mapping, {}).get("mse")
            if mse is not None:
                scores[mapping] = {**scores[mapping], "rmse": sqrt(mse) * abs(high - low), "units": link.units}
    return regions
