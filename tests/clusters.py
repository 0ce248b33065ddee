"""Real Dask schedulers and workers: processes of their own on the loopback interface."""

import contextlib
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import commands
from distributed import Client


def environment(**more):
    """Return the environment of processes that can import what tests run on workers."""
    return os.environ | {"PYTHONPATH": str(Path(__file__).parent)} | more


@contextlib.contextmanager
def dask(*args, **options):
    """Start ``dask ARGS``; ``env`` is added to the environment."""
    process = subprocess.Popen(
        [sys.executable, "-m", "dask", *map(str, args)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
        env=environment(**options.pop("env", {})),
        **options,
    )
    with process:
        try:
            yield process
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)


@contextlib.contextmanager
def scheduler(folder, *args, port=0, host="127.0.0.1", **options):
    """Start a scheduler; its address and process."""
    file = folder / "scheduler.json"
    file.unlink(missing_ok=True)
    place = ("--port", port, "--host", host, "--no-dashboard", "--scheduler-file", file)
    with dask("scheduler", *place, *args, **options) as process:
        commands.wait_until(lambda: file.exists() and file.read_text().endswith("}"), "the scheduler")
        yield json.loads(file.read_text())["address"], process


def worker(address, *args, nanny=False, **options):
    """Start a worker process with one slot."""
    alone = ("--host", "127.0.0.1", "--no-dashboard", "--nthreads", 1, *(() if nanny else ("--no-nanny",)))
    return dask("worker", address, *alone, *args, **options)


def other_packages(folder, package):
    """Return an environment whose processes take ``package`` for version 2.0.0 of it."""
    (folder / "sitecustomize.py").write_text(
        "import importlib.metadata as metadata\n"
        "version = metadata.version\n"
        f"metadata.version = lambda name: '2.0.0' if name == {package!r} else version(name)\n"
    )
    return {"PYTHONPATH": f"{folder}{os.pathsep}{Path(__file__).parent}"}


@contextlib.contextmanager
def at_work(address, n):
    """Wait until a scheduler has ``n`` workers."""
    with Client(address, set_as_default=False) as client:
        client.wait_for_workers(n, timeout=commands.SECONDS)
    yield
