"""``mrdist train`` from local stores: against reading and arithmetic alone, codecs, workers and memory."""

import os
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import psutil
import pytest
from distributed import Client, LocalCluster
from zarr.codecs import BloscCodec, ZstdCodec

from benchmarks.stores import (
    PAIR,
    bytes_on_disk,
    full,
    kernels_alone,
    mrdist,
    photographs,
    read_all,
    synthetic,
    train,
    write_store,
)
from mrdist.execution import n_processors

pytestmark = pytest.mark.filterwarnings("ignore")

CODECS = {
    "none": None,
    "lz4": BloscCodec(cname="lz4", clevel=5, shuffle="noshuffle"),
    **{f"zstd {level}": ZstdCodec(level=level, checksum=True) for level in (1, 3, 5)},
}


@pytest.mark.parametrize("size", [3, 7])
@pytest.mark.parametrize(
    ("n_images", "side"), [(256, 512), pytest.param(1000, 512, marks=full), pytest.param(200, 2048, marks=full)]
)
def test_train_against_reading_and_kernels(meter, faces_store, tmp_path, n_images, side, size):
    url, reports, kernels = faces_store(n_images, side), [], []
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:

        def read():
            list(pool.map(read_all, [url] * 2, range(2), [2] * 2))

        def compute():
            kernels.append(max(pool.map(kernels_alone, [url] * 2, [size] * 2, range(2), [2] * 2)))

        def ours():
            reports.append(train(url, tmp_path / "w.zarr", f"--receptive-field={size}", "--workers=2"))

        read()
        compute()
        seconds = meter.time(ours, {"R": read, "kernels": compute}, rounds=3)
    k = np.array(kernels[1:])
    run = np.array([r["seconds"]["run"] for r in reports])
    what = f"train {n_images} x {side} x {side} x 3, r={size}"
    meter.tell(what, run, seconds["R"] + k, "R + K", target="<= 1.20")
    meter.tell(what, run, seconds["R"], "R", target="<= 1.50" if size == 3 else "")
    values = n_images * side**2 * 3
    meter.tell(f"{what}, a value", run / values, seconds["R"] / values, "R")
    meter.tell(f"{what}, a value", run / values, k / values, "K")
    meter.tell(f"{what}, start of the cluster", np.array([r["seconds"]["start"] for r in reports]))


@pytest.fixture(scope="module")
def pictures():
    """Return what the pictures are, their number and what loads one: photographs where there are any."""
    side = 512
    if "MRDIST_TEST_DATA" not in os.environ:
        return "synthetic", 80, synthetic(side, "rgb", n_people=20)
    n_images, picture = photographs(Path(os.environ["MRDIST_TEST_DATA"]) / "london", side)
    loaded = {(label, n): picture(label, n) for label in ("neutral", "happy") for n in range(n_images)}
    return "photographs", n_images, lambda label, n: loaded[label, n]


@pytest.mark.parametrize(
    ("codec", "chunks"),
    [(codec, (128, 64, 64)) for codec in CODECS]
    + [("zstd 1", chunks) for chunks in ((16, 64, 64), (128, 32, 32), (128, 128, 128), (1, 512, 512))],
)
def test_codecs_and_chunks(meter, pictures, tmp_path, monkeypatch, codec, chunks):
    kind, n_images, picture = pictures
    monkeypatch.setattr("mrdist.storage.access.arrays.COMPRESSORS", CODECS[codec])
    url = write_store(str(tmp_path / "images.zarr"), n_images, picture, chunks)
    reports = []
    read_all(url)
    seconds = meter.time(
        lambda: reports.append(train(url, tmp_path / "w.zarr", "--workers=0")),
        {"read": lambda: read_all(url)},
        rounds=3,
    )
    share = bytes_on_disk(url) / (n_images * 2 * 512 * 512 * 3)
    shape = " x ".join(map(str, (min(n_images, chunks[0]), *chunks[1:])))
    what = f"{kind}, {codec}, chunks {shape}: {share:.2f} of the bytes"
    meter.tell(what, np.array([r["seconds"]["run"] for r in reports]), seconds["read"], "zarr's read")


def pin(process: psutil.Process, core: int) -> None:
    """Bind every thread of a process to a core; new threads inherit it."""
    for thread in process.threads():
        os.sched_setaffinity(thread.id, {core})


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity") or n_processors() < 2, reason="needs two cores to pin to")
def test_two_pinned_workers_against_one(meter, faces_store, tmp_path, monkeypatch):
    monkeypatch.setenv("MALLOC_TRIM_THRESHOLD_", str(256 << 20))  # as mrdist's own workers have it
    url, seconds = faces_store(256, 512), {1: [], 2: []}
    clusters = {n: LocalCluster(n_workers=n, threads_per_worker=1, dashboard_address=None) for n in seconds}
    try:
        for cluster in clusters.values():
            with Client(cluster) as client:
                for core, pid in zip(sorted(os.sched_getaffinity(0)), client.run(os.getpid).values(), strict=False):
                    pin(psutil.Process(pid), core)

        def run(n):
            address = f"--scheduler={clusters[n].scheduler_address}"
            options = ("--receptive-field=7", "--block=128,128", address)
            seconds[n].append(train(url, tmp_path / "w.zarr", *options)["seconds"]["run"])

        for n in clusters:
            run(n)
        meter.time(lambda: run(2), {"one": lambda: run(1)}, rounds=3)
    finally:
        for cluster in clusters.values():
            cluster.close()
    two, one = (np.array(seconds[n][1:]) for n in (2, 1))
    meter.tell("train, r=7, 2 pinned workers", two, one, "1 pinned worker", speedup=True, target=">= 1.80 x")


@full
def test_small_blocks(meter, tmp_path):
    side = 71 * 128  # the smallest block there is, a chunk of the weights, has 128 x 128 pixels in large images
    picture = synthetic(128, "gray")
    url = write_store(
        str(tmp_path / "images.zarr"), 4, lambda label, n: np.tile(picture(label, n), (side // 128, side // 128, 1))
    )
    small, large = [], []

    def run(into, *options):
        into.append(train(url, tmp_path / "w.zarr", "--workers=2", *options))

    meter.time(lambda: run(small, "--block=1,1"), {"large": lambda: run(large)}, rounds=1)
    assert small[0]["scores"] == large[0]["scores"]
    blocks = small[0]["blocks"]
    over = (small[0]["seconds"]["run"] - large[0]["seconds"]["run"]) / blocks
    meter.tell(f"{blocks} small blocks, each over the work", over, target="<= 15 ms")


@pytest.mark.parametrize(
    ("n_images", "side", "size"),
    [(100, 256, 3), (256, 512, 3), (256, 512, 7), pytest.param(1000, 512, 7, marks=full)],
)
def test_peak_memory_against_plan(meter, faces_store, tmp_path, n_images, side, size):
    url, peaks = faces_store(n_images, side), []
    options = [f"--receptive-field={size}", "--workers=2"]
    meter.time(lambda: peaks.append(train(url, tmp_path / "w.zarr", *options)["peak_memory_bytes"]), rounds=1)
    planned = mrdist("plan", url, *PAIR, *options)["peak_memory"]
    what = f"peak of a worker, {n_images} x {side} x {side} x 3, r={size}"
    meter.tell(what, peaks, planned, "plan", unit="B", target="0.85 to 1.15")


@full
def test_growth_of_memory_with_the_images(meter, faces_store, tmp_path):
    def peak(n_images):
        return train(faces_store(n_images, 256), tmp_path / "w.zarr", "--block=128,128", "--workers=2")[
            "peak_memory_bytes"
        ]

    few, many = peak(500), []
    meter.time(lambda: many.append(peak(4000)), rounds=1)
    meter.tell("peak of a worker, 4000 images, block 128 x 128", many, few, "500 images", unit="B", target="<= 1.05")


@full
def test_growth_of_memory_with_the_sides(meter, tmp_path):
    picture, peaks = synthetic(1024, "rgb", n_people=2), {}

    def peak(times):
        url = write_store(
            str(tmp_path / f"{times}.zarr"),
            16,
            lambda label, n: np.tile(picture(label, n), (times, times, 1)),
            (16, 128, 128),
        )
        peaks[times] = train(url, tmp_path / "w.zarr", "--block=256,256", "--workers=2")["peak_memory_bytes"]

    peak(1)
    meter.time(lambda: peak(4), rounds=1)
    meter.tell(
        "peak of a worker, 4096 x 4096, block 256 x 256",
        [peaks[4]],
        peaks[1],
        "1024 x 1024",
        unit="B",
        target="<= 1.05",
    )
