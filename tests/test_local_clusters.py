"""The workers that mrdist starts obey their own process alone: other users of the machine reach loopback, too."""

from __future__ import annotations

import ast
import contextlib
import json
import os
import subprocess
import sys
from pathlib import Path

import clusters
import commands
import psutil
import pytest

import mrdist
from mrdist.execution import open_executor

NOBODY = 65534
#: What somebody else tries on every port: Dask's own protocol, plain and with certificates of their own, and HTTP.
INTRUDER = """
import asyncio, http.client, json, os, sys, urllib.error, urllib.request
from concurrent.futures import ThreadPoolExecutor
import tornado.platform.asyncio
from distributed.core import rpc
from distributed.security import Security

async def ask(port, protocol, arguments):
    try:
        async with rpc(f"{protocol}://127.0.0.1:{port}", timeout=10, connection_args=arguments) as there:
            return [port, protocol, str(await asyncio.wait_for(there.identity(), 20))]
    except (OSError, TimeoutError):
        return [port, protocol, None]

def page(port, path):
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/{path}", timeout=20) as answer:
            return [port, path, answer.read(1 << 20).decode(errors="replace")]
    except (OSError, ValueError, http.client.HTTPException):
        return [port, path, None]

async def main():
    user, *ports = map(int, sys.argv[1:])
    certificates = Security.temporary().get_connection_args("client")
    if os.getuid() == 0:
        # Not before all is imported: from a folder that may be root's alone.
        os.setgroups([])
        os.setgid(user)
        os.setuid(user)
    # most ports keep a page waiting to the end
    asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(100))
    asked = [ask(port, *how) for port in ports for how in (("tcp", {}), ("tls", certificates))]
    pages = [asyncio.to_thread(page, port, path) for port in ports for path in PATHS]
    got = await asyncio.gather(*asked, *pages)
    print(json.dumps({"uid": os.getuid(), "got": [each for each in got if each[2] is not None]}))

PATHS = ["", "status", "workers", "info/main/workers.html", "json/identity.json", "health", "metrics", "sitemap.json"]
asyncio.run(main())
"""


def ports_of(process):
    """Return the addresses and the ports at which a process and its children listen."""
    listening = [each for each in process.net_connections("tcp") if each.status == psutil.CONN_LISTEN]
    for child in process.children(recursive=True):
        with contextlib.suppress(psutil.NoSuchProcess):  # it has just ended
            listening += [each for each in child.net_connections("tcp") if each.status == psutil.CONN_LISTEN]
    return {each.laddr.ip for each in listening}, sorted({each.laddr.port for each in listening})


def intrude(ports):
    """Return what somebody else gets from ports: as another user if we may become one, or else without certificates."""
    done = subprocess.run(
        [sys.executable, "-c", INTRUDER, str(NOBODY), *map(str, ports)],
        env=os.environ | {"HOME": "/nonexistent", "PYTHONDONTWRITEBYTECODE": "1"},
        cwd="/",
        capture_output=True,
        text=True,
        timeout=commands.SECONDS,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert said["uid"] == (os.getuid() or NOBODY)
    return said["got"]


def assert_closed(ports):
    """No port says more than that it is there."""
    assert [each for each in intrude(ports) if each[1:] != ["sitemap.json", '{"paths": ["/sitemap.json"]}']] == []


@pytest.mark.slow
def test_an_open_scheduler_is_what_an_intruder_gets_into(tmp_path):
    """The intruder can get in where nothing stops it: what follows does not pass by accident."""
    with clusters.scheduler(tmp_path) as (address, process), clusters.worker(address), clusters.at_work(address, 1):
        got = intrude(ports_of(psutil.Process(process.pid))[1])
    assert any(protocol == "tcp" and "Scheduler" in what for _, protocol, what in got)
    assert any(path == "json/identity.json" for _, path, _ in got)


@pytest.mark.slow
def test_nobody_else_gets_into_a_training(tmp_path):
    images, weights = tmp_path / "images.zarr", tmp_path / "weights.zarr"
    mrdist.generate(images, images=40, size=160, labels=("neutral", "happy"), workers=0, progress=False)
    # more than a minute of work, which the intruder has until then
    how = ("--source", "neutral", "--target", "happy", "--receptive-field", "21", "--block", "16,16", "--workers", "2")
    with commands.running("train", images, weights, *how) as process:
        trainer = psutil.Process(process.pid)
        # of a scheduler, of two workers and of their nannies, each with a server of HTTP but the nannies
        commands.wait_until(lambda: len(ports_of(trainer)[1]) >= 8, "the workers", seconds=2 * commands.SECONDS)
        hosts, ports = ports_of(trainer)
        assert hosts == {"127.0.0.1"}
        assert_closed(ports)
        assert process.poll() is None, process.stderr.read()
        assert not commands.is_whole(weights)


@pytest.mark.slow
def test_nobody_else_gets_into_a_notebook():
    me = psutil.Process()
    before = set(ports_of(me)[1])
    with open_executor(workers=1, n_tasks=1, max_memory=10**9) as executor:
        assert executor.address.startswith("tls://127.0.0.1:")
        assert executor.dashboard is None
        ports = set(ports_of(me)[1]) - before
        assert len(ports) >= 4
        assert_closed(sorted(ports))
        assert list(executor.run(abs, [-1], name="look")) == [(-1, 1)]


def test_clusters_are_started_in_one_place():
    """Every verb, the service and the notebooks get theirs from there."""
    starters = {
        path.name
        for path in Path(mrdist.__file__).parent.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Name) and node.id in ("LocalCluster", "SpecCluster", "Nanny")
    }
    assert starters == {"_cluster.py"}
