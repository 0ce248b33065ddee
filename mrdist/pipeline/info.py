"""Say what is at a URL."""

from __future__ import annotations

from collections import Counter
from typing import Any

from mrdist.storage import Images, StorageOptions, describe, redact
from mrdist.storage.weights import TrainOutput


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
            "images": len(images.image),
            "subjects": len(set(images.subject)),
            "shape": list(images.shape),
            "channels": images.n_channels,
            "dtype": str(images.dtype),
            "chunks": list(images.chunks),
            "present": {label: int(n) for label, n in zip(images.labels, images.present.sum(axis=0), strict=True)},
            "splits": dict(sorted(Counter(map(str, images.split)).items())),
        }
    if found["kind"] == "weights" and not found["complete"] and "block" in found:
        done = TrainOutput.open(url, storage_options).done
        found |= {"blocks": len(done), "blocks_done": int(done.sum())}
    return found
