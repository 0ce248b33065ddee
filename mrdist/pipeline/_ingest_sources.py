"""The people that an ingest is given: from one source or several, under the names that they have in the store."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import PurePosixPath

from mrdist.datasets.discovery import Discovery, discover
from mrdist.datasets.photographs import Take, photograph_size
from mrdist.datasets.splits import split_by_subject
from mrdist.errors import DataError, ParameterError, PhotographError
from mrdist.storage import StorageOptions


@dataclass(frozen=True)
class People:
    """Takes of one dataset or several; subjects, labels and ids are those of the store.

    Attributes
    ----------
    takes
        In order of source, person and session.
    labels
        Of all takes.
    split
        train, val or test of every take.
    sources
        What the provenance says of each source.
    left_out
        File or take -> why it is not used, or not whole.
    """

    takes: list[Take]
    labels: tuple[str, ...]
    split: list[str]
    sources: list[dict[str, str]]
    left_out: dict[str, str]


def find_people(
    src: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
    *,
    layout: str | Sequence[str],
    dataset: str | Sequence[str] | None,
    angle: str,
    rename: Mapping[str, str],
    seed: int,
    strict: bool,
    append: bool,
    storage_options: StorageOptions,
) -> People:
    """Find the takes of all sources.

    With several sources, and to append, every subject is called ``<dataset>/<subject>``.

    Raises
    ------
    ParameterError
        The layouts or datasets are not one for each source, or a label cannot be renamed so.
    DataError
        A source cannot be read or holds nothing; with ``strict``, some photograph does not fit.
    """
    sources = [src] if isinstance(src, str | os.PathLike) else list(src)
    layouts = [layout] * len(sources) if isinstance(layout, str) else list(layout)
    layouts = layouts * len(sources) if len(layouts) == 1 else layouts
    names: list[str | None] = [None] * len(sources)
    if dataset is not None:
        names = [dataset] if isinstance(dataset, str) else [*dataset]
    for what, given in (("layout", layouts), ("dataset", names)):
        if len(given) != len(sources):
            raise ParameterError(f"give one {what} for each of the {len(sources)} sources, got {len(given)}.")
    found = [
        discover(place, layout=layout, dataset=name, angle=angle, storage_options=storage_options)
        for place, layout, name in zip(sources, layouts, names, strict=True)
    ]
    datasets = [one.dataset for one in found]
    for name in datasets:
        if datasets.count(name) > 1:
            raise ParameterError(f"two sources are called {name!r}; give each a name of its own with --dataset.")
    if strict:
        _check_fit(found)
    _check_rename(found, rename)
    takes: list[Take] = []
    left_out: dict[str, str] = {}
    for one in found:
        left_out |= one.left_out
        labels = {label for take in one.takes for label in take.photographs}
        for take in one.takes:
            subject = f"{one.dataset}/{take.subject}" if append or len(found) > 1 else take.subject
            renamed = replace(
                take,
                subject=subject,
                photographs={rename.get(label, label): path for label, path in take.photographs.items()},
                landmarks={rename.get(label, label): path for label, path in take.landmarks.items()},
            )
            takes.append(renamed)
            for label in sorted(labels - set(take.photographs)):
                left_out[f"{renamed.name}/{label}"] = "the person has no photograph with this label"
    drawn = split_by_subject([take.subject for take in takes], seed)
    return People(
        takes,
        tuple(sorted({label for take in takes for label in take.photographs})),
        [take.split or side for take, side in zip(takes, drawn, strict=True)],
        [{"dataset": one.dataset, "layout": one.layout} for one in found],
        left_out,
    )


def _check_fit(found: list[Discovery]) -> None:
    for one in found:
        for path, reason in one.unfit.items():
            raise DataError(
                f"{len(one.unfit)} photographs of {one.dataset} do not fit the layout {one.layout}, {path} for one "
                f"({reason}); rename or remove them, or go without --strict."
            )


def _check_rename(found: list[Discovery], rename: Mapping[str, str]) -> None:
    everywhere = sorted({label for one in found for take in one.takes for label in take.photographs})
    for label in rename:
        if label not in everywhere:
            raise ParameterError(f"cannot rename {label!r}: the labels found are {', '.join(everywhere)}.")
    for one in found:
        labels = sorted({label for take in one.takes for label in take.photographs})
        renamed = [rename.get(label, label) for label in labels]
        if len(set(renamed)) < len(renamed):
            raise ParameterError(f"renaming would give two labels one name: {', '.join(renamed)}.")


def common_size(takes: list[Take]) -> int:
    """Return the side that all photographs share; unreadable ones are for the tasks to report.

    Raises
    ------
    DataError
        The photographs differ in size or are not square, or none can be read.
    """
    first: tuple[str, int, int] | None = None
    unreadable: PhotographError | None = None
    for path in (path for take in takes for path in take.photographs.values()):
        name = PurePosixPath(os.fspath(path)).name
        try:
            width, height = photograph_size(path)
        except PhotographError as error:
            unreadable = unreadable or error
            continue
        first = first or (name, width, height)
        if (width, height) != first[1:]:
            raise DataError(
                f"{first[0]} has {first[1]} x {first[2]} pixels and {name} {width} x {height}; "
                "give the size of the images in the store with --size."
            )
    if first is None:
        raise DataError(f"None of the photographs can be read; the first reason: {unreadable}")
    if first[1] != first[2]:
        raise DataError(
            f"{first[0]} has {first[1]} x {first[2]} pixels and is not square; give the side of the images "
            "in the store with --size."
        )
    return first[1]
