"""The arrays of a store as data: what its layout consists of, and the one place that creates them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from math import prod
from typing import Any

import numpy as np
import numpy.typing as npt
import zarr

from mrdist.geometry import Shape
from mrdist.storage.access.codecs import compressors_of
from mrdist.storage.access.formats import version_of
from mrdist.storage.access.tables import write_tables

LEAST_CHUNK = 256 << 10
"""Bytes that a chunk of an array over the pixels has at least, unless the array has fewer."""
MOST_CHUNK = 16 << 20
"""Bytes that it has at most, as far as its other axes allow."""
_SIDE, _LEAST_SIDE = 128, 16
_PIXELS = ("y", "x")


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
        Length of a chunk along each dimension; the whole array is one unless given. Over the pixels they are the
        smallest that a task may own, see `grown`.
    values
        What it holds from the beginning, if that is known.
    is_table
        Whether it is so small that it has no files of its own: its values lie in the attributes of its group.
    compressors
        The codecs of its chunks; those of its store unless given.
    """

    name: str
    axes: Mapping[str, int]
    dtype: npt.DTypeLike
    chunks: tuple[int, ...] | None = None
    values: npt.NDArray[Any] | None = None
    compressors: Any = None
    is_table: bool = False

    @classmethod
    def holding(cls, name: str, values: npt.NDArray[Any], *dimensions: str) -> ArraySpec:
        """Return the specification of a table of known values."""
        axes = dict(zip(dimensions, values.shape, strict=True))
        return cls(name, axes, values.dtype, values=values, is_table=True)

    def grown(self) -> ArraySpec:
        """Return the array with chunks of at least `LEAST_CHUNK` bytes over the pixels, which its own divide.

        They depend on the array alone. The sides are powers of two or those of the image.

        Examples
        --------
        >>> for side, offsets in ((128, 9), (512, 9), (512, 1), (4096, 441)):
        ...     axes = {"offset": offsets, "y": side, "x": side}
        ...     ArraySpec("coef", axes, "float32", (offsets, 16, 16)).grown().chunks
        (9, 128, 128)
        (9, 128, 128)
        (1, 256, 256)
        (441, 64, 128)
        """
        if self.chunks is None or not {*_PIXELS} <= {*self.axes}:
            return self
        chunks = dict(zip(self.axes, self.chunks, strict=True))
        height, width = _sides(
            (self.axes["y"], self.axes["x"]),
            prod(side for axis, side in chunks.items() if axis not in _PIXELS) * np.dtype(self.dtype).itemsize,
        )
        return replace(self, chunks=tuple((chunks | {"y": height, "x": width}).values()))

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
    """Create arrays as they are in a group of a store in the making, which is inside its ``root``."""
    for array in arrays:
        array.create(group, root=root)


def lay_out(
    group: zarr.Group, arrays: Iterable[ArraySpec], *, overwrite: bool = False, root: zarr.Group | None = None
) -> list[zarr.Array[Any]]:
    """Create the arrays of a layout in a store in the making, and return them without the tables.

    A store of format version 1 has a file for every chunk of the smallest size, and arrays of all tables; what was
    begun so ends so.

    Parameters
    ----------
    group, arrays
        Where, and what.
    overwrite
        Replace arrays that are there.
    root
        Of a store that has the group inside it, whose format and codec they are to have.
    """
    if version_of(group if root is None else root) == 1:
        return [array.create(group, overwrite=overwrite, root=root) for array in arrays]
    arrays = list(arrays)
    tables = {array.name: (tuple(array.axes), array.values) for array in arrays if array.is_table}
    write_tables(group, {name: (axes, values) for name, (axes, values) in tables.items() if values is not None})
    return [array.grown().create(group, overwrite=overwrite, root=root) for array in arrays if not array.is_table]


def _sides(image: Shape, pixel_bytes: int) -> Shape:
    """Return height and width of a chunk of an array that has so many bytes a pixel."""
    height = width = _SIDE

    def held() -> int:
        return pixel_bytes * min(height, image[0]) * min(width, image[1])

    while held() > MOST_CHUNK and width > _LEAST_SIDE:
        height, width = (height // 2, width) if height == width else (height, width // 2)
    while held() < LEAST_CHUNK and (height < image[0] or width < image[1]):
        wider = width < image[1] and (width <= height or height >= image[0])
        height, width = (height, 2 * width) if wider else (2 * height, width)
    return min(height, image[0]), min(width, image[1])


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
