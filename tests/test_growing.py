"""An images store that grows: its readers see the old store until the last write."""

from __future__ import annotations

import numpy as np
import pytest

import mrdist
from mrdist.storage import Images
from mrdist.storage.images.growing import additions, begin_growth, finish_growth, write_addition


def grow(store, n_new, *, seed, until=None):
    """Append images of a seed; ``until`` writes have been done when it stops, as a killed process does."""
    images = store.open()
    new = {
        label: np.random.default_rng([seed, k]).integers(0, 256, (n_new, *images.shape, 3), dtype=np.uint8)
        for k, label in enumerate(images.labels)
    }
    steps = [(label, addition) for addition in additions(images, n_new) for label in images.labels]
    begin_growth(images, n_new)
    checksum = np.zeros((n_new, len(images.labels)), dtype=np.uint32)
    for label, addition in steps[:until]:
        sums = write_addition(images, label, addition, new[label][addition.first : addition.last])
        checksum[addition.first : addition.last, images.column(label)] = sums
    if until is None:
        values = {
            "image": [f"new-{seed}-{n}" for n in range(n_new)],
            "subject": [f"new-{seed}-{n}" for n in range(n_new)],
            "dataset": ["new"] * n_new,
            "split": ["train"] * n_new,
            "present": np.ones((n_new, len(images.labels)), dtype=bool),
            "checksum": checksum,
        }
        finish_growth(images, values, {"seed": seed})
    return new


def assert_holds(store, *parts):
    images, opened = store.open(), mrdist.open_images(store.url)
    n_images = sum(len(part["neutral"]) for part in parts)
    assert (images.n_images, opened.sizes["image"]) == (n_images, n_images)
    for label in images.labels:
        np.testing.assert_array_equal(opened[label].values, np.concatenate([part[label] for part in parts]))
    assert len(images.subject) == len(images.split) == len(images.present) == len(images.checksum) == n_images


@pytest.mark.parametrize("n_old", [3, 4, 10])
@pytest.mark.parametrize("n_new", [1, 6])
def test_an_interrupted_growth_leaves_the_store_as_it_was(small_images_store, n_old, n_new):
    store = small_images_store(n_images=n_old)
    before, fingerprint = store.pixels, store.open().fingerprint(("neutral",), np.arange(n_old))
    for until in (0, 1, 3):
        grow(store, n_new + 3, seed=until, until=until)
        assert_holds(store, before)
        assert store.open().fingerprint(("neutral",), np.arange(n_old)) == fingerprint
    first = grow(store, n_new, seed=8)
    assert_holds(store, before, first)
    second = grow(store, 5, seed=9)
    assert_holds(store, before, first, second)
    images = store.open()
    assert images.image[-5:].tolist() == [f"new-9-{n}" for n in range(5)]
    assert images.fingerprint(("neutral",), np.arange(n_old)) == fingerprint


def test_a_grown_store_holds_the_checksums_of_its_pixels(small_images_store):
    store = small_images_store(n_images=3)
    new = grow(store, 6, seed=1)
    alone = small_images_store("alone.zarr", n_images=6, pixels=new)
    np.testing.assert_array_equal(store.open().checksum[3:], alone.open().checksum)


def test_runs_cover_new_images_once(small_images_store):
    images = Images.open(small_images_store(n_images=6).url)  # chunks of four
    runs = [(a.start, a.n_old, a.first, a.last) for a in additions(images, 7)]
    assert runs == [(4, 2, 0, 2), (8, 0, 2, 6), (12, 0, 6, 7)]
