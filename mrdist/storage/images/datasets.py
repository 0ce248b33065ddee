"""Stores as xarray Datasets that xarray, pandas, scikit-learn and netCDF take as they are."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any, Self

import zarr
from zarr.abc.store import ByteRequest, Store
from zarr.core.buffer import Buffer, BufferPrototype

from mrdist.arguments import Address, plain_arguments
from mrdist.storage.access.tables import TABLES, read_tables
from mrdist.storage.access.urls import StorageOptions, check_format, store_errors
from mrdist.storage.images.layout import DIMENSIONS, OPTIONAL
from mrdist.storage.images.reader import Images

if TYPE_CHECKING:
    import xarray as xr

_COORDINATES = ("subject", "dataset", "split")


def read_dataset(group: zarr.Group, url: str, axes: Mapping[str, Sequence[str]] | None = None) -> xr.Dataset:
    """Open a complete store lazily; text is read at once, as Python strings; attributes get types that netCDF has.

    ``axes`` are those of arrays that do not name their own, which zarr allows and xarray does not.
    """
    import xarray as xr  # brings pandas, which a worker does not need

    with store_errors(url):
        gathered = group.metadata.consolidated_metadata is not None
        store = group.store
        if not all(map(_is_named, dict(group.arrays()).values())):
            store = _NamedAxes(store, axes or {})
        dataset: xr.Dataset = xr.open_zarr(store, consolidated=gathered)
        texts = {
            name: (variable.dims, variable.values.astype(object))
            for name, variable in dataset.variables.items()
            if variable.dtype.kind == "T"
        }
    dataset = dataset.assign_coords({name: dataset[name] for name in texts if name in dataset.coords})
    dataset = dataset.assign({**texts, **read_tables(group)})
    dataset.attrs.pop(TABLES, None)
    for variable in dataset.variables.values():
        # Of the encoding, only the chunks mean something in every format that the arrays may be copied to.
        variable.encoding = {name: variable.encoding[name] for name in _KEPT if name in variable.encoding}
        variable.attrs = {name: _flat(value) for name, value in variable.attrs.items()}
    dataset.attrs = {name: _flat(value) for name, value in dataset.attrs.items()}
    return dataset


class _NamedAxes(zarr.storage.WrapperStore[Store]):
    """A store whose arrays all name their axes."""

    def __init__(self, store: Store, axes: Mapping[str, Sequence[str]]) -> None:
        super().__init__(store)
        self._axes = axes

    def _with_store(self, store: Store) -> Self:
        return type(self)(store, self._axes)

    async def get(self, key: str, prototype: BufferPrototype, byte_range: ByteRequest | None = None) -> Buffer | None:
        value = await super().get(key, prototype, byte_range)
        if value is None or PurePosixPath(key).name != "zarr.json":
            return value
        metadata = json.loads(value.to_bytes())
        self._name(str(PurePosixPath(key).parent), metadata)
        for name, each in (metadata.get("consolidated_metadata") or {}).get("metadata", {}).items():
            self._name(name, each)
        return prototype.buffer.from_bytes(json.dumps(metadata).encode())

    def _name(self, name: str, metadata: dict[str, Any]) -> None:
        if metadata.get("node_type") == "array" and None in (metadata.get("dimension_names") or [None]):
            own = [f"{name}_{number}" for number in range(len(metadata["shape"]))]
            metadata["dimension_names"] = list(self._axes.get(name, own))


def _is_named(array: zarr.Array[Any]) -> bool:
    names: Any = array.metadata.to_dict().get("dimension_names")
    return array.ndim == 0 or (bool(names) and None not in names)


_KEPT = ("chunks", "preferred_chunks")


def _flat(value: Any) -> Any:
    """Return what netCDF has no type for as JSON text."""
    return json.dumps(value) if isinstance(value, dict | bool) or value is None else value


@plain_arguments
def open_images(url: Address, storage_options: StorageOptions = None) -> xr.Dataset:
    """Open an images store as an xarray Dataset, lazily.

    Parameters
    ----------
    url
        Path or fsspec URL.
    storage_options
        Options of the fsspec filesystem.

    Returns
    -------
    xarray.Dataset
        One variable a label with dimensions (image, y, x, channel), as lazy Dask arrays, and in memory the coordinates
        image, subject, dataset and split, Python strings. The attribute ``mrdist`` is JSON text. ``to_zarr(URL,
        zarr_format=3)`` writes an images store again, also after ``sel`` or ``isel``; if these cut chunks, pass
        ``align_chunks=True`` as well. Linked arrays are in their own units, NaN where a value is missing; what is
        written of these is no images store.

    Raises
    ------
    StoreNotFoundError, StoreFormatError, StoreIncompleteError
        If there is none of this kind, of this format, or it is not finished.
    """
    images = Images.open(url, storage_options)
    group = images._group
    dataset = read_dataset(group, images.url, {**OPTIONAL, **dict.fromkeys(images.labels, DIMENSIONS)})
    coordinates = {name: ("image", getattr(images, name).astype(object)) for name in ("image", *_COORDINATES)}
    if images._linked is not None:
        from mrdist.storage.images.linked_datasets import lazily

        linked = images._linked
        dataset = dataset.assign(
            {k: lazily(array, linked.shape, linked.chunks) for k, array in images.linked_arrays.items()}
        )
    small = [name for name in ("present", "checksum") if name in dataset]
    dataset = dataset.assign_coords(coordinates).assign({name: dataset[name].load() for name in small})
    if images._linked is not None:
        return dataset.drop_attrs(deep=False)  # in units of its own, a copy is no images store
    # xarray leaves out chunks of nothing but black, so a copy must say so. JSON, since netCDF has no dictionaries.
    attribute = check_format(group, images.url) | {"labels": list(images.labels), "missing_chunks": "fill_value"}
    return dataset.assign_attrs(mrdist=json.dumps(attribute))
