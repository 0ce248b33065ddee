"""`--codec`: what every verb writes has it, other programs read it, and a store goes on with its own."""

from __future__ import annotations

import json

import commands
import numpy as np
import pytest
import tensorstore
import zarr
from PIL import Image

import mrdist
from mrdist.codecs import DEFAULT_CODEC
from mrdist.methods.registry import METHODS

BETWEEN = {"source": "neutral", "target": "happy"}
HERE = {"workers": 0, "progress": False}
PAIR = ("--source", "neutral", "--target", "happy", "--workers", 0)
SHAPE = (20, 24)

VERBS = {
    "ingest": lambda given, url, **how: mrdist.ingest(given.photographs, url, align="none", **HERE, **how),
    "generate": lambda _, url, **how: mrdist.generate(url, images=6, size=16, **HERE, **how),
    "rechunk": lambda given, url, **how: mrdist.rechunk(given.images, url, **HERE, **how),
    "rechunk of a link": lambda given, url, **how: mrdist.rechunk(given.linked, url, **HERE, **how),
    "accumulate": lambda given, url, **how: mrdist.accumulate(given.images, url, **BETWEEN, **HERE, **how),
    "solve": lambda given, url, **how: mrdist.solve(given.statistics, url, **HERE, **how),
    "synthesize": lambda given, url, **how: mrdist.synthesize(given.weights, given.images, url, **HERE, **how),
    "save": lambda given, url, **how: mrdist.save(given.model, url, **how),
    "export": lambda given, url, **how: mrdist.export(given.weights, url, **how),
    "create": lambda _, url, **how: mrdist.create_images(url, labels=["a"], image=["1", "2"], shape=(16, 16), **how),
    "mappings": lambda given, url, **how: mrdist.train_mappings(given.images, url, source="neutral", **HERE, **how),
    "apart": lambda given, url, **how: mrdist.train_mappings(
        given.images, url, source="neutral", method="l2", **HERE, **how
    ),
    **{
        f"train by {method}": lambda given, url, method=method, **how: mrdist.train(
            given.images, url, method=method, **BETWEEN, **HERE, **how
        )
        for method in METHODS
    },
    "train by mr cv": lambda given, url, **how: mrdist.train(
        given.images, url, alpha="cv", alphas=[0.1, 1], folds=3, **BETWEEN, **HERE, **how
    ),
}
WRITES_ANEW = ("ingest", "generate", "rechunk", "rechunk of a link", "synthesize", "export", "create")
QUICK = ("accumulate", "solve", "save", "mappings", "train by mr")


def case(verb):
    return pytest.param(verb, marks=() if verb in (*WRITES_ANEW, *QUICK) else pytest.mark.slow)


@pytest.fixture(scope="module")
def given(tmp_path_factory, draw_images):
    """What the verbs read."""
    folder = tmp_path_factory.mktemp("codecs")

    class Given:
        images, statistics, weights, linked = (str(folder / f"{name}.zarr") for name in "isvl")
        photographs = folder / "photographs"
        model = mrdist.MaskedRegression(receptive_field=3)

    pixels = draw_images((12, *SHAPE, 1)), draw_images((12, *SHAPE, 1), seed=1)
    commands.write_store(Given.images, dict(zip(BETWEEN.values(), pixels, strict=True)))
    Given.model.fit(*pixels)
    mrdist.accumulate(Given.images, Given.statistics, **BETWEEN, **HERE)
    mrdist.train(Given.images, Given.weights, **BETWEEN, **HERE)
    arrays = zarr.create_group(folder / "arrays")
    for label, values in zip(BETWEEN.values(), pixels, strict=True):
        arrays.create_array(label, data=values.astype("f4"), dimension_names=("image", "y", "x", "channel"))
    mrdist.link(Given.linked, {label: f"{folder}/arrays/{label}" for label in BETWEEN.values()}, progress=False)
    for label, values in zip(BETWEEN.values(), pixels, strict=True):
        (Given.photographs / label).mkdir(parents=True)
        for number, image in enumerate(values[:3]):
            write_picture(Given.photographs / label / f"person{number}.png", image[..., 0])
    return Given


def write_picture(path, pixels):
    Image.fromarray(pixels).save(path)


def codecs_in(url):
    """Return the codecs behind the first one of every array of a store, by the array's name."""
    return {
        name: [(codec["name"], codec.get("configuration")) for codec in json.loads(content)["codecs"][1:]]
        for name, content in commands.files(url).items()
        if name.endswith("zarr.json") and json.loads(content)["node_type"] == "array"
    }


def values_in(url):
    """Return the values of all arrays of a store by name."""
    group = zarr.open_group(str(url), mode="r", use_consolidated=False)
    return {name: node[...] for name, node in group.members(max_depth=None) if isinstance(node, zarr.Array)}


@pytest.mark.parametrize("verb", [case(verb) for verb in VERBS])
def test_every_verb_writes_all_arrays_with_it(verb, given, tmp_path):
    usual, other = tmp_path / "usual", tmp_path / "other"
    VERBS[verb](given, usual)
    VERBS[verb](given, other, codec="lz4")
    there = codecs_in(usual)
    assert len(there) > 2
    assert all(codecs == [("zstd", {"level": 1, "checksum": False}), ("crc32c", None)] for codecs in there.values())
    assert "codec" not in zarr.open_group(usual, mode="r").attrs["mrdist"]
    found = codecs_in(other)
    assert found.keys() == there.keys()
    for (name, configuration), last in found.values():
        assert (name, configuration["cname"], last) == ("blosc", "lz4", ("crc32c", None))
    assert mrdist.info(other)["codec"] == "lz4"
    for name, values in values_in(usual).items():
        np.testing.assert_array_equal(values_in(other)[name], values, name)


@pytest.mark.parametrize("verb", VERBS)
def test_an_unknown_one_is_refused_before_anything_happens(verb, given, tmp_path):
    url = tmp_path / "there"
    mrdist.create_images(url, labels=["a"], image=["1"], shape=(16, 16))
    before = commands.files(url)
    with pytest.raises(mrdist.errors.ParameterError) as refused:
        VERBS[verb](given, url, codec="zstd:0", overwrite=True)
    said = "codec must be none, lz4, zstd or zstd:LEVEL, a level from -5 to -1 or from 1 to 9, got 'zstd:0'."
    assert str(refused.value) == said
    assert commands.files(url) == before


@pytest.mark.parametrize("verb", [case(verb) for verb in VERBS if verb not in WRITES_ANEW])
def test_a_complete_store_keeps_its_own_and_refuses_another(verb, given, tmp_path):
    url = tmp_path / "out"
    VERBS[verb](given, url, codec="zstd:-5")
    before = commands.files(url)
    VERBS[verb](given, url)
    VERBS[verb](given, url, codec="zstd:-5")
    with pytest.raises(mrdist.errors.StoreExistsError, match=r"has the codec zstd:-5, not none; leave the codec out"):
        VERBS[verb](given, url, codec="none")
    assert commands.files(url) == before
    VERBS[verb](given, url, codec="none", overwrite=True)
    assert all(codecs == [("crc32c", None)] for codecs in codecs_in(url).values())


@pytest.mark.parametrize("codec", ["none", "lz4", "zstd", "zstd:-5", "zstd:9"])
def test_other_programs_read_it(codec, tmp_path):
    """By zarr's specification zstd has negative levels, and LZ4 lies in Blosc."""
    mrdist.generate(tmp_path / "x.zarr", images=3, size=32, labels=["neutral"], codec=codec, **HERE)
    ours = mrdist.open_images(tmp_path / "x.zarr").neutral.values
    spec = {"driver": "zarr3", "kvstore": {"driver": "file", "path": f"{tmp_path}/x.zarr/neutral"}}
    theirs = tensorstore.open(spec).result().read().result()
    np.testing.assert_array_equal(theirs, ours)
    *compression, checksum = codecs_in(tmp_path / "x.zarr")["neutral/zarr.json"]
    assert checksum == ("crc32c", None)
    level = codec.partition(":")[2] or DEFAULT_CODEC.partition(":")[2]
    expected = {"none": [], "lz4": ["blosc"]}.get(codec, [("zstd", {"level": int(level), "checksum": False})])
    assert [name if name == "blosc" else (name, how) for name, how in compression] == expected


def test_values_of_several_bytes_are_shuffled(given, tmp_path):
    mrdist.train(given.images, tmp_path / "w.zarr", codec="lz4", **BETWEEN, **HERE)
    (_, configuration), _ = codecs_in(tmp_path / "w.zarr")["coef/zarr.json"]
    assert (configuration["shuffle"], configuration["typesize"]) == ("shuffle", 4)


@pytest.mark.parametrize("codec", ["none", "lz4", "zstd:-5", "zstd:9"])
def test_equal_bytes_however_the_work_is_cut(codec, given, tmp_path):
    for name, block in (("one", SHAPE), ("several", (16, 16))):
        mrdist.train(given.images, tmp_path / name, codec=codec, block=block, **BETWEEN, **HERE)
    commands.assert_equal_bytes(tmp_path / "several", tmp_path / "one")


@pytest.mark.slow
@pytest.mark.parametrize("how", [(), ("--alpha", "cv", "--alphas", "0.1,1", "--folds", 3), ("--method", "l2")])
def test_a_killed_training_goes_on_with_its_own(how, given, tmp_path):
    train = ("train", given.images, tmp_path / "w.zarr", *PAIR, *how, "--block", "16,16")
    commands.killed(*train, "--codec", "lz4", at=("/w.zarr/progress/done/c/", 2))
    said = commands.failure(*train, "--codec", "none")
    assert "has the codec lz4, not none" in said
    commands.succeed(*train)
    commands.succeed("train", given.images, tmp_path / "whole.zarr", *PAIR, *how, "--codec", "lz4")
    commands.assert_equal_bytes(tmp_path / "w.zarr", tmp_path / "whole.zarr")


@pytest.mark.slow
@pytest.mark.parametrize("method", ["mr", "l2"])
def test_so_does_a_killed_group(method, given, tmp_path):
    out = tmp_path / "group"
    train = ("train", given.images, out, "--source", "neutral", "--mappings", "all", "--workers", 0, "--method", method)
    commands.killed(*train, "--codec", "zstd:3", at=("/neutral-happy/progress/done/c/", 1))
    commands.succeed(*train)
    names = {"neutral-happy", "happy-neutral"}
    assert {mrdist.info(out / name)["codec"] for name in names} == {"zstd:3"}


def test_what_is_added_has_the_stores_own(given, tmp_path, draw_images):
    images, sums = tmp_path / "images.zarr", tmp_path / "sums.zarr"
    mrdist.ingest(given.photographs, images, align="none", codec="lz4", **HERE)
    mrdist.accumulate(images, sums, split="all", codec="lz4", **BETWEEN, **HERE)
    more = tmp_path / "more"
    for label in BETWEEN.values():
        (more / label).mkdir(parents=True)
        write_picture(more / label / "another.png", draw_images(SHAPE, seed=9))
    append = {"append": True, **HERE}
    with pytest.raises(mrdist.errors.StoreExistsError, match="has the codec lz4, not zstd:1"):
        mrdist.ingest(more, images, codec="zstd", **append)
    report = mrdist.ingest(more, images, dataset="photographs", **append)
    assert report.images_added == 1
    with pytest.raises(mrdist.errors.StoreExistsError, match="has the codec lz4, not zstd:1"):
        mrdist.accumulate(images, sums, split="all", codec="zstd", **append)
    assert mrdist.accumulate(images, sums, split="all", **append).images_added == 1
    for url in (images, sums):
        assert {codecs[0][0] for codecs in codecs_in(url).values()} == {"blosc"}
    assert mrdist.open_images(images).happy.shape[0] == 4


def test_files_have_none(given, tmp_path):
    with pytest.raises(
        mrdist.errors.ParameterError, match=r"codec \(lz4\) is for the format csr-zarr, got format 'npz'"
    ):
        mrdist.export(given.weights, tmp_path / "m.npz", format="npz", codec="lz4")
    with pytest.raises(mrdist.errors.ParameterError, match=r"codec \(--codec\) is for images stores"):
        mrdist.synthesize(given.weights, given.photographs, tmp_path / "out", codec="lz4")
    assert not list(tmp_path.iterdir())
