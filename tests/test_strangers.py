"""What is no store of mrdist is told as what it is, with the next step, by every verb that opens one."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import zarr

import mrdist
from mrdist.errors import ForeignStoreError, StoreError, StoreExistsError, StoreNotFoundError
from mrdist.pipeline.showing.plot import plot_faces, plot_intercept
from mrdist.storage import Images, Statistics, WeightsReader, describe

_PAIR = {"source": "neutral", "target": "happy", "workers": 0}


def _zarr_2(place):
    zarr.create_group(place, zarr_format=2).create_array("neutral", shape=(2, 8, 8, 1), dtype="uint8")


def _zarr_array(place):
    zarr.create_array(str(place), shape=(2, 8, 8, 1), dtype="uint8")


def _file(name):
    def make(place):
        place.write_bytes(b"no store")

    make.suffix = name
    return make


def _folder_of(name):
    def make(place):
        place.mkdir()
        (place / name).write_bytes(b"no store")

    return make


def _group(**attributes):
    return lambda place: zarr.create_group(place, attributes=attributes)


# What lies there, what the sentence says of it and of the next step.
PLACES = {
    "nothing": (lambda _: None, "there is no zarr group at", "check the address"),
    "zarr 2": (_zarr_2, "is a zarr group of format 2, but mrdist reads format 3", "to_zarr(NEW, zarr_format=3)"),
    "zarr 2 AnnData": (
        lambda place: zarr.create_group(place, zarr_format=2, attributes={"encoding-type": "anndata"}),
        "is an AnnData object in zarr format 2",
        "mrdist.create_images",
    ),
    "array": (_zarr_array, "is a zarr array, but a store is a group of arrays", "give the group it lies in"),
    "file": (_file(".bin"), "is a file, not a zarr group", "give the address of a store"),
    "photograph": (_file(".JPG"), "is a file, not a zarr group", "mrdist ingest"),
    "archive": (_file(".zip"), "is a file, not a zarr group", "unpack it"),
    "empty folder": (Path.mkdir, "is an empty folder, not a zarr group", "mrdist ingest"),
    "photographs": (_folder_of("a.png"), "is a folder of photographs, not a zarr group", "mrdist ingest"),
    "other folder": (_folder_of("a.txt"), "is a folder, but not a zarr group", "check the address"),
    "stores": (
        lambda place: zarr.create_group(place / "faces.zarr"),
        "is a folder of stores, not a store",
        "faces.zarr",
    ),
    "damaged": (_folder_of("zarr.json"), "its zarr.json is damaged", "restore it"),
    "group": (_group(), "but not a store of mrdist: it lacks the attribute 'mrdist'", "mrdist.check_images"),
    "other attribute": (_group(mrdist="faces"), "its attribute 'mrdist' has no 'kind'", "{'kind': 'images'}"),
    "AnnData": (_group(**{"encoding-type": "anndata"}), "is an AnnData object", "mrdist.create_images"),
    "CSR": (_group(**{"encoding-type": "csr_matrix"}), "is a sparse matrix in AnnData's encoding", "create_images"),
    "OME-Zarr": (_group(ome={"version": "0.5"}), "is an OME-Zarr image", "mrdist.create_images"),
    "newer": (_group(mrdist={"kind": "images", "format_version": 99}), "has format version 99", "upgrade mrdist"),
}

OPENERS = {
    "Images": Images.open,
    "Statistics": Statistics.open,
    "WeightsReader": WeightsReader.open,
    "describe": describe,
    "open_images": mrdist.open_images,
    "open_statistics": mrdist.open_statistics,
    "open_weights": mrdist.open_weights,
    "accumulate": lambda url: mrdist.accumulate(url, f"{url}.out", **_PAIR),
    "compare": lambda url: mrdist.compare(url, out=f"{url}.out", **_PAIR),
    "evaluate": lambda url: mrdist.evaluate(url, url),
    "export": lambda url: mrdist.export(url, f"{url}.out"),
    "info": mrdist.info,
    "plan": lambda url: mrdist.plan(url, **_PAIR),
    "plot faces": lambda url: plot_faces(url, url, f"{url}.png"),
    "plot intercept": lambda url: plot_intercept(url, f"{url}.png"),
    "rechunk": lambda url: mrdist.rechunk(url, f"{url}.out", workers=0),
    "refine": mrdist.refine,
    "report": lambda url: mrdist.report(url, f"{url}.html"),
    "solve": lambda url: mrdist.solve(url, f"{url}.out", workers=0),
    "train": lambda url: mrdist.train(url, f"{url}.out", **_PAIR),
    "train_mappings": lambda url: mrdist.train_mappings(url, f"{url}.out", source="neutral", workers=0),
    "synthesize": lambda url: mrdist.synthesize(url, url, f"{url}.out"),
}
OUTPUTS = {
    "accumulate": lambda images, url: mrdist.accumulate(images, url, **_PAIR),
    "generate": lambda _, url: mrdist.generate(url, images=1, size=32, workers=0),
    "rechunk": lambda images, url: mrdist.rechunk(images, url, workers=0),
    "train": lambda images, url: mrdist.train(images, url, **_PAIR),
    "train l2": lambda images, url: mrdist.train(images, url, method="l2", **_PAIR),
    "train cv": lambda images, url: mrdist.train(images, url, alpha="cv", folds=2, **_PAIR),
    "train_mappings": lambda images, url: mrdist.train_mappings(images, url, source="neutral", workers=0),
}


@pytest.fixture(scope="module")
def places(tmp_path_factory):
    """Name -> a place with what is no store."""
    folder, made = tmp_path_factory.mktemp("strangers"), {}
    for name, (make, *_) in PLACES.items():
        made[name] = folder / name.replace(" ", "-") / f"store{getattr(make, 'suffix', '')}"
        made[name].parent.mkdir()
        make(made[name])
    return made


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    url = str(tmp_path_factory.mktemp("images") / "images.zarr")
    mrdist.generate(url, images=6, size=32, labels=("neutral", "happy"), workers=0)
    return url


def listing(folder):
    return sorted(path.relative_to(folder) for path in folder.rglob("*"))


@pytest.mark.parametrize("opener", OPENERS)
def test_every_opener_says_what_is_there_and_what_to_do(places, opener):
    for name, (_, what, advice) in PLACES.items():
        before = listing(places[name].parent)
        with pytest.raises(StoreError) as refused:
            OPENERS[opener](str(places[name]))
        sentence = str(refused.value)
        assert str(places[name]) in sentence, name
        assert what in sentence, name
        assert advice in sentence, name
        assert sentence.count("\n") == 0
        assert listing(places[name].parent) == before, name  # nothing is begun before the input is checked


def test_the_class_tells_what_is_absent_from_what_is_foreign(places):
    absent = {"nothing", "file", "photograph", "archive", "empty folder", "photographs", "other folder", "stores"}
    for name, place in places.items():
        with pytest.raises(StoreError) as refused:
            describe(str(place))
        if name in absent | {"damaged"}:
            assert type(refused.value) is StoreNotFoundError, name
        elif name != "newer":
            assert type(refused.value) is ForeignStoreError, name


@pytest.mark.parametrize("verb", OUTPUTS)
def test_no_output_replaces_what_is_no_store(places, images, verb, tmp_path):
    for name in PLACES.keys() - {"nothing", "empty folder"}:
        place = tmp_path / name.replace(" ", "-")
        if places[name].is_dir():
            shutil.copytree(places[name], place)
        else:
            shutil.copy(places[name], place)
        before = listing(place)
        with pytest.raises(StoreError) as refused:
            OUTPUTS[verb](images, str(place))
        if name == "newer":
            assert "upgrade mrdist" in str(refused.value) or "already holds" in str(refused.value)
        else:
            assert isinstance(refused.value, StoreExistsError), name
            assert "exists and is not a store of mrdist; remove it yourself" in str(refused.value), name
        assert listing(place) == before, name


def test_photographs_are_still_photographs(tmp_path, images):
    """A folder that is no store is an input of synthesize like any other."""
    mrdist.train(images, str(tmp_path / "weights.zarr"), alpha=0.4, **_PAIR)
    from PIL import Image

    (tmp_path / "photographs").mkdir()
    Image.fromarray(np.full((32, 32, 3), 99, np.uint8)).save(tmp_path / "photographs" / "one.png")
    report = mrdist.synthesize(tmp_path / "weights.zarr", tmp_path / "photographs", tmp_path / "out")
    assert len(report.written) == 1
    _zarr_2(tmp_path / "two.zarr")
    with pytest.raises(ForeignStoreError, match="zarr group of format 2"):
        mrdist.synthesize(tmp_path / "weights.zarr", tmp_path / "two.zarr", tmp_path / "out")
