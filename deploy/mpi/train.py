"""Train on the processes of an MPI job: the first is the scheduler, the second the driver, all others are workers.

mpirun -n 34 python deploy/mpi/train.py IMAGES WEIGHTS --source neutral --target happy

A second run does the remaining blocks. Needs `pip install dask-mpi` and an MPI beside mrdist.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path

# Read when Dask is imported.
os.environ.setdefault("DASK_CONFIG", str(Path(__file__).resolve().parents[1] / "dask.yaml"))

from dask_mpi import initialize
from distributed import Client
from mpi4py import MPI

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
    parser.add_argument("--interface", help="network interface that all nodes share, such as ib0")
    options = parser.parse_args()

    # Returns in the second process alone; the others serve until it ends.
    initialize(interface=options.interface, nthreads=1, memory_limit=options.max_memory, dashboard=False)
    with Client() as client:
        # The training is cut into blocks for those that are here.
        client.wait_for_workers(MPI.COMM_WORLD.Get_size() - 2)
        report = mrdist.train(
            options.images,
            options.weights,
            source=options.source,
            target=options.target,
            receptive_field=options.receptive_field,
            alpha=options.alpha,
            block=options.block,
            max_memory=options.max_memory,
            scheduler=client,
        )
    print(f"{options.weights}: {report.blocks_run} of {report.blocks} blocks in {report.run_seconds:.0f} s")


if __name__ == "__main__":
    main()
