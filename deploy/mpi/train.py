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

import dask
from dask_mpi import initialize
from distributed import Client, Security
from mpi4py import MPI

import mrdist


def share_certificates() -> None:
    """Let the processes of this job speak to each other alone, unless Dask's configuration names certificates.

    The first makes them, and MPI hands them to the others: they are in the memory of these processes and nowhere else.
    """
    if dask.config.get("distributed.comm.tls.ca-file") is None:
        made = Security.temporary() if MPI.COMM_WORLD.Get_rank() == 0 else None
        dask.config.set(MPI.COMM_WORLD.bcast(None if made is None else as_settings(made)))


def as_settings(made: Security) -> dict[str, str | bool | None]:
    """Return the settings of Dask that make every connection use temporary certificates."""
    settings = {"distributed.comm.require-encryption": True, "distributed.comm.tls.ca-file": made.tls_ca_file}
    for who in ("scheduler", "worker", "client"):
        settings[f"distributed.comm.tls.{who}.cert"] = made.tls_client_cert
        settings[f"distributed.comm.tls.{who}.key"] = made.tls_client_key
    return settings


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
    parser.add_argument(
        "--protocol", choices=("tls", "tcp"), default="tls", help="tcp where nobody else reaches the nodes"
    )
    options = parser.parse_args()

    if options.protocol == "tls":
        share_certificates()
    # Returns in the second process alone; the others serve until it ends.
    initialize(
        interface=options.interface,
        protocol=options.protocol,
        nthreads=1,
        memory_limit=options.max_memory,
        dashboard=False,
    )
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
