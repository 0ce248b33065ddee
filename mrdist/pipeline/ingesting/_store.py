"""The store of an ingest: what it holds before an append, and the writing of new and of more images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from mrdist.datasets.alignment import hull_mask
from mrdist.datasets.depth import DEPTHS
from mrdist.datasets.layouts.trees import composed
from mrdist.datasets.photographs import Color, Normalize, Take
from mrdist.datasets.splits import split_by_subject
from mrdist.errors import DataError, ParameterError, StoreFormatError, StoreNotFoundError
from mrdist.execution import Executor
from mrdist.geometry import Shape
from mrdist.pipeline.ingesting._looks import Size, told
from mrdist.pipeline.ingesting._people import PersonReport, gather, gather_landmarks
from mrdist.pipeline.ingesting._sources import People
from mrdist.running.driving import run_tasks, tracked
from mrdist.storage import (
    Addition,
    Alignment,
    Images,
    Landmarks,
    Staging,
    StorageOptions,
    additions,
    begin_growth,
    check_growth,
    create_images,
    describe,
    finish_growth,
    finish_images,
    read_alignment,
    redact,
    write_addition,
    write_alignment,
    write_frame,
    write_images,
    write_landmarks,
)


@dataclass(frozen=True)
class Frame:
    """What all images of a store have in common.

    Attributes
    ----------
    size, dtype
        As they were asked for.
    shape, depth
        Of the store that is added to.
    """

    size: Size | None
    color: Color
    normalize: Normalize
    align: str
    dtype: str | None
    shape: Shape | None = None
    depth: str | None = None


def open_store(url: str, storage_options: StorageOptions) -> Images | None:
    """Open the store to append to, if there is one."""
    try:
        describe(url, storage_options)
    except StoreNotFoundError:
        return None
    store = Images.open(url, storage_options)
    check_growth(store)
    return store


def frame_of(
    store: Images | None,
    size: Size | None,
    color: Color | None,
    normalize: Normalize | None,
    align: str | None,
    dtype: str | None,
) -> Frame:
    """Return what was asked for; what is not given has its default, or the value of the store.

    Raises
    ------
    ParameterError
        If an option differs from the store, its images cannot be appended to, or options contradict each other.
    """
    if store is None:
        frame = Frame(size, color or "rgb", normalize or "255", align or "tps", dtype)
    else:
        provenance = store_provenance(store)
        kept: Color = "gray" if store.n_channels == 1 else "rgb"
        normalize_there, how, depth = (
            provenance.get("normalize", "255"),
            provenance.get("align", "none"),
            str(store.dtype),
        )
        for name, value, there in (
            ("size", size if size is None else told(size), told(store.shape)),
            ("color", color, kept),
            ("normalize", normalize, normalize_there),
            ("align", align, how),
            ("dtype", dtype, depth),
        ):
            if value is not None and value != there:
                raise ParameterError(
                    f"cannot append with {name} {value}: {redact(store.url)} has {name} {there}; leave it out, or "
                    "write another store."
                )
        if depth not in DEPTHS:
            raise ParameterError(
                f"cannot append photographs to {redact(store.url)}: its images are {depth}, but an ingest writes "
                f"{', '.join(DEPTHS)}; write another store."
            )
        frame = Frame(size, kept, normalize_there, how, dtype, store.shape, depth)
    if frame.align != "none":
        if isinstance(frame.size, tuple) and len(set(frame.size)) > 1:
            raise ParameterError(
                f"size is {told(frame.size)}, but aligned images are square; give one side, or leave the photographs "
                "unaligned with align none."
            )
        if (frame.depth or frame.dtype or "uint8") != "uint8":
            raise ParameterError(
                f"dtype is {frame.depth or frame.dtype}, but aligned images are uint8; leave the photographs unaligned "
                "with align none to keep their depth."
            )
    return frame


def store_provenance(store: Images) -> dict[str, Any]:
    """Return the provenance of a store."""
    return dict(describe(store.url, store.storage_options).get("provenance", {}))


def more_people(store: Images, people: People, seed: int, *, strict: bool) -> People:
    """Return the takes that a store lacks, with its labels only; people of the store keep their split.

    A take is in the store if one of the same dataset, person and session is.

    Raises
    ------
    DataError
        With ``strict``, if a take has a label that the store lacks.
    """
    rows = list(zip(map(str, store.dataset), map(str, store.image), map(str, store.subject), strict=True))
    there = {(dataset, composed(_bare(image, dataset))) for dataset, image, _ in rows}
    sides = {
        (dataset, _bare(subject, dataset)): str(side)
        for (dataset, _, subject), side in zip(rows, store.split, strict=True)
    }
    bare = {dataset for dataset, image, _ in rows if not image.startswith(f"{dataset}/")}
    left_out = dict(people.left_out)
    takes: list[Take] = []
    for take in people.takes:
        if (take.dataset, _bare(take.name, take.dataset)) in there:
            left_out = {what: why for what, why in left_out.items() if not what.startswith(f"{take.name}/")}
            continue
        unknown = sorted(set(take.photographs) - set(store.labels))
        if unknown and strict:
            raise DataError(
                f"{redact(store.url)} has no label {unknown[0]!r}, which {take.name} has; rename it to one of "
                f"{', '.join(store.labels)} with --rename, or leave out --strict."
            )
        for label in unknown:
            left_out[f"label {label} of {take.dataset}"] = f"the store has no such label ({', '.join(store.labels)})"
        takes.append(
            replace(
                take,
                subject=_bare(take.subject, take.dataset) if take.dataset in bare else take.subject,
                photographs={label: path for label, path in take.photographs.items() if label in store.labels},
                landmarks={label: path for label, path in take.landmarks.items() if label in store.labels},
            )
        )
    takes = [take for take in takes if take.photographs]
    drawn = split_by_subject([take.subject for take in takes], seed)
    split = [
        sides.get((take.dataset, _bare(take.subject, take.dataset)), take.split or side)
        for take, side in zip(takes, drawn, strict=True)
    ]
    return replace(people, takes=takes, labels=store.labels, split=split, left_out=left_out)


def _bare(name: str, dataset: str) -> str:
    return name.removeprefix(f"{dataset}/")


@dataclass(frozen=True)
class Staged:
    """Aligned takes that wait beside the store to be written.

    Attributes
    ----------
    staging
        Where they wait.
    labels
        Of the store.
    rows
        Where each take waits.
    takes, split, reports
        Of each take.
    """

    staging: Staging
    labels: tuple[str, ...]
    rows: Sequence[int]
    takes: Sequence[Take]
    split: Sequence[str]
    reports: Sequence[PersonReport]

    @property
    def present(self) -> npt.NDArray[np.bool_]:
        """Which images there are, shape (take, label)."""
        return np.array([[label in report.quality for label in self.labels] for report in self.reports])

    @property
    def origin(self) -> Alignment:
        """Where they come from."""
        return gather(self.reports, self.takes, self.labels)

    def landmarks(self, n_points: int | None = None) -> Landmarks | None:
        """Return the points on their faces; None if there are none."""
        return gather_landmarks(self.reports, self.labels, n_points)

    @property
    def coordinates(self) -> dict[str, list[str]]:
        """What `create_images` is told of every take."""
        return {
            "image": [take.name for take in self.takes],
            "subject": [take.subject for take in self.takes],
            "dataset": [take.dataset for take in self.takes],
            "split": list(self.split),
        }


@dataclass(frozen=True)
class _Run:
    """Staged images of one label that fill whole chunks of the store, some of them perhaps with images that it has."""

    staging: Staging
    label: str
    column: int
    rows: tuple[int, ...]
    addition: Addition
    is_new: bool


def write_store(
    staged: Staged,
    executor: Executor,
    *,
    reference: npt.NDArray[np.float64] | None,
    shape: Shape,
    n_channels: int,
    depth: str,
    chunks: tuple[int, int, int] | None,
    codec: str | None,
    overwrite: bool,
    provenance: Mapping[str, Any],
    progress: bool | None,
) -> None:
    """Write a new store."""
    url, options = staged.staging.url, staged.staging.storage_options
    run, *_ = create_images(
        url,
        labels=staged.labels,
        **staged.coordinates,
        shape=shape,
        n_channels=n_channels,
        dtype=depth,
        chunks=chunks,
        codec=codec,
        overwrite=overwrite,
        storage_options=options,
    )
    n_images = len(staged.rows)
    cut = [Addition(start, 0, start, min(start + run, n_images)) for start in range(0, n_images, run)]
    checksum = _write(staged, executor, cut, is_new=True, progress=progress)
    mask = np.ones(shape, dtype=bool) if reference is None else hull_mask(reference, shape[0])
    write_alignment(url, staged.origin, options)
    landmarks = staged.landmarks()
    if landmarks is not None:
        write_landmarks(url, landmarks, options)
    points = np.empty((0, 2)) if reference is None else reference
    write_frame(url, points, staged.present, staged.split, options)
    finish_images(
        url,
        present=staged.present,
        checksum=checksum,
        face_mask=mask,
        provenance=dict(provenance),
        storage_options=options,
    )


def grow_store(
    store: Images, staged: Staged, executor: Executor, sources: list[dict[str, str]], *, progress: bool | None
) -> None:
    """Append to a store; readers see the old one until everything is written."""
    begin_growth(store, len(staged.rows))
    checksum = _write(staged, executor, list(additions(store, len(staged.rows))), is_new=False, progress=progress)
    origin = staged.origin
    values: dict[str, Any] = {**staged.coordinates, "present": staged.present, "checksum": checksum}
    try:
        measures = list(read_alignment(store).measures)
    except StoreFormatError:
        pass  # a store that does not know where its images come from learns nothing of the new ones
    else:
        quality = np.full((*origin.size.shape[:2], len(measures)), np.nan, dtype=np.float32)
        for number, measure in enumerate(origin.measures):
            if measure in measures:
                quality[..., measures.index(measure)] = origin.quality[..., number]
        values |= {
            "photograph": origin.photograph,
            "photograph_size": origin.size,
            "warp": origin.warp,
            "quality": quality,
        }
    if store.landmarks is not None:
        landmarks = staged.landmarks(store.landmarks.shape[2])
        assert landmarks is not None
        values |= {"landmarks": landmarks.points, "landmark_confidence": landmarks.confidence}
    before = store_provenance(store)
    finish_growth(store, values, {**before, "sources": [*before.get("sources", []), *sources]})


def _write(
    staged: Staged, executor: Executor, cut: list[Addition], *, is_new: bool, progress: bool | None
) -> npt.NDArray[np.uint32]:
    """Write the runs of all labels and return the checksums of the images."""
    runs = [
        _Run(staged.staging, label, column, tuple(staged.rows[part.first : part.last]), part, is_new)
        for part in cut
        for column, label in enumerate(staged.labels)
    ]
    checksum = np.zeros((len(staged.rows), len(staged.labels)), dtype=np.uint32)
    with tracked(len(runs), 0, "run", show=progress, phase="writing") as advance:
        for run, sums in run_tasks(
            executor, _write_run, runs, name="write", describe=lambda r: f"{r.label} from image {r.addition.start}"
        ):
            checksum[run.addition.first : run.addition.last, run.column] = sums
            advance(1, run.label)
    return checksum


def _write_run(run: _Run) -> npt.NDArray[np.uint32]:
    url, options = run.staging.url, run.staging.storage_options
    images = run.staging.read(run.column, run.rows)
    if run.is_new:
        return write_images(url, run.label, run.addition.start, images, options)
    return write_addition(Images.open(url, options), run.label, run.addition, images)
