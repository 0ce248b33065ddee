"""What 0 and 1 of the values that a figure shows mean."""

from __future__ import annotations

from mrdist.storage import StorageOptions, WeightsReader


def scale_of(weights_url: str, storage_options: StorageOptions = None) -> str | None:
    """Return what 0 and 1 of a mapping's outputs mean, if it was learnt from a linked target; else None."""
    units = WeightsReader.open(weights_url, storage_options).units_of("target")
    return None if units is None else units.scale
