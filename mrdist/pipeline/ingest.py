"""Bring folders of photographs into an images store: pair, align, split, write."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import numpy.typing as npt

from mrdist.datasets.alignment import METHODS, hull_mask
from mrdist.datasets.photographs import Color, Normalize
from mrdist.errors import DataError, ParameterError
from mrdist.execution import open_executor, progress_bar
from mrdist.pipeline._ingest_people import Person, PersonReport, align_person, gather, training_reference
from mrdist.pipeline._ingest_report import IngestReport
from mrdist.pipeline._ingest_sources import common_size, find_people
from mrdist.planning import DEFAULT_MEMORY
from mrdist.storage import (
    Staging,
    StorageOptions,
    check_output,
    check_reachable,
    create_images,
    finish_images,
    normalize_url,
    redact,
    write_alignment,
    write_frame,
    write_images,
)

Align = Literal["tps", "affine", "similarity", "pupils", "none"]
ALIGNMENTS: tuple[str, ...] = (*METHODS, "none")
COLORS: tuple[str, ...] = get_args(Color)
NORMALIZATIONS: tuple[str, ...] = get_args(Normalize)
_MAX_SIZE = 4096


@dataclass(frozen=True)
class _Run:
    """Staged images of one label that fill whole chunks of the store."""

    staging: Staging
    label: str
    column: int
    start: int
    rows: tuple[int, ...]


def ingest(
    src: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
    url: str,
    *,
    layout: str | Sequence[str] = "auto",
    dataset: str | Sequence[str] | None = None,
    angle: str = "front",
    size: int | None = None,
    color: Color = "rgb",
    normalize: Normalize = "255",
    align: str = "tps",
    rename: Mapping[str, str] | None = None,
    seed: int = 0,
    chunks: tuple[int, int, int] | None = None,
    strict: bool = False,
    workers: int | None = None,
    scheduler: str | None = None,
    overwrite: bool = False,
    progress: bool | None = None,
    src_storage_options: StorageOptions = None,
    storage_options: StorageOptions = None,
) -> IngestReport:
    """Align the photographs of one source or several and write them into an images store.

    Parameters
    ----------
    src
        Paths or fsspec URLs: folders, zip or tar archives, or manifests. People of several sources are called
        ``<dataset>/<person>``.
    layout
        For all sources or for each: ``"auto"`` or one of `mrdist.datasets.discovery.LAYOUTS`.
    dataset
        A name for each source, kept with every image; by default that of the folder.
    angle
        Direction of the faces, in layouts that know it: ``"front"``, ``"half-left"``, ``"half-right"``,
        ``"full-left"`` or ``"full-right"``.
    size
        Side of the images in pixels; by default that of the photographs, if they are square and all alike.
    color
        ``"rgb"`` or ``"gray"``.
    normalize
        ``"255"`` keeps gray levels as they are, 255 meaning 1; ``"minmax"`` stretches every image, all its channels
        together, to 0..255 as the paper's authors do.
    align
        ``"tps"``, ``"affine"``, ``"similarity"`` or ``"pupils"``, see `mrdist.datasets.alignment.align_take`;
        ``"none"`` takes the photographs as they lie. The reference is the mean shape of the training people, so
        that nothing of the others enters the training.
    rename
        Labels of the sources -> labels of the store.
    seed
        Decides the split, 80/10/10 by person, of those whose dataset says nothing.
    chunks
        Images, rows and columns of a chunk.
    strict
        Fail at the first photograph that cannot be used or whose name does not fit, instead of leaving it out.
    workers, scheduler, overwrite, progress
        As in `mrdist.train`.
    src_storage_options, storage_options
        Options of the fsspec filesystems of the sources and of the store.

    Returns
    -------
    IngestReport

    Raises
    ------
    ParameterError
        If an option lies outside its domain.
    DataError
        If there is no photograph, none can be used, a layout is not clear, or the sizes differ and ``size`` is not
        given.
    StoreExistsError
        If there is something at ``url`` that may not be replaced.
    """
    for name, value, allowed in (
        ("color", color, COLORS),
        ("normalize", normalize, NORMALIZATIONS),
        ("align", align, ALIGNMENTS),
    ):
        if value not in allowed:
            raise ParameterError(f"{name} must be one of {', '.join(allowed)}, got {value!r}.")
    url = normalize_url(url)
    sources = [os.fspath(src)] if isinstance(src, str | os.PathLike) else [os.fspath(place) for place in src]
    check_reachable(workers, url, *sources)
    people = find_people(
        sources,
        layout=layout,
        dataset=dataset,
        angle=angle,
        rename=dict(rename or {}),
        seed=seed,
        strict=strict,
        storage_options=src_storage_options,
    )
    takes, labels, left_out = people.takes, people.labels, dict(people.left_out)
    if size is None:
        size = common_size(takes)
    if not 8 <= size <= _MAX_SIZE:
        raise ParameterError(f"size must lie in 8..{_MAX_SIZE} pixels, got {size}.")
    reference = None
    if align != "none":
        reference = training_reference(takes, people.split, strict)
    check_output(url, storage_options, kind="images", overwrite=overwrite)
    staging = Staging(url, storage_options)
    staging.create(len(takes), len(labels), (size, size), 3 if color == "rgb" else 1)
    tasks = [
        Person(staging, row, take, labels, reference, size, color, normalize, align, strict)
        for row, take in enumerate(takes)
    ]
    reports: dict[int, PersonReport] = {}
    try:
        with open_executor(
            workers=workers, scheduler=scheduler, n_tasks=len(tasks), max_memory=DEFAULT_MEMORY
        ) as executor:
            with progress_bar(len(tasks), 0, "person", show=progress) as advance:
                started, done = time.perf_counter(), 0
                for person, report in executor.run(
                    align_person, tasks, name="align", describe=lambda p: f"person {p.take.name}"
                ):
                    reports[person.row] = report
                    left_out |= report.left_out
                    done += len(report.quality)
                    advance(1, f"{done / (time.perf_counter() - started):.1f} images/s")
            kept = [row for row in range(len(takes)) if reports[row].quality]
            if not kept:
                raise DataError(
                    f"no photograph in {', '.join(map(redact, sources))} could be used; the first reason: "
                    f"{next(iter(left_out.values()))}"
                )
            present = np.array([[label in reports[row].quality for label in labels] for row in kept])
            run, *_ = create_images(
                url,
                labels=labels,
                image=[takes[row].name for row in kept],
                subject=[takes[row].subject for row in kept],
                dataset=[takes[row].dataset for row in kept],
                split=[people.split[row] for row in kept],
                shape=(size, size),
                n_channels=3 if color == "rgb" else 1,
                chunks=chunks,
                overwrite=overwrite,
                storage_options=storage_options,
            )
            runs = [
                _Run(staging, label, column, start, tuple(kept[start : start + run]))
                for start in range(0, len(kept), run)
                for column, label in enumerate(labels)
            ]
            checksum = np.zeros(present.shape, dtype=np.uint32)
            for task, sums in executor.run(
                _write_run, runs, name="write", describe=lambda t: f"{t.label} from image {t.start}"
            ):
                checksum[task.start : task.start + len(sums), task.column] = sums
    finally:
        staging.remove()
    mask = np.ones((size, size), dtype=bool) if reference is None else hull_mask(reference, size)
    origin = gather([reports[row] for row in kept], [takes[row] for row in kept], labels, sources)
    write_alignment(url, origin, storage_options)
    points = np.empty((0, 2)) if reference is None else reference
    write_frame(url, points, present, [people.split[row] for row in kept], storage_options)
    finish_images(
        url,
        present=present,
        checksum=checksum,
        face_mask=mask,
        provenance={"sources": people.sources, "align": align, "seed": seed, "normalize": normalize},
        storage_options=storage_options,
    )
    return IngestReport(
        url=url,
        labels=labels,
        images=len(kept),
        present={label: int(n) for label, n in zip(labels, present.sum(axis=0), strict=True)},
        pairs=int(present.all(axis=1).sum()),
        quality={takes[row].name: reports[row].quality for row in kept},
        left_out=dict(sorted(left_out.items())),
    )


def _write_run(task: _Run) -> npt.NDArray[np.uint32]:
    images = task.staging.read(task.column, task.rows)
    return write_images(task.staging.url, task.label, task.start, images, task.staging.storage_options)
