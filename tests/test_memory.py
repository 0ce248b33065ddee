"""A dataset several times larger than the memory trains within the limit, measured from outside the processes."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import psutil
import pytest

from mrdist.storage import create_images, finish_images, write_images

LIMIT = 600_000_000
SHAPE = (512, 512)
N_IMAGES = 4096  # of 512 x 512 x 3 bytes and two labels: 6.4 GB


def make_store(url: str) -> int:
    """Write images that hardly compress and return the bytes on disk."""
    rng = np.random.default_rng(0)
    labels = ("neutral", "happy")
    people = [f"person-{n}" for n in range(N_IMAGES)]
    run, *_ = create_images(
        url,
        labels=labels,
        image=people,
        subject=people,
        dataset=["noise"] * N_IMAGES,
        split=["train"] * N_IMAGES,
        shape=SHAPE,
        n_channels=3,
    )
    noise = rng.integers(0, 256, (run, *SHAPE, 3), dtype=np.uint8)
    checksum = np.zeros((N_IMAGES, len(labels)), dtype=np.uint32)
    for start in range(0, N_IMAGES, run):
        for column, label in enumerate(labels):
            images = np.roll(noise, (start + 7 * column, 3 * start), axis=(1, 2))[: N_IMAGES - start]
            checksum[start : start + run, column] = write_images(url, label, start, images)
    finish_images(
        url,
        present=np.ones((N_IMAGES, len(labels)), dtype=bool),
        checksum=checksum,
        face_mask=np.ones(SHAPE, dtype=bool),
        provenance={},
    )
    return sum(path.stat().st_size for path in Path(url).rglob("*") if path.is_file())


def largest_resident_sizes(driver: psutil.Popen) -> dict[int, int]:
    """Follow the driver's children until it ends; return the largest resident size seen of each."""
    largest: dict[int, int] = {}
    while driver.poll() is None:
        for child in driver.children(recursive=True):
            try:
                largest[child.pid] = max(largest.get(child.pid, 0), child.memory_info().rss)
            except psutil.NoSuchProcess:
                continue
        try:
            driver.wait(0.02)
        except psutil.TimeoutExpired:
            continue
    return largest


@pytest.mark.long
def test_ten_times_more_data_than_memory_trains_within_the_limit(tmp_path):
    url = str(tmp_path / "images.zarr")
    assert make_store(url) > 6_000_000_000

    command = [str(Path(sys.executable).with_name("mrdist")), "train", url, str(tmp_path / "weights.zarr")]
    command += ["--source", "neutral", "--target", "happy", "--workers", "2", "--max-memory", "600MB", "--json"]
    driver = psutil.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    largest = largest_resident_sizes(driver)
    output, messages = driver.communicate()

    assert driver.returncode == 0, messages
    report = json.loads(output)
    print(f"largest resident sizes {sorted(largest.values())[-2:]}, report {report}")
    assert 2 <= sum(size > 150_000_000 for size in largest.values()) <= 3  # workers, and the server they come from
    assert max(largest.values()) <= LIMIT
    assert report["peak_memory_bytes"] <= LIMIT
