"""What the tests share: Hypothesis' profile, random images, their statistics and small stores."""

from __future__ import annotations

import signal
from dataclasses import dataclass

import clusters
import numpy as np
import pytest
from hypothesis import settings

from mrdist.geometry import Block
from mrdist.moments import SufficientStatistics, groups_of, padded_window, to_integers, unit_of
from mrdist.storage import Images, create_images, finish_images, write_images

settings.register_profile("mrdist", derandomize=True, deadline=None, max_examples=25, database=None)
settings.load_profile("mrdist")

# A shell without job control starts what runs in its background with Ctrl-C ignored, and every child inherits that.
signal.signal(signal.SIGINT, signal.default_int_handler)

_GREY_LEVELS = {"random": (0, 255), "dark": (0, 3), "bright": (250, 255), "constant": (77, 77)}


def _draw_images(shape, kind="random", dtype=np.uint8, seed=0):
    rng = np.random.default_rng([seed, *kind.encode()])
    low, high = _GREY_LEVELS[kind]
    dtype = np.dtype(dtype)
    if dtype.kind == "f":
        return rng.uniform(low / 255, high / 255, shape).astype(dtype)
    level = np.iinfo(dtype).max // 255
    return rng.integers(low * level, high * level, shape, dtype=dtype, endpoint=True)


def _statistics_of(source, target, field, color="shared", block=None):
    block = block or Block(0, 0, *source.shape[1:3])
    n_groups, n_inputs = groups_of(color, source.shape[3])
    empty = SufficientStatistics.zeros(
        field, block.shape, n_groups=n_groups, n_inputs=n_inputs, unit=unit_of(source.dtype)
    )
    window = padded_window(to_integers(source), block.grown(field.halo))
    return empty.update(window, padded_window(to_integers(target), block))


@pytest.fixture(scope="session")
def draw_images():
    """Return images of a shape: random, dark (0..3), bright (250..255) or constant, in grey levels of 255."""
    return _draw_images


@pytest.fixture(scope="session")
def statistics_of():
    """Return the statistics of pairs of images, of one block or of all pixels."""
    return _statistics_of


@pytest.fixture(scope="session")
def two_workers(tmp_path_factory):
    """The address of a scheduler with two workers, processes of their own, which all tests share: disturb none."""
    folder = tmp_path_factory.mktemp("scheduler")
    with (
        clusters.scheduler(folder) as (address, _),
        clusters.worker(address),
        clusters.worker(address),
        clusters.at_work(address, 2),
    ):
        yield address


@dataclass
class SmallStore:
    url: str
    pixels: dict[str, np.ndarray]
    present: np.ndarray

    def open(self):
        return Images.open(self.url)


@pytest.fixture
def from_nothing(monkeypatch):
    """Start workers from nothing: those that are forked share their libraries, and take some 80 MiB less."""
    monkeypatch.setattr("mrdist.execution._forking._begun", (0, {}))


@pytest.fixture
def small_images_store(tmp_path):
    """Return a factory of images stores of random pixels: rows of persons with a take of every label."""

    def make(
        name="images.zarr",
        *,
        n_images=10,
        shape=(20, 24),
        n_channels=3,
        labels=("neutral", "happy"),
        chunks=(4, 8, 16),
        dtype=np.uint8,
        pixels=None,
        seed=0,
        finish=True,
    ):
        url = str(tmp_path / name)
        drawn = (_draw_images((n_images, *shape, n_channels), dtype=dtype, seed=seed + k) for k in range(len(labels)))
        pixels = pixels or dict(zip(labels, drawn, strict=True))
        run, *_ = create_images(
            url,
            labels=labels,
            image=[f"image-{n}" for n in range(n_images)],
            subject=[f"person-{n // 2}" for n in range(n_images)],
            dataset=["random"] * n_images,
            split=[("train", "train", "train", "val", "test")[n % 5] for n in range(n_images)],
            shape=shape,
            n_channels=n_channels,
            dtype=dtype,
            chunks=chunks,
        )
        checksum = np.stack(
            [
                np.concatenate(
                    [write_images(url, label, n, pixels[label][n : n + run]) for n in range(0, n_images, run)]
                )
                for label in labels
            ],
            axis=1,
        )
        present = np.ones((n_images, len(labels)), dtype=bool)
        present[-1, -1] = False
        if finish:
            mask = np.zeros(shape, dtype=bool)
            mask[2:-2, 2:-2] = True
            finish_images(url, present=present, checksum=checksum, face_mask=mask, provenance={"seed": seed})
        return SmallStore(url, pixels, present)

    return make
