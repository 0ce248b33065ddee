"""What ``--codec`` costs and saves: bytes, decoding, training from disk and from an object store over HTTP.

Four data sets: London's photographs at 128 and at 512 (those of `MRDIST_TEST_DATA`), drawn faces, and the float fields
of ``notebooks/own-arrays.ipynb``. The object store is a server in Python, which is slower than a real one.
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
from benchmarks.stores import bytes_on_disk
from mrdist.codecs import DEFAULT_CODEC

pytestmark = pytest.mark.filterwarnings("ignore")

HERE = {"workers": 0, "progress": False}
CODECS = (DEFAULT_CODEC, "none", "lz4", "zstd:-5", "zstd:-1", "zstd:3", "zstd:6", "zstd:9")
NOTEBOOK = Path(__file__).parents[2] / "notebooks" / "own-arrays.ipynb"
ROUNDS = 2


def photographs(size):
    def make(folder):
        if "MRDIST_TEST_DATA" not in os.environ:
            pytest.skip("set MRDIST_TEST_DATA to the folder of the London Set")
        url = folder / "images.zarr"
        mrdist.ingest(Path(os.environ["MRDIST_TEST_DATA"], "london"), url, size=size, progress=False)
        return url, ("neutral", "smiling")

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


DATA = {"photographs, 128": photographs(128), "photographs, 512": photographs(512), "faces": drawn, "fields": fields}


@pytest.fixture(scope="module")
def bucket():
    with faulty_s3.serve("codecs"):
        yield "s3://codecs"


@pytest.mark.parametrize("data", DATA)
def test_codecs(data, meter, one_core, bucket, tmp_path):
    """Decoding and training from disk count the time of the processor, which other work does not change."""
    images, labels = DATA[data](tmp_path)
    between = dict(zip(("source", "target"), labels, strict=True)) | {"split": "all", "overwrite": True, **HERE}
    local = {codec: str(tmp_path / codec.replace(":", "")) for codec in CODECS}
    remote = {codec: f"{bucket}/{data}/{codec.replace(':', '')}" for codec in CODECS}
    seconds = {what: {codec: [] for codec in CODECS} for what in ("copying", "decoding", "train", "train from S3")}
    for codec in CODECS:
        with timed(seconds["copying"][codec]):
            mrdist.rechunk(images, local[codec], codec=codec, **HERE)
        fsspec.filesystem("s3").put(local[codec], remote[codec], recursive=True)
    n_bytes = sum(zarr.open_array(local["none"], path=label).nbytes for label in labels)
    expected = [decoded(local["none"], label) for label in labels]
    mrdist.train(local["none"], tmp_path / "w.zarr", **between)  # loads the kernels
    for _ in range(ROUNDS):
        for codec in CODECS:
            with timed(seconds["decoding"][codec]):
                found = [decoded(local[codec], label) for label in labels]
            for ours, theirs in zip(found, expected, strict=True):
                np.testing.assert_array_equal(ours, theirs)
            with timed(seconds["train"][codec]):
                mrdist.train(local[codec], tmp_path / "w.zarr", **between)
            began = time.perf_counter()
            mrdist.train(remote[codec], tmp_path / "w.zarr", **between)
            seconds["train from S3"][codec].append(time.perf_counter() - began)
    meter.time(lambda: None, rounds=1)
    usual = {what: np.array(each[DEFAULT_CODEC]) for what, each in seconds.items()}
    for codec in CODECS:
        what, stored = f"{data}, {codec}", [bytes_on_disk(local[each]) for each in (codec, DEFAULT_CODEC)]
        meter.tell(f"{what}: stored", *stored, DEFAULT_CODEC, unit="B")
        meter.tell(
            f"{what}: decoded in a second",
            n_bytes / np.array(seconds["decoding"][codec]),
            n_bytes / usual["decoding"],
            DEFAULT_CODEC,
            unit="B",
        )
        for name in ("copying", "train", "train from S3"):
            meter.tell(f"{what}: {name}", np.array(seconds[name][codec]), usual[name], DEFAULT_CODEC)


@contextlib.contextmanager
def timed(seconds):
    began = time.process_time()
    yield
    seconds.append(time.process_time() - began)


def decoded(url, label):
    return zarr.open_array(url, path=label, mode="r")[...]
