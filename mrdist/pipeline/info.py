"""Say what is at a URL."""

from __future__ import annotations

from collections import Counter
from typing import Any

from mrdist.storage import Images, Statistics, StorageOptions, describe, redact
from mrdist.storage.progress import Progress
from mrdist.storage.urls import open_group


def info(url: str, storage_options: StorageOptions = None) -> dict[str, Any]:
    """Describe any store of mrdist, also one in the making.

    Parameters
    ----------
    url
        Path or fsspec URL.
    storage_options
        Options of the fsspec filesystem.

    Returns
    -------
    dict
        At least ``kind``, ``format_version`` and ``complete``.

    Raises
    ------
    StoreNotFoundError, StoreFormatError
        If there is no store of mrdist, or one of a newer format.
    """
    found = describe(url, storage_options)
    found = {"url": redact(url), **found, "complete": bool(found.get("complete"))}
    if found["kind"] == "images" and found["complete"]:
        images = Images.open(url, storage_options)
        found |= {
            "images": images.n_images,
            "subjects": len(set(images.subject)),
            "shape": list(images.shape),
            "channels": images.n_channels,
            "dtype": str(images.dtype),
            "chunks": list(images.chunks),
            "present": {label: int(n) for label, n in zip(images.labels, images.present.sum(axis=0), strict=True)},
            "splits": dict(sorted(Counter(map(str, images.split)).items())),
        }
    if found["kind"] == "statistics" and found["complete"]:
        statistics = Statistics.open(url, storage_options)
        found |= {"images": statistics.n_images, "folds": statistics.n_folds}
    progress = Progress.find(open_group(url, storage_options, write=True))  # as it is now, not as last completed
    if progress is not None:
        found |= {"blocks": len(progress.done), "blocks_done": int(progress.done.sum())}
    return found
