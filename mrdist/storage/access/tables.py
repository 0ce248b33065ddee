"""Tables: arrays of few numbers, which lie in the attributes of their group instead of in files of their own.

Every array costs two files, or objects, however few its numbers are. The attribute ``tables`` names each with its
``dimensions``, ``dtype``, ``shape`` and ``values``, nested lists; what JSON has no number for is spelt as zarr spells
fill values. Stores of format version 1 have arrays in their place.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import zarr

TABLES = "tables"
"""The attribute."""

Tables = Mapping[str, tuple[tuple[str, ...], npt.NDArray[Any]]]


def write_tables(group: zarr.Group, tables: Tables) -> None:
    """Add tables to a group, by name with the names of their axes, in place of those that are there."""
    if tables:
        kept: Any = group.attrs.get(TABLES, {})
        group.update_attributes({TABLES: {**kept, **{name: _to_json(*table) for name, table in tables.items()}}})


def read_tables(group: zarr.Group) -> Tables:
    """Return the tables of a group, as `write_tables` takes them."""
    kept: Any = group.attrs.get(TABLES, {})
    return {name: (tuple(table["dimensions"]), _from_json(table)) for name, table in kept.items()}


def table_values(group: zarr.Group, name: str) -> npt.NDArray[Any] | None:
    """Return the values of a table, or of the array in its place; None if there is neither."""
    kept: Any = group.attrs.get(TABLES, {})
    if name in kept:
        return _from_json(kept[name])
    array = group.get(name)
    return np.asarray(array[...]) if isinstance(array, zarr.Array) else None


def _to_json(dimensions: tuple[str, ...], values: npt.NDArray[Any]) -> dict[str, Any]:
    return {
        "dimensions": list(dimensions),
        "dtype": values.dtype.name,
        "shape": list(values.shape),
        "values": _spelt(values.tolist()),
    }


def _spelt(values: Any) -> Any:
    if isinstance(values, list):
        return [_spelt(value) for value in values]
    if isinstance(values, float) and not np.isfinite(values):
        return "NaN" if np.isnan(values) else "Infinity" if values > 0 else "-Infinity"
    return values


def _from_json(table: Mapping[str, Any]) -> npt.NDArray[Any]:
    flat = table["values"]
    for _ in table["shape"][1:]:
        flat = [value for row in flat for value in row]
    # one by one: a spelt value among numbers would make text of all
    return np.array([float(v) if isinstance(v, str) else v for v in flat], dtype=table["dtype"]).reshape(table["shape"])
