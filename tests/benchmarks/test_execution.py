"""What a cluster costs: time per block, memory of driver and scheduler over thousands of blocks, seconds to grow."""

import gc
import subprocess
import sys

import clusters
import psutil
import pytest
from tasks import who

from mrdist.execution import open_executor

pytestmark = pytest.mark.filterwarnings("ignore")
N_BLOCKS = 5000
ADAPTIVE = """
import sys
from distributed import LocalCluster

if __name__ == "__main__":
    with LocalCluster(n_workers=1, threads_per_worker=1, host="127.0.0.1", dashboard_address=None) as cluster:
        cluster.adapt(minimum=1, maximum=4)
        print(cluster.scheduler_address, flush=True)
        sys.stdin.read()
"""


def resident(process=None):
    gc.collect()
    return float(psutil.Process(process and process.pid).memory_info().rss)


def test_small_blocks_and_a_lost_worker(meter, tmp_path):
    with (
        clusters.scheduler(tmp_path) as (address, scheduler),
        clusters.worker(address) as lost,
        clusters.worker(address),
        clusters.at_work(address, 2),
        open_executor(scheduler=address, n_tasks=N_BLOCKS, max_memory=10**9) as executor,
    ):

        def run(n, kill=None):
            for number, _ in enumerate(executor.run(abs, range(n), name="block")):
                if number == n // 3 and kill is not None:
                    kill()

        run(N_BLOCKS // 10)
        before = resident(), resident(scheduler)
        seconds = meter.time(lambda: run(N_BLOCKS, lost.kill), rounds=1)["ours"]
        growth = resident() - before[0], resident(scheduler) - before[1]
    meter.tell(f"overhead of a block, {N_BLOCKS} on 2 workers, one lost", seconds / N_BLOCKS)
    for who_grows, grown, was in zip(("driver", "scheduler"), growth, before, strict=True):
        meter.tell(f"{who_grows} after {N_BLOCKS} more blocks", was + grown, was, f"after {N_BLOCKS // 10}", unit="B")


@pytest.mark.parametrize("seconds", [0.25, 2])
def test_adaptive_scaling(meter, tmp_path, seconds):
    """Until four workers, of which one was there, have all finished a block."""
    script = tmp_path / "adaptive.py"
    script.write_text(ADAPTIVE)
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen([sys.executable, script], env=clusters.environment(), **pipes) as cluster:
        address = cluster.stdout.readline().strip()

        def grow():
            with open_executor(scheduler=address, n_tasks=N_BLOCKS, max_memory=10**9) as executor:
                seen = set()
                for _, (worker, _) in executor.run(who, range(N_BLOCKS), seconds, name="block"):
                    seen.add(worker)
                    if len(seen) == 4:
                        return

        taken = meter.time(grow, rounds=1)["ours"]
        meter.tell(f"1 -> 4 workers, blocks of {seconds} s", taken)
        cluster.stdin.close()
