"""Turns of an object store, requests that wait for another: a store of any kind is begun and completed in few."""

from __future__ import annotations

import asyncio
import functools
import itertools

import commands
import fsspec
import numpy as np
import pytest

import mrdist
from mrdist.methods.registry import METHODS
from mrdist.storage.access.retries import PatientStore

PAIR = {"source": "neutral", "target": "happy", "split": "all", "workers": 0, "progress": False}
SEARCH = {"alpha": {"alpha": "cv", "alphas": [0.1, 1.0], "folds": 2}, "nonzeros": {"nonzeros": [1, 2], "folds": 2}}
#: In which metadata are written: 3 begin a store, 2 complete it, and each phase between has its own.
MOST = {"mr": 5, "pixel": 5, "mean": 5, "l1": 25, "l0": 25, "morph": 27} | dict.fromkeys(
    ("l2", "kernel", "pca", "rrr"), 12
)
MORE_TO_CHOOSE = 4


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    noise = np.random.default_rng(0).integers(0, 256, (2, 8, 32, 32, 1), dtype=np.uint8)
    pixels = dict(zip(("neutral", "happy"), noise, strict=True))
    return commands.write_store(tmp_path_factory.mktemp("turns") / "images.zarr", pixels)


@pytest.fixture
def requests(monkeypatch):
    """The requests that write metadata or ask for them, as (name, key, when it began, when it was answered)."""
    found, clock = [], itertools.count()

    def noting(name, request):
        @functools.wraps(request)
        async def noted(self, key, *args):
            if not key.endswith("zarr.json"):
                return await request(self, key, *args)
            began = next(clock)
            await asyncio.sleep(0)  # what goes at the same time begins before this is answered
            try:
                return await request(self, key, *args)
            finally:
                found.append((name, key, began, next(clock)))

        return noted

    for name in ("get", "set", "exists"):
        monkeypatch.setattr(PatientStore, name, noting(name, getattr(PatientStore, name)))
    yield found
    fsspec.filesystem("memory").rm("/turns", recursive=True)


def turns(requests, *names):
    """Return the length of the chain of requests in which each began after the one before was answered."""
    n, answered = 0, -1
    for name, _, began, ended in sorted(requests, key=lambda each: each[-1]):
        if name in names and began > answered:
            n, answered = n + 1, ended
    return n


def searching(method):
    """Return the options of a method's cross-validation, empty where it has none."""
    known = METHODS[method].options
    return {} if "folds" not in known else SEARCH["alpha" if "alphas" in known else "nonzeros"]


TRAININGS = [(method, {}) for method in METHODS] + [(m, searching(m)) for m in METHODS if searching(m)]


@pytest.mark.parametrize(("method", "search"), TRAININGS)
def test_weights_are_begun_and_completed_in_few_turns(images, requests, method, search):
    options = commands.known(method, components=3, nonzeros=2) | search
    mrdist.train(images, "memory://turns/w.zarr", method=method, **options, **PAIR)
    assert turns(requests, "set") <= MOST[method] + (MORE_TO_CHOOSE if search else 0)


def test_sums_are_begun_and_completed_in_few_turns(images, requests):
    mrdist.accumulate(images, "memory://turns/s.zarr", **PAIR)
    assert turns(requests, "set") <= 5


def test_images_are_begun_and_completed_in_few_turns(requests):
    url = "memory://turns/i.zarr"
    mrdist.create_images(url, labels=["a", "b"], image=["p", "q"], shape=(8, 8), n_channels=1)
    assert turns(requests, "set") <= 3
    for label in "ab":
        mrdist.write_images(url, label, 0, np.zeros((2, 8, 8, 1), np.uint8))
    requests.clear()
    mrdist.finish_images(url)
    assert turns(requests, "set") <= 2
