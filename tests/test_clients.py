"""``scheduler=`` takes what a Dask user has: a client, a cluster, the client that is current; all stay as they are."""

from __future__ import annotations

import asyncio
import logging
import sys
import threading
import warnings
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from types import SimpleNamespace

import clusters
import commands
import dask
import pytest
from distributed import Client, LocalCluster, default_client, worker_client
from distributed.security import Security

import mrdist
from mrdist.errors import ExecutionError, ParameterError
from mrdist.execution import _scheduler, open_executor
from mrdist.methods.registry import METHODS

LABELS = {"source": "neutral", "target": "happy"}
HOW = {**LABELS, "block": (16, 16), "progress": False}


@pytest.fixture(scope="module")
def stores(tmp_path_factory):
    """Faces, and weights that no cluster has made."""
    folder = tmp_path_factory.mktemp("clients")
    images, weights = str(folder / "images.zarr"), str(folder / "weights.zarr")
    mrdist.generate(images, images=12, size=32, labels=("neutral", "happy"), workers=0, progress=False)
    mrdist.train(images, weights, workers=0, **HOW)
    return SimpleNamespace(images=images, weights=weights, folder=folder)


@pytest.fixture(scope="module")
def cluster():
    """Two threads of this process, which are the cheapest cluster."""
    with LocalCluster(processes=False, n_workers=1, threads_per_worker=2, dashboard_address="127.0.0.1:0") as cluster:
        yield cluster


@pytest.fixture
def train(stores, tmp_path):
    """Train with a scheduler; the bytes are those of no cluster."""

    def train(scheduler=None, name="weights.zarr", **options):
        report = mrdist.train(stores.images, str(tmp_path / name), scheduler=scheduler, **HOW, **options)
        commands.assert_equal_bytes(tmp_path / name, stores.weights)
        return report

    return train


def settings():
    """What a run may change only for its time."""
    loggers = {name: logging.getLogger(name).level for name in logging.root.manager.loggerDict if "distributed" in name}
    return (
        loggers,
        str(dask.config.config["distributed"]),
        list(warnings.filters),
        sorted(vars(sys.modules["__main__"])),
    )


# --- clients and clusters ------------------------------------------------------------------------------


def test_a_client_is_used_and_stays_as_it_is(cluster, train):
    with Client(cluster, set_as_default=False) as client:
        client.subscribe_topic("all", print)
        handlers, workers, before = dict(client._event_handlers), client.nthreads(), str(settings())
        assert train(client).start_seconds > 0
        assert client.status == "running"
        assert client.submit(abs, -3, pure=False).result() == 3
        assert (client._event_handlers, client.nthreads()) == (handlers, workers)
        assert str(settings()) == before
        assert not any(plugin.startswith("mrdist") for plugin in cluster.workers[0].plugins)
        with pytest.raises(ValueError, match="No clients"):
            Client.current()


def test_a_cluster_is_used_and_stays_open(cluster, train):
    train(cluster)
    assert cluster.status.name == "running"
    assert len(cluster.scheduler.clients) <= 2  # of the cluster itself


def test_the_current_client_is_used_and_told_once(cluster, train, caplog, monkeypatch):
    monkeypatch.setattr("mrdist.execution._cluster._local", None)  # a cluster of our own would fail
    caplog.set_level(logging.INFO, "mrdist")
    with Client(cluster) as client:
        train()
        train(name="again.zarr")
        assert Client.current() is client
    said = [record.getMessage() for record in caplog.records if "current Dask client" in record.getMessage()]
    assert said == [f"working on the cluster of the current Dask client, {cluster.scheduler_address}"]


def test_workers_that_are_named_are_preferred_to_the_current_client(cluster, train):
    with Client(cluster):
        assert train(workers=0).start_seconds == 0


@pytest.mark.slow
def test_processes_that_speak_tls(train):
    with (
        LocalCluster(n_workers=2, threads_per_worker=1, security=True, dashboard_address="127.0.0.1:0") as cluster,
        Client(cluster, set_as_default=False) as client,
    ):
        assert client.scheduler.address.startswith("tls://")
        train(client)
        train(cluster, "cluster.zarr")
        with pytest.raises(ExecutionError, match="do not trust each other"):
            train(cluster.scheduler_address, "refused.zarr")
        with Client(client.scheduler.address, security=client.security, set_as_default=False) as again:
            train(again, "again.zarr")


@pytest.mark.slow
@pytest.mark.parametrize("method", METHODS)
def test_every_method_on_threads(cluster, stores, tmp_path, method):
    """Blocks that run at once in one process do not disturb each other."""
    options = {**HOW, **commands.known(method, nonzeros=3, window=3, components=4)}
    urls = [str(tmp_path / f"{who}.zarr") for who in ("alone", "threads")]
    for url, who in zip(urls, ({"workers": 0}, {"scheduler": cluster}), strict=True):
        mrdist.train(stores.images, url, method=method, **options, **who)
    commands.assert_equal_bytes(urls[1], urls[0])


def test_threads_without_a_limit_of_memory_are_told(train):
    how = {"processes": False, "n_workers": 1, "dashboard_address": "127.0.0.1:0", "memory_limit": 0}
    with (
        LocalCluster(threads_per_worker=3, **how) as cluster,
        pytest.warns(UserWarning, match="runs 3 blocks at once in one process without a limit of memory"),
    ):
        train(cluster)


def test_a_block_gets_its_share_of_the_memory_of_a_process(cluster, train, caplog):
    caplog.set_level(logging.INFO, "mrdist")
    share = cluster.workers[0].memory_manager.memory_limit // 2
    train(cluster, max_memory=2 * share)
    assert f"have {share >> 20} MiB for a block" in caplog.text


# --- what is no running scheduler ----------------------------------------------------------------------


def test_what_has_ended(train):
    with (
        LocalCluster(processes=False, n_workers=1, dashboard_address="127.0.0.1:0") as cluster,
        Client(cluster, set_as_default=False) as client,
    ):
        pass
    for ended, kind in ((client, "Client"), (cluster, "LocalCluster")):
        with pytest.raises(ExecutionError, match=f"^the {kind} given as scheduler is not running"):
            train(ended)


@pytest.mark.parametrize("scheduler", [3, b"tcp://127.0.0.1:8786", object(), Client])
def test_what_is_no_scheduler(train, scheduler):
    with pytest.raises(ParameterError, match=r"^scheduler must be an address, a distributed.Client or a cluster"):
        train(scheduler)


def test_a_client_beside_workers(cluster, train):
    with pytest.raises(ParameterError, match=r"^give either workers \(2\) or a scheduler \(a LocalCluster\), not both"):
        train(cluster, workers=2)


# --- wherever it is called -----------------------------------------------------------------------------


def test_an_asynchronous_client_works_beside_its_loop_and_not_inside(train):
    async def both():
        how = {"processes": False, "n_workers": 1, "dashboard_address": "127.0.0.1:0", "asynchronous": True}
        async with Client(set_as_default=False, **how) as client:
            for scheduler in (client, client.cluster):
                with pytest.raises(ParameterError, match=r"runs in the event loop .*asyncio\.to_thread"):
                    train(scheduler)
            await asyncio.to_thread(train, client)

    asyncio.run(both())


def test_inside_an_event_loop(cluster, train):
    async def call():
        train(cluster)

    asyncio.run(call())


@contextmanager
def no_client_left():
    """Close the client that a worker of this process has made for its task: it has become the default of all others.

    With distributed 2026.8 it stays that, for other tests and Dask's arrays, until it has missed its scheduler for
    30 seconds.
    """
    try:
        yield
    finally:
        with suppress(ValueError):
            default_client().close()


def task(images, weights, wrapped):
    """Train inside a task; nobody says on which cluster."""
    if wrapped:
        with worker_client():
            mrdist.train(images, weights, **HOW)
    else:
        mrdist.train(images, weights, **HOW)
    return threading.current_thread().name


@pytest.mark.parametrize("wrapped", [False, True])
def test_inside_a_task_of_the_only_thread(stores, tmp_path, wrapped):
    how = {"processes": False, "n_workers": 1, "threads_per_worker": 1, "dashboard_address": "127.0.0.1:0"}
    with LocalCluster(**how) as cluster, Client(cluster, set_as_default=False) as client, no_client_left():
        weights = tmp_path / "weights.zarr"
        client.submit(task, stores.images, str(weights), wrapped).result(commands.SECONDS)
        commands.assert_equal_bytes(weights, stores.weights)
        assert client.submit(abs, -1).result(commands.SECONDS) == 1
        assert len(cluster.workers[0].executors["default"]._threads) == 1  # the slot is given back


def failing():
    """Fail while the slot of the task is left."""
    with open_executor(n_tasks=2, max_memory=10**9):
        raise ValueError("told")


def test_what_goes_wrong_inside_a_task_is_told(cluster):
    with (
        Client(cluster, set_as_default=False) as client,
        no_client_left(),
        pytest.raises(ValueError, match="told"),
    ):
        client.submit(failing).result(commands.SECONDS)


async def coroutine(images, weights):
    mrdist.train(images, weights, **HOW)


def test_inside_a_coroutine_of_a_worker(cluster, stores, tmp_path):
    with (
        Client(cluster, set_as_default=False) as client,
        no_client_left(),
        pytest.raises(ParameterError, match="a coroutine of a worker runs in the event loop"),
    ):
        client.submit(coroutine, stores.images, str(tmp_path / "weights.zarr")).result()


def test_trainings_in_threads_overlap_and_restore_all_settings(two_workers, train):
    before = str(settings())
    with ThreadPoolExecutor(3) as pool:
        list(pool.map(train, [two_workers] * 3, ["one.zarr", "two.zarr", "three.zarr"]))
    assert str(settings()) == before


# --- scheduler files -----------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_scheduler_file(stores, tmp_path):
    with clusters.scheduler(tmp_path) as (address, _), clusters.worker(address):
        file, weights = tmp_path / "scheduler.json", tmp_path / "weights.zarr"
        how = ("--source", "neutral", "--target", "happy", "--block", "16,16")
        report = commands.report("train", stores.images, weights, *how, "--scheduler-file", file)
    assert report["blocks_run"] == 4
    commands.assert_equal_bytes(weights, stores.weights)


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (None, "there is no scheduler file"),
        ("", "holds no address"),
        ("[1]", "holds no address"),
        ('{"address": 3}', "its address is 3"),
    ],
)
def test_a_scheduler_file_that_is_none(stores, tmp_path, content, sentence):
    file = tmp_path / "scheduler.json"
    if content is not None:
        file.write_text(content)
    said = commands.failure(
        *("train", stores.images, tmp_path / "w.zarr", "--source", "neutral", "--target", "happy"),
        *("--scheduler-file", file),
        constants={"mrdist.execution._scheduler.CONNECT_SECONDS": 0.1},
    )
    assert sentence in said
    assert str(file) in said


def test_a_scheduler_file_beside_an_address(stores, tmp_path):
    how = ("--source", "neutral", "--target", "happy", "--scheduler", "tcp://127.0.0.1:9", "--scheduler-file", "s.json")
    said = commands.failure("train", stores.images, tmp_path / "w.zarr", *how, code=2)
    assert "give either --scheduler or --scheduler-file" in said


def test_a_scheduler_file_that_is_being_written(tmp_path, monkeypatch):
    monkeypatch.setattr(_scheduler, "CONNECT_SECONDS", commands.SECONDS)
    file = tmp_path / "scheduler.json"
    with ThreadPoolExecutor(1) as pool:
        address = pool.submit(_scheduler.address_in, file)
        file.write_text('{"address": "tcp:')
        file.write_text('{"address": "tcp://10.0.0.1:8786"}')
        assert address.result() == "tcp://10.0.0.1:8786"


def test_certificates_in_memory_are_those_of_the_cluster():
    contact = _scheduler.contact_of(
        None, SimpleNamespace(scheduler_address="tls://10.0.0.1:1", security=(security := Security.temporary()))
    )
    assert contact is not None
    assert contact.security is security
