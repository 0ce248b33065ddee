"""Stores as xarray Datasets that xarray, pandas, scikit-learn and netCDF take as they are."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import zarr

from mrdist.storage.urls import store_errors

if TYPE_CHECKING:
    import xarray as xr


def read_dataset(group: zarr.Group, url: str) -> xr.Dataset:
    """Open a complete store lazily; text is read at once, as Python strings, and attributes are such as netCDF has."""
    import xarray as xr  # brings pandas, which a worker does not need

    with store_errors(url):
        gathered = group.metadata.consolidated_metadata is not None
        dataset: xr.Dataset = xr.open_zarr(group.store, consolidated=gathered)
        texts = {
            name: (variable.dims, variable.values.astype(object))
            for name, variable in dataset.variables.items()
            if variable.dtype.kind == "T"
        }
    dataset = dataset.assign_coords({name: dataset[name] for name in texts if name in dataset.coords})
    dataset = dataset.assign(texts)
    for variable in dataset.variables.values():
        # Of how the arrays are written, the chunks alone mean something to all formats that they may be copied to.
        variable.encoding = {name: variable.encoding[name] for name in _KEPT if name in variable.encoding}
        variable.attrs = {name: _flat(value) for name, value in variable.attrs.items()}
    dataset.attrs = {name: _flat(value) for name, value in dataset.attrs.items()}
    return dataset


_KEPT = ("chunks", "preferred_chunks")


def _flat(value: Any) -> Any:
    """Return what netCDF has no type for as JSON text."""
    return json.dumps(value) if isinstance(value, dict | bool) or value is None else value
