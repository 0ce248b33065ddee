"""Stores of format version 1 open for ever: what they hold is read, and they are finished and added to.

``stores_of_version_1.tar.xz`` was written by the last mrdist without version 2, from the images of the fixture below;
names with ``half`` are of runs that could not read the last chunk of the targets.
"""

from __future__ import annotations

import shutil
import tarfile
from pathlib import Path

import commands
import numpy as np
import pytest
from places import content

import mrdist
from mrdist.errors import StoreFormatError
from mrdist.pipeline.applying.synthesize_store import synthesize_store
from mrdist.pipeline.training.accumulate import accumulate
from mrdist.storage.access import formats, urls

PAIR = {"source": "a", "target": "b", "split": "all"}
SERIAL = {"workers": 0, "progress": False}
SEARCH = {"alpha": "cv", "alphas": [0.1, 1.0], "folds": 2}
WORK = {
    "mr": {},
    "cv": {**SEARCH, "rule": "pixel"},
    "l2": {**SEARCH, "method": "l2"},
    "l0": {"method": "l0", "nonzeros": 2},
}


def pixels(n_images):
    rng = np.random.default_rng(0)
    return {label: rng.integers(0, 4, (6, 18, 18, 1), dtype=np.uint8)[:n_images] for label in "ab"}


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    return commands.write_store(tmp_path_factory.mktemp("images") / "images.zarr", pixels(6))


@pytest.fixture(scope="module")
def old(tmp_path_factory):
    folder = tmp_path_factory.mktemp("old")
    with tarfile.open(Path(__file__).with_name("stores_of_version_1.tar.xz")) as archive:
        archive.extractall(folder, filter="data")
    return folder


def train(images, url, **options):
    mrdist.train(images, str(url), **PAIR, **SERIAL, **options)
    return url


def versions(*stores):
    return [commands.attributes(store)["format_version"] for store in stores]


@pytest.mark.parametrize("name", WORK)
def test_a_begun_training_ends_in_its_version(name, old, images, monkeypatch, tmp_path):
    url = shutil.copytree(old / f"{name}-half.zarr", tmp_path / "half.zarr")
    done = commands.blocks_done(url)
    report = mrdist.train(images, str(url), **PAIR, **SERIAL, **WORK[name])
    assert (report.blocks, report.blocks_run) == (4, 4 - done)
    now = train(images, tmp_path / "now.zarr", **WORK[name])
    with monkeypatch.context() as patch:
        patch.setattr(urls, "FORMAT_VERSIONS", {})
        commands.assert_equal_bytes(url, train(images, tmp_path / "before.zarr", **WORK[name]))
    assert versions(url, now) == [1, 2]
    assert len(content(now)) < len(content(url))
    one, two = mrdist.open_weights(str(url)), mrdist.open_weights(str(now))
    assert one.to_xarray().drop_attrs(deep=False).identical(two.to_xarray().drop_attrs(deep=False))
    assert np.array_equal(one.predict(pixels(6)["a"]), two.predict(pixels(6)["a"]))
    assert (one.cv is None) == ("alphas" not in WORK[name])
    assert one.cv is None or one.cv.identical(two.cv)


def test_complete_weights_are_read_applied_and_evaluated(old, images, tmp_path):
    url = shutil.copytree(old / "cv.zarr", tmp_path / "old.zarr")
    before = content(url)
    now = train(images, tmp_path / "now.zarr", **SEARCH)
    assert train(images, url, **SEARCH) == url  # complete
    found = [mrdist.info(str(each)) for each in (url, now)]
    assert found[0]["cross_validation"] == found[1]["cross_validation"]
    made = []
    for number, each in enumerate((url, now)):
        synthesize_store(str(each), images, str(tmp_path / f"{number}.zarr"), **SERIAL)
        made.append(mrdist.evaluate(str(each), images, **SERIAL)["splits"])
    assert made[0] == made[1]
    assert content(tmp_path / "0.zarr/b/c") == content(tmp_path / "1.zarr/b/c")
    assert content(url) == before
    assert versions(url) == [1]
    mrdist.refine(str(url))
    assert mrdist.open_weights(str(url)).to_xarray().importance.shape == (18, 18)


def test_images_are_added_to_sums(old, images, tmp_path):
    url = shutil.copytree(old / "sums.zarr", tmp_path / "old.zarr")
    rng = np.random.default_rng(1)
    more = {label: rng.integers(0, 4, (9, 18, 18, 1), dtype=np.uint8) for label in "ab"}
    for label, first in pixels(6).items():
        more[label][:6] = first
    added = commands.write_store(tmp_path / "more.zarr", more)
    now = str(tmp_path / "now.zarr")
    for where in (images, added):
        accumulate(where, now, append=True, block=(16, 16), **PAIR, **SERIAL)
    accumulate(added, str(url), append=True, split="all", **SERIAL)
    assert versions(url, now) == [1, 2]
    one, two = (mrdist.open_statistics(str(each)) for each in (url, now))
    assert one.drop_attrs(deep=False).identical(two.drop_attrs(deep=False))
    assert one.sizes["fold"] == 2
    weights = [mrdist.solve(str(each), str(tmp_path / f"{n}.zarr"), workers=0).url for n, each in enumerate((url, now))]
    commands.assert_equal_bytes(*weights)


def test_a_begun_accumulation_ends(old, images, tmp_path):
    url = shutil.copytree(old / "sums-half.zarr", tmp_path / "half.zarr")
    report = accumulate(images, str(url), **PAIR, **SERIAL)
    assert (report.blocks, report.blocks_run) == (4, 1)
    assert [
        name for name, chunk in commands.files(old / "sums.zarr").items() if commands.files(url)[name] != chunk
    ] == []


def test_an_older_mrdist_says_what_is_wrong(images, monkeypatch, tmp_path):
    url = train(images, tmp_path / "now.zarr")
    monkeypatch.setattr(formats, "FORMAT_VERSIONS", {})
    with pytest.raises(StoreFormatError, match="format version 2, but this mrdist reads up to 1; upgrade mrdist"):
        mrdist.open_weights(str(url))
