"""Stores of few files: chunks of 256 KiB and more that one task owns, and tables without files of their own."""

from __future__ import annotations

import base64
import itertools
import os
import subprocess
from pathlib import Path

import commands
import numpy as np
import pytest
import tensorstore
import zarr
from hypothesis import example, given
from hypothesis import strategies as st

import mrdist
from mrdist.errors import MissingChunkError
from mrdist.geometry import block_grid
from mrdist.methods.registry import METHODS
from mrdist.pipeline.training.accumulate import accumulate
from mrdist.storage.access.arrays import LEAST_CHUNK, MOST_CHUNK, ArraySpec
from mrdist.storage.access.tables import read_tables, table_values, write_tables
from mrdist.storage.making.progress import Progress
from mrdist.storage.weights.output import chunk_side

MOST_FILES = 20
PAIR = {"source": "neutral", "target": "happy"}
SERIAL = {"workers": 0, "progress": False}
CV = {"alpha": "cv", "alphas": [0.1, 1.0], "folds": 2}
QUICK = {"window": 3, "nonzeros": 2, "components": 4}

TRAININGS = {
    **{name: (name, {}) for name in METHODS},
    **{f"{name} cv": (name, CV) for name, method in METHODS.items() if "alphas" in method.options},
    **{f"{name} {rule}": (name, {**CV, "rule": rule}) for name in ("mr", "morph") for rule in ("1se", "pixel")},
    "mr cv pools": ("mr", {**CV, "receptive_field": [1, 3], "pool": [0, 1], "rule": "pixel"}),
    "l1": ("l1", {"alpha": 0.1}),
    "l0 cv": ("l0", {"nonzeros": [1, 2], "folds": 2}),
    **{f"{name} {color}": (name, {"color": color}) for name in ("mr", "kernel") for color in ("separate",)},
    "mr joint": ("mr", {"color": "joint", "receptive_field": 7}),
}
SLOW = {"l0", "l1", "l0 cv", "l1 cv", "morph pixel", "mr joint", "mr cv pools"}


def files(url):
    return [path for path in Path(url).rglob("*") if path.is_file()]


def over_pixels(url):
    """The arrays of a store whose axes are pixels, without those that are written whole."""
    group = zarr.open_group(url, mode="r")
    arrays = {name: array for name, array in group.arrays() if {"y", "x"} <= {*array.metadata.dimension_names}}
    return {name: array for name, array in arrays.items() if name not in ("face_mask", "mean_face")}


@pytest.fixture(scope="module")
def faces(tmp_path_factory):
    folder = tmp_path_factory.mktemp("faces")
    for color in ("gray", "rgb"):
        url = str(folder / f"{color}.zarr")
        mrdist.generate(url, images=8, size=128, labels=[*PAIR.values()], color=color, workers=0)
    return folder


@pytest.mark.parametrize("name", [pytest.param(n, marks=[pytest.mark.slow] if n in SLOW else []) for n in TRAININGS])
def test_weights_of_128_pixels_have_at_most_20_files(name, faces, tmp_path):
    method, options = TRAININGS[name]
    options = commands.known(method, **QUICK) | options
    images, url = faces / ("rgb.zarr" if "color" in options else "gray.zarr"), str(tmp_path / "w.zarr")
    mrdist.train(str(images), url, **PAIR, **SERIAL, method=method, **options)
    assert len(files(url)) <= MOST_FILES
    for array in over_pixels(url).values():
        assert array.chunks == array.shape or np.prod(array.chunks) * array.dtype.itemsize >= LEAST_CHUNK


def test_refined_weights_have_at_most_20_files_too(faces, tmp_path):
    url = str(tmp_path / "w.zarr")
    mrdist.train(str(faces / "gray.zarr"), url, **PAIR, **SERIAL, **CV, rule="pixel")
    mrdist.refine(url)
    assert len(files(url)) <= MOST_FILES


# --- chunks --------------------------------------------------------------------------------------------

sides = st.integers(1, 700) | st.sampled_from([128, 256, 512, 1024, 4096])


@given(shape=st.tuples(sides, sides), planes=st.integers(1, 3000), dtype=st.sampled_from(["f4", "f8", "u1"]))
@example(shape=(128, 128), planes=9, dtype="f4")
@example(shape=(4096, 4096), planes=441, dtype="f4")
def test_chunks_hold_256_kib_and_consist_of_what_a_task_may_own(shape, planes, dtype):
    side = chunk_side(shape)
    least = tuple(min(side, length) for length in shape)
    spec = ArraySpec("a", {"plane": planes, "y": shape[0], "x": shape[1]}, dtype, (planes, *least))
    chunk = spec.grown().chunks
    assert chunk[0] == planes
    held = np.prod(chunk, dtype=np.int64) * np.dtype(dtype).itemsize
    assert held >= LEAST_CHUNK or chunk[1:] == shape
    for one, length in zip(chunk[1:], shape, strict=True):
        assert one == length or one & (one - 1) == 0  # pieces of the work and chunks divide each other
    assert held <= MOST_CHUNK or max(chunk[1:]) <= 16


class Told(zarr.storage.MemoryStore):
    """A store that notes what is written."""

    def __init__(self):
        super().__init__()
        self.written = []

    async def set(self, key, value, *args):
        self.written.append(key)
        await super().set(key, value, *args)


@given(
    shape=st.tuples(st.integers(1, 70), st.integers(1, 70)),
    block=st.tuples(st.integers(1, 5), st.integers(1, 5)),
    chunk=st.tuples(st.sampled_from([16, 32, 64]), st.sampled_from([16, 32, 64])),
    first=st.integers(0, 2),
)
def test_no_two_tasks_write_one_file_whatever_their_blocks(shape, block, chunk, first):
    block = tuple(16 * side for side in block)
    told = Told()
    group = zarr.create_group(told)
    rng = np.random.default_rng(0)
    axes = {"fold": 3, "y": shape[0], "x": shape[1], "channel": 2}
    chunks = (1, *(min(*pair) for pair in zip(chunk, shape, strict=True)), 2)
    values = rng.integers(1, 9, tuple(axes.values()), dtype=np.uint8)
    arrays = [ArraySpec(name, axes, np.uint8, chunks).create(group) for name in ("one", "other")]
    arrays.append(ArraySpec("table", {"row": 5}, np.uint8).create(group))
    progress = Progress.begin(group, shape, block, arrays=arrays, first_fold=first)
    assert all(np.less_equal(progress.array(group, name).chunks, chunks).all() for name in ("one", "other"))
    written = []
    for fold, part in itertools.product(range(first, 3), block_grid(shape, block)):
        told.written.clear()
        for name in ("one", "other"):
            Progress.find(group).array(group, name)[fold, *part.slices] = values[fold, *part.slices]
        written.append(set(told.written))
    assert sum(map(len, written)) == len(set().union(*written))
    told.written.clear()
    for _ in range(2):
        progress.put_together(group)
    assert len(told.written) == 2 * len(set(told.written))
    for name in ("one", "other"):
        assert np.array_equal(group[name][first:], values[first:])
        assert not group[name][:first].any()


# --- tables --------------------------------------------------------------------------------------------

tables = st.sampled_from(["float64", "float32", "int64", "bool"]).flatmap(
    lambda dtype: st.lists(
        st.booleans()
        if dtype == "bool"
        else st.integers(-(2**62), 2**62)
        if dtype == "int64"
        else st.floats(width=int(dtype[5:])),
        max_size=6,
    ).map(lambda values: np.array(values, dtype=dtype))
)


@given(one=tables, other=tables)
def test_tables_come_back_to_the_last_bit(one, other):
    group = zarr.create_group(zarr.storage.MemoryStore())
    square = np.stack([other, other[::-1]])
    write_tables(group, {"one": (("n",), one)})
    write_tables(group, {"square": (("two", "n"), square)})
    found = read_tables(zarr.open_group(group.store, mode="r"))
    for name, values, axes in (("one", one, ("n",)), ("square", square, ("two", "n"))):
        assert found[name][0] == axes
        assert found[name][1].dtype == values.dtype
        np.testing.assert_array_equal(found[name][1], values)
        np.testing.assert_array_equal(table_values(group, name), values)
    assert table_values(group, "neither") is None


def test_metadata_is_json_that_everyone_reads(faces, tmp_path):
    group = zarr.create_group(tmp_path / "t.zarr")
    write_tables(group, {"t": (("n",), np.array([np.nan, np.inf, -np.inf, 1.5]))})
    text = (tmp_path / "t.zarr/zarr.json").read_text()
    assert '"NaN"' in text
    assert "NaN," not in text.replace('"NaN"', "")


# --- other readers -------------------------------------------------------------------------------------


def read_by_tensorstore(url, name):
    spec = {"driver": "zarr3", "kvstore": {"driver": "file", "path": f"{url}/{name}"}}
    return tensorstore.open(spec, read=True).result().read().result()


@pytest.fixture(scope="module")
def made(faces, tmp_path_factory):
    """Weights and sums, each with what mrdist reads in it."""
    folder = tmp_path_factory.mktemp("made")
    weights, sums = str(folder / "w.zarr"), str(folder / "s.zarr")
    mrdist.train(str(faces / "gray.zarr"), weights, **PAIR, **SERIAL, block=(64, 64))
    accumulate(str(faces / "gray.zarr"), sums, **PAIR, **SERIAL, block=(128, 64))
    return {weights: mrdist.open_weights(weights).to_xarray(), sums: mrdist.open_statistics(sums)}


def test_tensorstore_reads_weights_and_sums(made):
    for url, dataset in made.items():
        for name, array in over_pixels(url).items():
            assert 1 <= array.nchunks <= 8
            assert np.array_equal(read_by_tensorstore(url, name), dataset[name])


_ZARRITA = """
import { pathToFileURL } from "node:url";
const [modules, store, ...names] = process.argv.slice(1);
const from = (path) => import(pathToFileURL(`${modules}/${path}`));
const zarr = await from("zarrita/dist/src/index.js");
const { default: FileSystemStore } = await from("@zarrita/storage/dist/src/fs.js");
const root = zarr.root(new FileSystemStore(store));
for (const name of names) {
  const { data } = await zarr.get(await zarr.open.v3(root.resolve(name), { kind: "array" }));
  console.log(Buffer.from(data.buffer, data.byteOffset, data.byteLength).toString("base64"));
}
"""


@pytest.mark.skipif(
    "MRDIST_TEST_ZARRITA" not in os.environ,
    reason="MRDIST_TEST_ZARRITA is not set: the node_modules of `npm install zarrita @zarrita/storage`",
)
def test_zarrita_reads_weights_and_sums(made):
    modules = os.environ["MRDIST_TEST_ZARRITA"]
    for url, dataset in made.items():
        arrays = over_pixels(url)
        node = ["node", "--input-type=module", "-e", _ZARRITA, modules, url, *arrays]
        done = subprocess.run(node, capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 0, done.stderr
        for (name, array), line in zip(arrays.items(), done.stdout.splitlines(), strict=True):
            found = np.frombuffer(base64.b64decode(line), array.dtype).reshape(array.shape)
            assert np.array_equal(found, dataset[name])


def test_a_part_that_is_lost_is_an_error(tmp_path):
    group = zarr.create_group(tmp_path / "w.zarr")
    array = ArraySpec("a", {"y": 32, "x": 32}, np.uint8, (32, 32)).create(group)
    progress = Progress.begin(group, (32, 32), (16, 32), arrays=[array])
    progress.array(group, "a")[:16] = 1
    with pytest.raises(MissingChunkError, match=r"progress/parts/a/c/1/0 is missing from .*w\.zarr"):
        progress.put_together(group)
