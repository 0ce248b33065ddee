"""The table of errors that a cross-validation leaves in a weights store, as its group ``cv``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import zarr

from mrdist.geometry import ReceptiveField
from mrdist.storage.access.arrays import ArraySpec, lay_out
from mrdist.storage.access.tables import read_tables

if TYPE_CHECKING:
    import xarray as xr

_NAME = "cv"


def write_table(
    group: zarr.Group,
    candidates: Sequence[float],
    mse: npt.NDArray[np.float64],
    se: npt.NDArray[np.float64],
    n_images: npt.NDArray[np.int64],
    models: Sequence[tuple[ReceptiveField, int]] = (),
    *,
    parameter: str = "alpha",
) -> None:
    """Write the table into a weights store in the making.

    Parameters
    ----------
    group
        The store.
    candidates
        Penalties (or what else ``parameter`` is) that were tried, ascending.
    mse
        Mean squared error on the images held out, shape (model, candidate, fold); 1 = white.
    se
        Standard error of its mean over the folds, shape (model, candidate).
    n_images
        Images of every fold.
    models
        Receptive fields and pools that were tried, if the method has any; otherwise the axis ``field`` has one entry.
    parameter
        ``alpha``, or ``nonzeros`` of l0: name of the axis of candidates.
    """
    columns: dict[str, tuple[npt.NDArray[Any], tuple[str, ...]]] = {
        "mse": (mse, ("field", parameter, "fold")),
        "se": (se, ("field", parameter)),
        parameter: (np.array(candidates), (parameter,)),
        "n_images": (n_images, ("fold",)),
    }
    if models:
        columns["receptive_field"] = np.array([field.size for field, _ in models]), ("field",)
        columns["dilation"] = np.array([field.dilation for field, _ in models]), ("field",)
    if any(pool for _, pool in models):
        columns["pool"] = np.array([pool for _, pool in models]), ("field",)
    table = group.create_group(_NAME)
    lay_out(table, [ArraySpec.holding(name, values, *axes) for name, (values, axes) in columns.items()], root=group)


def open_table(group: zarr.Group) -> xr.Dataset | None:
    """Return the table of a weights store: ``mse (field, alpha, fold)``, ``se (field, alpha)``; None if it has none.

    Of l0, ``nonzeros`` stand in the place of ``alpha``.
    """
    if _NAME not in group:
        return None
    import xarray as xr  # brings pandas, which a worker does not need

    table = group[_NAME]
    assert isinstance(table, zarr.Group)
    kept = read_tables(table)
    if kept:
        dataset = xr.Dataset(dict(kept))
    else:  # of a store of version 1
        with xr.open_zarr(group.store, group=_NAME, consolidated=False) as arrays:
            dataset = arrays.load()
    return dataset.set_coords([name for name in ("receptive_field", "dilation", "pool", "n_images") if name in dataset])


def table_rows(group: zarr.Group) -> list[dict[str, Any]] | None:
    """Return the table as one row a candidate: what it is, its ``mse`` and ``se``, and the MSE of all ``folds``."""
    table = open_table(group)
    if table is None:
        return None
    fields = [name for name in ("receptive_field", "dilation", "pool") if name in table]
    parameter = str(table["mse"].dims[1])
    return [
        {name: int(table[name][field]) for name in fields}
        | {
            parameter: table[parameter].values[position].item(),
            "mse": float(table["mse"][field, position].mean()),
            "se": float(table["se"][field, position]),
            "folds": table["mse"].values[field, position].tolist(),
        }
        for field in range(table.sizes["field"])
        for position in range(table.sizes[parameter])
    ]
