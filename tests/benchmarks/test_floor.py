"""``mrdist train`` against the floor: reading, checking and decoding each chunk once, and the arithmetic alone.

F is the time in which as many plain processes as there are workers read each chunk, compare its checksum and decode it
into one reused buffer, plus that of the sums and solves on decoded slabs. Beside it, the same pixels read by other
libraries and thrown away. Everything in one run, in turn. ``MRDIST_FLOOR_IMAGES`` and ``MRDIST_FLOOR_SIDE`` choose the
size: 1000 and 512, or 200 and 2048, take minutes.
"""

from __future__ import annotations

import itertools
import os
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import google_crc32c
import numpy as np
import pytest
import zarr
from numcodecs.zstd import decompress

from benchmarks.stores import LABELS, kernels_alone, read_all, train

N_IMAGES, SIDE = (
    int(os.environ.get(f"MRDIST_FLOOR_{name}", default)) for name, default in (("IMAGES", 300), ("SIDE", 512))
)
ROUNDS = int(os.environ.get("MRDIST_FLOOR_ROUNDS", "3"))
WORKERS = 2
pytestmark = pytest.mark.filterwarnings("ignore")


def read_plainly(url: str, share: int, n_shares: int) -> None:
    """Read, check and decode every ``n_shares``-th chunk into one buffer."""
    chunk = zarr.open_array(url, path=LABELS[0], mode="r").chunks
    decoded = np.empty(chunk, dtype=np.uint8)
    files = sorted(path for label in LABELS for path in Path(url, label, "c").rglob("*") if path.is_file())
    for path in files[share::n_shares]:
        stored = np.fromfile(path, dtype=np.uint8)
        content, checksum = stored[:-4], int.from_bytes(stored[-4:].tobytes(), "little")
        assert google_crc32c.value(content) == checksum
        decompress(content, decoded)


def read_by_tensorstore(url: str, share: int, n_shares: int) -> None:
    """Read every ``n_shares``-th chunk with one thread."""
    import tensorstore

    one = {"limit": 1}
    context = {"data_copy_concurrency": one, "file_io_concurrency": one}
    for label in LABELS:
        store = {"driver": "file", "path": f"{url}/{label}"}
        array = tensorstore.open({"driver": "zarr3", "kvstore": store, "context": context}, read=True).result()
        steps = array.chunk_layout.read_chunk.shape
        starts = itertools.product(*(range(0, n, c) for n, c in zip(array.shape, steps, strict=True)))
        for corner in itertools.islice(starts, share, None, n_shares):
            ends = (min(at + c, n) for at, c, n in zip(corner, steps, array.shape, strict=True))
            array[tuple(map(slice, corner, ends))].read().result()


def has_tensorstore() -> bool:
    try:
        import tensorstore  # noqa: F401
    except ImportError:
        return False
    return True


@pytest.fixture(scope="module")
def pool():
    with ProcessPoolExecutor(WORKERS, mp_context=get_context("spawn")) as processes:
        yield processes


@pytest.mark.parametrize("size", [3, 7])
def test_train_against_the_floor(meter, faces_store, pool, tmp_path, size):
    url = faces_store(N_IMAGES, SIDE)
    runs: dict[int, list[float]] = {workers: [] for workers in (0, 1, WORKERS)}
    kernels: list[float] = []

    def shared(function, *more):
        shares = (range(WORKERS), [WORKERS] * WORKERS)
        return list(pool.map(function, [url] * WORKERS, *([each] * WORKERS for each in more), *shares))

    def compute():
        kernels.append(max(shared(kernels_alone, size)))

    def run(workers):
        options = (f"--receptive-field={size}", f"--workers={workers}")
        runs[workers].append(train(url, tmp_path / "w.zarr", *options)["seconds"]["run"])

    readers = {"plain": partial(shared, read_plainly), "zarr": partial(shared, read_all)}
    if has_tensorstore():
        readers["tensorstore"] = partial(shared, read_by_tensorstore)
    others = {"alone": lambda: run(0), "one": lambda: run(1), "kernels": compute, **readers}
    for warm_up in (*others.values(), lambda: run(WORKERS)):
        warm_up()
    seconds = meter.time(lambda: run(WORKERS), others, rounds=ROUNDS)
    two, one, alone = (np.array(runs[workers][1:]) for workers in (WORKERS, 1, 0))
    floor = seconds["plain"] + np.array(kernels[1:])
    what = f"train {N_IMAGES} x {SIDE} x {SIDE} x 3, r={size}"
    meter.tell(f"{what}, {WORKERS} workers", two, floor, "F", target="<= 1.20" if size == 3 else "<= 1.10")
    meter.tell(f"{what}, {WORKERS} workers", two, seconds["zarr"], "zarr reads", target="<= 1.10" if size == 3 else "")
    meter.tell(f"{what}, in one process", alone, floor, "F")
    meter.tell(f"{what}, {WORKERS} workers", two, one, "one worker", speedup=True, target=">= 1.80 x")
    for name in readers:
        meter.tell(
            f"{name} reads {N_IMAGES} x {SIDE} x {SIDE} x 3 twice", seconds[name], seconds["plain"], "plain reads"
        )
