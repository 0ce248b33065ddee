"""Bring a folder of photographs into an images store: pair, align, split, write."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

import numpy as np
import numpy.typing as npt
from PIL import Image

from mrdist.datasets.alignment import METHODS, hull_mask
from mrdist.datasets.london import discover
from mrdist.datasets.photographs import Color, Take
from mrdist.datasets.splits import split_by_subject
from mrdist.errors import DataError, ParameterError
from mrdist.execution import open_executor, progress_bar
from mrdist.pipeline._ingest_people import Person, align_person, training_reference
from mrdist.pipeline._ingest_report import IngestReport
from mrdist.planning import DEFAULT_MEMORY
from mrdist.storage import (
    Staging,
    StorageOptions,
    check_output,
    check_reachable,
    create_images,
    finish_images,
    normalize_url,
    write_images,
)

Align = Literal["tps", "affine", "similarity", "pupils", "none"]
ALIGNMENTS: tuple[str, ...] = (*METHODS, "none")
LAYOUTS: tuple[str, ...] = ("auto", "london")
COLORS: tuple[str, ...] = get_args(Color)
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
    src: str,
    url: str,
    *,
    layout: str = "auto",
    size: int | None = None,
    color: Color = "rgb",
    align: str = "tps",
    rename: Mapping[str, str] | None = None,
    seed: int = 0,
    chunks: tuple[int, int, int] | None = None,
    strict: bool = False,
    workers: int | None = None,
    scheduler: str | None = None,
    overwrite: bool = False,
    progress: bool | None = None,
    storage_options: StorageOptions = None,
) -> IngestReport:
    """Align the photographs of a folder and write them into an images store.

    Parameters
    ----------
    src
        Folder in the layout of the Face Research Lab London Set, see `mrdist.datasets.london`.
    url
        Where the store goes.
    layout
        ``"auto"`` or ``"london"``.
    size
        Side of the images in pixels; by default that of the photographs, if they are square and all alike.
    color
        ``"rgb"`` or ``"gray"``.
    align
        ``"tps"``, ``"affine"``, ``"similarity"`` or ``"pupils"``, see `mrdist.datasets.alignment.align_take`;
        ``"none"`` takes the photographs as they lie. The reference is the mean shape of the training people, so
        that nothing of the others enters the training.
    rename
        Labels of the folders -> labels of the store.
    seed
        Decides the split, 80/10/10 by person.
    chunks
        Images, rows and columns of a chunk.
    strict
        Fail at the first photograph that cannot be used, instead of leaving the person out.
    workers, scheduler, overwrite, progress, storage_options
        As in `mrdist.train`.

    Returns
    -------
    IngestReport

    Raises
    ------
    ParameterError
        If an option lies outside its domain.
    DataError
        If there is no photograph, none can be used, or the sizes differ and ``size`` is not given.
    StoreExistsError
        If there is something at ``url`` that may not be replaced.
    """
    for name, value, allowed in (
        ("layout", layout, LAYOUTS),
        ("color", color, COLORS),
        ("align", align, ALIGNMENTS),
    ):
        if value not in allowed:
            raise ParameterError(f"{name} must be one of {', '.join(allowed)}, got {value!r}.")
    url = normalize_url(url)
    check_reachable(workers, url)
    folder = Path(src).absolute()  # workers elsewhere stand in another folder
    takes, ignored = discover(folder)
    left_out = {str(path): reason for path, reason in ignored.items()}
    if size is None:
        size = _common_size(takes)
    if not 8 <= size <= _MAX_SIZE:
        raise ParameterError(f"size must lie in 8..{_MAX_SIZE} pixels, got {size}.")
    labels = _labels(takes, dict(rename or {}))
    subjects = [take.subject for take in takes]
    split = split_by_subject(subjects, seed)
    reference = None
    if align != "none":
        reference = training_reference(takes, split, strict)
    check_output(url, storage_options, kind="images", overwrite=overwrite)
    staging = Staging(url, storage_options)
    staging.create(len(takes), len(labels), (size, size), 3 if color == "rgb" else 1)
    people = [
        Person(staging, row, take, tuple(labels), reference, size, color, align, strict)
        for row, take in enumerate(takes)
    ]
    quality: dict[int, dict[str, dict[str, float]]] = {}
    try:
        with open_executor(
            workers=workers, scheduler=scheduler, n_tasks=len(people), max_memory=DEFAULT_MEMORY
        ) as executor:
            with progress_bar(len(people), 0, "person", show=progress) as advance:
                started, done = time.perf_counter(), 0
                for person, report in executor.run(
                    align_person, people, name="align", describe=lambda p: f"person {p.take.subject}"
                ):
                    quality[person.row] = report.quality
                    left_out |= report.left_out
                    done += len(report.quality)
                    advance(1, f"{done / (time.perf_counter() - started):.1f} images/s")
            kept = [row for row in range(len(takes)) if quality[row]]
            if not kept:
                raise DataError(
                    f"no photograph in {src} could be used; the first reason: {next(iter(left_out.values()))}"
                )
            present = np.array([[label in quality[row] for label in labels] for row in kept])
            run, *_ = create_images(
                url,
                labels=tuple(labels.values()),
                image=[subjects[row] for row in kept],
                subject=[subjects[row] for row in kept],
                dataset=[folder.name] * len(kept),
                split=[split[row] for row in kept],
                shape=(size, size),
                n_channels=3 if color == "rgb" else 1,
                chunks=chunks,
                overwrite=overwrite,
                storage_options=storage_options,
            )
            runs = [
                _Run(staging, name, column, start, tuple(kept[start : start + run]))
                for start in range(0, len(kept), run)
                for column, name in enumerate(labels.values())
            ]
            checksum = np.zeros(present.shape, dtype=np.uint32)
            for task, sums in executor.run(
                _write_run, runs, name="write", describe=lambda t: f"{t.label} from image {t.start}"
            ):
                checksum[task.start : task.start + len(sums), task.column] = sums
    finally:
        staging.remove()
    mask = np.ones((size, size), dtype=bool) if reference is None else hull_mask(reference, size)
    finish_images(
        url,
        present=present,
        checksum=checksum,
        face_mask=mask,
        provenance={"source": folder.name, "align": align, "seed": seed},
        storage_options=storage_options,
    )
    return IngestReport(
        url=url,
        labels=tuple(labels.values()),
        images=len(kept),
        present={name: int(n) for name, n in zip(labels.values(), present.sum(axis=0), strict=True)},
        pairs=int(present.all(axis=1).sum()),
        quality={subjects[row]: {labels[label]: measures for label, measures in quality[row].items()} for row in kept},
        left_out=dict(sorted(left_out.items())),
    )


def _common_size(takes: list[Take]) -> int:
    """Return the side that all photographs share; unreadable ones are for the tasks to report."""
    first: tuple[Path, tuple[int, int]] | None = None
    for path in (path for take in takes for path in take.photographs.values()):
        try:
            with Image.open(path) as file:
                found = file.size
        except OSError:
            continue
        first = first or (path, found)
        if found != first[1]:
            raise DataError(
                f"{first[0].name} has {first[1][0]} x {first[1][1]} pixels and {path.name} {found[0]} x {found[1]}; "
                "give the size of the images in the store with --size."
            )
    if first is None:
        raise DataError("none of the photographs can be read; check the files.")
    if first[1][0] != first[1][1]:
        raise DataError(
            f"{first[0].name} has {first[1][0]} x {first[1][1]} pixels and is not square; give the side of the images "
            "in the store with --size."
        )
    return first[1][0]


def _labels(takes: list[Take], rename: dict[str, str]) -> dict[str, str]:
    """Return the folders' labels and what they are called in the store."""
    found = sorted({label for take in takes for label in take.photographs})
    for label in rename:
        if label not in found:
            raise ParameterError(f"cannot rename {label!r}: the labels found are {', '.join(found)}.")
    labels = {label: rename.get(label, label) for label in found}
    if len(set(labels.values())) < len(labels):
        raise ParameterError(f"renaming would give two labels one name: {', '.join(labels.values())}.")
    return labels


def _write_run(task: _Run) -> npt.NDArray[np.uint32]:
    images = task.staging.read(task.column, task.rows)
    return write_images(task.staging.url, task.label, task.start, images, task.staging.storage_options)
