"""The importance of a mapping's pixels, kept in its weights store."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import zarr

from mrdist.storage.access.codecs import compressors_of
from mrdist.storage.access.urls import (
    StorageOptions,
    consolidate,
    normalize_url,
    open_group,
    open_kind,
    store_errors,
)

_RESUME = "run the command that makes it again to resume it"


def read_importance(url: str, storage_options: StorageOptions = None) -> npt.NDArray[np.float32] | None:
    """Return the importance map of a weights store, shape (y, x), or None if it has none."""
    url = normalize_url(url)
    group = open_kind(url, storage_options, "weights", _RESUME)
    with store_errors(f"{url}/importance"):
        array = group.get("importance")
        return np.asarray(array[...]) if isinstance(array, zarr.Array) else None


def write_importance(
    url: str, importance: npt.NDArray[np.float32], options: Mapping[str, Any], storage_options: StorageOptions = None
) -> None:
    """Add an importance map to a complete weights store, or replace the one that is there.

    Parameters
    ----------
    url, storage_options
        Where.
    importance
        Shape (y, x).
    options
        How it was made, kept as the array's attributes.
    """
    url = normalize_url(url)
    open_kind(url, storage_options, "weights", _RESUME)
    with store_errors(url):
        group = open_group(url, storage_options, write=True)
        group.create_array(
            "importance",
            data=importance,
            dimension_names=("y", "x"),
            attributes=dict(options),
            compressors=compressors_of(group),
            config={"write_empty_chunks": True},
            overwrite=True,
        )
        consolidate(group, url)
