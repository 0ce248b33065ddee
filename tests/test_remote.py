"""The command line on schedulers of its user: looked over before anything is removed, lost and found in the middle."""

import shutil
from functools import partial

import clusters
import commands
import pytest

import mrdist
from mrdist.errors import ExecutionError
from mrdist.execution import _cluster
from mrdist.pipeline.synthesize_store import synthesize_store

LABELS = ("--source", "neutral", "--target", "happy")


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    images = tmp_path_factory.mktemp("remote") / "images.zarr"
    commands.succeed(
        "generate", images, "--images", "12", "--size", "64", "--labels", "neutral,happy", "--workers", "0"
    )
    return images


@pytest.fixture(scope="module")
def scheduler(tmp_path_factory):
    with clusters.scheduler(tmp_path_factory.mktemp("scheduler")) as (address, _):
        yield address


def test_an_unreachable_scheduler_is_found_before_the_old_output_is_removed(images, tmp_path, monkeypatch):
    monkeypatch.setattr(_cluster, "_CONNECT_SECONDS", 0.2)
    weights, statistics = tmp_path / "weights.zarr", tmp_path / "statistics.zarr"
    commands.succeed("train", images, weights, *LABELS, "--workers", "0")
    commands.succeed("accumulate", images, statistics, *LABELS, "--workers", "0")
    model = str(shutil.copytree(weights, tmp_path / "model.zarr"))
    before = commands.files(weights)
    images, weights, statistics = map(str, (images, weights, statistics))
    nowhere = "tcp://127.0.0.1:9"
    labels = {"source": "neutral", "target": "happy"}
    for verb in (
        partial(mrdist.train, images, **labels),
        partial(mrdist.train, images, **labels, alpha="cv", folds=2),
        partial(mrdist.train, images, **labels, method="l2"),
        partial(mrdist.train, images, **labels, method="l1", window=3),
        partial(mrdist.train, images, **labels, method="mean"),
        partial(mrdist.train_mappings, images, source="neutral"),
        partial(mrdist.accumulate, images, **labels),
        partial(mrdist.solve, statistics),
        partial(mrdist.rechunk, images),
        partial(synthesize_store, model, images),
        lambda url, **options: mrdist.generate(url, images=2, size=16, **options),
        lambda url, **options: mrdist.ingest(tmp_path, url, **options),
    ):
        with pytest.raises(ExecutionError, match=f"no Dask scheduler answers at {nowhere} within"):
            verb(weights, scheduler=nowhere, overwrite=True)
        assert commands.files(weights) == before, verb


@pytest.mark.parametrize(
    ("package", "found"), [("zarr", "zarr 2.0.0 and not"), ("numba", "no numba"), ("mrdist", "has no mrdist")]
)
def test_a_worker_with_other_packages(images, scheduler, tmp_path, package, found):
    (tmp_path / "sitecustomize.py").write_text(
        "import importlib.metadata as m\n"
        "version = m.version\n"
        "def other(name):\n"
        f"    if name != {package!r}:\n"
        "        return version(name)\n"
        f"    if {package!r} == 'zarr':\n"
        "        return '2.0.0'\n"
        "    raise m.PackageNotFoundError(name)\n"
        "m.version = other\n"
    )
    weights = tmp_path / "weights.zarr"
    with clusters.worker(scheduler, env={"PYTHONPATH": str(tmp_path)}), clusters.at_work(scheduler, 1):
        said = commands.failure("train", images, weights, *LABELS, "--scheduler", scheduler)
    assert f"of {scheduler}" in said
    assert found in said
    assert not weights.exists()


def test_workers_with_too_little_memory(images, scheduler, tmp_path):
    weights = tmp_path / "weights.zarr"
    commands.succeed("train", images, weights, *LABELS, "--workers", "0")
    before = commands.files(weights)
    with clusters.worker(scheduler, "--memory-limit", "200MiB"), clusters.at_work(scheduler, 1):
        done = commands.run("train", images, weights, *LABELS, "--overwrite", "--scheduler", scheduler)
    assert done.returncode == 1
    notice, error = done.stderr.splitlines()
    assert notice == (
        f"a worker of {scheduler} may take 200 MiB, less than --max-memory (2048 MiB): planned for 190 MiB"
    )
    assert error.startswith("Error: ")
    assert "190 MiB" in error
    assert commands.files(weights) == before
