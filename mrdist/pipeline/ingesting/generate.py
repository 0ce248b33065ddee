"""Fill an images store with synthetic faces."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from mrdist.arguments import Address, plain_arguments
from mrdist.codecs import check_codec
from mrdist.datasets._face_landmarks import SCHEME, face_landmarks
from mrdist.datasets.splits import split_by_subject
from mrdist.datasets.synthetic import LABELS, REFERENCE, face_mask, render_face
from mrdist.errors import ParameterError
from mrdist.execution import Scheduler, open_executor
from mrdist.planning import DEFAULT_MEMORY
from mrdist.running.driving import driving, hold, run_tasks, tracked
from mrdist.running.workers import check_workers, seconds_between
from mrdist.storage import (
    Landmarks,
    StorageOptions,
    create_images,
    finish_images,
    normalize_url,
    write_frame,
    write_images,
    write_landmarks,
)

_FACE_SECONDS, _VALUE_SECONDS = 2e-3, 1e-7  # to draw a face, and a value of it


@dataclass(frozen=True)
class _Run:
    """Images of one label that fill whole chunks."""

    url: str
    storage_options: StorageOptions = field(repr=False)
    label: str
    start: int
    stop: int
    size: int
    color: str
    seed: int


@plain_arguments
@driving("generate")
def generate(
    url: Address,
    *,
    images: int,
    size: int = 128,
    labels: Sequence[str] = LABELS,
    color: str = "rgb",
    seed: int = 0,
    chunks: tuple[int, int, int] | None = None,
    codec: str | None = None,
    workers: int | None = None,
    scheduler: Scheduler | None = None,
    overwrite: bool = False,
    progress: bool | None = None,
    storage_options: StorageOptions = None,
) -> None:
    """Write synthetic faces into an images store.

    Parameters
    ----------
    url
        Where the store goes.
    images
        Number of rows; a row is a person, with every label.
    size
        Side of the images in pixels, up to 4096.
    labels
        Expressions, all seven by default.
    color
        ``"rgb"`` or ``"gray"``.
    seed
        Decides people and splits; equal seeds give equal stores, whatever the number of workers.
    chunks
        Images, rows and columns of a chunk.
    codec, workers, scheduler, overwrite, progress, storage_options
        As in `mrdist.train`.

    Raises
    ------
    ParameterError
        If an option is invalid.
    StoreExistsError
        If ``url`` exists and may not be replaced.
    """
    check_generation(images=images, size=size, labels=labels, color=color, seed=seed, codec=codec)
    url = normalize_url(url)
    check_workers(workers, scheduler, url)
    people = [f"person-{n:06d}" for n in range(images)]
    mask, split = face_mask(size), split_by_subject(people, seed)
    hold(url, storage_options)
    run, *_ = create_images(
        url,
        labels=labels,
        image=people,
        subject=people,
        dataset=["synthetic"] * images,
        split=split,
        shape=(size, size),
        n_channels=3 if color == "rgb" else 1,
        chunks=chunks,
        codec=codec,
        overwrite=overwrite,
        storage_options=storage_options,
    )
    tasks = [
        _Run(url, storage_options, label, start, min(start + run, images), size, color, seed)
        for start in range(0, images, run)
        for label in labels
    ]
    checksum = np.zeros((images, len(labels)), dtype=np.uint32)
    n_faces = images * len(labels)
    n_values = n_faces * size**2 * (3 if color == "rgb" else 1)
    with (
        open_executor(
            workers=workers,
            scheduler=scheduler,
            n_tasks=len(tasks),
            max_memory=DEFAULT_MEMORY,
            seconds=seconds_between(n_faces * _FACE_SECONDS + n_values * _VALUE_SECONDS, n_values, url),
            module=__name__,
        ) as executor,
        tracked(n_faces, 0, "image", show=progress, images_per_step=1) as advance,
    ):
        started, done = time.perf_counter(), 0
        for task, sums in run_tasks(
            executor, _render, tasks, name="generate", describe=lambda t: f"{t.label} {t.start}"
        ):
            checksum[task.start : task.stop, labels.index(task.label)] = sums
            done += len(sums)
            advance(len(sums), f"{done / (time.perf_counter() - started):.0f} images/s")
    present = np.ones((images, len(labels)), dtype=bool)
    write_landmarks(url, _landmarks(images, labels, size, seed), storage_options)
    write_frame(url, REFERENCE, present, split, storage_options)
    finish_images(
        url,
        present=present,
        checksum=checksum,
        face_mask=mask,
        provenance={"dataset": "synthetic", "seed": seed},
        storage_options=storage_options,
    )


def check_generation(
    *,
    images: int,
    size: int = 128,
    labels: Sequence[str] = LABELS,
    color: str = "rgb",
    seed: int = 0,
    codec: str | None = None,
) -> None:
    """Check the options of `generate`, before anything is written.

    Raises
    ------
    ParameterError
        If an option is invalid.
    """
    if images < 1:
        raise ParameterError(f"images must be at least 1, got {images}.")
    if len(set(labels)) != len(labels) or not labels:
        raise ParameterError(f"labels must be different names, got {', '.join(labels) or 'none'}.")
    check_codec(codec)
    face_mask(size)
    for label in labels:
        render_face(0, label, min(size, 64), seed=seed, color=color)


def _landmarks(images: int, labels: Sequence[str], size: int, seed: int) -> Landmarks:
    points = [[face_landmarks(person, label, seed=seed) for label in labels] for person in range(images)]
    pixels = (np.array(points) * size - 0.5).astype(np.float32)
    return Landmarks(pixels, np.ones(pixels.shape[:2], dtype=np.float32), SCHEME)


def _render(task: _Run) -> np.ndarray[tuple[int, ...], np.dtype[np.uint32]]:
    faces = np.stack(
        [
            render_face(person, task.label, task.size, seed=task.seed, color=task.color)
            for person in range(task.start, task.stop)
        ]
    )
    return write_images(task.url, task.label, task.start, faces, task.storage_options)
