"""Writes images stores whose arrays lie elsewhere."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import numpy.typing as npt
import zarr

from mrdist.storage.access.arrays import ArraySpec, write_strings
from mrdist.storage.access.remote import StorageOptions
from mrdist.storage.access.urls import beginning, check_format, clear_output, commit, store_errors
from mrdist.storage.images.layout import OPTIONAL
from mrdist.storage.images.links import LinkedStore


def write_link(
    url: str,
    linked: LinkedStore,
    *,
    image: Sequence[str],
    subject: Sequence[str],
    split: Sequence[str],
    present: npt.NDArray[np.bool_],
    there: npt.NDArray[np.bool_] | None,
    incomplete: npt.NDArray[np.bool_] | None,
    provenance: Mapping[str, Any],
    overwrite: bool = False,
    storage_options: StorageOptions = None,
) -> None:
    """Write an images store that refers to arrays where they lie.

    Parameters
    ----------
    url, overwrite, storage_options
        As in `mrdist.storage.create_images`.
    linked
        Where the arrays lie.
    image, subject, split
        Of every image.
    present
        Which images are there, shape (image, label).
    there
        Which pixels have a value in some image, shape (label, y, x); None if all have in every image.
    incomplete
        Which pixels have a value in some images and not in others, shape (label, y, x); None if there are none, or
        these images are left out.
    provenance
        Fit for JSON.
    """
    columns = {"image": image, "subject": subject, "dataset": [""] * len(image), "split": split}
    inside = None if there is None else np.asarray(there.all(axis=0))
    masks = {"present": present, "face_mask": inside, "there": there, "incomplete": incomplete}
    with store_errors(url):
        with create_linked(url, linked, columns, masks, overwrite=overwrite, storage_options=storage_options) as group:
            pass
        commit(group, url, {**check_format(group, url), "complete": True, "provenance": dict(provenance)})


@contextmanager
def create_linked(
    url: str,
    linked: LinkedStore,
    columns: Mapping[str, Sequence[str]],
    masks: Mapping[str, npt.NDArray[Any] | None],
    *,
    codec: str | None = None,
    overwrite: bool = False,
    storage_options: StorageOptions = None,
) -> Iterator[zarr.Group]:
    """Create an images store that says where its arrays lie, and is not complete yet; further arrays may be added.

    Parameters
    ----------
    url, codec, overwrite, storage_options
        As in `mrdist.storage.create_images`.
    linked
        Where the arrays lie.
    columns
        Image, subject, dataset and split of every image.
    masks
        Other arrays of the store by their names, see `mrdist.storage.images.layout`; None where there is none.
    """
    clear_output(url, storage_options, kind="images", overwrite=overwrite)
    labels, told = list(linked.links), linked.to_dict()
    with beginning(url, storage_options, "images", codec=codec, labels=labels, linked=told) as group:
        group.attrs["coordinates"] = "subject dataset split"
        for name, values in columns.items():
            write_strings(group, name, values, "image", len(values))
        write_strings(group, "label", labels, "label", len(labels))
        for name, mask in masks.items():
            if mask is not None:
                ArraySpec.holding(name, mask, *OPTIONAL[name]).create(group)
        yield group
