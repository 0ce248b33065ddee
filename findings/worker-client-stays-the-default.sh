#!/usr/bin/env bash
# distributed 2026.8.0: the client that a task gets from worker_client() stays the default of the worker's process.
#
# Guessed: after `with worker_client():` in a task, everything is as it was: Dask's arrays and bags in that process are
#          computed where they were before.
# Happens: the client is kept and stays what default_client() returns, in threads that never were tasks, too. With a
#          LocalCluster of threads that is the user's own process: x.compute() without a client now goes to that cluster.
# With: Python 3.11, dask 2026.8.0.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet distributed==2026.8.0 dask==2026.8.0
cd "$folder"
"$folder/venv/bin/python" - <<'PY'
import threading

import dask
from dask.distributed import Client, LocalCluster, default_client, worker_client


def plain():
    return 1


def asking():
    with worker_client() as client:
        return client.submit(abs, -1).result()


def default():
    try:
        return default_client()
    except ValueError:
        return None


def thread_of_a_graph():
    return dask.delayed(lambda: threading.current_thread().name)().compute()


with (
    LocalCluster(n_workers=1, threads_per_worker=1, processes=False, dashboard_address="127.0.0.1:0") as cluster,
    Client(cluster, set_as_default=False) as client,
):
    assert client.submit(plain).result() == 1
    before, thread_before = default(), thread_of_a_graph()
    assert client.submit(asking).result() == 1
    after, thread_after = default(), thread_of_a_graph()
    print("default client before:", before, "- after:", type(after).__name__, after.scheduler.address)
    print("a graph ran in", thread_before, "- then in", thread_after)
    assert before is None
    assert after is not client and after.scheduler.address == cluster.scheduler_address
    assert "Dask-Default-Threads" in thread_after and "Dask-Default-Threads" not in thread_before
    after.close()
PY
