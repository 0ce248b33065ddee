"""What is known of an array before it is linked: what it says of itself, and the coordinates beside it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from mrdist.arguments import shown
from mrdist.errors import DataError, ParameterError, StoreError
from mrdist.storage.access.arrays import ArraySpec
from mrdist.storage.access.foreign import ForeignArray, axes_of_image, open_foreign
from mrdist.storage.access.listings import list_chunks
from mrdist.storage.access.remote import StorageOptions, is_local, normalize_url, redact
from mrdist.storage.access.urls import (
    array_of,
    check_format,
    open_group,
    store_errors,
)
from mrdist.storage.images.links import PIXELS, Link, LinkedStore, OwnUnits
from mrdist.values import unit_of

_ROLES = {
    "image": ("image", "time", "t", "sample", "frame", "member"),
    "y": ("y", "lat", "latitude", "row", "rows", "height", "rlat", "north_south"),
    "x": ("x", "lon", "longitude", "column", "columns", "width", "rlon", "west_east"),
    "channel": ("channel", "c", "band", "bands"),
}
_KEPT_OPTIONS = ("anon", "endpoint_url", "profile", "requester_pays", "project", "account_name", "use_ssl")
_KEPT_OF_CLIENT = ("endpoint_url", "region_name", "verify")
_TYPES = "bool, integers of 8 to 32 bits, or floats of 16 to 64 bits"


@dataclass(frozen=True)
class Sizes:
    """Lengths of a linked array along image, y, x and channel, and of its chunks."""

    shape: tuple[int, int, int, int]
    chunks: tuple[int, int, int, int]


def describe_array(
    address: str,
    options: StorageOptions = None,
    *,
    dims: Sequence[str] | None = None,
    select: Mapping[str, int | tuple[int, int]] | None = None,
    level: int = 0,
    limits: tuple[float, float] | None = None,
    fill: bool = False,
    nothing: float | None = None,
    since: int | None = None,
) -> tuple[Link, Sizes, bool]:
    """Describe an array from its metadata; no value is read.

    Parameters
    ----------
    address, options, level, fill, since
        As in `mrdist.storage.access.foreign.open_foreign`.
    dims
        Names of its dimensions; by default what it says itself.
    select
        By dimension, an index, or the first index and the one after the last.
    limits
        Values, in its own units, that become 0 and 1.
    nothing
        Value, as it lies in the array, that stands for nothing besides those that it names.

    Returns
    -------
    link : Link
        What is known; without ``limits`` its range may be (0, 1) for now.
    sizes : Sizes
        Of what is selected.
    known : bool
        Whether the range is known, or has to be measured.

    Raises
    ------
    StoreError, DataError, ParameterError
        If there is no such array, its dtype is none of numbers, or its dimensions do not fit.
    """
    check_address(address)
    foreign = open_foreign(address, options, level=level, fill=fill)
    array, place = foreign.array, redact(foreign.address)
    dtype = np.dtype(array.dtype)
    if dtype.kind not in "biuf" or (dtype.kind in "iu" and dtype.itemsize > 4) or dtype.itemsize > 8:
        raise DataError(f"{place} holds {dtype}, but linked arrays must be {_TYPES}; convert it.")
    names = _named(foreign, options, dims)
    listing = list_chunks(foreign.address, options)
    link = Link(
        address=foreign.address,
        options=without_secrets(options),
        dims=names,
        select=_selected(names, array.shape, dict(select or {}), place),
        dtype=dtype.str,
        range=(0.0, 1.0),
        **_packing(foreign, place),
        missing=foreign.missing if nothing is None else (*foreign.missing, nothing),
        fill=fill,
        fingerprint=foreign.fingerprint,
        since=since,
        listing=listing.digest if listing else "",
        newest=listing.newest if listing else "",
    )
    lengths = {"channel": (1, 1)} | {
        name: (length, chunk)
        for name, length, chunk in zip(names, array.shape, foreign.chunks, strict=True)
        if not isinstance(link.select.get(name), int)
    }
    for name, chosen in link.select.items():
        if isinstance(chosen, tuple):
            lengths[name] = (chosen[1] - chosen[0], lengths[name][1])
    shape, chunks = zip(*(lengths[name] for name in PIXELS), strict=True)
    if 0 in shape:
        raise DataError(f"{place} is empty, of shape {array.shape}; write at least one image.")
    known, valid = _known_range(link, foreign, limits, place)
    link = replace(link, range=known or link.range, valid=valid)
    return link, Sizes(shape, tuple(map(min, chunks, shape))), known is not None


def check_address(address: str) -> None:
    """Make sure that an address can be written down.

    Raises
    ------
    ParameterError
        If it holds a secret.
    """
    if not is_local(address) and redact(address) != address.rstrip("/"):
        raise ParameterError(
            f"the address {redact(address)} holds a user, a password or a query, which a link must not keep; give them "
            "in storage_options, or in the environment."
        )


def without_secrets(options: StorageOptions) -> dict[str, Any]:
    """Return the options of a filesystem that hold no secrets, the only ones that a link keeps.

    Examples
    --------
    >>> without_secrets({"anon": False, "key": "me", "secret": "hush", "client_kwargs": {"region_name": "eu"}})
    {'anon': False, 'client_kwargs': {'region_name': 'eu'}}
    """
    kept = {name: value for name, value in (options or {}).items() if name in _KEPT_OPTIONS}
    client = (options or {}).get("client_kwargs") or {}
    client = {name: value for name, value in client.items() if name in _KEPT_OF_CLIENT}
    return {**kept, "client_kwargs": client} if client else kept


def _named(foreign: ForeignArray, options: StorageOptions, dims: Sequence[str] | None) -> tuple[str, ...]:
    """Return the dimensions by their roles."""
    place, shape = redact(foreign.address), foreign.array.shape
    names = tuple(dims) if dims else foreign.names
    if names is None and "/" in foreign.address:
        names = axes_of_image(foreign.address.rpartition("/")[0], options)
    if names is None:
        raise ParameterError(
            f"{place}, of shape {shape}, does not name its dimensions; name them with --dims, such as --dims image,y,x."
        )
    if len(names) != len(shape):
        raise ParameterError(
            f"{place} has {len(shape)} dimensions, {shape}, but {len(names)} names were given ({', '.join(names)}); "
            "name each of them with --dims."
        )
    roles: dict[str, str] = {}
    for role, known in _ROLES.items():
        for name in known:
            of_name = [one for one in names if one.lower() == name and one not in roles]
            if of_name:
                roles[of_name[0]] = role
                break
    found = tuple(roles.get(name, name) for name in names)
    lacking = [role for role in PIXELS[:3] if role not in found]
    if lacking or len(set(found)) < len(found):
        wrong = f"no dimension {' and '.join(lacking)}" if lacking else "a dimension twice"
        raise ParameterError(
            f"{place} has the dimensions {', '.join(names)}, in which there is {wrong}; say what they are with --dims, "
            "such as --dims image,y,x."
        )
    return found


def _selected(
    names: tuple[str, ...], shape: tuple[int, ...], select: dict[str, int | tuple[int, int]], place: str
) -> dict[str, int | tuple[int, int]]:
    chosen: dict[str, int | tuple[int, int]] = {}
    roles = {name: role for role, known in _ROLES.items() for name in known}
    for name in [name for name in select if name not in names]:
        if roles.get(name) in names:
            select[roles[name]] = select.pop(name)
    for name in select:
        if name not in names:
            raise ParameterError(f"{place} has no dimension {name!r} to select from; it has {', '.join(names)}.")
    for name, length in zip(names, shape, strict=True):
        index = select.get(name)
        if index is None:
            if name not in PIXELS and length > 1:
                raise ParameterError(
                    f"{place} has a dimension {name} of {length}; select one of them with --select {name}=0."
                )
            index = None if name in PIXELS else 0
        if index is None:
            continue
        first, last = index if isinstance(index, tuple) else (index, index + 1)
        if not 0 <= first < last <= length:
            raise ParameterError(
                f"{place} has {length} along {name}, so that {shown(index)} cannot be selected; choose 0 to "
                f"{length - 1}."
            )
        if name in PIXELS[:3] and not isinstance(index, tuple):
            raise ParameterError(f"{name} cannot be selected by one index, got {index}; give a range, such as 0:10.")
        if name in PIXELS[1:3]:
            raise ParameterError(f"{name} cannot be selected from; link whole images.")
        chosen[name] = index
    return chosen


def _packing(foreign: ForeignArray, place: str) -> dict[str, Any]:
    attributes = foreign.attributes
    try:
        scale, offset = float(attributes.get("scale_factor", 1)), float(attributes.get("add_offset", 0))
    except (TypeError, ValueError):
        scale = math.nan
    if not math.isfinite(scale) or not math.isfinite(offset) or not scale:
        raise DataError(
            f"{place} has the scale_factor {attributes.get('scale_factor', 1)!r} and the add_offset "
            f"{attributes.get('add_offset', 0)!r}, which are no numbers to scale by; correct its attributes."
        )
    return {"scale_factor": scale, "add_offset": offset, "units": str(attributes.get("units", ""))}


def _known_range(
    link: Link, foreign: ForeignArray, limits: tuple[float, float] | None, place: str
) -> tuple[tuple[float, float] | None, tuple[float, float] | None]:
    """Return the range that is given or follows from metadata, and the least and largest valid value."""
    attributes = foreign.attributes
    valid = attributes.get("valid_range")
    if valid is None and "valid_min" in attributes and "valid_max" in attributes:
        valid = [attributes["valid_min"], attributes["valid_max"]]
    if valid is not None:
        if not (isinstance(valid, list) and len(valid) == 2 and float(valid[0]) < float(valid[1])):
            raise DataError(f"{place} has the valid_range {valid!r}, which is not two ascending numbers; correct it.")
        valid = (float(valid[0]), float(valid[1]))
    if limits is not None:
        low, high = ((value - link.add_offset) / link.scale_factor for value in limits)
        return (low, high), valid
    if valid is not None:
        return valid, valid
    dtype: np.dtype[Any] = np.dtype(link.dtype).newbyteorder("=")
    if dtype.kind == "b":
        return (0.0, 1.0), None
    if dtype in (np.uint8, np.uint16):
        return (0.0, float(unit_of(dtype))), None
    return None, None


def read_coordinate(address: str, name: str, options: StorageOptions = None) -> npt.NDArray[Any] | None:
    """Return the one-dimensional array ``name`` beside an array, dates decoded; None if there is none."""
    beside = f"{normalize_url(address).rpartition('/')[0]}/{name}"
    try:
        foreign = open_foreign(beside, options, fill=True)
    except StoreError:
        return None
    with store_errors(beside):
        values = np.asarray(foreign.array[...])
    units = str(foreign.attributes.get("units", ""))
    if values.ndim != 1:
        return None
    if " since " in units:
        from xarray.coding.times import decode_cf_datetime

        with suppress(ImportError, ValueError):  # a calendar that only cftime knows, if that is not installed
            values = np.asarray(decode_cf_datetime(values, units, foreign.attributes.get("calendar")))
    return values


def use_own_units(
    url: str,
    label: str,
    units: OwnUnits,
    lost: npt.NDArray[np.bool_] | None,
    incomplete: npt.NDArray[np.bool_] | None = None,
    storage_options: StorageOptions = None,
) -> None:
    """Have a store in the making say that the values of its one label are in units of their own.

    It then is linked to itself: other programs read the values, and mrdist the pixels that they stand for.

    Parameters
    ----------
    url, label, storage_options
        A store of floats that `mrdist.storage.create_images` has made.
    units
        Of the values, which must lie in their range.
    lost
        Pixels that are NaN in every image, shape (y, x); None if there are none.
    incomplete
        Others that may be NaN in some images, likewise.
    """
    with store_errors(url):
        group = open_group(url, storage_options, write=True)
        array = array_of(group, label)
        array.attrs["units"] = units.name
        link = Link(f"./{label}", {}, PIXELS, {}, array.dtype.str, (units.low, units.high), units=units.name)
        linked = LinkedStore(array.shape, str(array.dtype), array.chunks, {label: link})  # type: ignore[arg-type]
        group.attrs["mrdist"] = check_format(group, url) | {"linked": linked.to_dict()}
        if lost is not None:
            ArraySpec.holding("there", ~lost[None], "label", "y", "x").create(group, overwrite=True)
        if incomplete is not None:
            ArraySpec.holding("incomplete", incomplete[None], "label", "y", "x").create(group, overwrite=True)
