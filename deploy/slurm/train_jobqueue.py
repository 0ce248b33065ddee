"""Train on workers that are separate SLURM jobs; a second run does the remaining blocks.

python deploy/slurm/train_jobqueue.py IMAGES WEIGHTS --source neutral --target happy --jobs 32 --walltime 60

This process is the driver and holds the scheduler: run it where it may stay for long, or in a small job that is
submitted again until it ends with 0. Worker jobs leave in order before their walltime, and others take their place.
Needs `pip install dask-jobqueue` beside mrdist.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
from pathlib import Path

# Read when Dask is imported and by the worker jobs, which inherit this environment.
os.environ.setdefault("DASK_CONFIG", str(Path(__file__).resolve().parents[1] / "dask.yaml"))

from dask.utils import parse_bytes
from dask_jobqueue import SLURMCluster
from distributed import Client
from distributed.security import Security

import mrdist


def main() -> None:
    """Parse the command line and train."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("images")
    parser.add_argument("weights")
    parser.add_argument("--source", required=True)
    parser.add_argument("--target", required=True)
    parser.add_argument("--receptive-field", type=int, default=3)
    parser.add_argument("--alpha", type=float, default=0.4)
    parser.add_argument("--block", type=int, nargs=2, metavar=("Y", "X"), help="pixels of a task; the planner's choice")
    parser.add_argument("--max-memory", default="2GiB", help="of a worker")
    parser.add_argument("--jobs", type=int, default=8, help="workers, one a job")
    parser.add_argument("--walltime", type=int, default=60, help="of a worker job, in minutes")
    parser.add_argument("--queue", help="partition")
    parser.add_argument("--interface", help="network interface that all nodes share, such as ib0")
    parser.add_argument("--certificates", default=".", help="folder of yours that all nodes see")
    options = parser.parse_args()

    # Cut for all jobs, however few have started when the training starts.
    what = {
        "source": options.source,
        "target": options.target,
        "receptive_field": options.receptive_field,
        "alpha": options.alpha,
        "max_memory": options.max_memory,
    }
    block = mrdist.plan(options.images, workers=options.jobs, block=options.block, **what).block
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(130))  # of the driver's own walltime: the worker jobs end too
    memory = parse_bytes(options.max_memory)
    lifetime = 60 * options.walltime - min(120, 20 * options.walltime)
    with SLURMCluster(
        queue=options.queue,
        interface=options.interface,
        cores=1,
        processes=1,
        memory=f"{memory}B",
        job_mem=f"{(6 * memory // 5 >> 20) + 256}M",  # where Dask stops a worker, plus its nanny
        walltime=str(options.walltime),
        security=Security.temporary(),  # other users of the nodes reach its ports, and can do nothing there
        shared_temp_directory=options.certificates,
        worker_extra_args=["--lifetime", f"{lifetime}s", "--lifetime-stagger", f"{lifetime // 10}s", "--no-dashboard"],
    ) as cluster:
        cluster.adapt(minimum_jobs=options.jobs, maximum_jobs=options.jobs)  # jobs that end are replaced
        with Client(cluster) as client:
            print("waiting for the queue", flush=True)
            client.wait_for_workers(1)
            report = mrdist.train(options.images, options.weights, scheduler=client, block=block, **what)
    print(f"{options.weights}: {report.blocks_run} of {report.blocks} blocks in {report.run_seconds:.0f} s")


if __name__ == "__main__":
    main()
