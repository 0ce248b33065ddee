"""Describe a mapping without opening it."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from mrdist.errors import StoreFormatError
from mrdist.pipeline.showing.info import info
from mrdist.pipeline.showing.opened import memory_of
from mrdist.storage import StorageOptions, WeightsReader, redact, stored_bytes
from mrdist.storage.access.catalogs import modified_at


def describe_mapping(weights_url: str, storage_options: StorageOptions = None) -> dict[str, Any]:
    """Describe a weights store, or an unfinished group of mappings, as `mrdist.info` does, and when it was ``created``.

    A complete store has its ``layout``, also one of an older mrdist that did not write it, whether it ``aligns``
    photographs of any size to the faces of its training, and, if its mapping has dials, ``dials``: the name of each and
    where it stands unless somebody turns it.

    Raises
    ------
    StoreNotFoundError, StoreFormatError
        If there is no weights store.
    """
    description = info(weights_url, storage_options)
    if description["kind"] == "mappings" and not description["complete"]:
        of_each = [each for each in description["mappings"].values() if "blocks" in each]
        for part in ("blocks", "blocks_done") if of_each else ():
            description[part] = sum(each[part] for each in of_each)
    elif description["kind"] != "weights":
        raise StoreFormatError(
            f"{redact(weights_url)} is a store of {description['kind']}, not of weights; give a weights store."
        )
    elif description["complete"]:
        reader = WeightsReader.open(weights_url, storage_options)
        description["layout"] = reader.training.layout
        description["aligns"] = reader.face_frame is not None and reader.training.height == reader.training.width
        description["dials"] = {} if reader.dials is None else asdict(reader.dials)
    return description | {"created": modified_at(weights_url, storage_options)}


def measure_mapping(
    weights_url: str, storage_options: StorageOptions = None, *, max_memory: int | None = None
) -> dict[str, int | None]:
    """Read a mapping and return its ``parameters``, ``nonzeros`` and ``bytes``.

    Parameters
    ----------
    weights_url, storage_options
        A complete weights store.
    max_memory
        If the mapping takes more bytes, the first two are None.

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
