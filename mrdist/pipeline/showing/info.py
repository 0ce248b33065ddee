"""Describe the store at a URL."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from os import fspath
from typing import Any

import numpy as np
import numpy.typing as npt

from mrdist.arguments import Address, plain_arguments
from mrdist.errors import StoreNotFoundError
from mrdist.geometry import Shape
from mrdist.storage import Images, StorageOptions, describe, redact, run_state
from mrdist.storage.access.urls import open_group
from mrdist.storage.making.progress import Progress, find_search, marks_seen
from mrdist.storage.weights.cv_table import table_rows
from mrdist.storage.weights.mappings import mapping_url


@plain_arguments
def info(url: Address, storage_options: StorageOptions = None) -> dict[str, Any]:
    """Describe any store of mrdist, finished or not.

    Parameters
    ----------
    url
        Path or fsspec URL.
    storage_options
        Options of the fsspec filesystem.

    Returns
    -------
    dict
        At least ``kind``, ``format_version`` and ``complete``, None if nothing of the store exists yet. While a
        run writes it, and after a failed run, ``run`` is the state of that run, see `mrdist.storage.run_state`.

    Raises
    ------
    StoreNotFoundError, StoreFormatError
        If there is no store of mrdist, or one of a newer format.
    """
    url = fspath(url)
    run = run_state(url, storage_options)
    try:
        description = describe(url, storage_options)
    except StoreNotFoundError:
        if run is None:
            raise
        return {"url": redact(url), "kind": None, "format_version": None, "complete": False, "run": run}
    description = {"url": redact(url), **description, "complete": bool(description.get("complete"))}
    if run is not None:
        description["run"] = run
    if description["kind"] == "images" and description["complete"]:
        images = Images.open(url, storage_options)
        description |= {
            "images": images.n_images,
            "subjects": len(set(images.subject)),
            "shape": list(images.shape),
            "channels": images.n_channels,
            "dtype": str(images.dtype),
            "chunks": list(images.chunks),
            "present": {label: int(n) for label, n in zip(images.labels, images.present.sum(axis=0), strict=True)},
            "splits": dict(sorted(Counter(map(str, images.split)).items())),
        }
        if images.landmark_confidence is not None:
            seen = (images.landmark_confidence > 0).sum(axis=0)
            description["landmarks"] = {
                "scheme": images.landmark_scheme,
                "found": {label: int(n) for label, n in zip(images.labels, seen, strict=True)},
            }
    if description["kind"] == "statistics" and description["complete"]:
        from mrdist.storage import Statistics  # with the arithmetic, which no other store needs to be described

        statistics = Statistics.open(url, storage_options)
        description |= {"images": statistics.n_images, "folds": statistics.n_folds}
    if description["kind"] == "mappings":
        trainings = list(description.pop("trainings").values())
        description["training"] = {
            name: value for name, value in trainings[0].items() if all(other[name] == value for other in trainings)
        }
        description["mappings"] = {
            name: _info_of_mapping(mapping_url(url, name), storage_options) for name in description["mappings"]
        }
        return description
    group = open_group(url, storage_options, write=True)  # as it is now, not as last completed
    rows = table_rows(group) if description["kind"] == "weights" and description["complete"] else None
    if rows is not None:
        description["cross_validation"] = {**description["cross_validation"], "table": rows}
    marks = marks_seen(lambda: Progress.find(group))
    if marks is None and (marks := marks_seen(lambda: find_search(group))) is not None:
        description["phase"] = "cross-validation"
    if marks is not None:
        _, done = marks
        description |= {"blocks": len(done), "blocks_done": int(done.sum())}
    return description


@dataclass(frozen=True)
class BlockMap:
    """Which blocks of an unfinished store are done.

    Attributes
    ----------
    shape, block
        Height and width of the image and of a block.
    done
        For each block, in raster order.
    """

    shape: Shape
    block: Shape
    done: npt.NDArray[np.bool_]

    @property
    def grid(self) -> Shape:
        """Rows and columns of blocks."""
        rows, columns = (-(-side // step) for side, step in zip(self.shape, self.block, strict=True))
        return rows, columns


@plain_arguments
def block_map(url: Address, storage_options: StorageOptions = None) -> BlockMap | None:
    """Return which blocks of an unfinished weights store are done; None if it is complete, or of another kind.

    Parameters
    ----------
    url, storage_options
        A store.
    """
    url = fspath(url)
    description = describe(url, storage_options)
    if description["kind"] != "weights":
        return None
    group = open_group(url, storage_options, write=True)
    marks = marks_seen(lambda: Progress.find(group)) or marks_seen(lambda: find_search(group))
    return (
        None
        if marks is None
        else BlockMap((description["training"]["height"], description["training"]["width"]), *marks)
    )


def _info_of_mapping(url: str, storage_options: StorageOptions) -> dict[str, Any]:
    """Return the progress of a mapping of a group; the group describes the rest."""
    try:
        description = info(url, storage_options)
    except StoreNotFoundError:  # not yet begun
        return {"complete": False}
    return {name: description[name] for name in ("complete", "blocks", "blocks_done") if name in description}
