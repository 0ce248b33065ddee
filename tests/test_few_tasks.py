"""Few tasks and what they share: every worker gets some, and what all would load lies in the server they come from."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

import dask
import numpy as np
import pytest

from mrdist.execution import open_executor
from mrdist.execution._forking import PREPARES

PATIENCE = 20
"""Seconds that a task waits for the others: it is long over where they are given to one worker after another."""


def meet(item, shared):
    """Tell whether all ``n`` tasks of a folder are at work at once."""
    folder, number, n = item
    Path(folder, str(number)).touch()
    end = time.monotonic() + PATIENCE
    while len(list(Path(folder).iterdir())) < n:
        if time.monotonic() > end:
            return False
    return len(shared) > 0


@pytest.mark.parametrize("n_shared", [1, 1 << 20])
def test_two_tasks_are_given_to_two_workers(tmp_path, n_shared):
    """Dask gives a small group of tasks to the worker that holds what they share; stealing mends it a second later."""
    with (
        dask.config.set({"distributed.scheduler.work-stealing": False}),
        open_executor(workers=2, n_tasks=2, max_memory=10**9) as executor,
    ):
        for _ in range(3):
            folder = tmp_path / str(len(list(tmp_path.iterdir())))
            folder.mkdir()
            tasks = [(str(folder), number, 2) for number in range(2)]
            met = [result for _, result in executor.run(meet, tasks, np.ones(n_shared), name="meet")]
            assert met == [True, True]


CODE = """
import json, os, sys, threading
import mrdist.execution._before_forks
from mrdist.execution import _worker
from mrdist.methods.masked import solving
with open("/proc/self/status") as status:
    n_threads = next(int(line.split()[1]) for line in status if line.startswith("Threads:"))
print(json.dumps([n_threads, [prepare.__name__ for prepare in _worker._prepared]]))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="workers are forked on Linux only")
@pytest.mark.parametrize(
    ("prepares", "prepared"),
    [
        ("mrdist.methods.masked.solving:warm_up", ["warm_up"]),
        ("mrdist.methods.masked.solving:warm_up_lent", ["warm_up_lent"]),
        ("mrdist.pipeline.judging._scores:warm_up", ["warm_up"]),
        ("mrdist.pipeline.ingesting._people:warm_up", ["warm_up"]),
        ("mrdist.methods.masked.solving:gone", []),
        (None, []),
    ],
)
def test_the_server_of_workers_loads_kernels_and_has_no_threads(monkeypatch, prepares, prepared):
    """A fork takes one thread along, and the locks that others hold."""
    monkeypatch.delenv(PREPARES, raising=False)
    monkeypatch.setenv("OPENBLAS_NUM_THREADS", "1")
    if prepares is not None:
        module, _, name = prepares.partition(":")
        compile_first = f"import {module} as m; getattr(m, {name!r}, int)()"
        subprocess.run([sys.executable, "-c", compile_first], check=True)
        monkeypatch.setenv(PREPARES, prepares)
    done = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == [1, prepared]
    assert not done.stderr


def test_the_server_compiles_nothing(monkeypatch, tmp_path):
    """It would keep the workers waiting, and do it beside the process that starts them."""
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path))
    monkeypatch.setenv(PREPARES, "mrdist.methods.masked.solving:warm_up")
    done = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout)[1] == []
    assert not done.stderr
    assert not list(tmp_path.rglob("*.nbc"))
