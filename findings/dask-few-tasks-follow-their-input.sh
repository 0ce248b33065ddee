#!/usr/bin/env bash
# distributed 2026.8.0: few tasks with a common input all go to the worker that holds it, and the others stay idle.
#
# Guessed: two tasks that need the same small object are run side by side by two idle workers.
# Happens: up to two tasks a thread of the cluster are no "root" tasks for the scheduler: only workers that hold an
#          input are candidates for them, so that both are given to the same worker. Work stealing, which looks once a
#          second, may move the second one later; tasks shorter than that run one after the other. It is off here. With
#          five tasks both workers are busy at once; giving each task a worker (allow_other_workers=True) helps few.
# Where: Scheduler.is_rootish and decide_worker in distributed/scheduler.py.
# With: Python 3.11, dask 2026.8.0.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet distributed==2026.8.0 dask==2026.8.0
cd "$folder"
cat > few.py <<'PY'
import time

import dask
from dask.distributed import Client, LocalCluster


def work(_, shared):
    began = time.time()
    time.sleep(2)
    return began, time.time()


def make(n):
    return bytes(n)


def at_once(client, n, addresses=None):
    """Tell whether two of n tasks ever ran at the same time."""
    shared = client.submit(make, 1 << 20, pure=False)
    shared.result()
    if addresses is None:
        futures = client.map(work, range(n), shared=shared, pure=False)
    else:
        futures = [
            client.submit(work, k, shared, pure=False, workers=[address], allow_other_workers=True)
            for k, address in zip(range(n), addresses)
        ]
    times = sorted(client.gather(futures))
    return any(following[0] < before[1] for before, following in zip(times, times[1:]))


if __name__ == "__main__":
    with (
        dask.config.set({"distributed.scheduler.work-stealing": False}),
        LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address="127.0.0.1:0") as cluster,
        Client(cluster) as client,
    ):
        few = at_once(client, 2)
        spread = at_once(client, 2, list(client.scheduler_info()["workers"]))
        more = at_once(client, 5)
        print("two workers, 2 tasks, side by side:", few)
        print("the same, each task given a worker:", spread)
        print("two workers, 5 tasks, side by side:", more)
        assert (few, spread, more) == (False, True, True)
PY
"$folder/venv/bin/python" few.py
