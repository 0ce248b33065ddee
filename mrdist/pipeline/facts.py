"""What is to be known of a mapping before it is opened."""

from __future__ import annotations

from typing import Any

from mrdist.errors import StoreFormatError
from mrdist.pipeline.info import info
from mrdist.pipeline.opened import memory_of
from mrdist.storage import StorageOptions, WeightsReader, redact, stored_bytes
from mrdist.storage.catalogs import modified_at


def describe_mapping(weights_url: str, storage_options: StorageOptions = None) -> dict[str, Any]:
    """Describe a weights store, also one in the making, as `mrdist.info` does, and say when it was ``created``.

    Raises
    ------
    StoreNotFoundError, StoreFormatError
        If there is no weights store.
    """
    description = info(weights_url, storage_options)
    if description["kind"] != "weights":
        raise StoreFormatError(
            f"{redact(weights_url)} is a store of {description['kind']}, not of weights; open one of the stores in it."
        )
    return description | {"created": modified_at(weights_url, storage_options)}


def measure_mapping(
    weights_url: str, storage_options: StorageOptions = None, *, max_memory: int | None = None
) -> dict[str, int | None]:
    """Return the ``parameters``, ``nonzeros`` and ``bytes`` of a mapping, all of which is read.

    Parameters
    ----------
    weights_url, storage_options
        A complete weights store.
    max_memory
        Of a mapping that takes more bytes, the first two stay None.

    Raises
    ------
    StoreError
        If it is not complete, or cannot be read.
    """
    reader = WeightsReader.open(weights_url, storage_options)
    sizes: dict[str, int | None] = {"parameters": None, "nonzeros": None}
    if max_memory is None or memory_of(reader) <= max_memory:
        model = reader.model()
        sizes = {"parameters": model.n_parameters, "nonzeros": model.n_nonzeros}
    return sizes | {"bytes": stored_bytes(weights_url, storage_options)}
