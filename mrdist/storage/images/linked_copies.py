"""Copies of linked stores: they hold the values of the arrays as these lie, and are linked to themselves.

So everything stays what it was: pixels, what is missing, ranges and units; and every label has its own dtype and size.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from mrdist.codecs import check_codec
from mrdist.storage.access.arrays import ArraySpec
from mrdist.storage.access.urls import (
    StorageOptions,
    check_format,
    commit,
    open_group,
    store_errors,
)
from mrdist.storage.images.linked import LinkedArray
from mrdist.storage.images.linked_writer import create_linked
from mrdist.storage.images.links import PIXELS, Link, LinkedStore
from mrdist.storage.images.reader import Images


def create_copy(
    url: str,
    images: Images,
    chunks: tuple[int, int, int, int],
    *,
    codec: str | None = None,
    overwrite: bool = False,
    storage_options: StorageOptions = None,
) -> None:
    """Create a store for the values of a linked one, without them; `finish_copy` completes it.

    Parameters
    ----------
    url, codec, overwrite, storage_options
        As in `mrdist.storage.create_images`.
    images
        A linked store.
    chunks
        Of the copy, in pixels; an array of coarser values has as many fewer of them in a chunk.
    """
    own = {label: _linked_to_itself(label, array) for label, array in images.linked_arrays.items()}
    linked = LinkedStore((images.n_images, *images.shape, images.n_channels), str(images.dtype), chunks, own)
    columns = {name: getattr(images, name).tolist() for name in ("image", "subject", "dataset", "split")}
    masks = {name: images._values(name) for name in ("present", "face_mask", "there", "incomplete")}
    begin: dict[str, Any] = {"codec": check_codec(codec), "overwrite": overwrite, "storage_options": storage_options}
    with create_linked(url, linked, columns, masks, **begin) as group:
        for label, link in own.items():
            height, width = (size // link.factor for size in images.shape)
            coarse = f"_by_{link.factor}" if link.factor > 1 else ""  # xarray wants one size of a name
            axes = dict(zip(PIXELS, (images.n_images, height, width, images.n_channels), strict=True))
            axes = {name + coarse * (name in "yx"): size for name, size in axes.items()}
            array = ArraySpec(label, axes, link.dtype, values_per_chunk(chunks, link.factor)).create(group)
            array.attrs.update(_attributes(link))


def values_per_chunk(chunks: tuple[int, ...], factor: int) -> tuple[int, ...]:
    """Return a chunk shape of values that cover so many pixels each along rows and columns.

    Examples
    --------
    >>> values_per_chunk((64, 32, 33, 1), 4)
    (64, 8, 9, 1)
    """
    run, height, width, n_channels = chunks
    return run, -(-height // factor), -(-width // factor), n_channels


def _linked_to_itself(label: str, array: LinkedArray) -> Link:
    """Return a link to an array of the store itself that holds the same values as this machine has them."""
    return replace(
        array.link,
        address=f"./{label}",
        options={},
        dims=PIXELS,
        select={},
        dtype=np.dtype(array.link.dtype).newbyteorder("=").str,
        fill=False,
        fingerprint="",
        since=None,
        listing="",
        newest="",
        mark=array.mark,
    )


def _attributes(link: Link) -> Mapping[str, Any]:
    """Return what tells other programs what the values mean, by the conventions of CF."""
    attributes: dict[str, Any] = {"units": link.units} if link.units else {}
    if (link.scale_factor, link.add_offset) != (1.0, 0.0):
        attributes |= {"scale_factor": link.scale_factor, "add_offset": link.add_offset}
    if len(link.missing) == 1:
        attributes["missing_value"] = link.missing[0]
    if link.valid is not None:
        attributes["valid_range"] = list(link.valid)
    return attributes


def finish_copy(url: str, provenance: Mapping[str, Any], storage_options: StorageOptions = None) -> None:
    """Mark a copy complete whose values have all been written."""
    with store_errors(url):
        group = open_group(url, storage_options, write=True)
        commit(group, url, {**check_format(group, url), "complete": True, "provenance": dict(provenance)})
