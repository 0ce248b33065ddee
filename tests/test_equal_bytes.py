"""The same training ends with the same bytes, however the work is cut, and whatever dies on the way."""

from __future__ import annotations

import json
import shutil
import signal
import time
from types import SimpleNamespace

import clusters
import commands
import numpy as np
import psutil
import pytest
import zarr
from distributed import Client

import mrdist

OPTIONS = ("--source", "neutral", "--target", "happy", "--receptive-field", "5")
BLOCK = ("--block", "16,16")
N_BLOCKS = 64


@pytest.fixture(scope="module")
def stores(tmp_path_factory):
    """The same faces in two chunkings, and the weights of an undisturbed training."""
    folder = tmp_path_factory.mktemp("equal")
    found = SimpleNamespace(**{name: folder / f"{name}.zarr" for name in ("images", "rechunked", "weights")})
    generate = ("--images", "40", "--size", "128", "--labels", "neutral,happy", "--workers", "0")
    commands.succeed("generate", found.images, *generate)
    commands.succeed("generate", found.rechunked, *generate, "--chunks", "7,24,50")
    commands.succeed("train", found.images, found.weights, *OPTIONS, "--workers", "0")
    return found


@pytest.fixture
def weights(tmp_path):
    return tmp_path / "weights.zarr"


def resume(stores, weights, done):
    """Finish a training that was stopped: it does what is left, and the bytes are those of an undisturbed one."""
    assert commands.report("info", weights)["complete"] is False
    report = commands.report("train", stores.images, weights, *OPTIONS, "--workers", "0")
    assert (report["blocks"], report["blocks_run"]) == (N_BLOCKS, N_BLOCKS - done)
    commands.assert_equal_bytes(weights, stores.weights)


def wait_for_blocks(process, weights, least=2):
    """Return once some blocks are done; that not all are is for the caller to check, afterwards."""
    commands.wait_until(lambda: commands.blocks_done(weights) >= least or process.poll() is not None, f"{least} blocks")
    assert process.poll() is None, process.stderr.read()


def finish(process, code):
    """Wait for the end of a command and return what it said."""
    out, err = process.communicate(timeout=commands.SECONDS)
    assert process.returncode == code, err
    assert "Traceback" not in err
    return SimpleNamespace(out=out, err=err)


def descendants(process):
    return psutil.Process(process.pid).children(recursive=True)


def worker_of(process):
    """Return a worker process of the local cluster of a command."""
    workers = commands.workers_of(process)
    assert len(workers) == 2
    return workers[0]


def assert_gone(processes):
    commands.wait_until(
        lambda: not any(process.is_running() and process.status() != psutil.STATUS_ZOMBIE for process in processes),
        f"the end of {processes}",
        seconds=30,
    )


# --- the weights are those of the estimator ------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_store_holds_the_estimators_weights(stores, weights, dtype):
    if dtype == "float32":
        weights = stores.weights
    else:
        commands.succeed("train", stores.images, weights, *OPTIONS, "--dtype", dtype, "--workers", "0", *BLOCK)
    images = mrdist.open_images(str(stores.images))
    train = images["split"].values == "train"
    assert 0 < train.sum() < len(train)
    estimator = mrdist.MaskedRegression(receptive_field=5)
    estimator.fit(images["neutral"].values[train], images["happy"].values[train])
    model = mrdist.open_weights(str(weights))
    for found, expected in ((model.coef, estimator.coef_), (model.intercept, estimator.intercept_)):
        assert found.dtype == dtype
        np.testing.assert_array_equal(found, expected.astype(dtype))


def test_people_of_the_other_splits_leave_no_trace(stores, weights, tmp_path):
    images = tmp_path / "images.zarr"
    for split, same in ((("val", "test"), True), (("train",), False)):
        shutil.copytree(stores.images, images)
        chosen = np.flatnonzero(np.isin(mrdist.open_images(str(images))["split"].values.astype(object), split))
        group = zarr.open_group(str(images), mode="r+", use_consolidated=False)
        for label in ("neutral", "happy"):
            pixels = group[label][...]
            pixels[chosen] = 255 - pixels[chosen]
            group[label][...] = pixels
        commands.succeed("train", images, weights, *OPTIONS, "--workers", "0", "--overwrite")
        if same:
            commands.assert_equal_bytes(weights, stores.weights)
        else:
            ours, theirs = commands.files(weights), commands.files(stores.weights)
            assert any(ours[name] != theirs[name] for name in ours if name.startswith("coef/c/"))
        shutil.rmtree(images)


# --- however the work is cut ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("images", "block"), [("images", "48,32"), ("images", "128,16"), ("rechunked", "16,16"), ("rechunked", "48,32")]
)
def test_blocks_and_chunks(stores, weights, images, block):
    commands.succeed("train", getattr(stores, images), weights, *OPTIONS, "--workers", "0", "--block", block)
    commands.assert_equal_bytes(weights, stores.weights)


@pytest.mark.parametrize("workers", [2, *(pytest.param(n, marks=pytest.mark.slow) for n in (1, 4))])
def test_local_workers(stores, weights, workers):
    images = stores.rechunked if workers == 2 else stores.images
    report = commands.report("train", images, weights, *OPTIONS, "--workers", workers)
    assert report["blocks_run"] >= workers
    commands.assert_equal_bytes(weights, stores.weights)


@pytest.fixture
def cluster(tmp_path):
    """A Dask scheduler and two workers, each a process of its own without a nanny, on the loopback interface."""
    with clusters.scheduler(tmp_path) as (address, _), clusters.worker(address) as one, clusters.worker(address) as two:
        yield SimpleNamespace(address=address, workers=(one, two))


@pytest.mark.slow
def test_scheduler_that_loses_a_worker(stores, weights, cluster):
    command = ("train", stores.images, weights, *OPTIONS, *BLOCK, "--scheduler", cluster.address, "--json")
    with commands.running(*command) as process:
        wait_for_blocks(process, weights)
        cluster.workers[0].kill()
        assert 2 <= commands.blocks_done(weights) < N_BLOCKS
        report = json.loads(finish(process, 0).out)
    assert report["blocks_run"] == N_BLOCKS
    commands.assert_equal_bytes(weights, stores.weights)
    assert cluster.workers[1].poll() is None

    again = commands.report("train", stores.images, weights, *OPTIONS, "--scheduler", cluster.address, "--overwrite")
    assert again["already_complete"] is False
    commands.assert_equal_bytes(weights, stores.weights)


# --- whatever dies -------------------------------------------------------------------------------------


@pytest.mark.slow
def test_worker_killed(stores, weights):
    command = ("train", stores.images, weights, *OPTIONS, *BLOCK, "--workers", "2", "--json")
    with commands.running(*command) as process:
        wait_for_blocks(process, weights)
        worker = worker_of(process)
        worker.kill()
        assert 2 <= commands.blocks_done(weights) < N_BLOCKS
        report = json.loads(finish(process, 0).out)
    assert not worker.is_running()
    assert report["blocks_run"] == N_BLOCKS
    commands.assert_equal_bytes(weights, stores.weights)


def kill_driver(stores, weights, workers, least):
    """Start or resume a training, kill its driver once some blocks are done and return how many then are."""
    with commands.running("train", stores.images, weights, *OPTIONS, *BLOCK, "--workers", workers) as process:
        wait_for_blocks(process, weights, least)
        family = descendants(process)
        process.kill()
        process.wait()
        assert_gone(family)
    done = commands.blocks_done(weights)
    assert least <= done < N_BLOCKS
    found = commands.report("info", weights)
    assert (found["blocks"], found["blocks_done"]) == (N_BLOCKS, done)
    assert "not complete" in commands.failure("evaluate", weights, stores.images)
    return done


@pytest.mark.slow
def test_driver_killed_with_its_workers_at_work(stores, weights):
    resume(stores, weights, kill_driver(stores, weights, "2", least=2))


@pytest.mark.slow
def test_driver_killed_twice(stores, weights):
    done = kill_driver(stores, weights, "0", least=2)
    resume(stores, weights, kill_driver(stores, weights, "0", least=done + 2))


@pytest.mark.parametrize(
    ("workers", "number"),
    [
        ("0", signal.SIGINT),
        ("0", signal.SIGTERM),
        ("2", signal.SIGINT),
        pytest.param("2", signal.SIGTERM, marks=pytest.mark.slow),
    ],
)
def test_stopped_by_signal(stores, weights, workers, number):
    """Ctrl-C reaches the process and its children, SIGTERM the process alone."""
    with commands.running("train", stores.images, weights, *OPTIONS, *BLOCK, "--workers", workers) as process:
        wait_for_blocks(process, weights)
        family = descendants(process)
        if number == signal.SIGINT:
            commands.signal_group(process, number)
        else:
            process.send_signal(number)
        said = finish(process, 130)
        assert_gone(family)
    assert said.out == ""
    assert [line for line in said.err.splitlines() if line and not line.startswith("dashboard: ")] == [
        "Stopped; what is finished is kept: run the same command again to resume."
    ]
    done = commands.blocks_done(weights)
    assert 2 <= done < N_BLOCKS
    resume(stores, weights, done)


def is_idle(address):
    """Whether a scheduler knows no task, and its two workers have also ended those that it has taken back."""
    with Client(address, set_as_default=False) as client:
        n_tasks = client.run_on_scheduler(lambda dask_scheduler: len(dask_scheduler.tasks))
        running = client.run(lambda dask_worker: len(dask_worker.active_threads))
    return n_tasks == 0 and list(running.values()) == [0, 0]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=lambda number: number.name)
def test_stopped_on_a_scheduler_that_others_use(stores, weights, two_workers, number):
    command = ("train", stores.images, weights, *OPTIONS, *BLOCK, "--scheduler", two_workers)
    with commands.running(*command) as process:
        wait_for_blocks(process, weights)
        process.send_signal(number)
        finish(process, 130)
    commands.wait_until(lambda: is_idle(two_workers), "the scheduler to forget the tasks", 20)
    done = commands.blocks_done(weights)
    assert 2 <= done < N_BLOCKS
    resume(stores, weights, done)


@pytest.mark.slow
def test_scheduler_killed(stores, weights, tmp_path):
    command = ("train", stores.images, weights, *OPTIONS, *BLOCK, "--scheduler")
    with (
        clusters.scheduler(tmp_path) as (address, scheduler),
        clusters.worker(address),
        commands.running(*command, address) as process,
    ):
        wait_for_blocks(process, weights)
        scheduler.kill()
        started = time.monotonic()
        said = finish(process, 1)
        assert time.monotonic() - started < 30
    assert said.err.splitlines()[-1] == (
        f"Error: the scheduler at {address} was lost; start it again and repeat the command: what is finished is kept."
    )
    done = commands.blocks_done(weights)
    assert 2 <= done < N_BLOCKS
    port = address.rpartition(":")[2]
    with clusters.scheduler(tmp_path, port=port) as (again, _), clusters.worker(again):
        assert again == address
        assert commands.report(*command, address)["blocks_run"] == N_BLOCKS - done
    commands.assert_equal_bytes(weights, stores.weights)
