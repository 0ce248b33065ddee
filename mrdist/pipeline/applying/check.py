"""Check that a mapping can be applied to the images of a store."""

from __future__ import annotations

import logging

import numpy as np
import numpy.typing as npt

from mrdist.errors import DataError
from mrdist.storage import Images, WeightsReader, redact

logger = logging.getLogger("mrdist")


def check_mapping(model: WeightsReader, images: Images) -> None:
    """Check that the images have the size and channels that the weights map.

    Raises
    ------
    DataError
        If they do not, linked values mean others than those that the weights were learnt from, or the mapping sees
        whole images and some miss pixels that others have.
    """
    training = model.training
    if (images.shape, images.n_channels) != ((training.height, training.width), training.n_channels):
        raise DataError(
            f"{redact(model.url)} maps images of {training.height} x {training.width} pixels and "
            f"{training.n_channels} channel(s), but {redact(images.url)} has {images.shape[0]} x {images.shape[1]} and "
            f"{images.n_channels}; ingest the images at that size and colour."
        )
    if model.field is None and training.source in images.labels:
        images.check_whole([training.source], f"{redact(model.url)}, trained by {training.method},")
    for learnt, label in ((model.units_of("source"), training.source), (model.units_of("target"), training.target)):
        link = images.link_of(label) if label in images.labels else None
        if learnt is not None and link is not None and link.meaning.range != learnt.range:
            low, high = learnt.range
            raise DataError(
                f"{redact(model.url)} was learnt from values of {label} of {low:g} to {high:g}, but "
                f"{redact(images.url)} has them from {link.own_range[0]:g} to {link.own_range[1]:g}; link them with "
                f"--range {label}={low!r},{high!r}."
            )


def warn_of_unmoved(model: WeightsReader, images: Images, rows: npt.NDArray[np.int64]) -> int:
    """Return how many images of a store a mapping leaves as they are, see `WeightsReader.unmoved`; warn if there are.

    Raises
    ------
    DataError
        If the mapping moves faces, and the store has no landmarks or others.
    """
    unmoved = len(model.unmoved(images, model.training.source, rows))
    if unmoved:
        logger.warning(
            "%d of %d images of %s stay as they are, since their landmarks are not known; ingest their photographs "
            "with --align landmarks, or put landmark files beside them.",
            unmoved,
            len(rows),
            redact(images.url),
        )
    return unmoved
