"""Turns of an object store, requests that wait for another: few for a store of any kind, none that need not be."""

from __future__ import annotations

import asyncio
import collections
import contextlib
import functools
import itertools

import commands
import fsspec
import numpy as np
import pytest

import mrdist
from mrdist.errors import StoreNotFoundError
from mrdist.methods.registry import METHODS
from mrdist.storage import DESCRIPTION, foreseeing
from mrdist.storage.access.at_once import at_once
from mrdist.storage.access.retries import PatientStore
from mrdist.storage.access.urls import create_group, open_group

PAIR = {"source": "neutral", "target": "happy", "split": "all", "workers": 0, "progress": False}
SEARCH = {"alpha": {"alpha": "cv", "alphas": [0.1, 1.0], "folds": 2}, "nonzeros": {"nonzeros": [1, 2], "folds": 2}}
#: In which metadata are written: 3 begin a store, 2 complete it, and each phase between has its own.
MOST = {"mr": 5, "pixel": 5, "mean": 5, "l1": 25, "l0": 25, "morph": 27} | dict.fromkeys(
    ("l2", "kernel", "pca", "rrr"), 12
)
MORE_TO_CHOOSE = 4
SECONDS = 10  # in which requests that are made at once have all been made

#: What a training that writes w.zarr from images.zarr asks for at once: before it begins, for its one task,
#: before it writes, and to complete the weights; a folder stands for the listing of it.
ARRAYS = [f"w.zarr/{name}/zarr.json" for name in ("coef", "intercept", "train_sse", "train_sst")]
ROWS = ["images.zarr/present/c/0/0", "images.zarr/split/c/0"]
AT_ONCE = (
    (*ROWS, "images.zarr/image/c/0", "images.zarr/checksum/c/0/0", "images.zarr/face_mask/c/0/0"),
    (*ROWS, *(f"{name}/zarr.json" for name in ("images.zarr", "w.zarr", "w.zarr/progress", "w.zarr/progress/done"))),
    ARRAYS,
    ("w.zarr/", "w.zarr/zarr.json", *ARRAYS),
    ("w.zarr/train_sse/c/0/0", "w.zarr/train_sst/c/0/0"),
)
"""Most of these keys are asked for several times; the groups are met in this order."""


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    noise = np.random.default_rng(0).integers(0, 256, (2, 8, 32, 32, 1), dtype=np.uint8)
    pixels = dict(zip(("neutral", "happy"), noise, strict=True))
    return commands.write_store(tmp_path_factory.mktemp("turns") / "images.zarr", pixels)


@pytest.fixture(autouse=True)
def bucket():
    """An object store in memory, which is empty again after every test."""
    memory = fsspec.filesystem("memory")
    yield memory
    with contextlib.suppress(FileNotFoundError):
        memory.rm("/turns", recursive=True)


@pytest.fixture
def remote_images(images, bucket):
    """The URL of the same images in the object store."""
    bucket.put(images, "/turns/images.zarr", recursive=True)
    return "memory://turns/images.zarr"


@pytest.fixture
def requests(monkeypatch):
    """The requests that write objects or ask for them, as (name, key, when it began, when it was answered)."""
    found, clock = [], itertools.count()

    def noting(name, request):
        @functools.wraps(request)
        async def noted(self, key, *args):
            began = next(clock)
            await asyncio.sleep(0)  # what goes at the same time begins before this is answered
            try:
                return await request(self, key, *args)
            finally:
                found.append((name, key, began, next(clock)))

        return noted

    for name in ("get", "set", "exists"):
        monkeypatch.setattr(PatientStore, name, noting(name, getattr(PatientStore, name)))
    return found


def turns(requests, *names):
    """Return the length of the chain of requests for metadata in which each began after the one before was answered."""
    n, answered = 0, -1
    for name, key, began, ended in sorted(requests, key=lambda each: each[-1]):
        if name in names and key.endswith("zarr.json") and began > answered:
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


@pytest.fixture
def meetings(monkeypatch):
    """Groups of keys to fill: an object of the first is not read before all of them are asked for, and so on.

    What is left at the end was never asked for at once.
    """
    groups, arrived = [], {}

    async def meet(path):
        if not groups or path not in groups[0]:
            return
        met = arrived.setdefault("all", asyncio.Event())
        arrived[path] = None
        if groups[0] <= {*arrived}:
            groups.pop(0)
            arrived.clear()
            met.set()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(met.wait(), SECONDS)

    def path_of(store, key):
        return f"{store._store.path}/{key}".removeprefix("/turns/")

    get, list_dir = PatientStore.get, PatientStore.list_dir

    async def meeting_get(self, key, *args):
        await meet(path_of(self, key))
        return await get(self, key, *args)

    async def meeting_list(self, prefix):
        await meet(path_of(self, prefix))
        async for name in list_dir(self, prefix):
            yield name

    monkeypatch.setattr(PatientStore, "get", meeting_get)
    monkeypatch.setattr(PatientStore, "list_dir", meeting_list)
    return groups


def test_what_does_not_depend_on_each_other_is_asked_for_at_once(remote_images, meetings):
    meetings.extend(map(set, AT_ONCE))
    mrdist.train(remote_images, "memory://turns/w.zarr", **PAIR | {"split": "train"})
    assert meetings == []


def test_a_training_asks_for_nothing_that_it_knows(remote_images, requests):
    """The done markers of a store that it has just begun, and what its one task opens a second time."""
    mrdist.train(remote_images, "memory://turns/w.zarr", **PAIR)
    asked = collections.Counter(key for name, key, *_ in requests if name == "get" and key.startswith("progress/"))
    assert asked == {"progress/zarr.json": 1, "progress/done/zarr.json": 1}


@pytest.mark.parametrize("block", [None, (16, 16)], ids=str)
def test_marks_follow_what_they_vouch_for(remote_images, requests, block):
    mrdist.train(remote_images, "memory://turns/w.zarr", block=block, **PAIR)
    written = [(key, began, ended) for name, key, began, ended in requests if name == "set"]
    marks = [each for each in written if each[0].startswith("progress/done/c/")]
    chunks = [each for each in written if "/c/" in each[0] and each not in marks]
    assert len(marks) == (1 if block is None else 4)
    for n, (_, began, _) in enumerate(marks, start=1):  # of its block, each of which writes as many chunks
        assert sum(ended < began for _, _, ended in chunks) >= n * 4
    *others, (last, began, _) = sorted(written, key=lambda each: each[1])
    assert last == "zarr.json"
    assert all(ended < began for *_, ended in others)


def test_what_was_asked_for_before_counts_once():
    """It may be another by the second time."""
    url = "memory://turns/w.zarr"
    create_group(url, None, "weights")
    with foreseeing([(url, None, DESCRIPTION)]):
        open_group(url, write=True).attrs["told"] = 1
        assert open_group(url).attrs["told"] == 1
    with foreseeing([("memory://turns/none.zarr", None, DESCRIPTION)]), pytest.raises(StoreNotFoundError):
        open_group("memory://turns/none.zarr")


def test_of_calls_at_once_all_end_before_one_fails():
    ended = []

    def fail():
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        at_once([fail, lambda: ended.append(1)])
    assert ended == [1]
    assert at_once([]) == []
