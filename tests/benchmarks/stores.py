"""Images stores to train from, and the two costs that no training can avoid: reading them and the arithmetic."""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import zarr
from commands import MRDIST
from PIL import Image

from mrdist.datasets.synthetic import render_face
from mrdist.geometry import ReceptiveField, block_grid
from mrdist.moments import SufficientStatistics, padded_window
from mrdist.pipeline.training.plan import plan
from mrdist.solvers import solve
from mrdist.storage import Images, create_images, finish_images, write_images

LABELS = ("neutral", "happy")
BETWEEN = {"source": LABELS[0], "target": LABELS[1], "split": "all"}
PAIR = [f"--{name}={value}" for name, value in BETWEEN.items()]

full = pytest.mark.skipif("MRDIST_BENCH_FULL" not in os.environ, reason="set MRDIST_BENCH_FULL=1 for the full sizes")


def synthetic(size: int, color: str, n_people: int = 8) -> Callable[[str, int], np.ndarray]:
    """Return what draws picture ``n`` of a label: after ``n_people`` the faces come again under other noise.

    The noise keeps the codec from finding a face again, so that it works as hard as on as many people.
    """
    drawn = {label: [render_face(person, label, size, color=color) for person in range(n_people)] for label in LABELS}
    noise = np.random.default_rng(0).integers(-1, 2, drawn[LABELS[0]][0].shape, dtype=np.int16)

    def picture(label, n):
        shift = (7 * n + LABELS.index(label), 13 * (n // 11))
        return np.clip(drawn[label][n % n_people] + np.roll(noise, shift, axis=(0, 1)), 0, 255).astype(np.uint8)

    return picture


def photographs(folder: Path, size: int) -> tuple[int, Callable[[str, int], np.ndarray]]:
    """Return the number of London's people and what loads their photographs, smiles as ``happy``; not aligned."""
    people = sorted(path.name.split("_")[0] for path in (folder / "neutral_front").glob("*_03.jpg"))
    names = {"neutral": "neutral_front/{}_03.jpg", "happy": "smiling_front/{}_08.jpg"}

    def picture(label, n):
        with Image.open(folder / names[label].format(people[n])) as photograph:
            return np.asarray(photograph.convert("RGB").resize((size, size), Image.Resampling.LANCZOS))

    return len(people), picture


def write_store(url, n_images, picture, chunks=None) -> str:
    """Write a complete store of ``picture(label, n)`` and return its URL."""
    names = [f"image-{n:06d}" for n in range(n_images)]
    *shape, n_channels = picture(LABELS[0], 0).shape
    run, *_ = create_images(
        url,
        labels=LABELS,
        image=names,
        subject=names,
        dataset=["benchmark"] * n_images,
        split=["train"] * n_images,
        shape=tuple(shape),
        n_channels=n_channels,
        chunks=chunks,
    )
    checksum = np.zeros((n_images, len(LABELS)), dtype=np.uint32)
    for column, label in enumerate(LABELS):
        for start in range(0, n_images, run):
            images = np.stack([picture(label, n) for n in range(start, min(start + run, n_images))])
            checksum[start : start + run, column] = write_images(url, label, start, images)
    finish_images(
        url,
        present=np.ones(checksum.shape, dtype=bool),
        checksum=checksum,
        face_mask=np.ones(shape, dtype=bool),
        provenance={},
    )
    return url


def bytes_on_disk(url: str) -> int:
    return sum(path.stat().st_size for path in Path(url).rglob("*") if path.is_file())


def mrdist(command, *arguments) -> dict:
    """Return what ``mrdist COMMAND --json`` reports."""
    words = [MRDIST, command, *map(str, arguments), "--json"]
    return json.loads(subprocess.run(words, stdout=subprocess.PIPE, check=True).stdout)


def train(images, weights, *options) -> dict:
    return mrdist("train", images, weights, *PAIR, "--overwrite", *options)


def read_all(url: str, share: int = 0, n_shares: int = 1) -> None:
    """Read every ``n_shares``-th chunk of both labels with zarr and throw it away."""
    for label in LABELS:
        array = zarr.open_array(url, path=label, mode="r")
        starts = itertools.product(*(range(0, n, c) for n, c in zip(array.shape, array.chunks, strict=True)))
        for corner in itertools.islice(starts, share, None, n_shares):
            array[tuple(slice(start, start + c) for start, c in zip(corner, array.chunks, strict=True))]


def kernels_alone(url: str, size: int, share: int, n_shares: int) -> float:
    """Return the seconds of sums and solves over every ``n_shares``-th block of a training, without the reading."""
    images, field = Images.open(url), ReceptiveField(size)
    found = plan(url, receptive_field=size, workers=n_shares, **BETWEEN)
    reader, seconds = images.reader(), 0.0
    for block in block_grid(images.shape, found.block)[share::n_shares]:
        window = block.grown(field.halo)
        inside = window.clipped(images.shape)
        statistics = SufficientStatistics.zeros(field, block.shape, n_groups=1, unit=255)
        for start, stop, _ in images.slabs(np.arange(images.n_images), found.slab):
            x = padded_window(reader.read(LABELS[0], start, stop, inside), window, (inside.y0, inside.x0))
            t = reader.read(LABELS[1], start, stop, block)
            started = time.perf_counter()
            statistics = statistics.update(x, t)
            seconds += time.perf_counter() - started
        started = time.perf_counter()
        solve(statistics, 0.4)
        seconds += time.perf_counter() - started
    return seconds
