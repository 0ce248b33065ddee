"""The people of an ingest, from one source or several, with the names that they get in the store."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from mrdist.datasets.discovery import Discovery, discover
from mrdist.datasets.photographs import Take
from mrdist.datasets.splits import split_by_subject
from mrdist.errors import DataError, ParameterError
from mrdist.running.driving import tracked
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
        Provenance of each source.
    reasons
        Name of each dataset -> its layout and, if it was detected, why.
    left_out
        File or take -> why it is not used, or not whole.
    """

    takes: list[Take]
    labels: tuple[str, ...]
    split: list[str]
    sources: list[dict[str, str]]
    left_out: dict[str, str]
    reasons: dict[str, str] = field(default_factory=dict)


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
    follow_links: bool = False,
    progress: bool | None = False,
    storage_options: StorageOptions,
) -> People:
    """Find the takes of all sources.

    With several sources, or when appending, every subject is called ``<dataset>/<subject>``.

    Raises
    ------
    ParameterError
        If there is not one layout or dataset for each source, or a label cannot be renamed.
    DataError
        If a source cannot be read or is empty; with ``strict``, if a photograph does not fit the layout.
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
    discoveries = []
    with tracked(len(sources), 0, "source", show=progress, phase="listing") as advance:
        for place, layout, name in zip(sources, layouts, names, strict=True):
            discoveries.append(
                discover(
                    place,
                    layout=layout,
                    dataset=name,
                    angle=angle,
                    follow_links=follow_links,
                    storage_options=storage_options,
                )
            )
            advance(1, "")
    datasets = [discovery.dataset for discovery in discoveries]
    for name in datasets:
        if datasets.count(name) > 1:
            raise ParameterError(f"two sources are called {name!r}; give them different names with --dataset.")
    if strict:
        _check_fit(discoveries)
    _check_rename(discoveries, rename)
    takes: list[Take] = []
    left_out: dict[str, str] = {}
    for discovery in discoveries:
        left_out |= discovery.left_out
        labels = {label for take in discovery.takes for label in take.photographs}
        for take in discovery.takes:
            subject = f"{discovery.dataset}/{take.subject}" if append or len(discoveries) > 1 else take.subject
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
        [{"dataset": discovery.dataset, "layout": discovery.layout} for discovery in discoveries],
        left_out,
        {
            discovery.dataset: f"{discovery.layout}: {discovery.reason}" if discovery.reason else discovery.layout
            for discovery in discoveries
        },
    )


def _check_fit(discoveries: list[Discovery]) -> None:
    for discovery in discoveries:
        for path, reason in discovery.unfit.items():
            raise DataError(
                f"{len(discovery.unfit)} photographs of {discovery.dataset} do not fit the layout {discovery.layout}, "
                f"such as {path} ({reason}); rename or remove them, or leave out --strict."
            )


def _check_rename(discoveries: list[Discovery], rename: Mapping[str, str]) -> None:
    everywhere = sorted({label for discovery in discoveries for take in discovery.takes for label in take.photographs})
    for label in rename:
        if label not in everywhere:
            raise ParameterError(f"cannot rename {label!r}: the labels of the sources are {', '.join(everywhere)}.")
    for discovery in discoveries:
        labels = sorted({label for take in discovery.takes for label in take.photographs})
        renamed = [rename.get(label, label) for label in labels]
        if len(set(renamed)) < len(renamed):
            raise ParameterError(
                f"cannot rename two labels to the same name: the labels would be {', '.join(renamed)}."
            )
