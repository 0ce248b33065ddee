"""Draw the images of a store that were aligned worst."""

from __future__ import annotations

from os import fspath
from typing import NamedTuple

import numpy as np

from mrdist.arguments import Address, plain_arguments
from mrdist.datasets.alignment import MEANINGS, badness
from mrdist.errors import DataError, ParameterError
from mrdist.pipeline.showing.plot import new_figure, save
from mrdist.storage import Images, StorageOptions, read_alignment, redact

#: The first of these that a store has decides which are worst.
_TELLING = ("correlation", "likeness", "landmarks")


def meaning_of(measure: str) -> str:
    """Return a measure's unit and what is usual.

    Examples
    --------
    >>> meaning_of("landmarks")
    'sides of the frame, usually at most 0.007'
    """
    unit, usual = MEANINGS[measure]
    return f"{unit}, usually {usual}"


class Worst(NamedTuple):
    """An image that was aligned badly, by a measure of `mrdist.datasets.alignment.AlignedTake`."""

    image: str
    label: str
    photograph: str
    value: float
    measure: str


@plain_arguments
def plot_alignment(
    images_url: Address,
    out: Address,
    *,
    count: int = 12,
    measure: str | None = None,
    storage_options: StorageOptions = None,
) -> tuple[str, list[Worst]]:
    """Draw a contact sheet of the people whose photographs were aligned worst, the worst first.

    Parameters
    ----------
    images_url
        An images store that ``mrdist ingest`` has written.
    out
        File of the picture; its extension decides the format.
    count
        How many people at most.
    measure
        Which measure decides, one of the store's measures of quality (`mrdist.datasets.alignment.AlignedTake`).
        By default the first that the store has of ``correlation``, ``likeness`` and ``landmarks``.
    storage_options
        Options of the fsspec filesystem.

    Returns
    -------
    out : str
    worst : list of Worst
        The worst image of every person that is drawn.

    Raises
    ------
    ParameterError
        If ``count`` is not positive or the store has no such measure.
    DataError
        If the store has no measures because its photographs were not aligned.
    StoreError
        If the store does not name its photographs or cannot be read, or the picture cannot be written.
    """
    from mrdist.plotting import plot_faces

    images_url, out = fspath(images_url), fspath(out)
    if count < 1:
        raise ParameterError(f"count must be at least 1, got {count}.")
    images = Images.open(images_url, storage_options)
    origin = read_alignment(images)
    measures = [
        name for name, values in zip(origin.measures, origin.quality.T, strict=True) if np.isfinite(values).any()
    ]
    if not measures:
        raise DataError(f"{redact(images_url)} was ingested with --align none; draw a store whose faces are aligned.")
    measure = measure or next((name for name in _TELLING if name in measures), measures[0])
    if measure not in measures:
        raise ParameterError(f"{redact(images_url)} has no measure {measure!r}; it has {', '.join(measures)}.")
    quality = origin.quality[:, :, list(origin.measures).index(measure)]
    bad = np.array([[-np.inf if np.isnan(value) else badness(measure, value) for value in row] for row in quality])
    rows = [row for row in np.argsort(-bad.max(axis=1), kind="stable") if np.isfinite(bad[row]).any()][:count]
    worst = []
    for row in rows:
        column = int(bad[row].argmax())
        value, photograph = float(quality[row, column]), origin.photograph[row][column]
        worst.append(Worst(str(images.image[row]), images.labels[column], photograph, value, measure))
    height, width = images.shape
    figure = new_figure(1.5 * len(rows) + 0.4, 1.5 * len(images.labels) * height / width + 0.6)
    ax = plot_faces({label: list(images.read(label, rows)) for label in images.labels}, ax=figure.subplots())
    titles = [f"{one.image}\n{one.value:.3g}" for one in worst]
    ax.set_xticks([(k + 0.5) * width - 0.5 for k in range(len(rows))], titles)
    ax.set_xlabel(f"{measure} of {', '.join(sorted({one.label for one in worst}))}; {meaning_of(measure)}")
    return save(figure, out, storage_options), worst
