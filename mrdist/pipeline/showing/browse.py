"""Browse an images store: its summary, its rows and its pictures."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from mrdist.errors import LabelError, ParameterError
from mrdist.geometry import Block
from mrdist.pipeline.applying._pictures import FAST, encode, to_picture
from mrdist.pipeline.showing.info import info
from mrdist.storage import Images, StorageOptions, redact, stored_bytes
from mrdist.synthesis import to_floats


def summarize(images_url: str, storage_options: StorageOptions = None) -> dict[str, Any]:
    """Describe an images store as `mrdist.info` does, with the bytes that it takes on disk.

    Parameters
    ----------
    images_url, storage_options
        An images store, which may be unfinished.
    """
    summary = info(images_url, storage_options)
    return summary | {"bytes": stored_bytes(images_url, storage_options)}


def list_rows(images: Images, *, split: str | None = None, offset: int = 0, limit: int = 100) -> dict[str, Any]:
    """Return some rows of an images store.

    Parameters
    ----------
    images
        The store.
    split
        Whose rows; all by default.
    offset, limit
        Rows to skip, and how many to return at most.

    Returns
    -------
    dict
        ``total`` rows, and ``rows``, each with ``row``, ``image``, ``subject``, ``dataset``, ``split`` and the
        ``labels`` that are there.
    """
    chosen = np.arange(images.n_images) if split is None else np.flatnonzero(images.split == split)
    rows = [
        {
            "row": row,
            "image": str(images.image[row]),
            "subject": str(images.subject[row]),
            "dataset": str(images.dataset[row]),
            "split": str(images.split[row]),
            "labels": [label for label, there in zip(images.labels, images.present[row], strict=True) if there],
        }
        for row in chosen[offset : offset + limit].tolist()
    ]
    return {"total": len(chosen), "rows": rows}


def check_picture(images: Images, label: str, row: int) -> None:
    """Check that there is a picture.

    Raises
    ------
    LabelError
        If there is no such label, or the row lacks it.
    ParameterError
        If there is no such row.
    """
    column = images.column(label)
    if not 0 <= row < images.n_images:
        raise ParameterError(f"row must be from 0 to {images.n_images - 1} for {redact(images.url)}, got {row}.")
    if not images.present[row, column]:
        raise LabelError(f"row {row} of {redact(images.url)} has no image of label {label!r}.")


def read_run(images: Images, label: str, run: int) -> npt.NDArray[np.generic]:
    """Return the images of a label whose chunks lie together: reading one of them decodes all."""
    start = run * images.chunks[0]
    stop = min(start + images.chunks[0], images.n_images)
    return images.reader().read(label, start, stop, Block(0, 0, *images.shape))


def read_one(images: Images, label: str, row: int) -> npt.NDArray[np.generic]:
    """Return one image of a label, shape (y, x, channel)."""
    image: npt.NDArray[np.generic] = images.read(label, [row])[0]
    return image


def to_png(image: npt.NDArray[np.generic], size: int | None = None) -> bytes:
    """Return an image, shape (y, x, channel), as the file of a PNG, its longest side at most ``size`` pixels."""
    picture = to_picture(to_floats(image[np.newaxis])[0])
    if size is not None and size < max(picture.size):
        picture.thumbnail((size, size), Image.Resampling.LANCZOS)
    return encode(picture, FAST)
