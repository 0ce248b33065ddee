"""What ``--codec`` costs and saves: bytes, decoding, training from disk and from an object store over HTTP.

Four data sets: London's photographs at 128 and, of fewer people, at 512 (those of `MRDIST_TEST_DATA`), drawn faces, and
the float fields of ``notebooks/own-arrays.ipynb``. ``MRDIST_BENCH_CODECS`` names the codecs if not all are to be
measured. The object store is the one that the usual AWS environment names, or else a server in Python.
"""

from __future__ import annotations

import contextlib
import json
import os
import time
from pathlib import Path

import faulty_s3
import fsspec
import numpy as np
import pytest
import zarr

import mrdist
from benchmarks import stores
from mrdist.codecs import DEFAULT_CODEC

pytestmark = pytest.mark.filterwarnings("ignore")

HERE = {"workers": 0, "progress": False}
CODECS = tuple(
    dict.fromkeys(
        (DEFAULT_CODEC, *os.environ.get("MRDIST_BENCH_CODECS", "none lz4 zstd:-5 zstd:-1 zstd:3 zstd:6 zstd:9").split())
    )
)
NOTEBOOK = Path(__file__).parents[2] / "notebooks" / "own-arrays.ipynb"
ROUNDS = 3


def photographs(size, n_people=None):
    def make(folder):
        if "MRDIST_TEST_DATA" not in os.environ:
            pytest.skip("set MRDIST_TEST_DATA to the folder of the London Set")
        there, picture = stores.photographs(Path(os.environ["MRDIST_TEST_DATA"], "london"), size)
        return stores.write_store(str(folder / "images.zarr"), n_people or there, picture), stores.LABELS

    return make


def drawn(folder):
    mrdist.generate(folder / "images.zarr", images=300, size=128, labels=["neutral", "happy"], **HERE)
    return folder / "images.zarr", ("neutral", "happy")


def fields(folder):
    """Copies of linked arrays hold their floats as these are."""
    made = {}
    for cell in [each for each in json.loads(NOTEBOOK.read_text())["cells"] if each["cell_type"] == "code"][:3]:
        exec("".join(cell["source"]), made)
    addresses = {name: made["folder"] / f"{name}.zarr" / "sst" for name in ("coarse", "fine")}
    mrdist.link(folder / "images.zarr", addresses, **HERE)
    return folder / "images.zarr", ("coarse", "fine")


DATA = {
    "photographs, 128": photographs(128),
    "photographs, 512": photographs(512, n_people=24),
    "faces": drawn,
    "fields": fields,
}


@pytest.fixture(scope="module")
def bucket():
    with contextlib.ExitStack() as serving:
        if "AWS_ENDPOINT_URL" not in os.environ:
            serving.enter_context(faulty_s3.serve("codecs"))
        else:
            with contextlib.suppress(FileExistsError):
                fsspec.filesystem("s3").mkdir("codecs")
        yield "s3://codecs"


@pytest.fixture(scope="module", params=DATA)
def copies(request, tmp_path_factory):
    """Copies of a data set: its name, their addresses by codec, and the options of a training."""
    folder = tmp_path_factory.mktemp("codecs")
    images, labels = DATA[request.param](folder)
    made = {codec: str(folder / codec.replace(":", "")) for codec in CODECS}
    for codec, url in made.items():
        mrdist.rechunk(images, url, codec=codec, **HERE)
    between = dict(zip(("source", "target"), labels, strict=True)) | {"split": "all", "overwrite": True, **HERE}
    mrdist.train(made[DEFAULT_CODEC], folder / "w.zarr", **between)  # loads the kernels
    return request.param, made, between


def test_codecs_on_disk(meter, one_core, copies, tmp_path):
    """Decoding and training count the time of the processor, which other work does not change."""
    data, made, between = copies
    labels = between["source"], between["target"]
    expected = [decoded(made[DEFAULT_CODEC], label) for label in labels]
    seconds = {what: {codec: [] for codec in CODECS} for what in ("decoding", "train")}
    for _ in range(ROUNDS):
        for codec, url in made.items():
            with timed(seconds["decoding"][codec]):
                found = [decoded(url, label) for label in labels]
            for ours, theirs in zip(found, expected, strict=True):
                np.testing.assert_array_equal(ours, theirs)
            with timed(seconds["train"][codec]):
                mrdist.train(url, tmp_path / "w.zarr", **between)
    meter.time(lambda: None, rounds=1)
    n_bytes = sum(array.nbytes for array in expected)
    usual = {what: np.array(each[DEFAULT_CODEC]) for what, each in seconds.items()}
    for codec, url in made.items():
        what, stored = f"{data}, {codec}", [stores.bytes_on_disk(each) for each in (url, made[DEFAULT_CODEC])]
        meter.tell(f"{what}: stored", *stored, DEFAULT_CODEC, unit="B")
        speeds = n_bytes / np.array(seconds["decoding"][codec]), n_bytes / usual["decoding"]
        meter.tell(f"{what}: decoded in a second", *speeds, DEFAULT_CODEC, unit="B")
        meter.tell(f"{what}: train from disk", np.array(seconds["train"][codec]), usual["train"], DEFAULT_CODEC)


def test_codecs_from_object_storage(meter, bucket, copies, tmp_path):
    data, made, between = copies
    remote = {codec: f"{bucket}/{data}/{codec.replace(':', '')}" for codec in CODECS}
    for codec, url in made.items():
        fsspec.filesystem("s3").put(url, remote[codec], recursive=True)
    seconds = {codec: [] for codec in CODECS}
    for _ in range(ROUNDS):
        for codec, url in remote.items():
            began = time.perf_counter()
            mrdist.train(url, tmp_path / "w.zarr", **between)
            seconds[codec].append(time.perf_counter() - began)
    meter.time(lambda: None, rounds=1)
    for codec in CODECS:
        taken, usual = np.array(seconds[codec]), np.array(seconds[DEFAULT_CODEC])
        meter.tell(f"{data}, {codec}: train from S3", taken, usual, DEFAULT_CODEC)


@contextlib.contextmanager
def timed(seconds):
    began = time.process_time()
    yield
    seconds.append(time.process_time() - began)


def decoded(url, label):
    return zarr.open_array(url, path=label, mode="r")[...]
