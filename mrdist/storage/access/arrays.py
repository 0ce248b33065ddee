"""The arrays of a store as data: what its layout consists of, and the one place that creates them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import zarr

from mrdist.storage.access.codecs import compressors_of


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
        The codecs of its chunks; those of its store unless given.
    """

    name: str
    axes: Mapping[str, int]
    dtype: npt.DTypeLike
    chunks: tuple[int, ...] | None = None
    values: npt.NDArray[Any] | None = None
    compressors: Any = None

    @classmethod
    def holding(cls, name: str, values: npt.NDArray[Any], *dimensions: str) -> ArraySpec:
        """Return the specification of an array of known values."""
        return cls(name, dict(zip(dimensions, values.shape, strict=True)), values.dtype, values=values)

    def create(self, group: zarr.Group, *, overwrite: bool = False, root: zarr.Group | None = None) -> zarr.Array[Any]:
        """Create it; every chunk that is written is stored, since a missing chunk is an error.

        Parameters
        ----------
        group
            Where.
        overwrite
            Replace an array of its name.
        root
            Of a store that has the group inside it, whose codec it is to have.
        """
        shape = tuple(self.axes.values())
        compressors = self.compressors
        if compressors is None:
            compressors = compressors_of(group if root is None else root)
        array = group.create_array(
            self.name,
            shape=shape,
            chunks=tuple(max(length, 1) for length in self.chunks or shape),
            dtype=np.dtype(self.dtype),
            dimension_names=tuple(self.axes),
            compressors=compressors,
            config={"write_empty_chunks": True},
            overwrite=overwrite,
        )
        if self.values is not None:
            array[...] = self.values
        return array


def create_arrays(group: zarr.Group, arrays: Iterable[ArraySpec], root: zarr.Group | None = None) -> None:
    """Create the arrays of a layout in a store in the making, or in a group inside its ``root``."""
    for array in arrays:
        array.create(group, root=root)


def write_array(group: zarr.Group, name: str, values: npt.NDArray[Any], *dimensions: str) -> None:
    """Create an array of one chunk, which is written even if all values are zero: a missing chunk is an error."""
    group.create_array(
        name,
        data=values,
        chunks=tuple(max(length, 1) for length in values.shape),
        dimension_names=dimensions,
        compressors=compressors_of(group),
        config={"write_empty_chunks": True},
    )


def write_strings(group: zarr.Group, name: str, values: Sequence[str], dimension: str, chunk: int) -> None:
    """Create an array of strings along one dimension."""
    array = group.create_array(
        name,
        shape=(len(values),),
        chunks=(max(chunk, 1),),
        dtype="string",
        dimension_names=(dimension,),
        compressors=compressors_of(group),
        config={"write_empty_chunks": True},
    )
    array[:] = np.array(values, dtype=np.dtypes.StringDType())
