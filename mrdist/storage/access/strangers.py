"""What lies at an address that should hold a store of mrdist: one sentence with the next step."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import Any

from mrdist.errors import ForeignStoreError, StoreError, StoreNotFoundError
from mrdist.storage.access.remote import StorageOptions, filesystem_of, redact
from mrdist.storage.access.retries import patiently

_PHOTOGRAPHS = (".jpg", ".jpeg", ".png", ".tif", ".tiff", ".bmp", ".webp")
_ARCHIVES = (".zip", ".tar", ".tgz", ".gz")
_BY_HAND = "write its images with mrdist.create_images, mrdist.write_images and mrdist.finish_images"
_SHOWN = 4


def stranger_at(url: str, options: StorageOptions) -> StoreError:
    """Return the error for an address where there is no zarr group of format 3."""
    place, nothing = redact(url), StoreNotFoundError(f"there is no zarr group at {redact(url)}; check the address.")
    try:
        filesystem, root = filesystem_of(url, options)
        if patiently(lambda: filesystem.isfile(root)):
            return _file(place)
        names = {PurePosixPath(name).name for name in patiently(lambda: filesystem.ls(root, detail=False))}

        def read(name: str) -> dict[str, Any]:
            try:
                document = json.loads(patiently(lambda: filesystem.cat_file(f"{root}/{name}"))) if name in names else {}
            except ValueError:
                document = {}
            return document if isinstance(document, dict) else {}

        if names & {"zarr.json", ".zarray", ".zgroup"}:
            return _zarr(place, names, read("zarr.json"), read(".zattrs"))
    except (OSError, ValueError, NotImplementedError):  # whatever it is, it cannot be looked into
        return nothing
    stores = sorted(name for name in names if name.endswith(".zarr"))
    if stores:
        there = ", ".join(stores[:_SHOWN]) + ", ..." * (len(stores) > _SHOWN)
        return StoreNotFoundError(f"{place} is a folder of stores, not a store; give one of them ({there}).")
    if any(name.lower().endswith(_PHOTOGRAPHS) for name in names):
        return StoreNotFoundError(
            f"{place} is a folder of photographs, not a zarr group; make a store of them with mrdist ingest."
        )
    if names:
        return StoreNotFoundError(
            f"{place} is a folder, but not a zarr group; check the address, or make a store of its photographs with "
            "mrdist ingest."
        )
    try:
        is_folder = patiently(lambda: filesystem.isdir(root))
    except OSError:
        return nothing
    if not is_folder:
        return nothing
    return StoreNotFoundError(
        f"{place} is an empty folder, not a zarr group; check the address, or make a store with mrdist ingest or "
        "mrdist generate."
    )


def _file(place: str) -> StoreError:
    name = place.lower()
    if name.endswith(_ARCHIVES):
        advice = "unpack it if it holds a store, or make a store of its photographs with mrdist ingest"
    elif name.endswith(_PHOTOGRAPHS):
        advice = "make a store of a folder of photographs with mrdist ingest"
    elif PurePosixPath(place).name in ("zarr.json", ".zgroup", ".zattrs", ".zmetadata"):
        advice = f"give the folder it lies in ({place.rpartition('/')[0]})"
    else:
        advice = "give the address of a store, which is a folder"
    return StoreNotFoundError(f"{place} is a file, not a zarr group; {advice}.")


def _zarr(place: str, names: set[str], metadata: Mapping[str, Any], attributes: Mapping[str, Any]) -> StoreError:
    if ".zarray" in names or metadata.get("node_type") == "array":
        parent = place.rpartition("/")[0]
        return ForeignStoreError(
            f"{place} is a zarr array, but a store is a group of arrays; give the group it lies in ({parent}), or "
            f"{_BY_HAND}."
        )
    if ".zgroup" in names:
        kind = _foreign_kind(attributes)
        if kind is not None:
            return ForeignStoreError(f"{place} is {kind} in zarr format 2, not a store of mrdist; {_BY_HAND}.")
        return ForeignStoreError(
            f"{place} is a zarr group of format 2, but mrdist reads format 3; rewrite it, for instance with "
            "xarray.open_zarr(URL, mask_and_scale=False).drop_encoding().to_zarr(NEW, zarr_format=3)."
        )
    return StoreNotFoundError(
        f"there is no zarr group at {place}: its zarr.json is damaged; restore it from a copy or write the store again."
    )


def foreign_group(url: str, attributes: Mapping[str, Any]) -> ForeignStoreError:
    """Return the error for a zarr group without a sound attribute ``mrdist``."""
    place, kind = redact(url), _foreign_kind(attributes)
    if kind is not None:
        return ForeignStoreError(f"{place} is {kind}, a zarr group, but not a store of mrdist; {_BY_HAND}.")
    if "mrdist" in attributes:
        return ForeignStoreError(
            f"{place} is a zarr group, but not a store of mrdist: its attribute 'mrdist' has no 'kind'; for images set "
            "it to {'kind': 'images'}, and mrdist check URL (mrdist.check_images) says what else is wrong."
        )
    return ForeignStoreError(
        f"{place} is a zarr group, but not a store of mrdist: it lacks the attribute 'mrdist'; check the address, or, "
        "if its arrays are images, set the attribute to {'kind': 'images'}, and mrdist check URL (mrdist.check_images) "
        "says what else is wrong."
    )


def _foreign_kind(attributes: Mapping[str, Any]) -> str | None:
    """Return what a group is by the attributes of other programs."""
    if attributes.get("encoding-type") in ("csr_matrix", "csc_matrix"):
        return "a sparse matrix in AnnData's encoding"
    if str(attributes.get("encoding-type", "")).startswith("anndata"):
        return "an AnnData object"
    if "ome" in attributes or "multiscales" in attributes or "plate" in attributes:
        return "an OME-Zarr image"
    return None
