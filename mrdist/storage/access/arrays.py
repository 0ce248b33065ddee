"""The arrays of a store as data: what its layout consists of, and the one place that creates them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import zarr

from mrdist.storage.access.urls import COMPRESSORS


@dataclass(frozen=True)
class ArraySpec:
    """An array that a store of some kind has.

    Attributes
    ----------
    name
        Of the array.
    axes
        Name and length of each dimension.
    dtype
        Of its numbers.
    chunks
        Length of a chunk along each dimension; the whole array is one unless given.
    values
        What it holds from the beginning, if that is known.
    compressors
        The codecs of its chunks.
    """

    name: str
    axes: Mapping[str, int]
    dtype: npt.DTypeLike
    chunks: tuple[int, ...] | None = None
    values: npt.NDArray[Any] | None = None
    compressors: Any = field(default_factory=lambda: COMPRESSORS)

    @classmethod
    def holding(cls, name: str, values: npt.NDArray[Any], *dimensions: str) -> ArraySpec:
        """Return the specification of an array of known values."""
        return cls(name, dict(zip(dimensions, values.shape, strict=True)), values.dtype, values=values)

    def create(self, group: zarr.Group, *, overwrite: bool = False) -> zarr.Array[Any]:
        """Create it; every chunk that is written is stored, since a missing chunk is an error."""
        shape = tuple(self.axes.values())
        array = group.create_array(
            self.name,
            shape=shape,
            chunks=tuple(max(length, 1) for length in self.chunks or shape),
            dtype=np.dtype(self.dtype),
            dimension_names=tuple(self.axes),
            compressors=self.compressors,
            config={"write_empty_chunks": True},
            overwrite=overwrite,
        )
        if self.values is not None:
            array[...] = self.values
        return array


def create_arrays(group: zarr.Group, arrays: Iterable[ArraySpec]) -> None:
    """Create the arrays of a layout in a store in the making."""
    for array in arrays:
        array.create(group)
