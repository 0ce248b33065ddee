"""The fault table: processes, hosts and servers that fail in the middle of a training, at ten moments each.

Whatever fails, the same command, repeated where it was ended, leaves the bytes of a training that nothing disturbed.
The moments are seeded: so many blocks are done when it happens. It takes half an hour: ``pytest -m faults``.
What cuts a host off needs root (``netns``), what kills the object store a real one with commands that stop and
start it (``s3``): see the README.
"""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import signal
import subprocess
import sys
import threading
import time

import clusters
import commands
import faulty_s3
import fsspec
import psutil
import pytest

pytestmark = pytest.mark.faults

MOMENTS = range(int(os.environ.get("MRDIST_FAULT_MOMENTS", "10")))
PAIR = ("--source", "neutral", "--target", "happy", "--receptive-field", 5)
BLOCK = ("--block", "16,16")  # 64 of them
N_BLOCKS = 64
SECONDS = 300  # no run may take longer, whatever happened


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """The images, and the weights of a training that nothing has disturbed."""
    folder = tmp_path_factory.mktemp("faults")
    faces = ("--images", 24, "--size", 128, "--labels", "neutral,happy", "--workers", 2)
    commands.succeed("generate", folder / "images.zarr", *faces)
    commands.succeed("train", folder / "images.zarr", folder / "expected.zarr", *PAIR, "--workers", 0)
    return folder


def moment(seed, case):
    """How many blocks are done when it happens."""
    return random.Random(f"{case} {seed}").randint(1, N_BLOCKS * 3 // 4)


def train(folder, weights, *args):
    return commands.running("train", folder / "images.zarr", weights, *PAIR, *BLOCK, *args)


def reached(weights, n):
    commands.wait_until(lambda: commands.blocks_done(weights) >= n or commands.is_whole(weights), f"block {n}", SECONDS)


def ended(process, code=0):
    _, stderr = process.communicate(timeout=SECONDS)
    assert process.returncode == code, stderr
    assert "Traceback" not in stderr, stderr
    return stderr


def check(folder, weights):
    commands.assert_equal_bytes(weights, folder / "expected.zarr")
    assert not weights.with_name(f"{weights.name}.run").exists()


@contextlib.contextmanager
def cluster(folder, n_workers, **place):
    """Start a scheduler and workers with one slot; the scheduler's address and the processes."""
    with contextlib.ExitStack() as stack:
        address, scheduler = stack.enter_context(clusters.scheduler(folder, **place))
        workers = [stack.enter_context(clusters.worker(address)) for _ in range(n_workers)]
        stack.enter_context(clusters.at_work(address, n_workers))
        yield address, scheduler, workers, stack


@pytest.mark.parametrize("seed", MOMENTS)
def test_a_worker_is_killed(folder, tmp_path, seed):
    with cluster(tmp_path, 2) as (address, _, workers, _), train(folder, tmp_path / "w", "--scheduler", address) as run:
        reached(tmp_path / "w", moment(seed, "worker"))
        workers[seed % 2].kill()
        ended(run)
    check(folder, tmp_path / "w")


@pytest.mark.parametrize("seed", MOMENTS)
def test_all_workers_are_killed_and_replaced(folder, tmp_path, seed):
    with (
        cluster(tmp_path, 2) as (address, _, workers, stack),
        train(folder, tmp_path / "w", "--scheduler", address) as run,
    ):
        reached(tmp_path / "w", moment(seed, "all"))
        for worker in workers:
            worker.kill()
        for _ in workers:
            stack.enter_context(clusters.worker(address))
        ended(run)
    check(folder, tmp_path / "w")


@pytest.mark.parametrize("seed", MOMENTS)
def test_local_workers_are_killed(folder, tmp_path, seed):
    with train(folder, tmp_path / "w", "--workers", 2) as run:
        reached(tmp_path / "w", moment(seed, "local"))
        workers = commands.workers_of(run)
        assert workers
        for process in workers:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        ended(run)
    check(folder, tmp_path / "w")


@pytest.mark.parametrize("seed", MOMENTS)
def test_the_driver_is_killed(folder, tmp_path, seed):
    with train(folder, tmp_path / "w", "--workers", 2) as run:
        reached(tmp_path / "w", moment(seed, "driver"))
        if seed % 2:
            run.kill()  # its workers find out for themselves
        else:
            commands.signal_group(run, signal.SIGKILL)
        run.wait()
    with train(folder, tmp_path / "w", "--workers", 1 + seed % 2) as again:
        ended(again)
    check(folder, tmp_path / "w")


@pytest.mark.parametrize("seed", MOMENTS)
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_driver_is_told_to_stop(folder, tmp_path, seed, number):
    with train(folder, tmp_path / "w", "--workers", 2) as run:
        reached(tmp_path / "w", moment(seed, str(number)))
        if number == signal.SIGINT:
            commands.signal_group(run, number)  # as a terminal does
        else:
            run.send_signal(number)
        ended(run, code=130)
    with train(folder, tmp_path / "w", "--workers", 2) as again:
        ended(again)
    check(folder, tmp_path / "w")


@pytest.mark.parametrize("seed", MOMENTS)
def test_the_scheduler_is_killed(folder, tmp_path, seed):
    with (
        cluster(tmp_path, 2) as (address, scheduler, _, _),
        train(folder, tmp_path / "w", "--scheduler", address) as run,
    ):
        reached(tmp_path / "w", moment(seed, "scheduler"))
        scheduler.kill()
        assert "the scheduler at" in ended(run, code=1)
    with cluster(tmp_path, 2) as (address, *_), train(folder, tmp_path / "w", "--scheduler", address) as again:
        ended(again)
    check(folder, tmp_path / "w")


# Object storage


@pytest.fixture(scope="module")
def moto(folder):
    with faulty_s3.serve("faulty") as faults:
        filesystem = fsspec.filesystem("s3", **faults.options, skip_instance_cache=True)
        filesystem.put(str(folder / "images.zarr"), "faulty/images.zarr", recursive=True)
        yield faults


def train_from_s3(bucket, name, *args):
    store = f"s3://{bucket}"
    return commands.running("train", f"{store}/images.zarr", f"{store}/{name}", *PAIR, *BLOCK, "--workers", 2, *args)


def done_in(filesystem, weights):
    filesystem.invalidate_cache()
    return len(filesystem.glob(f"{weights}/progress/done/c/*/*"))


def fetch_and_check(folder, filesystem, weights, place):
    assert not filesystem.exists(f"{weights}.run")
    filesystem.get(weights, str(place), recursive=True)
    commands.assert_equal_bytes(place, folder / "expected.zarr")


@pytest.mark.parametrize("seed", MOMENTS)
def test_a_tenth_of_all_requests_fails_and_then_all_for_half_a_minute(folder, moto, tmp_path, seed):
    """Answers are 500, 503, bodies that end too soon and bodies with a wrong bit."""
    filesystem = fsspec.filesystem("s3", **moto.options, skip_instance_cache=True)
    weights = f"faulty/w{seed}.zarr"
    before = dict(moto.spoiled)
    moto.share = 0.1
    try:
        with train_from_s3("faulty", f"w{seed}.zarr") as run:
            n = moment(seed, "outage")
            seen = len(moto.requests)
            commands.wait_until(lambda: len(moto.requests) > seen + 20 * n or run.poll() is not None, "requests")
            assert run.poll() is None
            moto.refusal = 503, "SlowDown", {}
            threading.Event().wait(30)  # the outage
            moto.refusal = None
            ended(run)
    finally:
        moto.share, moto.refusal = 0.0, None
    assert all(moto.spoiled[kind] > before[kind] for kind in before)
    fetch_and_check(folder, filesystem, weights, tmp_path / "w")


@pytest.mark.parametrize("seed", MOMENTS)
def test_the_store_takes_requests_and_answers_nothing_for_half_a_minute(folder, moto, tmp_path, seed):
    filesystem = fsspec.filesystem("s3", **moto.options, skip_instance_cache=True)
    with train_from_s3("faulty", f"s{seed}.zarr") as run:
        n, seen = moment(seed, "silent"), len(moto.requests)
        commands.wait_until(lambda: len(moto.requests) > seen + 20 * n or run.poll() is not None, "requests")
        assert run.poll() is None
        moto.silent = True
        threading.Event().wait(30)
        moto.silent = False
        ended(run)
    fetch_and_check(folder, filesystem, f"faulty/s{seed}.zarr", tmp_path / "w")


@pytest.fixture(scope="module")
def real_s3(folder):
    """The bucket that the environment names, on a server that its commands stop at once and start again."""
    bucket = os.environ.get("MRDIST_S3_BUCKET", "mrdist-faults")
    filesystem = fsspec.filesystem("s3", skip_instance_cache=True)
    if not filesystem.exists(bucket):
        filesystem.mkdir(bucket)
    filesystem.put(str(folder / "images.zarr"), f"{bucket}/images.zarr", recursive=True)
    return bucket


@pytest.mark.s3
@pytest.mark.parametrize("seed", MOMENTS)
def test_the_object_store_is_killed_and_started_again(folder, real_s3, tmp_path, seed):
    filesystem = fsspec.filesystem("s3", skip_instance_cache=True)
    name = f"w{seed}.zarr"
    if filesystem.exists(f"{real_s3}/{name}"):
        filesystem.rm(f"{real_s3}/{name}", recursive=True)
    with train_from_s3(real_s3, name) as run:
        n = moment(seed, "kill -9")
        commands.wait_until(
            lambda: done_in(filesystem, f"{real_s3}/{name}") >= n or run.poll() is not None, "blocks", SECONDS
        )
        assert run.poll() is None
        subprocess.run(os.environ["MRDIST_S3_KILL"], shell=True, check=True)
        threading.Event().wait(3 + seed)
        subprocess.run(os.environ["MRDIST_S3_START"], shell=True, check=True)
        ended(run)
    fetch_and_check(folder, filesystem, f"{real_s3}/{name}", tmp_path / "w")


# Hosts


@pytest.fixture(scope="module")
def hosts():
    """Two hosts in network namespaces on a bridge of this machine: their names, and how each is cut off."""

    def ip(*args):
        subprocess.run(["ip", *map(str, args)], check=True)

    names = [f"mrf{os.getpid() % 10000}{letter}" for letter in "ab"]
    bridge = f"mrf{os.getpid() % 10000}"
    passing = ["FORWARD", "-i", bridge, "-o", bridge, "-j", "ACCEPT"]  # where a Docker Engine lets nothing pass
    filters = shutil.which("iptables")
    try:
        if filters:
            subprocess.run([filters, "-I", *passing], check=True)
        ip("link", "add", bridge, "type", "bridge")
        ip("addr", "add", "10.79.0.1/24", "dev", bridge)
        ip("link", "set", bridge, "up")
        for number, name in enumerate(names):
            ip("netns", "add", name)
            ip("link", "add", f"v{name}", "type", "veth", "peer", "name", "eth0", "netns", name)
            ip("link", "set", f"v{name}", "master", bridge, "up")
            ip("-n", name, "link", "set", "lo", "up")
            ip("-n", name, "addr", "add", f"10.79.0.{11 + number}/24", "dev", "eth0")
            ip("-n", name, "link", "set", "eth0", "up")
        yield names
    finally:
        for name in names:
            subprocess.run(["ip", "netns", "del", name], check=False)
        subprocess.run(["ip", "link", "del", bridge], check=False)
        if filters:
            subprocess.run([filters, "-D", *passing], check=False)


@contextlib.contextmanager
def worker_on(host, number, address):
    command = ["ip", "netns", "exec", host, sys.executable, "-m", "dask", "worker", address, "--nthreads", "1"]
    place = ["--no-nanny", "--no-dashboard", "--host", f"10.79.0.{11 + number}"]
    quiet = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    with subprocess.Popen([*command, *place], start_new_session=True, **quiet) as process:
        try:
            yield process
        finally:
            commands.signal_group(process, signal.SIGKILL)


@pytest.mark.netns
@pytest.mark.parametrize("seed", MOMENTS)
def test_a_host_is_cut_off_for_a_minute(folder, hosts, tmp_path, seed):
    """The store is a disk that both hosts share, so the worker that is cut off goes on writing, late."""
    with contextlib.ExitStack() as stack:
        address, _ = stack.enter_context(clusters.scheduler(tmp_path, host="10.79.0.1"))
        for number, host in enumerate(hosts):
            stack.enter_context(worker_on(host, number, address))
        stack.enter_context(clusters.at_work(address, 2))
        run = stack.enter_context(train(folder, tmp_path / "w", "--scheduler", address))
        reached(tmp_path / "w", moment(seed, "cut"))
        cut = f"v{hosts[seed % 2]}"
        subprocess.run(["ip", "link", "set", cut, "down"], check=True)
        began = time.monotonic()
        back = threading.Timer(60, subprocess.run, (["ip", "link", "set", cut, "up"],))
        back.start()
        try:
            ended(run)
            print(f"went on to its end in {time.monotonic() - began:.0f} s")
        finally:
            back.cancel()
            subprocess.run(["ip", "link", "set", cut, "up"], check=True)
    check(folder, tmp_path / "w")
