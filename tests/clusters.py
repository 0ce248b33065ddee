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


@contextlib.contextmanager
def dask(*args, **options):
    """Start ``dask ARGS``; ``env`` is added to the environment."""
    environment = options.pop("env", {})
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parent)} | environment  # what tests run on workers
    process = subprocess.Popen(
        [sys.executable, "-m", "dask", *map(str, args)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
        env=environment,
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


@contextlib.contextmanager
def at_work(address, n):
    """Wait until a scheduler has ``n`` workers."""
    with Client(address, set_as_default=False) as client:
        client.wait_for_workers(n, timeout=commands.SECONDS)
    yield
