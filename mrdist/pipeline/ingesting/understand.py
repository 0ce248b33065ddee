"""Say what an ingest would make of photographs, from their names alone."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

from mrdist.pipeline.ingesting._sources import find_people
from mrdist.storage import StorageOptions


def understand(
    src: str,
    *,
    layout: str = "auto",
    angle: str = "front",
    rename: Mapping[str, str] | None = None,
    storage_options: StorageOptions = None,
) -> dict[str, Any]:
    """Find the people of a source without reading a photograph.

    Parameters
    ----------
    src, layout, angle, rename
        As in `mrdist.ingest`.
    storage_options
        Options of the source's fsspec filesystem.

    Returns
    -------
    dict
        ``layout``, in words why it is that one; ``people``, ``takes`` and ``whole`` (takes with every label): numbers;
        ``labels``: number of photographs of each; ``splits``: number of takes of each; ``left_out``: file or take ->
        why it is not used, or not whole.

    Raises
    ------
    MrdistError
        As in `mrdist.ingest`, where the names tell it.
    """
    people = find_people(
        src,
        layout=layout,
        dataset=None,
        angle=angle,
        rename=dict(rename or {}),
        seed=0,
        strict=False,
        append=False,
        storage_options=storage_options,
    )
    labels = Counter(label for take in people.takes for label in take.photographs)
    return {
        "layout": next(iter(people.reasons.values()), layout),
        "people": len({take.subject for take in people.takes}),
        "takes": len(people.takes),
        "whole": sum(len(take.photographs) == len(people.labels) for take in people.takes),
        "labels": dict(sorted(labels.items())),
        "splits": dict(Counter(people.split)),
        "left_out": dict(people.left_out),
    }
