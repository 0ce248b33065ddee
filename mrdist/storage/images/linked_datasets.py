"""Linked arrays as lazy xarray variables, in their own units; only `open_images` imports it, and with it xarray."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import xarray as xr
from xarray.backends.common import BackendArray
from xarray.core import indexing

from mrdist.geometry import Block
from mrdist.storage.images.linked import LinkedArray
from mrdist.storage.images.links import PIXELS


class _Values(BackendArray):
    """What xarray indexes."""

    def __init__(self, array: LinkedArray, shape: tuple[int, ...]) -> None:
        self._array = array
        self.shape = shape
        self.dtype = array.own_dtype

    def __getitem__(self, key: indexing.ExplicitIndexer) -> Any:
        return indexing.explicit_indexing_adapter(key, self.shape, indexing.IndexingSupport.BASIC, self._values)

    def _values(self, key: tuple[int | slice, ...]) -> npt.NDArray[Any]:
        wanted = [
            range(*one.indices(size)) if isinstance(one, slice) else range(one, one + 1)
            for one, size in zip(key, self.shape, strict=True)
        ]
        (n0, n1), (y0, y1), (x0, x1), _ = [(min(each), max(each) + 1) if len(each) else (0, 0) for each in wanted]
        values = self._array.own_values(n0, n1, Block(y0, x0, y1, x1))
        firsts = (n0, y0, x0, 0)
        picked = values[np.ix_(*([each - first for each in one] for one, first in zip(wanted, firsts, strict=True)))]
        return picked[tuple(slice(None) if isinstance(one, slice) else 0 for one in key)]


def lazily(array: LinkedArray, shape: tuple[int, int, int, int], chunks: tuple[int, int, int, int]) -> xr.DataArray:
    """Return a linked array, as lazy Dask arrays of its chunks."""
    low, high = array.link.own_range
    attributes: dict[str, Any] = {"range": [low, high], "address": array.link.address}
    if array.link.units:
        attributes["units"] = array.link.units
    variable = xr.Variable(PIXELS, indexing.LazilyIndexedArray(_Values(array, shape)), attributes)
    return xr.DataArray(variable).chunk(dict(zip(PIXELS, chunks, strict=True)))
