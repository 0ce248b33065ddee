"""A disk that fills up is told in one sentence, and with more room the same command goes on."""

from __future__ import annotations

import contextlib
import os
import resource
import subprocess
from types import SimpleNamespace

import commands
import numpy as np
import pytest
from PIL import Image

LABELS = ("--source", "neutral", "--target", "happy")
SERIAL = ("--workers", "0")
SIZE = 48


@pytest.fixture(scope="module")
def stores(tmp_path_factory):
    """Good stores: do not change them."""
    folder = tmp_path_factory.mktemp("stores")
    found = SimpleNamespace(images=folder / "images.zarr", weights=folder / "weights.zarr")
    commands.succeed("generate", found.images, "--images", 12, "--size", SIZE, "--labels", "neutral,happy", *SERIAL)
    commands.succeed("train", found.images, found.weights, *LABELS, *SERIAL)
    return found


class SmallDisk:
    """A file system of its own in memory, filled up but for some bytes by a ballast file."""

    def __init__(self, place):
        self.place = place
        self.options = {}
        self.said = "No space left on device"

    @contextlib.contextmanager
    def full(self, left):
        ballast = self.place / "ballast"
        usage = os.statvfs(self.place)
        ballast.write_bytes(bytes(usage.f_bavail * usage.f_frsize - left))
        yield {}
        ballast.unlink()


class SmallFiles:
    """Files that may not grow beyond a limit, which any user can set."""

    def __init__(self, place):
        self.place = place
        self.said = "File too large"

    @contextlib.contextmanager
    def full(self, left):  # noqa: ARG002
        yield {"preexec_fn": lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (4096, resource.RLIM_INFINITY))}


@pytest.fixture(params=["disk", "file size"])
def limited(request, tmp_path):
    if request.param == "file size":
        yield SmallFiles(tmp_path)
        return
    place = tmp_path / "disk"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", str(place)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True, check=False).returncode != 0:
        pytest.skip("a file system cannot be mounted here")
    try:
        yield SmallDisk(place)
    finally:
        subprocess.run(["umount", str(place)], check=True)


def test_training_onto_a_full_disk(stores, limited):
    weights = limited.place / "weights.zarr"
    args = ("train", stores.images, weights, *LABELS, *SERIAL, "--block", "16,16")
    with limited.full(left=100_000) as options:
        sentence = commands.failure(*args, **options)
        assert str(weights) in sentence
        assert limited.said in sentence
        found = commands.report("info", weights)
        assert found["complete"] is False
        assert found["blocks_done"] < found["blocks"]
    report = commands.report(*args)
    assert report["blocks_run"] == found["blocks"] - found["blocks_done"]
    commands.assert_equal_bytes(weights, stores.weights)


@pytest.mark.slow
def test_generating_and_exporting_onto_a_full_disk(stores, limited):
    images, sparse, npz = (limited.place / name for name in ("images.zarr", "sparse.zarr", "sparse.npz"))
    commands_ = {
        images: ("generate", images, "--images", 12, "--size", SIZE, "--labels", "neutral,happy", *SERIAL),
        sparse: ("export", stores.weights, sparse),
        npz: ("export", stores.weights, npz, "--format", "npz"),
    }
    with limited.full(left=60_000) as options:
        for path, args in commands_.items():
            sentence = commands.failure(*args, **options)
            assert str(path) in sentence
            assert limited.said in sentence
            assert not commands.is_whole(path)
    for args in commands_.values():
        commands.succeed(*args)
    assert commands.files(images) == commands.files(stores.images)
    assert commands.is_whole(sparse)
    assert {path.name for path in limited.place.iterdir()} <= {"images.zarr", "sparse.zarr", "sparse.npz"}


def test_synthesizing_onto_a_full_disk_leaves_no_half_picture(stores, limited, tmp_path):
    photograph, out = tmp_path / "face.png", limited.place / "made"
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (SIZE, SIZE, 3), dtype=np.uint8)).save(photograph)
    with limited.full(left=0) as options:
        sentence = commands.failure("synthesize", stores.weights, photograph, "--out", out, **options)
        assert str(out) in sentence
        assert not out.exists() or list(out.iterdir()) == []
